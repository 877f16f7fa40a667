"""Where commands write, and how they show figures."""

from __future__ import annotations

import sys

__all__ = ["Console", "percent"]


class Console:
    """Standard output for results, standard error for what is said beside them."""

    def say(self, text: str) -> None:
        """Write a line to standard output."""
        print(text, flush=True)

    def note(self, text: str) -> None:
        """Write a line to standard error, whatever it holds on one line."""
        print(f"fastmlp: {' '.join(text.split())}", file=sys.stderr, flush=True)


def percent(share: float) -> str:
    """Return a share as a figure in percent."""
    return f"{100 * share:.2f} %"
