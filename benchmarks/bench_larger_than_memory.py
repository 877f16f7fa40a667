"""Epochs over a memory map and over chunks: time, and memory beside the data."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

import fastmlp

ROWS, CHUNK, FEATURES = 150_000, 15_000, 784  # 118 MB of uint8


def peak_bytes() -> int:
    """Return the most memory that this process has had, where Linux tells; else 0."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def forget_peak() -> None:
    """Have the peak counted from here on, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


class LargerThanMemory:
    """One epoch of 784-128-10 in batches of 128."""

    params = (("memory map", "chunks"), ("numba", "numpy"))
    param_names = ("source", "backend")
    timeout = 300

    def setup(self, source: str, backend: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name, "x.npy")
        X = np.lib.format.open_memmap(path, "w+", np.uint8, (ROWS, FEATURES))
        row = np.arange(FEATURES) % 255 + 1  # no zeros: nothing is left out
        for start in range(0, ROWS, CHUNK):
            X[start : start + CHUNK] = row
        X.flush()
        del X
        self.X, self.y = np.load(path, mmap_mode="r"), np.arange(ROWS) % 10
        self.net = fastmlp.MLP((FEATURES, 128, 10), input_scale=255.0, rng=0, backend=backend)
        self.net.fit(np.array(self.X[:2048]), self.y[:2048], epochs=1, batch_size=128)
        forget_peak()
        self.before = peak_bytes()

    def teardown(self, source: str, backend: str) -> None:
        del self.X
        self.folder.cleanup()

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, ROWS, CHUNK):
            part = slice(start, start + CHUNK)
            yield np.array(self.X[part]), self.y[part]

    def fit(self, source: str) -> None:
        given = (self.X, self.y) if source == "memory map" else (self.chunks,)
        self.net.fit(*given, epochs=1, batch_size=128)

    def time_epoch(self, source: str, backend: str) -> None:
        self.fit(source)

    def track_peak_beside_the_data(self, source: str, backend: str) -> float:
        """Bytes that the fit has added, without those of the map itself."""
        self.fit(source)
        return (peak_bytes() - self.before - self.X.nbytes) / 2**20

    track_peak_beside_the_data.unit = "MB"  # type: ignore[attr-defined]
