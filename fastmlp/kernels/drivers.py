"""The order of work: which thread calls which kernel on which rows.

A step has two regions (see the README): by samples, forward and back; then by rows of W,
gradient and update. Over lists of non-zeros a third comes before them: the first layer, forward,
by columns of W. Within a region every number belongs to one thread and every sum runs in a
fixed order, so the number of threads cannot change a bit. Everything is an integer: addresses,
strides in bytes, codes. `t` of `threads` shares the work; `steps` runs t through.
"""

from __future__ import annotations

from ._jit import jit
from .finish import (
    FINISHING_REGIONS,
    TRANSPOSE_REGION,
    finish_region,
    finishing_regions,
    penalty_rows,
    reduce_penalties,
    slots_of,
    transpose_rows,
)
from .lists import forward_panels, sparse_forward_rows, update_panels
from .optimizers import ADD, HYPER_ROW, STORE
from .regions import call_region
from .shares import rows_of, share
from .table import call
from .tables import (
    BACKWARD,
    BIAS,
    BIAS_UPDATE,
    CODE,
    DROPOUT,
    ELEMENTWISE,
    FACTOR,
    FORWARD,
    GATHER,
    HAS_BIAS,
    KEPT,
    KEPT_CODE,
    LD_A,
    LD_H,
    LD_W,
    LD_WT,
    LIST_ROWS,
    MR,
    N_IN,
    N_OUT,
    NV,
    S_BATCH,
    S_CHUNK,
    S_CORRECT,
    S_GRADIENT,
    S_HIDDEN,
    S_HYPER,
    S_INDEX_COLUMNS,
    S_INDEX_CUTS,
    S_INDEX_STARTS,
    S_INDEX_VALUES,
    S_ITEM,
    S_LD_X,
    S_LD_Y,
    S_LIST_BLOCK,
    S_LISTS,
    S_LOSS_CODE,
    S_LOSS_KIND,
    S_LOSSES,
    S_N_CUTS,
    S_OPTIMIZER,
    S_ORDER,
    S_PANELS,
    S_PENALTY,
    S_PLACE,
    S_ROWS,
    S_SLOTS,
    S_STATE,
    S_WEIGHT,
    S_WHOLE,
    S_WORDS,
    S_X,
    S_X_KIND,
    S_X_SCALE,
    S_Y,
    SLOPE,
    SOFTMAX_LABELS,
    SOFTMAX_TARGETS,
    THRESHOLD,
    UPDATE,
    VECTOR,
    VECTORS_IN,
    VECTORS_OUT,
    WT,
    A,
    D,
    H,
    W,
)

__all__ = [
    "BATCH_REGIONS",
    "apply_step",
    "region",
    "regions",
]


@jit()
def panel_width(vectors):
    """Return the vectors of the next panel when `vectors` remain: no panel is left with one
    where two of the rest can share more evenly.
    """
    if vectors <= NV:
        return vectors
    if vectors == NV + 1 and NV > 2:
        return NV - 1
    return NV


@jit()
def gather(K, S, layers, position, r0, rows):
    """Bring the samples at `position` of the order into rows r0 .. r0 + rows."""
    ld = layers[0, LD_A]
    call(
        K[GATHER + S[S_X_KIND]],
        (layers[0, A] + r0 * ld, ld, S[S_X], S[S_LD_X], S[S_ROWS] + position * 8,
         layers[0, N_IN], rows, S[S_X_SCALE]),
    )  # fmt: skip


@jit()
def list_rows(K, S, layers, position, r0, rows):
    """List the non-zeros of the samples at `position` of the order in slots r0 .. r0 + rows."""
    q = layers[0]
    for r in range(0, rows, MR):
        slot, count = r0 + r, min(MR, rows - r)
        gather(K, S, layers, position + r, r0, count)
        call(
            K[LIST_ROWS],
            (S[S_INDEX_COLUMNS], S[S_INDEX_VALUES], S[S_INDEX_CUTS] + slot * S[S_N_CUTS] * 2,
             S[S_INDEX_STARTS] + slot * 8, q[A] + r0 * q[LD_A], q[LD_A], S[S_LIST_BLOCK], q[N_IN],
             S[S_N_CUTS], count),
        )  # fmt: skip


@jit()
def dense_forward(K, q, r0, r1):
    """Take rows r0 .. r1 (whole tiles) through one layer."""
    done = 0
    while done < q[VECTORS_OUT]:
        width = panel_width(q[VECTORS_OUT] - done)
        at = done * VECTOR
        for r in range(r0, r1, MR):
            call(
                K[FORWARD + width - 1],
                (q[H] + r * q[LD_H] + at, q[LD_H], q[A] + r * q[LD_A], q[LD_A], q[W] + at,
                 q[LD_W], q[N_IN], q[BIAS] + at, q[CODE], q[SLOPE] + r * q[LD_H] + at),
            )  # fmt: skip
        done += width


@jit()
def leave_out(K, S, q, l, position, r0, rows):  # noqa: E741
    """Dropout of a hidden layer, for the samples at `position` in rows r0 .. r0 + rows."""
    step, shift = position // S[S_BATCH], r0 * q[LD_H]
    place = position - step * S[S_BATCH] + S[S_PLACE]
    call(
        K[DROPOUT],
        (q[H] + shift, q[KEPT] + shift, q[LD_H], q[VECTORS_OUT], rows,
         S[S_WORDS] + (step * S[S_HIDDEN] + l) * 8, place, q[THRESHOLD], q[FACTOR], q[CODE]),
    )  # fmt: skip


@jit()
def forward_rows(K, S, layers, position, r0, rows):
    """Take the samples at `position` of the order, in rows r0 .. r0 + rows (r0 at a tile), through
    all layers (those whose panels are done: through the others); the last leaves logits.
    """
    r1 = r0 + (rows + MR - 1) // MR * MR
    for l in range(layers.shape[0]):  # noqa: E741
        if l > 0 or not S[S_LISTS]:
            if l == 0:
                gather(K, S, layers, position, r0, rows)
            dense_forward(K, layers[l], r0, r1)
        elif not S[S_PANELS]:
            order = S[S_SLOTS] + r0 * 8 if S[S_SLOTS] else S[S_ROWS] + position * 8
            sparse_forward_rows(K, S, layers[0], order, r0, rows)
        if layers[l, FACTOR]:
            leave_out(K, S, layers[l], l, position, r0, rows)


@jit()
def output_delta(K, S, layers, position, r0, rows):
    """Turn the logits of rows r0 .. r0 + rows into deltas; note each sample's loss and hit."""
    q = layers[layers.shape[0] - 1]
    d, z, ld = q[D] + r0 * q[LD_H], q[H] + r0 * q[LD_H], q[LD_H]
    losses, correct = S[S_LOSSES] + position * 8, S[S_CORRECT] + position * 8
    order = S[S_ORDER] + position * 8
    if S[S_LOSS_KIND] == 0:
        call(
            K[SOFTMAX_LABELS],
            (d, losses, correct, z, ld, S[S_Y], order, S[S_WEIGHT], q[N_OUT], rows),
        )
    elif S[S_LOSS_KIND] == 1:
        call(
            K[SOFTMAX_TARGETS],
            (d, losses, correct, z, ld, S[S_Y], S[S_LD_Y], order, S[S_WEIGHT], q[N_OUT], rows),
        )
    else:
        call(
            K[ELEMENTWISE],
            (d, losses, correct, z, ld, S[S_Y], S[S_LD_Y], order, S[S_WEIGHT], q[N_OUT], rows,
             S[S_LOSS_CODE]),
        )  # fmt: skip


@jit()
def backward_rows(K, layers, r0, rows):
    """Take the deltas of rows r0 .. r0 + rows (r0 at a tile) back to the first hidden layer."""
    r1 = r0 + (rows + MR - 1) // MR * MR
    for l in range(layers.shape[0] - 1, 0, -1):  # noqa: E741
        q, p = layers[l], layers[l - 1]
        done = 0
        while done < q[VECTORS_IN]:
            width = panel_width(q[VECTORS_IN] - done)
            at = done * VECTOR
            for r in range(r0, r1, MR):
                shift = r * p[LD_H] + at
                call(
                    K[BACKWARD + width - 1],
                    (p[D] + shift, p[LD_H], q[D] + r * q[LD_H], q[LD_H], q[WT] + at, q[LD_WT],
                     q[N_OUT], p[KEPT] + shift, p[KEPT_CODE]),
                )  # fmt: skip
            done += width


@jit()
def through(K, S, layers, position, r0, rows):
    """Take samples from `position` on through everything but the weights' gradients."""
    forward_rows(K, S, layers, position, r0, rows)
    output_delta(K, S, layers, position, r0, rows)
    backward_rows(K, layers, r0, rows)


@jit()
def samples_region(K, S, layers, first, rows, t, threads):
    """Region 1: thread t's share of `rows` samples, from gathering them to their deltas."""
    tiles = (rows + MR - 1) // MR
    r0, r1 = tiles * t // threads * MR, tiles * (t + 1) // threads * MR
    mine = min(r1, rows) - r0
    if mine > 0:
        through(K, S, layers, first + r0, r0, mine)


@jit()
def update_rows(K, item, q, i0, i1, r0, rows, code, state, shift, hyper):
    """Sum the gradient of rows i0 .. i1 of W over the samples in rows r0 .. r0 + rows, and do
    with it what `code` says. `shift` leads from the parameters to where the sums go (0: to the
    optimizer).
    """
    done, i1 = 0, min(i1, q[N_IN])  # the rows behind the last input stay zeros
    while done < q[VECTORS_OUT]:
        width = panel_width(q[VECTORS_OUT] - done)
        at = done * VECTOR
        for i in range(i0, i1, MR):
            call(
                K[UPDATE + width - 1],
                (q[W] + i * q[LD_W] + at + shift, q[LD_W], q[A] + r0 * q[LD_A] + i * item,
                 q[LD_A], q[D] + r0 * q[LD_H] + at, q[LD_H], rows, code, state, hyper),
            )  # fmt: skip
        done += width


@jit()
def weights_region(K, S, layers, bounds, rows, code, hyper, t, threads):
    """Region 2: thread t's rows of every W, its part of every bias: gradient and update."""
    item = S[S_ITEM]
    summing = code >= STORE
    shift = S[S_GRADIENT] if summing else 0
    bias_hyper = hyper + HYPER_ROW * item
    seen = 0
    for l in range(layers.shape[0]):  # noqa: E741
        q = layers[l]
        i0, i1 = rows_of(bounds, l, t, threads)
        if l == 0 and S[S_PANELS]:
            update_panels(K, S, q, bounds, rows, code, hyper, t, threads)
        else:
            if not summing:
                penalty_rows(K, S, q, seen, i0, i1)
            update_rows(K, item, q, i0, i1, 0, rows, code, S[S_STATE], shift, hyper)
        seen += slots_of(q)
        if l > 0 and not summing:
            transpose_rows(K, item, q, i0, i1)
        if q[HAS_BIAS]:
            v0, v1 = share(q[VECTORS_OUT], t, threads), share(q[VECTORS_OUT], t + 1, threads)
            call(
                K[BIAS_UPDATE],
                (q[BIAS] + v0 * VECTOR + shift, q[D] + v0 * VECTOR, q[LD_H], rows, v1 - v0, code,
                 S[S_STATE], bias_hyper),
            )  # fmt: skip


@jit()
def sums(S, size, start):
    """Return what becomes of the gradient of a chunk that begins at `start` of its batch."""
    if size <= S[S_CHUNK] and not S[S_WHOLE]:
        return S[S_OPTIMIZER]
    return STORE if start == 0 else ADD


@jit()
def regions_of_chunk(S):
    """Return the regions of a chunk: by samples and by rows; before them, by panels."""
    return 3 if S[S_PANELS] else 2


@jit()
def regions(S, size):
    """Return how many regions a step has: the chunks', and what follows on the whole."""
    if size == 0:
        return 1
    chunks = (size + S[S_CHUNK] - 1) // S[S_CHUNK]
    return regions_of_chunk(S) * chunks + finishing_regions(S, chunks)


# What R holds the addresses of.
BATCH_REGIONS = (*FINISHING_REGIONS, weights_region, forward_panels, samples_region)
WEIGHTS_REGION, PANELS_REGION, SAMPLES_REGION = range(len(FINISHING_REGIONS), len(BATCH_REGIONS))


@jit()
def region(R, K, S, layers, bounds, n, first, size, number, hyper, t, threads):
    """Thread t's share of one region of a step."""
    each = regions_of_chunk(S)
    summing = (size + S[S_CHUNK] - 1) // S[S_CHUNK] * each
    start = number // each * S[S_CHUNK]
    rows = min(S[S_CHUNK], size - start)
    kind = each - 1 - number % each
    if size == 0:
        call_region(R[TRANSPOSE_REGION], (K, S, layers, t, threads))
    elif number >= summing:
        finish_region(R, K, S, layers, bounds, number - summing, hyper, t, threads)
    elif kind == 2:
        call_region(R[PANELS_REGION], (K, S, layers[0], bounds, first + start, rows, n, t, threads))
    elif kind == 1:
        call_region(R[SAMPLES_REGION], (K, S, layers, first + start, rows, t, threads))
    else:
        code = sums(S, size, start)
        call_region(R[WEIGHTS_REGION], (K, S, layers, bounds, rows, code, hyper, t, threads))


@jit()
def apply_step(R, K, S, layers, bounds, penalties, penalty, step):
    """Take the optimizer's step from a gradient that was summed before."""
    for number in range(finishing_regions(S, 2)):
        finish_region(R, K, S, layers, bounds, number, S[S_HYPER], 0, 1)
    if S[S_PENALTY]:
        reduce_penalties(penalties, penalty, step)
