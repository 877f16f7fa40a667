"""The way forward only, block by block: to outputs, or to losses and hits."""

from __future__ import annotations

import numpy as np
from numba import prange

from ._jit import jit
from .drivers import forward_rows, list_rows, output_delta
from .regions import call_region
from .shares import share
from .table import call
from .tables import (
    LD_H,
    N_OUT,
    OUTPUT,
    S_CHUNK,
    S_LD_OUT,
    S_OUT,
    S_OUT_CODE,
    S_SLOTS,
    S_SPREAD,
    H,
)

__all__ = ["INFER_REGIONS", "infer_parallel", "infer_serial"]


@jit()
def infer_region(K, S, layers, n, t, threads):
    """Thread t's blocks of n samples, forward only: to outputs, or to losses and hits."""
    q = layers[layers.shape[0] - 1]
    size = S[S_CHUNK]
    blocks = (n + size - 1) // size
    for block in range(share(blocks, t, threads), share(blocks, t + 1, threads)):
        position = block * size
        rows = min(size, n - position)
        r0 = position if S[S_SPREAD] else t * size
        if S[S_SLOTS]:
            list_rows(K, S, layers, position, r0, rows)
        forward_rows(K, S, layers, position, r0, rows)
        if S[S_OUT]:
            call(
                K[OUTPUT],
                (S[S_OUT] + position * S[S_LD_OUT], S[S_LD_OUT],
                 q[H] + r0 * q[LD_H], q[LD_H], q[N_OUT], rows, S[S_OUT_CODE]),
            )  # fmt: skip
        else:
            output_delta(K, S, layers, position, r0, rows)


INFER_REGIONS = (infer_region,)


@jit()
def infer_serial(R, K, S, layers, n, threads):
    """Take n ordered samples forward, all `threads` shares on this thread alone."""
    for t in range(threads):
        call_region(R[0], (K, S, layers, n, t, threads))


@jit(parallel=True)
def infer_parallel(R, K, S, layers, n, threads):
    """Take n ordered samples forward, their blocks shared out to `threads` threads."""
    for t in prange(threads):
        call_region(R[0], (K, S, layers, n, np.int64(t), threads))
