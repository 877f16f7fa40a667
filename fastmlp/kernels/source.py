"""Where samples and targets come from, as addresses."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

from ..architecture import Architecture
from ..operations import read_rows
from ..parameters import row_length
from .csr import canonical, is_listed, make_index_of_csr
from .index import Index, density, is_sparse, make_index
from .outputs import ELEMENTWISE as LOSS_CODES
from .tables import (
    S_INDEX_COLUMNS,
    S_INDEX_CUTS,
    S_INDEX_STARTS,
    S_INDEX_VALUES,
    S_LD_X,
    S_LD_Y,
    S_LIST_BLOCK,
    S_LISTS,
    S_LOSS_CODE,
    S_LOSS_KIND,
    S_N_CUTS,
    S_TABLE,
    S_WEIGHT,
    S_X,
    S_X_KIND,
    S_X_SCALE,
    S_Y,
)

__all__ = ["Source", "enter_index", "enter_targets", "padded_targets"]

_STAGE_BYTES = 4 << 20  # rows that NumPy has to convert are converted this much at a time
_LISTED_BYTES = 3  # of a non-zero in a list whose values are coded
_MAPPED_LISTS = 32 << 20  # what the lists of a file may take
_KINDS = {"uint8": 0, "bool": 0, "float32": 1, "float64": 2}


class Source:
    """Where samples come from: X itself where a kernel reads it, else rows staged by NumPy.

    Attributes
    ----------
    direct : bool
        Whether a kernel reads X itself.
    listed : bool
        Whether X is a sparse matrix, which is read through its lists alone.
    """

    def __init__(self, X: Any, architecture: Architecture) -> None:
        self.listed = is_listed(X)
        self.X = canonical(X) if self.listed else X
        self.scale = architecture.input_scale
        self.dtype = np.dtype(architecture.dtype)
        self.direct = self.listed or self._readable()
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
        if self.listed:
            return
        S[S_X], S[S_LD_X] = X.ctypes.data, X.strides[0]
        S[S_X_KIND] = _KINDS[X.dtype.name]
        S[S_X_SCALE] = 0 if scaled or self.scale is None else self._divisor.ctypes.data

    @property
    def sparse(self) -> bool:
        """Whether lists of non-zeros are worth making: X is read as it is, and mostly zero."""
        return self.listed or (self.direct and is_sparse(self.X) and not self._outgrown())

    def _outgrown(self) -> bool:
        """Whether X lies in a file and its lists would take too much of the memory it spares."""
        holder, mapped = self.X, False
        while holder is not None and not mapped:
            mapped = isinstance(holder, np.memmap | mmap.mmap)
            holder = getattr(holder, "base", None)
        return mapped and density(self.X) * self.X.size * _LISTED_BYTES > _MAPPED_LISTS

    def make_index(self, row_bytes: int) -> Index:
        """Return the non-zeros, in blocks for rows of W of that length."""
        make = make_index_of_csr if self.listed else make_index
        return make(self.X, row_bytes, self.dtype, self.scale)


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
    S[S_Y], S[S_LD_Y] = y.ctypes.data, y.strides[0]
    S[S_WEIGHT] = 0 if weight is None else weight.ctypes.data
    pair = (architecture.output, architecture.loss)
    if pair in LOSS_CODES:
        S[S_LOSS_KIND], S[S_LOSS_CODE] = 2, LOSS_CODES[pair]
    else:
        S[S_LOSS_KIND] = int(y.ndim == 2)


def enter_index(S: np.ndarray, index: Index) -> None:
    """Enter lists of non-zeros."""
    S[S_LISTS] = 1 if index.table.size else 2
    S[S_N_CUTS], S[S_LIST_BLOCK] = index.cuts.shape[1], index.block
    S[S_INDEX_STARTS] = index.starts.ctypes.data
    S[S_INDEX_CUTS] = index.cuts.ctypes.data
    S[S_INDEX_COLUMNS] = index.columns.ctypes.data
    S[S_INDEX_VALUES] = index.values.ctypes.data
    S[S_TABLE] = index.table.ctypes.data
