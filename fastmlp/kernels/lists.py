"""The first layer over lists of non-zeros: which kernel on which blocks of W.

There are two layouts of W. Inference, a full batch and a single sample use it as it lies, row by
row. A mini-batch uses panels: `S_PANELS` groups of columns, each with rows of its own, packed
before a piece of an epoch and unpacked after it. A thread owns whole panels, so that its part of
the largest matrix stays in its own cache from step to step (where there are fewer columns than
threads, all share the one panel, by samples and by rows).
"""

from __future__ import annotations

from ._jit import jit
from .optimizers import STORE
from .shares import rows_of, share
from .table import PANEL, call
from .tables import (
    BIAS,
    BLOCK,
    BLOCKS,
    BY_FEATURE,
    CODE,
    FEATURE_UPDATE,
    GRADIENT_SQUARES,
    LD_H,
    LD_W,
    LIMIT_COLUMNS,
    MAP,
    OPTIMIZER,
    PENALTIES,
    PREFETCH,
    S_BATCH,
    S_COEFFICIENTS,
    S_COUNTS,
    S_INDEX_COLUMNS,
    S_INDEX_CUTS,
    S_INDEX_STARTS,
    S_INDEX_VALUES,
    S_LD_COUNTS,
    S_LD_LISTED,
    S_LIMIT,
    S_LIST_BLOCK,
    S_LISTED,
    S_LISTS,
    S_N_CUTS,
    S_NORMS,
    S_OPTIMIZER,
    S_PANEL_GRADIENT,
    S_PANEL_STATE,
    S_PANEL_W,
    S_PANELS,
    S_PENALTIES,
    S_PENALTY,
    S_PORTION,
    S_ROWS,
    S_TABLE,
    SLOPE,
    SPARSE_FORWARD,
    SPARSE_GRADIENT,
    VECTOR,
    VECTORS_OUT,
    D,
    H,
    W,
)

__all__ = [
    "apply_panels",
    "forward_panels",
    "limit_panels",
    "norms_of_panels",
    "prefetch_list",
    "sparse_forward_rows",
    "sparse_gradient_rows",
    "update_panels",
]


@jit()
def sparse_panel(vectors):
    """Return the vectors of the next panel over lists when `vectors` remain: even shares."""
    panels = (vectors + PANEL - 1) // PANEL
    return (vectors + panels - 1) // panels


@jit()
def blocks_at_once(S):
    """Return how many blocks of lists go through in one call: one that stays in the cache, or
    all where steps have a single sample, which reuses nothing. Not by the rows of a call: in a
    narrow layer the bits would tell how the samples of a batch are shared out.
    """
    return S[S_N_CUTS] if S[S_BATCH] == 1 else 1


@jit()
def forward_columns(K, S, q, order, r0, rows, at, width, w, ldw):
    """Take the samples whose numbers are at `order` through `width` vectors of the first layer's
    columns, `at` bytes from the first.
    """
    blocks, step = S[S_N_CUTS] - 1, blocks_at_once(S)
    kernel = K[SPARSE_FORWARD + (S[S_LISTS] - 1) * PANEL + width - 1]
    for block in range(0, blocks, step):
        call(
            kernel,
            (q[H] + r0 * q[LD_H] + at, q[LD_H], q[BIAS] + at, order, S[S_INDEX_STARTS],
             S[S_INDEX_CUTS], S[S_N_CUTS], S[S_INDEX_COLUMNS], S[S_INDEX_VALUES], S[S_TABLE], block,
             min(block + step, blocks), w, ldw, rows),
        )  # fmt: skip
    if q[CODE]:
        for r in range(r0, r0 + rows):
            h = q[H] + r * q[LD_H] + at
            call(K[MAP], (h, q[SLOPE] + r * q[LD_H] + at, h, width, q[CODE], 0))


@jit()
def sparse_forward_rows(K, S, q, order, r0, rows):
    """Take the samples whose numbers are at `order`, rows r0 .. r0 + rows, through the first
    layer.
    """
    done = 0
    while done < q[VECTORS_OUT]:
        width = sparse_panel(q[VECTORS_OUT] - done)
        at = done * VECTOR
        forward_columns(K, S, q, order, r0, rows, at, width, q[W] + at, q[LD_W])
        done += width


@jit()
def sparse_gradient_rows(K, S, q, position, r0, rows, first, last, shift):
    """Add the gradient of blocks first .. last of the first layer's W to the sums `shift`
    behind the weights.
    """
    done = 0
    while done < q[VECTORS_OUT]:
        width = sparse_panel(q[VECTORS_OUT] - done)
        at = done * VECTOR
        call(
            K[SPARSE_GRADIENT + (S[S_LISTS] - 1) * PANEL + width - 1],
            (q[W] + shift + at, q[LD_W], q[D] + r0 * q[LD_H] + at, q[LD_H],
             S[S_ROWS] + position * 8, S[S_INDEX_STARTS], S[S_INDEX_CUTS], S[S_N_CUTS],
             S[S_INDEX_COLUMNS], S[S_INDEX_VALUES], S[S_TABLE], first, last, rows),
        )  # fmt: skip
        done += width


@jit()
def prefetch_list(K, S, position):
    """Ask for the list of the sample at `position`: it may lie anywhere in memory."""
    call(
        K[PREFETCH + S[S_LISTS] - 1],
        (S[S_ROWS] + position * 8, S[S_INDEX_STARTS], S[S_INDEX_CUTS], S[S_N_CUTS],
         S[S_INDEX_COLUMNS], S[S_INDEX_VALUES], S[S_TABLE]),
    )  # fmt: skip


@jit()
def panel(S, q, p):
    """Return panel p: its first vector, its width in vectors, and where its rows begin."""
    first, end = share(q[VECTORS_OUT], p, S[S_PANELS]), share(q[VECTORS_OUT], p + 1, S[S_PANELS])
    return first, end - first, S[S_PANEL_W] + first * q[BLOCKS] * BLOCK * VECTOR


@jit()
def own_panels(S, t, threads):
    """Return thread t's panels, and which of how many threads it is that work on them."""
    if S[S_PANELS] < threads:
        return 0, S[S_PANELS], t, threads
    return share(S[S_PANELS], t, threads), share(S[S_PANELS], t + 1, threads), 0, 1


@jit()
def forward_panels(K, S, q, bounds, position, rows, n, t, threads):
    """Take thread t's panels over all samples of a batch, and list its blocks by feature."""
    first, last, part, parts = own_panels(S, t, threads)
    r0, r1 = share(rows, part, parts), share(rows, part + 1, parts)
    for p in range(first, last):
        start, width, w = panel(S, q, p)
        forward_columns(
            K,
            S,
            q,
            S[S_ROWS] + (position + r0) * 8,
            r0,
            r1 - r0,
            start * VECTOR,
            width,
            w,
            width * VECTOR,
        )
    block, rows_of_w = S[S_LIST_BLOCK], q[BLOCKS] * BLOCK
    i0, i1 = min(bounds[t] * block, rows_of_w), min(bounds[t + 1] * block, rows_of_w)
    following = position + rows if position + 2 * rows <= n else position
    counts = S[S_COUNTS]
    for r in range(0, rows, S[S_PORTION]):
        call(
            K[BY_FEATURE + S[S_LISTS] - 1],
            (counts + S[S_LD_COUNTS], counts, S[S_LISTED], S[S_LD_LISTED], q[LD_H], r,
             S[S_ROWS] + (position + r) * 8, S[S_INDEX_STARTS], S[S_INDEX_CUTS], S[S_N_CUTS],
             S[S_INDEX_COLUMNS], S[S_INDEX_VALUES], S[S_TABLE], bounds[t], bounds[t + 1],
             min(S[S_PORTION], rows - r), i0, i1 - i0, S[S_ROWS] + (following + r) * 8),
        )  # fmt: skip
        counts += S[S_LD_COUNTS]


@jit()
def own_rows(bounds, q, part, parts):
    """Return the rows of its panels that are a thread's: all, or its share of them."""
    if parts == 1:
        return 0, q[BLOCKS] * BLOCK
    return rows_of(bounds, 0, part, parts)


@jit()
def penalties_of_panel(K, S, q, start, width, w, i0, i1):
    """Note the penalties of a panel's rows; see `finish.penalty_rows`."""
    if S[S_PENALTY]:
        call(
            K[PENALTIES],
            (S[S_PENALTIES] + (start * q[BLOCKS] + i0 // BLOCK) * 8, q[BLOCKS] * 8,
             w + i0 * width * VECTOR, width * VECTOR, width, (i1 - i0) // BLOCK,
             S[S_COEFFICIENTS]),
        )  # fmt: skip


@jit()
def sum_features(K, S, q, i0, i1, width, w, sums, d, first, last, code, hyper):
    """Sum the gradient of rows i0 .. i1 of a panel over portions first .. last of the samples
    listed, from what is at `sums` on, and do with it what `code` says.
    """
    length, counts = width * VECTOR, S[S_COUNTS] + i0 * 4
    call(
        K[FEATURE_UPDATE + width - 1],
        (w + i0 * length, length, sums + i0 * length if sums else 0, d,
         counts + last * S[S_LD_COUNTS], counts + first * S[S_LD_COUNTS],
         S[S_LISTED] + i0 * S[S_LD_LISTED], S[S_LD_LISTED], i1 - i0, code, S[S_PANEL_STATE],
         hyper),
    )  # fmt: skip


@jit()
def update_panels(K, S, q, bounds, rows, code, hyper, t, threads):
    """Sum the gradient of thread t's panels over the `rows` samples listed, and do with it what
    `code` says. Where it is stepped with, samples are taken in portions whose deltas stay in a
    cache; the panel's own gradient holds the sums from one to the next.
    """
    first, last, part, parts = own_panels(S, t, threads)
    i0, i1 = own_rows(bounds, q, part, parts)
    portions = (rows + S[S_PORTION] - 1) // S[S_PORTION]
    before_last = 0 if code >= STORE else portions - 1
    for p in range(first, last):
        start, width, w = panel(S, q, p)
        d, gradient = q[D] + start * VECTOR, w + S[S_PANEL_GRADIENT]
        if code >= STORE:
            w = gradient
        else:
            penalties_of_panel(K, S, q, start, width, w, i0, i1)
        sums = 0
        for portion in range(before_last):
            sum_features(
                K, S, q, i0, i1, width, gradient, sums, d, portion, portion + 1, STORE, hyper
            )
            sums = gradient
        sum_features(K, S, q, i0, i1, width, w, sums, d, before_last, portions, code, hyper)


@jit()
def apply_panels(K, S, q, bounds, hyper, t, threads):
    """Take the optimizer's step for thread t's panels from their summed gradient."""
    first, last, part, parts = own_panels(S, t, threads)
    i0, i1 = own_rows(bounds, q, part, parts)
    for p in range(first, last):
        start, width, w = panel(S, q, p)
        penalties_of_panel(K, S, q, start, width, w, i0, i1)
        at = w + i0 * width * VECTOR
        call(
            K[OPTIMIZER],
            (at, at + S[S_PANEL_GRADIENT], (i1 - i0) * width, S[S_OPTIMIZER], S[S_PANEL_STATE],
             hyper),
        )  # fmt: skip


@jit()
def norms_of_panels(K, S, q, bounds, hyper, t, threads):
    """Note the sums of squares of the gradient of thread t's panels, each vector's own."""
    first, last, part, parts = own_panels(S, t, threads)
    i0, i1 = own_rows(bounds, q, part, parts)
    for p in range(first, last):
        start, width, w = panel(S, q, p)
        for j in range(width):
            slots = S[S_NORMS] + (start + j) * q[BLOCKS] * 8
            for i in range(i0, i1, BLOCK):
                call(
                    K[GRADIENT_SQUARES],
                    (slots + i // BLOCK * 8, w + (i * width + j) * VECTOR, width * VECTOR, 1, BLOCK,
                     S[S_PANEL_GRADIENT], hyper),
                )  # fmt: skip


@jit()
def limit_panels(K, S, q, t, threads):
    """Bound the columns of thread t's panels; what threads share, the first of them does."""
    first, last, part, _ = own_panels(S, t, threads)
    if part == 0:
        for p in range(first, last):
            _, width, w = panel(S, q, p)
            call(K[LIMIT_COLUMNS], (w, width * VECTOR, q[BLOCKS] * BLOCK, width, S[S_LIMIT]))
