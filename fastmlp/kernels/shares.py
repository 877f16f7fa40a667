"""Who owns what: the rows of W and of a batch that are a thread's own."""

from __future__ import annotations

from ._jit import jit
from .tables import BLOCK, BLOCKS, S_LIST_BLOCK

__all__ = ["rows_of", "share"]


@jit()
def share(n, t, threads):
    """Return thread t's first of n pieces."""
    return n * t // threads


@jit()
def first_row(bounds, block, q, l, t, threads):  # noqa: E741
    """Return thread t's first row of layer l's W: even shares, or equally many non-zeros
    (`bounds` is in blocks of lists, `block` columns each; empty without lists).
    """
    if l == 0 and bounds.size > 1:
        return min(bounds[t] * block, q[BLOCKS] * BLOCK)
    return share(q[BLOCKS], t, threads) * BLOCK


@jit()
def rows_of(S, bounds, q, l, t, threads):  # noqa: E741
    """Return thread t's first row of layer l's W, and the one behind its last."""
    block = S[S_LIST_BLOCK]
    return first_row(bounds, block, q, l, t, threads), first_row(
        bounds, block, q, l, t + 1, threads
    )
