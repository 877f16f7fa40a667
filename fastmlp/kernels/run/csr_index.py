"""The non-zeros of a data set, an array or a sparse matrix, found once per fit.

Columns as uint16; values as uint8 numbers into a table of 256 where the data are uint8, else in
the network's dtype, scaled already. On MNIST (19 % of pixels are not zero) it holds 3 bytes a
non-zero from uint8, 27 MB in all.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..jit.registry import launch
from ..jit.threading_layer import thread_limit
from ..program.job import Lists
from ..program.operation import Slot
from .choose import block_columns

__all__ = [
    "KINDS", "Index", "canonical", "csr_lists", "is_listed", "make_index", "make_index_of_csr",
    "room_for_lists",
]  # fmt: skip

# of arrays that kernels read, by their dtype
KINDS = {"uint8": "u8", "bool": "u8", "float32": "f32", "float64": "f64"}
_AT_ONCE = 1 << 20  # values of a sparse matrix that are put into blocks at a time
_LOOKED_AT_VALUES = (2048, 65536)  # few are enough to see that there are too many
_TRIALS = 50  # multipliers tried; about every second one serves
_COUNTED = 2048  # rows by which the columns are shared out


@dataclass
class Index:
    """Lists of non-zeros, one list a sample, cut into blocks of columns.

    Attributes
    ----------
    starts : ndarray of int64, (n,)
        Where a sample's list begins; of a CSR matrix as it lies, where the last one ends too.
    cuts : ndarray of uint16, (n, blocks + 1)
        Where in the list each block begins, and the list's length.
    columns : ndarray of uint16; of a CSR matrix as it lies, of int32
    values : ndarray of uint8 or of the network's dtype
    table : ndarray, (256,) or empty
        What uint8 values stand for.
    block : int
        Columns of a block, a multiple of 16.
    """

    starts: np.ndarray
    cuts: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    table: np.ndarray
    block: int

    def described(self, at_once: int = 1) -> Lists:
        """Return what programs are told, that go through so many blocks in one call."""
        kind = "codes" if self.table.size else "values"
        if self.columns.dtype == np.int32:
            kind = "csr"
        return Lists(kind, self.cuts.shape[1], self.block, at_once)

    def bases(self) -> dict[Slot, int]:
        """Return where its arrays are."""
        return {
            Slot.INDEX_STARTS: self.starts.ctypes.data, Slot.INDEX_CUTS: self.cuts.ctypes.data,
            Slot.INDEX_COLUMNS: self.columns.ctypes.data,
            Slot.INDEX_VALUES: self.values.ctypes.data, Slot.INDEX_TABLE: self.table.ctypes.data,
        }  # fmt: skip

    def shares(self, count: int) -> np.ndarray:
        """Return the blocks where `count` shares of about equally many non-zeros begin."""
        sums = self.cuts[:: max(1, len(self.cuts) // _COUNTED)].sum(axis=0, dtype=np.int64)
        blocks = np.searchsorted(sums, sums[-1] * np.arange(count + 1, dtype=np.int64) / count)
        blocks[0], blocks[-1] = 0, len(sums) - 1
        return np.maximum.accumulate(blocks).astype(np.int64)


def make_index(X: np.ndarray, row_bytes: int, dtype: np.dtype, input_scale: float | None) -> Index:
    """Return the non-zeros of X, an array of uint8, bool, float32 or float64.

    A row of W has `row_bytes`: a block of them has to stay in the first-level cache.
    """
    X = X.view(np.uint8) if X.dtype == bool else X
    kind = KINDS[X.dtype.name]
    n, d = X.shape
    block = block_columns(row_bytes)
    blocks = -(-d // block)
    ends = np.zeros(n + 1, np.int64)
    counts = ends[1:]

    def count(rows: slice) -> None:
        launch(
            f"index_count_{kind}", dtype.name, counts=counts[rows].ctypes.data,
            x=X[rows].ctypes.data, ldx=X.strides[0], n=d, rows=rows.stop - rows.start,
        )  # fmt: skip

    _in_parts(count, n)
    np.cumsum(counts, out=counts)
    cuts = np.zeros((n, blocks + 1), np.uint16)
    starts, total = ends[:-1], int(ends[-1])
    columns, values = np.empty(total, np.uint16), np.empty(total, X.dtype)

    def fill(rows: slice) -> None:
        launch(
            f"index_fill_{kind}", dtype.name, columns=columns.ctypes.data,
            values=values.ctypes.data, cuts=cuts[rows].ctypes.data,
            starts=starts[rows].ctypes.data, x=X[rows].ctypes.data, ldx=X.strides[0], block=block,
            n=d, n_cuts=blocks + 1, rows=rows.stop - rows.start,
        )  # fmt: skip

    _in_parts(fill, n)
    if kind == "u8":
        table = _as_read(np.arange(256.0), dtype, input_scale)
    else:
        values, table = _coded(values, dtype, input_scale)
    return Index(starts, cuts, columns, values, table, block)


def room_for_lists(rows: int, n_in: int, row_bytes: int, dtype: np.dtype) -> Index:
    """Return lists to be filled, for so many rows at a time, whatever they have."""
    block = block_columns(row_bytes)
    cuts = np.zeros((rows, -(-n_in // block) + 1), np.uint16)
    columns, values = np.empty(rows * n_in, np.uint16), np.empty(rows * n_in, dtype)
    starts = np.arange(rows + 1, dtype=np.int64) * n_in
    return Index(starts, cuts, columns, values, np.zeros(0, dtype), block)


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
    width = -(-X.shape[1] // 16) * 16
    return Index(
        X.indptr.astype(np.int64, copy=False), np.zeros((X.shape[0], 2), np.uint16),
        X.indices.astype(np.int32, copy=False), _as_read(_floats(X.data), dtype, input_scale),
        np.zeros(0, dtype), width,
    )  # fmt: skip


def make_index_of_csr(X: Any, row_bytes: int, dtype: np.dtype, input_scale: float | None) -> Index:
    """Return the non-zeros of a `canonical` matrix; as `make_index` of a dense one."""
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
    values, table = _coded(_floats(X.data), dtype, input_scale)
    return Index(ends[:-1].copy(), cuts, columns, values, table, block)


def _floats(values: np.ndarray) -> np.ndarray:
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)


def _as_read(values: np.ndarray, dtype: np.dtype, input_scale: float | None) -> np.ndarray:
    """Return float values as the network reads them."""
    if input_scale is not None:
        values = values / values.dtype.type(input_scale)
    return values.astype(dtype, copy=False)


def _coded(
    values: np.ndarray, dtype: np.dtype, input_scale: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return float values as the network reads them and an empty table; where few values occur,
    their numbers and the table.
    """
    found = _encode(values, dtype)
    if found is None:
        return _as_read(values, dtype, input_scale), np.zeros(0, dtype)
    codes, known = found
    return codes, _as_read(known, dtype, input_scale)


def _distinct(values: np.ndarray) -> np.ndarray | None:
    """Return the values that some of `values` have, if a byte can number them."""
    known = np.zeros(0, values.dtype)
    for looked_at in _LOOKED_AT_VALUES:
        known = np.unique(values[:: max(1, values.size // looked_at)][:looked_at])
        if not 0 < known.size <= 256:
            return None
    return known


def _encode(values: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray] | None:
    """Return each value's place in a table, and the table; None where a byte cannot number them.

    The table comes from a part of the values; multiplying their bits spreads them over 65,536
    slots without two in one, so that a lookup is one product and two loads.
    """
    known = _distinct(values)
    if known is None:
        return None
    bits = known.view(f"u{known.itemsize}")
    rng = np.random.default_rng(0)
    for _ in range(_TRIALS):
        multiplier = int(rng.integers(1 << (8 * known.itemsize - 1))) * 2 + 1
        places = (bits * bits.dtype.type(multiplier)) >> bits.dtype.type(8 * known.itemsize - 16)
        if np.unique(places).size == known.size:
            break
    else:
        return None
    slots = np.zeros(1 << 16, np.uint8)
    slots[places] = np.arange(known.size)
    codes, unknown = np.empty(values.size, np.uint8), []
    factor = int(np.uint64(multiplier).astype(np.int64))

    def encode(part: slice) -> None:
        missed = np.zeros(1, np.int64)
        launch(
            f"encode_{KINDS[values.dtype.name]}", dtype.name, codes=codes[part].ctypes.data,
            unknown=missed.ctypes.data, values=values[part].ctypes.data,
            count=part.stop - part.start, slots=slots.ctypes.data, multiplier=factor,
            table=known.ctypes.data,
        )  # fmt: skip
        unknown.append(int(missed[0]))

    _in_parts(encode, values.size)
    return None if any(unknown) else (codes, known)


def _in_parts(work: Callable[[slice], None], n: int) -> None:
    """Run `work` on consecutive rows in as many threads as there are cores.

    Python's own threads: they need no threading layer and nothing compiled, and the kernels do
    not hold the GIL.
    """
    parts = thread_limit()
    slices = [slice(n * i // parts, n * (i + 1) // parts) for i in range(parts)]
    if parts == 1:
        work(slices[0])
        return
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(work, slices))
