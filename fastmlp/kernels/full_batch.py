"""Full batch of a network whose gradient fits the cache: X is read from memory once.

The samples are cut into groups, the same ones for any number of threads. A thread takes a group
through in blocks, forward, back and into the group's own gradient while the block is in its
cache. Then every thread adds up its rows of W over all groups, in their order, and updates them.
"""

from __future__ import annotations

from ._jit import jit
from .drivers import through, update_rows
from .finish import (
    FINISHING_REGIONS,
    TRANSPOSE_REGION,
    finish_region,
    finishing_regions,
)
from .lists import sparse_gradient_rows
from .optimizers import ADD
from .regions import call_region
from .shares import rows_of, share
from .table import call
from .tables import (
    ADD_ROWS,
    BIAS,
    BIAS_UPDATE,
    BLOCK,
    BLOCKS,
    HAS_BIAS,
    LD_H,
    LD_W,
    S_BYTES,
    S_CHUNK,
    S_GRADIENT,
    S_GROUP_SAMPLES,
    S_GROUPS,
    S_HYPER,
    S_ITEM,
    S_LISTS,
    S_N_CUTS,
    VECTOR,
    VECTORS_OUT,
    D,
    W,
)

__all__ = ["FULL_REGIONS", "full_region", "full_regions"]


@jit()
def add_block(K, S, layers, position, r0, rows, shift):
    """Add the gradient of the samples at `position`, in rows r0 .. r0 + rows, to the sums at
    `shift`.
    """
    for l in range(layers.shape[0]):  # noqa: E741
        q = layers[l]
        if l == 0 and S[S_LISTS]:
            for block in range(S[S_N_CUTS] - 1):
                sparse_gradient_rows(K, S, q, position, r0, rows, block, block + 1, shift)
        else:
            update_rows(K, S[S_ITEM], q, 0, q[BLOCKS] * BLOCK, r0, rows, ADD, 0, shift, S[S_HYPER])
        if q[HAS_BIAS]:
            call(
                K[BIAS_UPDATE],
                (q[BIAS] + shift, q[D] + r0 * q[LD_H], q[LD_H], rows, q[VECTORS_OUT], ADD, 0,
                 S[S_HYPER]),
            )  # fmt: skip


@jit()
def groups_region(K, S, layers, first, size, t, threads):
    """Thread t's groups of the `size` samples from `first` on."""
    r0 = t * S[S_CHUNK]
    for group in range(share(S[S_GROUPS], t, threads), share(S[S_GROUPS], t + 1, threads)):
        shift = S[S_GRADIENT] + group * S[S_BYTES]
        end = min(size, (group + 1) * S[S_GROUP_SAMPLES])
        for start in range(group * S[S_GROUP_SAMPLES], end, S[S_CHUNK]):
            rows = min(S[S_CHUNK], end - start)
            through(K, S, layers, first + start, r0, rows)
            add_block(K, S, layers, first + start, r0, rows, shift)


@jit()
def add_groups(K, S, address, vectors):
    """Add all groups' sums of a stretch of parameters to the first group's."""
    target = address + S[S_GRADIENT]
    for group in range(1, S[S_GROUPS]):
        call(K[ADD_ROWS], (target, target + group * S[S_BYTES], vectors))


@jit()
def combine_region(K, S, layers, bounds, t, threads):
    """Thread t's rows of every W: add up the groups in order."""
    for l in range(layers.shape[0]):  # noqa: E741
        q = layers[l]
        i0, i1 = rows_of(bounds, l, t, threads)
        add_groups(K, S, q[W] + i0 * q[LD_W], (i1 - i0) * q[LD_W] // VECTOR)
        if q[HAS_BIAS] and t == 0:
            add_groups(K, S, q[BIAS], q[VECTORS_OUT])


FULL_REGIONS = (*FINISHING_REGIONS, combine_region, groups_region)
COMBINE_REGION, GROUPS_REGION = range(len(FINISHING_REGIONS), len(FULL_REGIONS))


@jit()
def full_region(R, K, S, layers, bounds, first, size, number, hyper, t, threads):
    """Thread t's share of one region: the groups, or what follows; transposes before all."""
    if size == 0:
        call_region(R[TRANSPOSE_REGION], (K, S, layers, t, threads))
    elif number == 0:
        call_region(R[GROUPS_REGION], (K, S, layers, first, size, t, threads))
    elif number == 1:
        call_region(R[COMBINE_REGION], (K, S, layers, bounds, t, threads))
        if finishing_regions(S, 2) == 1:  # of the same rows, so nobody waits for anybody
            finish_region(R, K, S, layers, bounds, 0, hyper, t, threads)
    else:
        finish_region(R, K, S, layers, bounds, number - 2, hyper, t, threads)


@jit()
def full_regions(S, size):
    """Return how many regions a step has: groups, their sum with the step, or what follows."""
    following = finishing_regions(S, 2)
    return 1 if size == 0 else 2 + (following if following > 1 else 0)
