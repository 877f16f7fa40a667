"""A sparse matrix as the kernels' lists of non-zeros: what it leaves out is never made."""

from __future__ import annotations

from typing import Any

import numpy as np

from .choose import block_columns
from .csr_index import Index, coded

__all__ = ["canonical", "csr_lists", "is_listed", "make_index_of_csr"]

_AT_ONCE = 1 << 20  # values that are put into blocks at a time


def is_listed(X: Any) -> bool:
    """Tell whether X is a sparse matrix whose own lists the kernels can take."""
    if not hasattr(X, "tocsr"):
        return False
    dtype = np.dtype(X.dtype)
    return dtype in (np.float32, np.float64) or dtype.kind in "biu"


def canonical(X: Any) -> Any:
    """Return a sparse matrix as CSR, columns in order, none twice."""
    csr = X.tocsr()
    # an object of its own: X would note what it is asked
    csr = type(csr)((csr.data, csr.indices, csr.indptr), shape=csr.shape)
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    return csr


def csr_lists(X: Any, dtype: np.dtype, input_scale: float | None) -> Index:
    """Return the rows of a `canonical` matrix as they lie, in one block of columns."""
    values = X.data if X.data.dtype in (np.float32, np.float64) else X.data.astype(np.float64)
    if input_scale is not None:
        values = values / values.dtype.type(input_scale)
    width = -(-X.shape[1] // 16) * 16
    return Index(
        X.indptr.astype(np.int64, copy=False), np.zeros((X.shape[0], 2), np.uint16),
        X.indices.astype(np.int32, copy=False), values.astype(dtype, copy=False),
        np.zeros(0, dtype), width, "csr",
    )  # fmt: skip


def make_index_of_csr(X: Any, row_bytes: int, dtype: np.dtype, input_scale: float | None) -> Index:
    """Return the non-zeros of a `canonical` matrix; as `csr_index.make_index` of a dense one."""
    n, d = X.shape
    block = block_columns(row_bytes)
    blocks = -(-d // block)
    columns = X.indices.astype(np.uint16)
    ends = X.indptr.astype(np.int64)
    cuts = np.zeros((n, blocks + 1), np.uint16)
    rows = max(1, n * _AT_ONCE // max(1, columns.size))
    for first in range(0, n, rows):
        last = min(first + rows, n)
        lengths = np.diff(ends[first : last + 1])
        row = np.repeat(np.arange(last - first) * blocks, lengths)
        places = row + columns[ends[first] : ends[last]] // block
        counts = np.bincount(places, minlength=(last - first) * blocks)
        cuts[first:last, 1:] = counts.reshape(-1, blocks).cumsum(axis=1)
    values = X.data if X.data.dtype in (np.float32, np.float64) else X.data.astype(np.float64)
    values, table = coded(values, dtype, input_scale)
    return Index(ends[:-1].copy(), cuts, columns, values, table, block)
