"""All memory of a training step, and the tables from which the drivers take its addresses.

A workspace is made once per fit; a step allocates nothing. The drivers see integers only: one
row of `layers` per layer of weights, and the scalars of `settings`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..architecture import Architecture
from ..parameters import Parameters, aligned_zeros, row_length
from ..regularization import threshold
from ._target import current_target
from .activations import ACTIVATIONS, SLOPES

__all__ = ["Layer", "Workspace", "layout"]


class Layer:
    """Columns of the table of layers. Addresses and strides are in bytes."""

    (
        N_IN, N_OUT, BLOCKS, VECTORS_IN, VECTORS_OUT,
        W, LD_W, BIAS, WT, LD_WT,
        A, LD_A, H, LD_H, D, SLOPE, KEPT, CODE, HAS_BIAS, KEPT_CODE, THRESHOLD, FACTOR,
        COLUMNS,
    ) = range(23)  # fmt: skip


def layout(parameters: Parameters) -> np.ndarray:
    """Return the table of layers with the parameters' part filled in."""
    target = current_target()
    size = parameters.dtype.itemsize
    length = target.vector_bytes // size
    base = parameters.flat.ctypes.data
    architecture = parameters.architecture
    table = np.zeros((architecture.n_layers, Layer.COLUMNS), np.int64)
    for i, (n_in, n_out) in enumerate(architecture.layers):
        row = table[i]
        row[Layer.N_IN], row[Layer.N_OUT] = n_in, n_out
        row[Layer.BLOCKS] = -(-n_in // 16)
        row[Layer.VECTORS_IN] = -(-n_in // length)
        row[Layer.VECTORS_OUT] = -(-n_out // length)
        row[Layer.W] = base + parameters.weight_offsets[i] * size
        row[Layer.LD_W] = row_length(n_out, size) * size
        row[Layer.BIAS] = base + parameters.bias_offsets[i] * size
        row[Layer.HAS_BIAS] = architecture.bias
        names = (*architecture.activations, "identity")
        row[Layer.CODE] = row[Layer.KEPT_CODE] = ACTIVATIONS[names[i]]
    return table


class Workspace:
    """Activations, deltas, slopes and transposed weights for up to `rows` samples at a time.

    With `dropout`, a rate per hidden layer, what is left out of a layer is entered too.

    Attributes
    ----------
    layers : ndarray of int64, (n_layers, Layer.COLUMNS)
    inputs : ndarray, (padded rows, padded n_in)
        Where samples are gathered to.
    """

    def __init__(
        self,
        parameters: Parameters,
        rows: int,
        *,
        backward: bool = True,
        dropout: Sequence[float] = (),
    ) -> None:
        architecture: Architecture = parameters.architecture
        self.parameters = parameters  # keeps the addresses alive
        self.rows = -(-rows // 16) * 16
        self.layers = layout(parameters)
        self._arrays: list[np.ndarray] = []
        self.inputs = self._rows_of(architecture.n_in)
        self.outputs = [self._rows_of(n_out) for _, n_out in architecture.layers]
        names = architecture.activations
        size = parameters.dtype.itemsize
        before = self.inputs
        for i, (n_in, n_out) in enumerate(architecture.layers):
            row, h = self.layers[i], self.outputs[i]
            row[Layer.A], row[Layer.LD_A] = before.ctypes.data, before.strides[0]
            row[Layer.H], row[Layer.LD_H] = h.ctypes.data, h.strides[0]
            row[Layer.SLOPE] = row[Layer.KEPT] = h.ctypes.data
            left_out = dropout[i] if i < len(dropout) else 0.0
            if i < len(names) and (names[i] in SLOPES or left_out):
                row[Layer.SLOPE] = row[Layer.KEPT] = self._rows_of(n_out).ctypes.data
            if left_out:
                factor = np.array([1 / (1 - left_out)], parameters.dtype)
                self._arrays.append(factor)
                row[Layer.FACTOR] = factor.ctypes.data
                row[Layer.THRESHOLD] = int(threshold(left_out))
                row[Layer.KEPT_CODE] = ACTIVATIONS[min(SLOPES)]  # f'(z) is kept itself
            if backward or i == architecture.n_layers - 1:
                row[Layer.D] = self._rows_of(n_out).ctypes.data
                if backward and i > 0:
                    width = row_length(-(-n_in // 16) * 16, size)
                    transposed = aligned_zeros(-(-n_out // 16) * 16 * width, parameters.dtype)
                    self._arrays.append(transposed)
                    row[Layer.WT], row[Layer.LD_WT] = transposed.ctypes.data, width * size
            before = h

    def _rows_of(self, n: int) -> np.ndarray:
        length = row_length(-(-n // 16) * 16, self.parameters.dtype.itemsize)
        array = aligned_zeros(self.rows * length, self.parameters.dtype)
        self._arrays.append(array)
        return array.reshape(self.rows, length)
