"""What follows once a batch's whole gradient is there: its norm, the optimizer's step, bounds.

Most steps have none of this: the optimizer is applied where the gradient is summed. Only where
the gradient of a batch is summed in pieces, or something has to know the whole of it, are there
regions after the others: norms (where the gradient is clipped), step, bounds and transposes
(where the weights are bounded).
"""

from __future__ import annotations

from ._jit import jit
from .lists import apply_panels, limit_panels, norms_of_panels
from .optimizers import HYPER_ROW, STORE
from .regions import call_region
from .shares import rows_of, share
from .table import call
from .tables import (
    BIAS,
    BLOCK,
    BLOCKS,
    CLIP,
    GRADIENT_SQUARES,
    HAS_BIAS,
    LD_W,
    LD_WT,
    LIMIT_COLUMNS,
    OPTIMIZER,
    PENALTIES,
    S_CLIP,
    S_CLIPPED,
    S_COEFFICIENTS,
    S_GRADIENT,
    S_ITEM,
    S_LIMIT,
    S_N_NORMS,
    S_NORMS,
    S_OPTIMIZER,
    S_PANELS,
    S_PENALTIES,
    S_PENALTY,
    S_STATE,
    S_WHOLE,
    TRANSPOSE,
    VECTOR,
    VECTORS_OUT,
    WT,
    W,
)

__all__ = [
    "FINISHING_REGIONS",
    "TRANSPOSE_REGION",
    "apply_region",
    "finish_region",
    "finishing_regions",
    "limit_region",
    "norms_region",
    "penalty_rows",
    "reduce_penalties",
    "slots_of",
    "transpose_region",
    "transpose_rows",
]


@jit()
def slots_of(q):
    """Return how many sums a layer's W has in the tables of penalties and norms: one for each
    vector of a block's columns, so that no panel shows in them.
    """
    return q[BLOCKS] * q[VECTORS_OUT]


@jit()
def penalty_rows(K, S, q, seen, i0, i1):
    """Note the penalties of rows of W before they change, behind those `seen` of other layers."""
    if S[S_PENALTY]:
        call(
            K[PENALTIES],
            (S[S_PENALTIES] + (seen + i0 // BLOCK) * 8, q[BLOCKS] * 8, q[W] + i0 * q[LD_W],
             q[LD_W], q[VECTORS_OUT], (i1 - i0) // BLOCK, S[S_COEFFICIENTS]),
        )  # fmt: skip


@jit()
def reduce_penalties(penalties, penalty, step):
    """Add up the slots' penalties, four by four, in their order."""
    first = second = third = fourth = 0.0
    for slot in range(0, penalties.size, 4):
        first += penalties[slot]
        second += penalties[slot + 1]
        third += penalties[slot + 2]
        fourth += penalties[slot + 3]
    penalty[step] = first + second + (third + fourth)


@jit()
def transpose_rows(K, item, q, i0, i1):
    """Copy rows i0 .. i1 of W into the columns of its transpose."""
    length = VECTOR // item
    for i in range(i0, i1, length):
        for v in range(q[VECTORS_OUT]):
            call(
                K[TRANSPOSE],
                (q[WT] + v * length * q[LD_WT] + i * item, q[LD_WT],
                 q[W] + i * q[LD_W] + v * VECTOR, q[LD_W]),
            )  # fmt: skip


@jit()
def transpose_region(K, S, layers, t, threads):
    """Thread t's part of making every transpose, for whoever changed the weights outside."""
    for l in range(1, layers.shape[0]):  # noqa: E741
        q = layers[l]
        i0 = share(q[BLOCKS], t, threads) * BLOCK
        transpose_rows(K, S[S_ITEM], q, i0, share(q[BLOCKS], t + 1, threads) * BLOCK)


@jit()
def norms_region(K, S, layers, bounds, hyper, t, threads):
    """Thread t's part of the sums of squares of the whole gradient, biases last."""
    seen, bias_slot = 0, S[S_NORMS] + (S[S_N_NORMS] - layers.shape[0]) * 8
    for l in range(layers.shape[0]):  # noqa: E741
        q = layers[l]
        i0, i1 = rows_of(bounds, l, t, threads)
        if l == 0 and S[S_PANELS]:
            norms_of_panels(K, S, q, bounds, hyper, t, threads)
        else:
            for i in range(i0, i1, BLOCK):
                call(
                    K[GRADIENT_SQUARES],
                    (S[S_NORMS] + (seen + i // BLOCK) * 8, q[W] + i * q[LD_W], q[LD_W],
                     q[VECTORS_OUT], BLOCK, S[S_GRADIENT], hyper),
                )  # fmt: skip
        seen += slots_of(q)
        if q[HAS_BIAS] and t == 0:
            call(
                K[GRADIENT_SQUARES],
                (bias_slot + l * 8, q[BIAS], 0, q[VECTORS_OUT], 1, S[S_GRADIENT],
                 hyper + HYPER_ROW * S[S_ITEM]),
            )  # fmt: skip


@jit()
def clipped(K, S, hyper, t):
    """Return thread t's own copy of a step's hyperparameters, for a gradient of bounded norm."""
    row = HYPER_ROW * S[S_ITEM]
    copy = S[S_CLIPPED] + t * 2 * row
    call(K[CLIP], (copy, hyper, row, S[S_NORMS], S[S_N_NORMS], S[S_CLIP]))
    return copy


@jit()
def apply_region(K, S, layers, bounds, hyper, t, threads):
    """Thread t's part of the optimizer's step from the summed gradient."""
    item, seen = S[S_ITEM], 0
    if S[S_CLIP]:
        hyper = clipped(K, S, hyper, t)
    for l in range(layers.shape[0]):  # noqa: E741
        q = layers[l]
        i0, i1 = rows_of(bounds, l, t, threads)
        if l == 0 and S[S_PANELS]:
            apply_panels(K, S, q, bounds, hyper, t, threads)
        else:
            penalty_rows(K, S, q, seen, i0, i1)
            start = q[W] + i0 * q[LD_W]
            call(
                K[OPTIMIZER],
                (start, start + S[S_GRADIENT], (i1 - i0) * q[LD_W] // VECTOR, S[S_OPTIMIZER],
                 S[S_STATE], hyper),
            )  # fmt: skip
        seen += slots_of(q)
        if l > 0 and not S[S_LIMIT]:
            transpose_rows(K, item, q, i0, i1)
        if q[HAS_BIAS] and t == 0:
            call(
                K[OPTIMIZER],
                (q[BIAS], q[BIAS] + S[S_GRADIENT], q[VECTORS_OUT], S[S_OPTIMIZER], S[S_STATE],
                 hyper + HYPER_ROW * item),
            )  # fmt: skip


@jit()
def limit_region(K, S, layers, t, threads):
    """Thread t's columns of every W: none is left longer than the limit."""
    for l in range(layers.shape[0]):  # noqa: E741
        q = layers[l]
        if l == 0 and S[S_PANELS]:
            limit_panels(K, S, q, t, threads)
        else:
            v0, v1 = share(q[VECTORS_OUT], t, threads), share(q[VECTORS_OUT], t + 1, threads)
            call(
                K[LIMIT_COLUMNS],
                (q[W] + v0 * VECTOR, q[LD_W], q[BLOCKS] * BLOCK, v1 - v0, S[S_LIMIT]),
            )


# The first of those that a driver's R holds the addresses of.
FINISHING_REGIONS = (transpose_region, norms_region, apply_region, limit_region)
TRANSPOSE_REGION, NORMS_REGION, APPLY_REGION, LIMIT_REGION = range(4)


@jit()
def finishing_regions(S, pieces):
    """Return how many regions follow those that sum a gradient in so many pieces."""
    if S[S_OPTIMIZER] >= STORE or not (pieces > 1 or S[S_WHOLE]):
        return 0
    return 1 + (S[S_CLIP] != 0) + 2 * (S[S_LIMIT] != 0)


@jit()
def finish_region(R, K, S, layers, bounds, number, hyper, t, threads):
    """Thread t's share of one of these regions."""
    step = 1 if S[S_CLIP] else 0
    if number < step:
        call_region(R[NORMS_REGION], (K, S, layers, bounds, hyper, t, threads))
    elif number == step:
        call_region(R[APPLY_REGION], (K, S, layers, bounds, hyper, t, threads))
    elif number == step + 1:
        call_region(R[LIMIT_REGION], (K, S, layers, t, threads))
    else:
        call_region(R[TRANSPOSE_REGION], (K, S, layers, t, threads))
