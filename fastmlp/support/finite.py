"""Whether numbers are finite, and stay so in the dtype that a network computes in."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

__all__ = ["check_finite", "check_fits", "sum_is_finite"]

_CHUNK_BYTES = 4 << 20  # what is at fault is looked for in pieces: no copy of the whole


def _row_chunks(X: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    rows = max(1, _CHUNK_BYTES // max(1, X.shape[1] * X.itemsize))
    for start in range(0, X.shape[0], rows):
        yield start, X[start : start + rows]


def sum_is_finite(values: np.ndarray, *, most: float = math.inf) -> bool:
    """Tell whether a sum is finite, and so all its addends; False proves nothing.

    Where there is a largest number, it is the sum of squares, which none above it fits into.
    """
    if most < math.inf:
        room = min(most * most, sys.float_info.max) / 2  # half: sums are rounded
        axes = list(range(values.ndim))
        return float(np.einsum(values, axes, values, axes, [])) < room  # it warns of nothing
    dtype = None if values.dtype.char in "fd" else np.float64
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.add.reduce(values, axis=None, dtype=dtype)))


@cache
def _room(dtype: Any, scale: float | None) -> tuple[int, float]:
    """Return the dtype's size, and the largest number in it, times scale."""
    return np.dtype(dtype).itemsize, float(np.finfo(dtype).max) * (scale or 1.0)


def _converted(values: np.ndarray, dtype: Any, scale: float) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return (values / scale).astype(dtype)


def _place(X: Any, at: int) -> tuple[int, int]:
    """Return the row and column of a value that a CSR or CSC matrix holds."""
    outer, inner = int(np.searchsorted(X.indptr, at, side="right")) - 1, int(X.indices[at])
    return (outer, inner) if X.format == "csr" else (inner, outer)


def check_finite(
    name: str,
    X: Any,
    columns: Sequence[str] | None = None,
    all_finite: Callable[..., bool] = sum_is_finite,
    *,
    dtype: Any = None,
    scale: float | None = None,
) -> None:
    """Raise ValueError where X holds a NaN, which is a missing value, or an infinity.

    Parameters
    ----------
    name : str
        What the message calls X.
    X : array or sparse matrix
    columns : sequence of str, optional
        The names of its columns, for the message.
    all_finite : callable, optional
        Called as ``all_finite(values, most=...)``, what looks first, also for numbers beyond
        `most`; a false answer is looked at more closely.
    dtype : numpy dtype, optional
        What X becomes: a number that is infinite there is refused as well. X is still gone
        through once.
    scale : float, optional
        What X is divided by before that.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.support.finite import check_finite
    >>> check_finite("X", np.array([[1.0, 1e300]]), dtype=np.float32)
    Traceback (most recent call last):
    ValueError: X: expected numbers that float32 can hold, got 1e+300 in row 0, column 1
    """
    sparse = hasattr(X, "tocsr")
    values = X.data[:, None] if sparse else X
    if values.dtype.kind != "f" or values.size == 0:
        return
    size, most = (0, math.inf) if dtype is None else _room(dtype, scale)
    if values.itemsize <= size:
        dtype, most = None, math.inf
    if all_finite(values, most=most):
        return
    for start, rows in _row_chunks(values):
        if dtype is None and sum_is_finite(rows):
            continue
        kept = np.isfinite(rows if dtype is None else _converted(rows, dtype, scale or 1.0))
        if kept.all():
            continue
        row, column = np.argwhere(~kept)[0]
        value = rows[row, column]
        row, column = _place(X, start + row) if sparse else (start + row, column)
        called = column if columns is None else repr(columns[column])
        where = f" in row {row}, column {called}"
        if np.isfinite(value):
            divided = "" if scale is None else f", divided by {scale:g},"
            raise ValueError(
                f"{name}: expected numbers that {np.dtype(dtype)} can hold, got {value}"
                f"{divided}{where}"
            )
        missing = " (a missing value)" if np.isnan(value) else ""
        raise ValueError(f"{name}: expected finite numbers, got {value}{where}{missing}")


def check_fits(name: str, X: Any, dtype: np.dtype, columns: Sequence[str] | None = None) -> None:
    """Raise ValueError where X, whose numbers are finite, holds one that is not so in `dtype`.

    Parameters
    ----------
    name : str
        What the message calls X.
    X : array or sparse matrix
    dtype : numpy dtype
    columns : sequence of str, optional
        The names of its columns, for the message.
    """
    if X.dtype.kind == "f" and X.dtype.itemsize > dtype.itemsize:
        check_finite(name, X, columns, dtype=dtype)
