"""How messages put things."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, what: str) -> str:
    """Return a number and what it counts, in the plural unless it is 1.

    Examples
    --------
    >>> from fastmlp.support.wording import counted
    >>> counted(1, "epoch"), counted(2000, "row"), counted(0, "whole epoch")
    ('1 epoch', '2,000 rows', '0 whole epochs')
    """
    return f"{count:,} {what}{'s' * (count != 1)}"
