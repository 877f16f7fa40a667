"""Kernels are loaded before there is much data, and the pages of LLVM given back.

Loading machine code touches 60 MB of LLVM's own, running it none. Dask counts them as a worker's
memory, by which it spills partitions; should they be needed, the system reads them again.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..architecture import Architecture
from ..contract.parameters import Parameters, aligned_zeros
from ..regularization import Regularization

__all__ = ["load_kernels"]

_loaded: set[Architecture] = set()
_loading = threading.Lock()


def load_kernels(architecture: Architecture) -> None:
    """Load what sums a group of such a network, the first time, and keep none of LLVM's pages."""
    sizes = (1,) * len(architecture.layer_sizes)
    smallest = Architecture(**{**architecture.config(), "layer_sizes": sizes})
    with _loading:
        if smallest not in _loaded:
            _sum_one_sample(smallest)
            _give_back("libllvmlite")
            _loaded.add(smallest)


def _sum_one_sample(architecture: Architecture) -> None:
    from ..kernels.run.partial import BLOCK, GroupSums

    parameters, none = Parameters(architecture), Regularization()
    X = np.zeros((1, 1), architecture.dtype)
    y = np.zeros(1, np.int64) if architecture.output == "softmax" else X
    sums = GroupSums(
        parameters, X, y, None, group_samples=BLOCK, regularization=none, sparse=False
    )  # fmt: skip
    out = aligned_zeros(parameters.flat.size, parameters.dtype)
    sums.sums(np.zeros(1, np.int64), out, sums.workspace(parameters, none))


def _give_back(library: str) -> None:
    """Let the system take a library's code and constants, which nobody writes, out of memory."""
    with suppress(OSError, AttributeError):  # where there is no /proc, or no madvise
        mappings = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        libc = ctypes.CDLL(None)
        for mapping in mappings:
            places, mode, offset, *_ = mapping.split()
            constants = mode == "r--p" and int(offset, 16) == 0  # others may be relocated
            if library in mapping and (mode == "r-xp" or constants):
                first, end = (int(place, 16) for place in places.split("-"))
                size = ctypes.c_size_t(end - first)
                libc.madvise(ctypes.c_void_p(first), size, mmap.MADV_DONTNEED)
