"""The first layer's W in panels, for a mini-batch over lists of non-zeros; see
`program.sparse_input`.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ...contract.parameters import Parameters, aligned_zeros, row_length
from ..emit.target import current_target
from ..program.job import Packed
from ..program.operation import Slot
from . import choose

__all__ = ["PackedWeights"]


class PackedWeights:
    """The packed copy of the first layer's W and of what the optimizer keeps about it, `slots`
    values a weight, and the room for a chunk's non-zeros by feature.

    No feature is not zero in more than `most` samples of a chunk.
    """

    def __init__(
        self,
        parameters: Parameters,
        threads: int,
        chunk: int,
        slots: int,
        most: int,
    ) -> None:
        n_in, n_out = parameters.architecture.layers[0]
        item = parameters.dtype.itemsize
        length = current_target().vector_bytes // item
        rows = -(-n_in // 16) * 16
        row = row_length(n_out, item)
        vectors = -(-n_out // length)
        self.count = choose.panel_count(vectors, threads)
        self.row_bytes = -(-vectors // self.count) * current_target().vector_bytes
        self._size = rows * vectors * length
        self._buffer = aligned_zeros(self._size * (slots + 2), parameters.dtype)  # and a gradient
        deltas = chunk * self.row_bytes
        self.portion = -(-chunk // -(-deltas // choose.DELTA_BYTES))
        self._counts = np.zeros((-(-chunk // self.portion) + 1, rows), np.uint32)
        self._listed = np.zeros((rows, 2 * most + length), parameters.dtype)
        start = parameters.weight_offsets[0]
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = []
        edges = [vectors * p // self.count * length for p in range(self.count + 1)]
        for i, flat in enumerate([parameters.flat, *parameters.slots[:slots]]):
            w = flat[start : start + rows * row].reshape(rows, row)
            packed = self._buffer[i * self._size : (i + 1) * self._size]
            for a, b in pairwise(edges):
                self._pairs.append((packed[rows * a : rows * b].reshape(rows, b - a), w[:, a:b]))

    def described(self, blocks: tuple[int, ...]) -> Packed:
        """Return what programs are told; `blocks` are those of columns that each share lists."""
        item = self._buffer.itemsize
        return Packed(
            count=self.count, state=self._size * item,
            gradient=(self._buffer.size - self._size) * item, ld_counts=self._counts.strides[0],
            ld_listed=self._listed.strides[0], portion=self.portion, blocks=blocks,
        )  # fmt: skip

    def bases(self) -> dict[Slot, int]:
        """Return where its arrays are."""
        return {
            Slot.PACKED: self._buffer.ctypes.data, Slot.COUNTS: self._counts.ctypes.data,
            Slot.LISTED: self._listed.ctypes.data,
        }  # fmt: skip

    def pack(self) -> None:
        """Bring the network's parameters and state into the panels."""
        for panel, columns in self._pairs:
            panel[...] = columns

    def unpack(self) -> None:
        """Bring the panels back into the network's parameters and state."""
        for panel, columns in self._pairs:
            columns[...] = panel
