"""What tests of the readers of data sets read."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from contextlib import contextmanager

import numpy as np

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 0, 9, 1, 1])


def zipped(content):
    """Return gzip's bytes without the time of day: they are in the names of tests."""
    return gzip.compress(content, mtime=0)


def idx_header(code, *shape):
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


IDX = idx_header(8, 5, 28, 28) + IMAGES.tobytes()


@contextmanager
def at_most(size):
    """Check that no more than so many bytes are taken at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()
