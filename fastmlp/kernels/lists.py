"""The first layer over lists of non-zeros: which kernel on which blocks of W."""

from __future__ import annotations

from ._jit import jit
from .table import call
from .tables import (
    BIAS,
    CODE,
    LD_H,
    LD_W,
    MAP,
    PANEL,
    S_COLUMNS,
    S_CUTS,
    S_LD_COLUMNS,
    S_LD_CUTS,
    S_LD_VALUES,
    S_N_CUTS,
    S_VALUES,
    SLOPE,
    SPARSE_FORWARD,
    SPARSE_GRADIENT,
    VECTOR,
    VECTORS_OUT,
    D,
    H,
    W,
)

__all__ = ["sparse_forward_rows", "sparse_gradient_rows"]


@jit()
def sparse_panel(vectors):
    """Return the vectors of the next panel over lists when `vectors` remain: even shares."""
    panels = (vectors + PANEL - 1) // PANEL
    return (vectors + panels - 1) // panels


@jit()
def blocks_at_once(S, rows):
    """Return how many blocks of lists go through in one call: one that stays in the cache, or
    all for a single row, which reuses nothing.
    """
    return 1 if rows > 1 else S[S_N_CUTS]


@jit()
def sparse_forward_rows(K, S, q, r0, rows):
    """Take the lists of rows r0 .. r0 + rows through the first layer."""
    blocks, step, done = S[S_N_CUTS] - 1, blocks_at_once(S, rows), 0
    while done < q[VECTORS_OUT]:
        width = sparse_panel(q[VECTORS_OUT] - done)
        at = done * VECTOR
        for block in range(0, blocks, step):
            call(
                K[SPARSE_FORWARD + width - 1],
                (q[H] + r0 * q[LD_H] + at, q[LD_H], q[BIAS] + at,
                 S[S_COLUMNS] + r0 * S[S_LD_COLUMNS], S[S_LD_COLUMNS],
                 S[S_VALUES] + r0 * S[S_LD_VALUES], S[S_LD_VALUES],
                 S[S_CUTS] + r0 * S[S_LD_CUTS], S[S_LD_CUTS], block, min(block + step, blocks),
                 q[W] + at, q[LD_W], rows),
            )  # fmt: skip
        done += width
    if q[CODE]:
        for r in range(r0, r0 + rows):
            h = q[H] + r * q[LD_H]
            call(K[MAP], (h, q[SLOPE] + r * q[LD_H], h, q[VECTORS_OUT], q[CODE], 0))


@jit()
def sparse_gradient_rows(K, S, q, r0, rows, first, last, shift):
    """Add the gradient of blocks first .. last of the first layer's W to the sums `shift`
    behind the weights.
    """
    done = 0
    while done < q[VECTORS_OUT]:
        width = sparse_panel(q[VECTORS_OUT] - done)
        at = done * VECTOR
        call(
            K[SPARSE_GRADIENT + width - 1],
            (q[W] + shift + at, q[LD_W], q[D] + r0 * q[LD_H] + at, q[LD_H],
             S[S_COLUMNS] + r0 * S[S_LD_COLUMNS], S[S_LD_COLUMNS],
             S[S_VALUES] + r0 * S[S_LD_VALUES], S[S_LD_VALUES],
             S[S_CUTS] + r0 * S[S_LD_CUTS], S[S_LD_CUTS], first, last, rows),
        )  # fmt: skip
        done += width
