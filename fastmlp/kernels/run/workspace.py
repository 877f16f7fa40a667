"""All memory of a training step, and where in it a layer's arrays lie.

A workspace is made once per fit; a step allocates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...contract.parameters import Parameters, aligned_zeros, row_length
from ...regularization import threshold
from ...support.cached import cached_property
from ..emit.activations import ACTIVATIONS, SLOPES
from ..emit.target import current_target
from ..program.job import BLOCK, Layer, Wide
from ..program.operation import NOWHERE, At, Slot
from .choose import Packing

__all__ = ["Workspace"]

_PAGE = 4096  # arrays begin on one


def _padded(n: int) -> int:
    return -(-n // BLOCK) * BLOCK


class Workspace:
    """Activations, deltas, slopes and transposed weights for up to `rows` samples at a time.

    There is room for a backward pass unless `backward` is False, for dropout where a hidden layer
    has a rate, and for packed operands where a layer has a `packing`. `rows` is a multiple of 16
    then, and `places` says where the first byte of each array is, and how many it has.
    """

    def __init__(
        self,
        parameters: Parameters,
        rows: int,
        *,
        backward: bool = True,
        dropout: Sequence[float] = (),
        packing: Sequence[Packing | None] = (),
    ) -> None:
        self._parameters = parameters
        self.rows = _padded(rows)
        self.places: list[tuple[int, int]] = []
        self._bytes, self._factors = 0, list[tuple[At, float]]()
        architecture, item = parameters.architecture, parameters.dtype.itemsize
        length = current_target().vector_bytes // item
        names = (*architecture.activations, "identity")
        a, ld_a = self._rows_of(architecture.n_in)
        layers: list[Layer] = []
        for i, (n_in, n_out) in enumerate(architecture.layers):
            h, ld_h = self._rows_of(n_out)
            left_out = dropout[i] if i < len(dropout) else 0.0
            slope, slope_code, factor = h, ACTIVATIONS[names[i]], None
            if names[i] in SLOPES or left_out:
                slope, _ = self._rows_of(n_out)
            if left_out:
                factor = self.take(item)
                self._factors.append((factor, 1 / (1 - left_out)))
                slope_code = ACTIVATIONS[min(SLOPES)]  # f'(z) is kept itself
            d, wt, ld_wt, wide = NOWHERE, NOWHERE, 0, None
            packed = packing[i] if i < len(packing) else None
            if backward or i == architecture.n_layers - 1:
                d, _ = self._rows_of(n_out)
                if packed is not None:
                    wide, wt = self._packed(i > 0, n_in, n_out, packed)
                elif backward and i > 0:
                    ld_wt = row_length(_padded(n_in), item) * item
                    wt = self.take(_padded(n_out) * ld_wt)
            layers.append(
                Layer(
                    number=i, n_in=n_in, n_out=n_out, vectors_in=-(-n_in // length),
                    vectors_out=-(-n_out // length),
                    w=At(Slot.PARAMETERS, parameters.weight_offsets[i] * item),
                    ld_w=row_length(n_out, item) * item,
                    bias=At(Slot.PARAMETERS, parameters.bias_offsets[i] * item),
                    wt=wt, ld_wt=ld_wt, a=a, ld_a=ld_a, h=h, ld_h=ld_h, d=d, slope=slope,
                    code=ACTIVATIONS[names[i]], slope_code=slope_code,
                    has_bias=architecture.bias, first_slot=sum(q.slots for q in layers),
                    threshold=int(threshold(left_out)), factor=factor, wide=wide,
                )
            )  # fmt: skip
            a, ld_a = h, ld_h
        self.layers = tuple(layers)

    def _packed(self, back: bool, n_in: int, n_out: int, packing: Packing) -> tuple[Wide, At]:
        """Return the packed operands of a layer, and its transpose in panels, for the way back."""
        target, item = current_target(), self._parameters.dtype.itemsize
        vector, parts = target.vector_bytes, packing.parts
        width = -(-n_out * item // vector) * vector

        def take(k: int, row: int) -> At:
            """Rows of so many bytes each, for every k; of pairs, for every two."""
            return self.take(((k + 1) // 2 * parts if parts else k) * row)

        w = wt = NOWHERE
        if packing.forward:
            w = take(_padded(n_in), width)
        if back:
            wt = take(n_out, -(-n_in * item // vector) * vector)
        split_a, split_d, ld_a, ld_d = NOWHERE, NOWHERE, 0, 0
        if parts:
            pairs = 2 * vector // item  # each part of a row in whole vectors, of so many elements
            ld_a, ld_d = (-(-n // pairs) * vector * parts for n in (n_in, n_out))
            split_a = self.take(self.rows * ld_a)
        if parts and back:
            split_d = self.take(self.rows * ld_d)
        wide = Wide(
            w=w, a=take(self.rows, _padded(n_in) * item),
            d=take(self.rows, width),
            zeros=self.take(target.tile_vectors * vector),
            block=packing.block, rows=packing.rows, parts=parts, split_a=split_a,
            ld_split_a=ld_a, split_d=split_d, ld_split_d=ld_d,
        )  # fmt: skip
        return wide, wt

    def take(self, size: int) -> At:
        """Return where there will be room for so many bytes: before any address is asked for."""
        place = At(Slot.WORKSPACE, self._bytes)
        self.places.append((self._bytes, size))
        self._bytes += -(-size // _PAGE) * _PAGE
        return place

    def _rows_of(self, n: int) -> tuple[At, int]:
        item = self._parameters.dtype.itemsize
        stride = row_length(_padded(n), item) * item
        return self.take(self.rows * stride), stride

    @cached_property
    def _buffer(self) -> np.ndarray:
        dtype = self._parameters.dtype
        buffer = aligned_zeros(self._bytes // dtype.itemsize, dtype)
        for place, value in self._factors:
            buffer[place.offset // dtype.itemsize] = value
        return buffer

    @property
    def address(self) -> int:
        """Where it begins."""
        return int(self._buffer.ctypes.data)

    def array(self, rows: At, n: int, stride: int) -> np.ndarray:
        """Return rows that begin at an address of it, n elements of each, live."""
        item = self._buffer.itemsize
        start, width = rows.offset // item, stride // item
        return self._buffer[start : start + self.rows * width].reshape(self.rows, width)[:, :n]
