"""The processor's own limit: multiply-adds per second with everything in registers."""

from __future__ import annotations

import time

import numpy as np

__all__ = ["fma_peak"]


def fma_peak(dtype: str, threads: int | None = None) -> float:
    """Return the measured peak in floating-point operations per second.

    The product's own tile runs over a panel that stays in the first-level cache.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    threads : int, optional
        By default as many as the process may use.

    Examples
    --------
    >>> from fastmlp.bench import fma_peak
    >>> fma_peak("float32", threads=1) > 1e9
    True
    """
    from ..kernels import _target
    from ..kernels.peak import peak_parallel, peak_serial
    from ..kernels.table import NUMBER, kernel_addresses
    from ..kernels.threads import run, thread_limit

    target = _target.current_target()
    threads = thread_limit() if threads is None else threads
    depth, repeats, item = 128, 4000, np.dtype(dtype).itemsize
    columns = target.tile_vectors * target.vector_bytes // item
    # every thread has its own output, a page apart
    a = np.full((target.tile_rows, depth), 1e-3, dtype)
    b = np.full((depth, columns), 1e-3, dtype)
    c = np.zeros((threads, 4096), dtype)
    number = NUMBER[f"tile_forward_{target.tile_vectors}"]
    address = int(kernel_addresses(dtype, "forward:linear")[number])
    arguments = (address, c, a, b, repeats)
    work = 2 * target.tile_rows * columns * depth * repeats * threads
    best = np.inf
    run((peak_serial, peak_parallel), threads, *arguments)
    for _ in range(7):
        begun = time.perf_counter()
        run((peak_serial, peak_parallel), threads, *arguments)
        best = min(best, time.perf_counter() - begun)
    return float(work / best)
