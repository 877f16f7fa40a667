"""Where commands write, and how they show figures."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Console", "percent"]


class Console(Protocol):
    """Where commands write."""

    def say(self, text: str) -> None:
        """Write a line of the result."""
        ...

    def note(self, text: str) -> None:
        """Write a line beside the result."""
        ...


def percent(share: float) -> str:
    """Return a share as a figure in percent."""
    return f"{100 * share:.2f} %"
