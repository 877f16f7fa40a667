"""What is read from data frames: names and order of columns, and numbers out of them.

Nothing here imports a library of frames; pandas', polars' and Dask's own methods are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "check_names",
    "column_names",
    "in_memory",
    "in_order",
    "is_frame",
    "kind_of",
    "numbers_of",
    "value_dtype",
    "values_of",
    "without_categories",
]

_SHOWN = 5  # names in a message


def is_frame(X: Any) -> bool:
    """Tell whether X is a data frame (pandas, polars, Dask): columns, and a way to an array."""
    if not hasattr(X, "columns") or getattr(X, "ndim", 2) != 2:  # Dask's series have columns too
        return False
    return hasattr(X, "to_numpy") or hasattr(X, "to_dask_array")


def in_memory(X: Any) -> Any:
    """Return a Dask frame as one of pandas; everything else as it is."""
    return X.compute() if is_frame(X) and hasattr(X, "to_dask_array") else X


def column_names(X: Any) -> tuple[str, ...] | None:
    """Return the names of a frame's columns; None for an array, or where not all are texts.

    Examples
    --------
    >>> import numpy as np, polars
    >>> from fastmlp.support.frames import column_names
    >>> column_names(polars.DataFrame({"height": [1.8], "weight": [79.0]}))
    ('height', 'weight')
    >>> column_names(np.zeros((2, 2))) is None
    True
    """
    if not is_frame(X):
        return None
    names = tuple(X.columns)
    return names if names and all(isinstance(name, str) for name in names) else None


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


def in_order(name: str, X: Any, names: tuple[str, ...] | None) -> Any:
    """Return a frame with its columns in the order of `names`; everything else as it is.

    Parameters
    ----------
    name : str
        What a message calls X.
    X : array, frame or sparse matrix
    names : tuple of str or None
        The columns that the network was trained on, where it knows them.

    Raises
    ------
    ValueError
        If a column is missing, new, or there twice.
    """
    found = column_names(X) if names is not None else None
    if names is None or found is None or found == names:
        return X
    check_names(name, found, names)
    return X[list(names)]


def check_names(name: str, found: Sequence[str], names: Sequence[str]) -> None:
    """Raise where columns are not those that the network was trained on, in any order.

    Raises
    ------
    ValueError
        If a column is missing, new, or there twice.

    Examples
    --------
    >>> from fastmlp.support.frames import check_names
    >>> check_names("X", ("b", "c"), ("a", "b"))
    Traceback (most recent call last):
    ValueError: X: expected the columns that the network was trained on, got 'a' missing and 'c' new
    """
    missing = [column for column in names if column not in found]
    new = [column for column in found if column not in names]
    if len(set(found)) < len(found):
        twice = [column for column in dict.fromkeys(found) if list(found).count(column) > 1]
        raise ValueError(f"{name}: expected every column once, got several of {_listed(twice)}")
    if missing or new:
        parts = [f"{_listed(missing)} missing"] * bool(missing) + [f"{_listed(new)} new"] * bool(
            new
        )
        raise ValueError(
            f"{name}: expected the columns that the network was trained on, got "
            f"{' and '.join(parts)}"
        )


def kind_of(dtype: Any) -> str:
    """Return what a column of that dtype holds: "numbers", "dates", "texts" or "objects".

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.support.frames import kind_of
    >>> [kind_of(np.dtype(name)) for name in ("int8", "datetime64[s]", "U3", "O")]
    ['numbers', 'dates', 'texts', 'objects']
    """
    if hasattr(dtype, "is_temporal"):  # polars
        if dtype.is_numeric() or str(dtype) == "Boolean":
            return "numbers"
        if dtype.is_temporal():
            return "dates"
        return "texts" if str(dtype).startswith(("String", "Categorical", "Enum")) else "objects"
    kind, text = getattr(dtype, "kind", "O"), str(dtype)
    if kind in "mM" or text.startswith(("date", "time", "period", "duration")):
        return "dates"
    if text.startswith(("string", "str", "category", "large_string", "dictionary")):
        return "texts"
    return "numbers" if kind in "biuf" else "texts" if kind in "US" else "objects"


def value_dtype(dtype: Any) -> Any:
    """Return a column's dtype; of categories that of their values, of texts also as objects."""
    categories: Any = getattr(dtype, "categories", None)
    if getattr(categories, "dtype", None) is np.dtype(object):
        return np.asarray(list(categories)).dtype
    return getattr(categories, "dtype", dtype)


def without_categories(X: Any) -> Any:
    """Return a frame with categories of numbers as numbers; everything else as it is.

    A missing one becomes NaN. In the array that pandas makes of the frame it may be -2^63.

    Examples
    --------
    >>> import pandas
    >>> from fastmlp.support.frames import without_categories
    >>> frame = pandas.DataFrame({"stars": pandas.Categorical([5, None]), "votes": [1, 2]})
    >>> without_categories(frame).to_numpy().tolist()
    [[5.0, 1.0], [nan, 2.0]]
    """
    dtypes = list(getattr(X, "dtypes", [])) if is_frame(X) else []
    places = [
        at
        for at, dtype in enumerate(dtypes)
        if hasattr(dtype, "categories") and kind_of(value_dtype(dtype)) == "numbers"
    ]
    if places:
        X = X.copy(deep=False)
        for at in places:
            X.isetitem(at, values_of(X.iloc[:, at]))
    return X


def _column(X: Any, at: int) -> Any:
    return X.iloc[:, at] if hasattr(X, "iloc") else X[:, at]


def values_of(column: Any) -> np.ndarray:
    """Return a series of numbers as an array, NaN where one is missing.

    Whole numbers of which none is missing stay whole.
    """
    if not hasattr(column, "isna"):
        return column.to_numpy()  # of polars: NaN for null
    if column.isna().any():
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    dtype = getattr(column.dtype, "numpy_dtype", None)  # of pandas' own and of Arrow's types
    return column.to_numpy(dtype=dtype)


def numbers_of(name: str, X: Any) -> np.ndarray:
    """Return a frame as an array of numbers, NaN where one is missing.

    Raises
    ------
    TypeError
        If a column holds something else; it is named, and what it holds.
    """
    X = without_categories(in_memory(X))
    types = list(getattr(X, "dtypes", []))
    wrong = [at for at, dtype in enumerate(types) if kind_of(dtype) not in ("numbers", "objects")]
    if wrong:
        column, what = list(X.columns)[wrong[0]], kind_of(types[wrong[0]])
        raise TypeError(
            f"{name}: expected real numbers, got {what} in column {column!r} "
            f"(dtype {types[wrong[0]]})"
        )
    array = X.to_numpy()
    if array.dtype != object or not types:
        return array
    columns = []
    for at, (column, dtype) in enumerate(zip(X.columns, types, strict=True)):
        series = _column(X, at)
        if kind_of(dtype) == "numbers":
            columns.append(values_of(series))
        else:
            columns.append(_from_objects(name, series, column))
    return np.stack(np.broadcast_arrays(*columns), axis=1)


def _from_objects(name: str, series: Any, column: Any) -> np.ndarray:
    """Return a column of Python objects as floats."""
    values = series.to_numpy()
    missing = np.asarray(series.isna()) if hasattr(series, "isna") else np.zeros(len(values), bool)
    result = np.full(len(values), np.nan)
    for row in np.flatnonzero(~missing):
        value = values[row]
        try:
            if isinstance(value, str | bytes | np.datetime64):
                raise TypeError
            result[row] = value
        except (TypeError, ValueError):
            raise TypeError(
                f"{name}: expected real numbers, got {str(value)[:40]!r} "
                f"({type(value).__name__}) in row {row}, column {column!r}"
            ) from None
    return result
