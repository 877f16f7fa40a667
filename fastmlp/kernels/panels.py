"""The first layer's W in panels, for a mini-batch over lists of non-zeros; see `lists`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..parameters import Parameters, aligned_zeros, row_length
from .table import PANEL
from .tables import (
    S_COUNTS,
    S_LD_COUNTS,
    S_LD_LISTED,
    S_LISTED,
    S_PANEL_GRADIENT,
    S_PANEL_STATE,
    S_PANEL_W,
    S_PANELS,
    S_PORTION,
    VECTOR,
)

__all__ = ["Panels", "panel_count"]

# Vectors of a panel where there are more panels for the sake of the threads. Each goes through all
# items anew: narrow ones cost more than all threads sharing a wide one, whose rows of W then cross
# from core to core. Below 3 they would be summed in several chains (`sparse.forward`), and the
# bits would tell how many threads there were.
_NARROWEST = 5
_DELTA_BYTES = 80 << 10  # of deltas that are gone through at a time: a few first-level caches


def panel_count(vectors: int, threads: int) -> int:
    """Return the panels of rows of so many vectors: a multiple of the threads where it can be."""
    fewest = -(-vectors // PANEL)
    shared = -(-fewest // threads) * threads
    return shared if shared <= vectors // _NARROWEST else fewest


class Panels:
    """The packed copy of the first layer's W and of what the optimizer keeps about it, and the
    room for a batch's non-zeros by feature.

    Parameters
    ----------
    parameters : Parameters
    threads : int
    chunk : int
        Samples that are gone through at a time.
    slots : int
        What the optimizer keeps per parameter.
    """

    def __init__(self, parameters: Parameters, threads: int, chunk: int, slots: int) -> None:
        n_in, n_out = parameters.architecture.layers[0]
        item = parameters.dtype.itemsize
        length = VECTOR // item
        rows = -(-n_in // 16) * 16
        row = row_length(n_out, item)
        vectors = -(-n_out // length)
        self.count = panel_count(vectors, threads)
        self.row_bytes = -(-vectors // self.count) * VECTOR
        self._size = rows * vectors * length
        self._buffer = aligned_zeros(self._size * (slots + 2), parameters.dtype)  # and a gradient
        deltas = chunk * self.row_bytes
        self.portion = -(-chunk // -(-deltas // _DELTA_BYTES))
        self._counts = np.zeros((-(-chunk // self.portion) + 1, rows), np.uint32)
        self._listed = np.zeros((rows, 2 * chunk + length), parameters.dtype)
        start = parameters.weight_offsets[0]
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = []
        edges = [vectors * p // self.count * length for p in range(self.count + 1)]
        for i, flat in enumerate([parameters.flat, *parameters.slots[:slots]]):
            w = flat[start : start + rows * row].reshape(rows, row)
            packed = self._buffer[i * self._size : (i + 1) * self._size]
            for a, b in pairwise(edges):
                self._pairs.append((packed[rows * a : rows * b].reshape(rows, b - a), w[:, a:b]))

    def enter(self, S: np.ndarray) -> None:
        """Enter addresses and distances; S_PANELS says whether they are in use."""
        item = self._buffer.itemsize
        S[S_PANELS], S[S_PANEL_W] = self.count, self._buffer.ctypes.data
        S[S_PANEL_STATE] = self._size * item
        S[S_PANEL_GRADIENT] = (self._buffer.size - self._size) * item
        S[S_COUNTS], S[S_LD_COUNTS] = self._counts.ctypes.data, self._counts.strides[0]
        S[S_PORTION] = self.portion
        S[S_LISTED], S[S_LD_LISTED] = self._listed.ctypes.data, self._listed.strides[0]

    def pack(self) -> None:
        """Bring the network's parameters and state into the panels."""
        for panel, columns in self._pairs:
            panel[...] = columns

    def unpack(self) -> None:
        """Bring the panels back into the network's parameters and state."""
        for panel, columns in self._pairs:
            columns[...] = panel
