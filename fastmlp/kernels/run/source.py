"""Where samples and targets come from, as addresses."""

from __future__ import annotations

import mmap
from functools import lru_cache
from typing import Any

import numpy as np

from ...architecture import Architecture
from ...contract.operations import read_rows
from ...contract.parameters import row_length
from ...contract.splitting import is_sparse
from ...support.cached import cached_property
from ..emit.losses import ELEMENTWISE as LOSS_CODES
from ..program.job import Loss
from ..program.operation import At, Slot
from . import choose, csr_index
from .csr_index import KINDS, Index
from .sharing import shared

__all__ = ["Source", "loss_of", "padded_targets"]


class Source:
    """Where samples come from: X itself where a kernel reads it, else rows staged by NumPy.

    Attributes
    ----------
    direct : bool
        Whether a kernel reads X itself.
    listed : bool
        Whether X is a sparse matrix, which is read through its lists alone.
    as_rows : bool
        Whether a sparse matrix is gone through row by row as it lies, not in blocks.
    """

    def __init__(self, X: Any, architecture: Architecture) -> None:
        self.listed = csr_index.is_listed(X)
        self._given = X
        self.X = shared(X, "canonical", lambda: csr_index.canonical(X)) if self.listed else X
        n, n_in = X.shape
        self.as_rows = self.listed and choose.rows_pay(n, n_in, self.X.nnz)
        self.scale = architecture.input_scale
        self.dtype = np.dtype(architecture.dtype)
        self.direct = self.listed or self._readable()
        self._divisor = np.array([self.scale or 1.0])
        row_bytes = max(1, X.shape[1] * self.dtype.itemsize)
        self.stage_rows = max(16, choose.STAGE_BYTES // row_bytes)

    def _readable(self) -> bool:
        X = self.X
        if not isinstance(X, np.ndarray) or X.dtype.name not in KINDS:
            return False
        if not X.dtype.isnative or not (X.shape[1] <= 1 or X.strides[1] == X.itemsize):
            return False
        if X.itemsize == 1 and self.scale is not None:
            # uint8 is divided in the network's dtype: right where that gives NumPy's values
            values = np.arange(256)
            ours = values.astype(self.dtype) / self.dtype.type(self.scale)
            return bool((ours == (values / self.scale).astype(self.dtype)).all())
        return True

    @cached_property
    def row_squares(self) -> np.ndarray:
        """The squared norm of every row, as the network reads it."""
        X = self.X
        if self.listed:
            rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
            squares = np.bincount(rows, np.square(X.data, dtype=np.float64), X.shape[0])
        else:
            parts = [X[i : i + 1024] for i in range(0, len(X), 1024)]
            dots = [np.einsum("ij,ij->i", part, part, dtype=np.float64) for part in parts]
            squares = np.concatenate(dots)
        return squares if self.scale is None else squares / self.scale**2

    def release(self) -> None:
        """Let go of X."""
        self.X = self._given = None

    def stage(self, rows: np.ndarray) -> np.ndarray:
        """Return rows of X as the network reads them."""
        return read_rows(self.X, rows, self.scale, self.dtype)

    def enter(self, bases: Any, X: np.ndarray) -> None:
        """Enter where X is, or what was staged, and how it is divided: staged rows are already."""
        if not self.listed:
            bases[Slot.X], bases[Slot.LD_X] = X.ctypes.data, X.strides[0]
            divided = self.direct and self.scale is not None
            bases[Slot.SCALE] = self._divisor.ctypes.data if divided else 0

    @property
    def kind(self) -> str:
        """What rows are gathered from: "u8", "f32" or "f64"; of lists, none are."""
        dtype = self.X.dtype if self.direct and not self.listed else self.dtype
        return KINDS[dtype.name]

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
        return mapped and choose.lists_outgrow_file(self.X)

    def most_in_a_column(self) -> int:
        """Return the most non-zeros that a column of a sparse matrix has."""
        return int(np.bincount(self.X.indices, minlength=1).max())

    def rows_as_they_lie(self) -> Index:
        """Return the rows of a sparse matrix, to be gone through once."""
        return csr_index.csr_lists(self.X, self.dtype, self.scale)

    def make_index(self, row_bytes: int, *, summed: bool = False) -> Index:
        """Return the non-zeros, in blocks for rows of W of that length, or a sparse matrix as it
        lies where that is quicker: for all, or for gradients that are `summed`.
        """
        block = choose.block_columns(row_bytes)
        summed &= self.listed and choose.rows_pay_in_sums(self.X, block)
        if self.as_rows or summed:
            return shared(self._given, (self.dtype, self.scale), self.rows_as_they_lie)
        make = csr_index.make_index_of_csr if self.listed else csr_index.make_index
        key = (block, self.dtype, self.scale)
        return shared(self._given, key, lambda: make(self.X, row_bytes, self.dtype, self.scale))


def padded_targets(y: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return labels as int64, target rows padded to whole vectors."""
    if y.ndim == 1:
        return np.ascontiguousarray(y, np.int64)
    padded = np.zeros((len(y), row_length(y.shape[1], dtype.itemsize)), dtype)
    padded[:, : y.shape[1]] = y
    return padded


@lru_cache(maxsize=16)
def loss_of(pair: tuple[str, str], strides: tuple[int, ...]) -> Loss:
    """Return which kernel takes the logits of an output and a loss, and how it reads labels or
    targets of these strides.
    """
    if pair not in LOSS_CODES and len(strides) == 1:
        return Loss("softmax_labels", (("y", At(Slot.Y)),))
    targets = (("t", At(Slot.Y)), ("ldt", strides[0]))
    if pair in LOSS_CODES:
        return Loss("elementwise_loss", (*targets, ("code", LOSS_CODES[pair])))
    return Loss("softmax_targets", targets)
