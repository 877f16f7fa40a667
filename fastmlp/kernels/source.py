"""Where samples and targets come from, as addresses."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..architecture import Architecture
from ..operations import read_rows
from ..parameters import row_length
from .drivers import Setting
from .index import Index, is_sparse, make_index
from .rows import ELEMENTWISE
from .workspace import Workspace

__all__ = ["Source", "enter_index", "enter_targets", "padded_targets"]

_STAGE_BYTES = 4 << 20  # rows that NumPy has to convert are converted this much at a time
_KINDS = {"uint8": 0, "bool": 0, "float32": 1, "float64": 2}


class Source:
    """Where samples come from: X itself where a kernel reads it, else rows staged by NumPy."""

    def __init__(self, X: Any, architecture: Architecture) -> None:
        self.X = X
        self.scale = architecture.input_scale
        self.dtype = np.dtype(architecture.dtype)
        self.direct = self._readable()
        self._divisor = np.array([self.scale or 1.0])
        row_bytes = max(1, X.shape[1] * self.dtype.itemsize)
        self.stage_rows = max(16, _STAGE_BYTES // row_bytes)

    def _readable(self) -> bool:
        X = self.X
        if not isinstance(X, np.ndarray) or X.dtype.name not in _KINDS:
            return False
        if not X.dtype.isnative or not (X.shape[1] <= 1 or X.strides[1] == X.itemsize):
            return False
        if X.itemsize == 1 and self.scale is not None:
            # uint8 is divided in the network's dtype: right where that gives NumPy's values
            values = np.arange(256)
            ours = values.astype(self.dtype) / self.dtype.type(self.scale)
            return bool((ours == (values / self.scale).astype(self.dtype)).all())
        return True

    def stage(self, rows: np.ndarray) -> np.ndarray:
        """Return rows of X as the network reads them."""
        return read_rows(self.X, rows, self.scale, self.dtype)

    def settings(self, S: np.ndarray, X: np.ndarray, scaled: bool) -> None:
        """Enter the address of X; `scaled` says that the division is done."""
        S[Setting.X], S[Setting.LD_X] = X.ctypes.data, X.strides[0]
        S[Setting.X_KIND] = _KINDS[X.dtype.name]
        S[Setting.X_SCALE] = 0 if scaled or self.scale is None else self._divisor.ctypes.data

    def make_index(self, shares: int) -> Index | None:
        """Return the non-zeros cut into `shares`, or None where X is dense or converted."""
        if not (self.direct and is_sparse(self.X)):
            return None
        return make_index(self.X, shares, self.dtype, self.scale)


def padded_targets(y: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return labels as they are, target rows padded to whole vectors."""
    if y.ndim == 1:
        return y
    padded = np.zeros((len(y), row_length(y.shape[1], dtype.itemsize)), dtype)
    padded[:, : y.shape[1]] = y
    return padded


def enter_targets(
    S: np.ndarray, architecture: Architecture, y: np.ndarray, weight: np.ndarray | None
) -> None:
    """Enter labels or padded targets, weights, and which loss kernel they go to."""
    S[Setting.Y], S[Setting.LD_Y] = y.ctypes.data, y.strides[0]
    S[Setting.WEIGHT] = 0 if weight is None else weight.ctypes.data
    pair = (architecture.output, architecture.loss)
    if pair in ELEMENTWISE:
        S[Setting.LOSS_KIND], S[Setting.LOSS_CODE] = 2, ELEMENTWISE[pair]
    else:
        S[Setting.LOSS_KIND] = int(y.ndim == 2)


def enter_index(S: np.ndarray, index: Index, workspace: Workspace) -> None:
    """Enter lists of non-zeros, and the room in the workspace that a batch's are gathered to."""
    columns, values, splits = workspace.lists(index.pointers.shape[1])
    S[Setting.LISTS] = 1 if index.table.size else 2
    S[Setting.COLUMNS], S[Setting.LD_COLUMNS] = columns.ctypes.data, columns.strides[0]
    S[Setting.VALUES], S[Setting.LD_VALUES] = values.ctypes.data, values.strides[0]
    S[Setting.SPLITS], S[Setting.LD_SPLITS] = splits.ctypes.data, splits.strides[0]
    S[Setting.POINTERS], S[Setting.CUTS] = index.pointers.ctypes.data, index.pointers.shape[1]
    S[Setting.INDEX_COLUMNS] = index.columns.ctypes.data
    S[Setting.INDEX_VALUES] = index.values.ctypes.data
    S[Setting.TABLE] = index.table.ctypes.data
