"""The tile again and again on operands that stay in the first-level cache: the limit."""

from __future__ import annotations

import numpy as np
from numba import prange

from ._jit import jit
from .activations import ACTIVATIONS
from .table import call

__all__ = ["peak_parallel", "peak_serial"]

IDENTITY = ACTIVATIONS["identity"]


@jit()
def repeat_tile(address, c, a, b, repeats, t):
    """Run one tile `repeats` times into row t of c; the first row of b serves as the bias."""
    out, width, bias = c.ctypes.data + t * c.strides[0], b.strides[0], b.ctypes.data
    for _ in range(repeats):
        call(
            address,
            (out, width, a.ctypes.data, a.strides[0], b.ctypes.data, width, b.shape[0], bias,
             IDENTITY, out),
        )  # fmt: skip


@jit()
def peak_serial(address, c, a, b, repeats, threads):
    """Run `threads` shares on this thread alone."""
    for t in range(threads):
        repeat_tile(address, c, a, b, repeats, t)


@jit(parallel=True)
def peak_parallel(address, c, a, b, repeats, threads):
    """Run on `threads` threads at once."""
    for t in prange(threads):
        repeat_tile(address, c, a, b, repeats, np.int64(t))
