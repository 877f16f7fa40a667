"""NumPy's and SciPy's linear algebra on one thread, while they have only small matrices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread"]

_lock, _open, _users = Lock(), ExitStack(), 0


@cache
def _libraries() -> Any:
    """Return the BLAS libraries of the process: finding them takes milliseconds."""
    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread within, in the whole process.

    SciPy's L-BFGS factorizes matrices of at most 20 x 20 in every iteration, and OpenBLAS wakes all
    its threads for each: of an iteration over 60 samples in a 2-10-10-1 network that is 2 of
    2.2 ms of the processors' time (AMD EPYC, Zen 4, 2 cores, both in use). On one thread its sums
    have one order as well, whatever the number of cores.

    Fits may overlap in several threads: the last one to end gives BLAS its threads back.
    """
    global _users
    with _lock:
        if not _users:
            _open.enter_context(_libraries().limit(limits=1))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _open.close()
