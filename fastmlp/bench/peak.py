"""The processor's own limit: multiply-adds per second with everything in registers."""

from __future__ import annotations

import time

import numpy as np

__all__ = ["fma_peak"]


def fma_peak(dtype: str, threads: int | None = None, *, repeats: int = 4000) -> float:
    """Return the measured peak in floating-point operations per second.

    The product's own tile runs over a panel that stays in the first-level cache.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    threads : int, optional
        By default as many as the process may use.
    repeats : int, default 4000
        Of the tile, in each of seven runs, of which the shortest counts.

    Examples
    --------
    >>> from fastmlp.bench import fma_peak
    >>> fma_peak("float32", threads=1) > 1e9
    True
    """
    from ..kernels.jit.threading_layer import thread_limit
    from ..kernels.run.peak import tiles

    threads = thread_limit() if threads is None else threads
    work, run = tiles(dtype, threads, depth=128, repeats=repeats)
    best = np.inf
    run()
    for _ in range(7):
        begun = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begun)
    return float(work / best)
