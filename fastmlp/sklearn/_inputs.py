"""What estimators refuse before scikit-learn's own checks convert it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import _check_sample_weight

from ..support.finite import check_fits
from ..support.frames import in_memory, is_frame, kind_of, value_dtype, without_categories
from ._network import Network

__all__ = ["are_plain", "check_kind", "check_range", "checked_weight", "readable"]


def check_kind(name: str, data: Any) -> None:
    """Raise where data are dates or texts, which a conversion to float would let pass.

    Arrays of Python objects are left to scikit-learn.

    Parameters
    ----------
    name : str
        What the message calls them.
    data : array, frame, series or list

    Raises
    ------
    TypeError
        Naming the column, where there are columns, and the dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.sklearn._inputs import check_kind
    >>> check_kind("X", np.array([["2024-05-01"]], "datetime64[D]"))
    Traceback (most recent call last):
    TypeError: X: expected real numbers, got dates (dtype datetime64[D])
    """
    if is_frame(data):
        found = list(zip(data.columns, getattr(data, "dtypes", []), strict=False))
    else:
        # a list says its type only as an array
        dtype = getattr(data, "dtype", None)
        if dtype is None and isinstance(data, list | tuple) and not hasattr(data, "__array__"):
            try:
                dtype = np.asarray(data).dtype
            except ValueError:
                return  # not rectangular, which scikit-learn says
        found = [(None, dtype)]
    for column, dtype in found:
        if dtype is None or (kind := kind_of(value_dtype(dtype))) not in ("dates", "texts"):
            continue
        where = "" if column is None else f" in column {column!r}"
        raise TypeError(f"{name}: expected real numbers, got {kind}{where} (dtype {dtype})")


def readable(name: str, X: Any) -> Any:
    """Return what scikit-learn reads to the same numbers; raise where `check_kind` does."""
    check_kind(name, X := in_memory(X))
    return without_categories(X)


def check_range(estimator: Any, network: Network, X: Any, rows: np.ndarray | None = None) -> None:
    """Raise where a number is infinite in the network's dtype.

    Parameters
    ----------
    estimator : BaseMLP
    network : Network
        Its own.
    X : array or sparse matrix
        Checked by scikit-learn.
    rows : ndarray, optional
        The targets, (n, n_out).

    Raises
    ------
    ValueError
        Naming X or y, and the place.
    """
    dtype = network.parameters.dtype
    check_fits("X", X, dtype, getattr(estimator, "feature_names_in_", None))
    if rows is not None:
        check_fits("y", rows, dtype)


def are_plain(y: object, n: int) -> bool:
    """Tell whether y is an array of n finite numbers, or rows of them, in need of no other look.

    A look at everything else takes scikit-learn longer than a step with one sample.

    Parameters
    ----------
    y : object
    n : int

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.sklearn._inputs import are_plain
    >>> are_plain(np.ones(2), 2), are_plain(np.ones(3), 2), are_plain([1.0, 2.0], 2)
    (True, False, False)
    """
    if type(y) is not np.ndarray or y.ndim not in (1, 2) or len(y) != n or not y.size:
        return False
    return y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool(np.isfinite(y).all()))


def checked_weight(sample_weight: Any, X: Any) -> np.ndarray | None:
    """Return the samples' weights as float64 (n,), or None; dates and texts are refused."""
    if sample_weight is None:
        return None
    check_kind("sample_weight", sample_weight)
    return np.ascontiguousarray(_check_sample_weight(sample_weight, X), np.float64)
