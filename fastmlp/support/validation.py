"""Every check of what a user passes, and its message: the argument, what came, what was expected.

Checks run once, at the public boundary, before anything changes. What lies behind it (reference,
kernels) never checks, prints or returns early.
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .finite import check_finite, sum_is_finite
from .frames import is_frame, kind_of, numbers_of, values_of

__all__ = [
    "MOST_WEIGHT",
    "as_array",
    "as_list",
    "as_rows",
    "check_bool",
    "check_choice",
    "check_class_weight",
    "check_finite",
    "check_integer",
    "check_names",
    "check_network",
    "check_number",
    "check_path",
    "check_sample_weight",
    "check_targets",
    "is_frame",
    "sum_is_finite",
]

_LEAST_WEIGHT, MOST_WEIGHT = 1e-30, 1e30  # of a sample: beyond, products leave float32
_NAMED_CLASSES = "; np.unique(y, return_inverse=True) numbers classes that have names"


def check_number(
    name: str,
    value: Any,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
) -> float:
    """Return a finite real number within bounds, as float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    bounds = [
        (low is not None and number < low, f"a number at least {low}"),
        (above is not None and number <= above, f"a number greater than {above}"),
        (high is not None and number > high, f"a number at most {high}"),
        (below is not None and number >= below, f"a number less than {below}"),
        (not math.isfinite(number), "a finite number"),
    ]
    for failed, wanted in bounds:
        if failed:
            raise ValueError(f"{name}: expected {wanted}, got {value!r}")
    return number


def check_integer(name: str, value: Any, *, low: int) -> int:
    """Return an integer that is at least `low`; bool and float are no integers."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    if value < low:
        raise ValueError(f"{name}: expected an integer of at least {low}, got {value!r}")
    return int(value)


def check_bool(name: str, value: Any) -> bool:
    """Return True or False, whichever it is; nothing else is one of them."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Return a name that is one of `choices`."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
    return value


def as_list(name: str, value: Any, what: str) -> list[Any]:
    """Return a sequence, an array, an index or a series as a list; TypeError says of what."""
    listed = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(listed, str) or not isinstance(listed, Sequence):
        raise TypeError(f"{name}: expected a sequence of {what}, got {value!r}")
    return list(listed)


def check_names(name: str, value: Any, count: int) -> tuple[str, ...] | None:
    """Return `count` names as texts, or None."""
    if value is None:
        return None
    names = as_list(name, value, "names")
    if len(names) != count:
        raise ValueError(f"{name}: expected {count} names, got {len(names)}")
    for one in names:
        if not isinstance(one, str | numbers.Real | np.bool_):
            raise TypeError(f"{name}: expected texts or numbers as names, got {one!r}")
    return tuple(str(one) for one in names)


def check_network(net: Any) -> None:
    """Raise TypeError where the argument `net` is no network."""
    if not hasattr(net, "architecture"):
        raise TypeError(f"net: expected an MLP, got {type(net).__name__}")


def check_path(path: Any) -> Path:
    """Return the argument `path` as a Path; TypeError or ValueError names it."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path: expected a str or os.PathLike, got {type(path).__name__}")
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"path: expected a path of str, got one of {type(text).__name__}")
    if not text or "\0" in text:
        raise ValueError(f"path: expected the name of a file or folder, got {text!r}")
    return Path(text)


def _check_places(name: str, X: Any) -> None:
    """Raise ValueError where a sparse matrix says that something lies outside of it."""
    limit = X.shape[1] if X.format == "csr" else X.shape[0]
    pointers, places = X.indptr, X.indices
    if pointers[0] != 0 or pointers[-1] > min(len(places), len(X.data)):
        raise ValueError(f"{name}: expected indptr from 0 to the number of values")
    if (pointers[1:] < pointers[:-1]).any():
        raise ValueError(f"{name}: expected indptr that does not fall")
    if len(places) and (places.min() < 0 or places.max() >= limit):
        wrong = places.min() if places.min() < 0 else places.max()
        raise ValueError(f"{name}: expected indices from 0 to {limit - 1}, got {wrong}")


def _from_objects(name: str, values: np.ndarray, hint: str = "") -> np.ndarray:
    """Return an array of Python objects as floats, NaN where one is missing (None, pandas' NA)."""
    result = np.empty(values.shape, np.float64)
    for place, value in np.ndenumerate(values):
        missing = value is None or type(value).__name__ in ("NAType", "NaTType")
        try:
            if isinstance(value, str | bytes | np.datetime64):
                raise TypeError
            result[place] = np.nan if missing else value
        except (TypeError, ValueError):
            where = f"row {place[0]}" if place else "it"
            if len(place) > 1:
                where += f", column {place[1]}"
            raise TypeError(
                f"{name}: expected real numbers, got dtype object with {str(value)[:40]!r} "
                f"({type(value).__name__}) in {where}{hint * isinstance(value, str | bytes)}"
            ) from None
    return result


def as_array(name: str, value: Any) -> np.ndarray:
    """Return a list, a tensor or an array of another class as an array; a mask hides nothing."""
    if hasattr(value, "filled") and np.ma.is_masked(value):
        raise ValueError(
            f"{name}: expected no masked elements, got {int(np.ma.getmaskarray(value).sum())}; "
            ".filled(...) says what stands in their places"
        )
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected a rectangular array ({error})") from None
    except (TypeError, RuntimeError) as error:  # a tensor that is on a GPU, or has a gradient
        raise TypeError(f"{name}: expected an array of real numbers ({error})") from None


def _real_numbers(name: str, value: Any, hint: str = "") -> np.ndarray:
    """Return a series, a list or an array as an array of real numbers, NaN where one is missing.

    Where there are texts, the message ends with the hint.
    """
    if hasattr(value, "tocsr"):
        raise TypeError(f"{name}: expected a dense array, got a sparse one; .toarray() makes it so")
    if hasattr(value, "to_numpy") and hasattr(value, "dtype"):  # a series
        value = values_of(value) if kind_of(value.dtype) == "numbers" else value.to_numpy()
    array = as_array(name, value)
    if array.dtype == object:
        array = _from_objects(name, array, hint)
    if array.dtype.kind not in "biuf":
        hint *= array.dtype.kind in "US"
        raise TypeError(f"{name}: expected real numbers, got dtype {array.dtype}{hint}")
    return array


def as_rows(name: str, X: Any, n_in: int | None = None) -> Any:
    """Return X as a two-dimensional array of real numbers, without converting an ndarray.

    Sparse matrices in CSR or CSC pass as they are. A frame or a list becomes an array.

    Raises
    ------
    TypeError
        If X holds no real numbers, or is sparse in another format.
    ValueError
        If X is not two-dimensional, or has not `n_in` columns.
    """
    if hasattr(X, "tocsr"):
        if X.format not in ("csr", "csc"):
            raise TypeError(
                f"{name}: expected CSR or CSC where it is sparse, got {X.format}; convert it with "
                ".tocsr()"
            )
        if np.dtype(X.dtype).kind not in "biuf":
            raise TypeError(f"{name}: expected real numbers, got dtype {X.dtype}")
        _check_places(name, X)
    else:
        if is_frame(X):
            X = numbers_of(name, X)
        if not isinstance(X, np.ndarray) or isinstance(X, np.matrix) or hasattr(X, "filled"):
            X = as_array(name, X)
        if X.dtype == object:
            X = _from_objects(name, X)
        if X.dtype.kind not in "biuf":
            raise TypeError(f"{name}: expected real numbers, got dtype {X.dtype}")
    if X.ndim != 2:
        hint = "; a single sample goes in as X[None, :]" if X.ndim == 1 else ""
        raise ValueError(f"{name}: expected shape (n_samples, n_features), got {X.shape}{hint}")
    if n_in is not None and X.shape[1] != n_in:
        raise ValueError(f"{name}: expected {n_in} features, got {X.shape[1]}")
    return X


def _check_labels(name: str, y: np.ndarray, n_classes: int) -> np.ndarray:
    y = y.copy()  # what is checked stays so, whoever writes into y meanwhile
    if y.dtype.kind == "f":
        if not np.isfinite(y).all():
            row = int(np.argmin(np.isfinite(y)))
            what, missing = "infinity", ""
            if np.isnan(y[row]):
                what, missing = "NaN", " (a missing value)"
            raise ValueError(f"{name}: expected class labels, got {what} in row {row}{missing}")
        if (y != np.trunc(y)).any():
            wrong = y[y != np.trunc(y)][0]
            raise ValueError(f"{name}: expected integer class labels, got {wrong}")
    low, high = y.min(), y.max()
    if low < 0 or high >= n_classes:
        wrong = low if low < 0 else high
        raise ValueError(
            f"{name}: expected class labels 0 to {n_classes - 1} for {n_classes} outputs, "
            f"got {wrong}"
        )
    return np.ascontiguousarray(y, np.int64)


def _check_shares(name: str, y: np.ndarray) -> None:
    """Raise ValueError where rows are no probabilities; those of float16 are rounded to 1e-3."""
    wanted = f"{name}: expected labels, or rows of probabilities that sum to 1"
    if (y < 0).any():
        raise ValueError(f"{wanted}, got {y.min()}")
    off = np.abs(y.sum(1, dtype=np.float64) - 1.0)
    if (off > (1e-3 if y.dtype == np.float16 else 2e-5)).any():
        row = int(off.argmax())
        raise ValueError(f"{wanted}, got a sum of {y[row].sum(dtype=np.float64):g} in row {row}")


def check_targets(
    name: str, y: Any, n_samples: int, n_out: int, output: str, loss: str, dtype: np.dtype
) -> np.ndarray:
    """Return int64 class labels (n,), or targets (n, n_out) in `dtype`.

    Softmax takes labels, one-hot rows (which become labels) or rows of probabilities; sigmoid
    takes a 0/1 matrix, or labels (which become one-hot rows); identity takes values.

    Raises
    ------
    TypeError
        If y holds no real numbers.
    ValueError
        If shape, range or sum of the targets is not what the output needs.
    """
    hint = "" if output == "identity" else _NAMED_CLASSES
    y = _real_numbers(name, numbers_of(name, y) if is_frame(y) else y, hint)
    if y.ndim == 2 and y.shape[1] == 1 and n_out > 1:
        y = y[:, 0]
    if y.ndim not in (1, 2):
        raise ValueError(f"{name}: expected one or two dimensions, got shape {y.shape}")
    if len(y) != n_samples:
        raise ValueError(f"{name}: expected {n_samples} rows as in X, got {len(y)}")
    if y.ndim == 1 and n_samples and output != "identity" and n_out > 1:
        labels = _check_labels(name, y, n_out)
        if output == "softmax":
            return labels
        y = np.zeros((n_samples, n_out), dtype)
        y[np.arange(n_samples), labels] = 1
        return y
    if output == "softmax" and y.ndim == 1:
        return _check_labels(name, y, n_out) if n_samples else np.zeros(0, np.int64)
    y = y[:, None] if y.ndim == 1 else y
    if y.shape[1] != n_out:
        raise ValueError(f"{name}: expected {n_out} columns, one per output, got {y.shape[1]}")
    check_finite(name, y, dtype=dtype)
    if output == "softmax":
        _check_shares(name, y)
        if (y.max(1, initial=0) == 1).all() and ((y == 0) | (y == 1)).all():
            return np.ascontiguousarray(y.argmax(1), np.int64)
    elif loss == "binary_cross_entropy" and y.size and (y.min() < 0 or y.max() > 1):
        raise ValueError(
            f"{name}: expected targets from 0 to 1 for binary_cross_entropy, "
            f"got {y.min()} to {y.max()}"
        )
    elif loss == "poisson" and y.size and y.min() < 0:
        raise ValueError(f"{name}: expected counts of at least 0 for poisson, got {y.min()}")
    return np.ascontiguousarray(y, dtype)


def check_sample_weight(value: Any, n_samples: int) -> np.ndarray | None:
    """Return the weights as float64 (n,), or None; those below 1e-30 as 0.

    Raises
    ------
    TypeError
        If it holds no real numbers.
    ValueError
        If the shape is wrong, a weight is negative, not finite or above 1e30, or all are zero.
    """
    if value is None:
        return None
    given = _real_numbers("sample_weight", value)
    if given.shape != (n_samples,):
        raise ValueError(f"sample_weight: expected shape ({n_samples},), got {given.shape}")
    weight = np.ascontiguousarray(given, np.float64)
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        missing = " (a missing value)" if np.isnan(weight[row]) else ""
        raise ValueError(
            f"sample_weight: expected finite numbers of at least 0, got {weight[row]} in row {row}"
            f"{missing}"
        )
    if (weight > MOST_WEIGHT).any():
        raise ValueError(f"sample_weight: expected at most {MOST_WEIGHT}, got {weight.max()}")
    lost = (weight < _LEAST_WEIGHT) & (weight > 0)
    if lost.any():
        weight = np.where(lost, 0.0, weight)
    if n_samples and not weight.any():
        least = f"; less than {_LEAST_WEIGHT} counts as 0" if lost.any() else ""
        raise ValueError(f"sample_weight: expected at least one weight above 0{least}")
    return weight


def _class_shares(y: np.ndarray, output: str) -> np.ndarray:
    """Return labels (n,), or rows of the classes' shares."""
    if output == "identity":
        raise ValueError("class_weight: expected None for a network that has no classes")
    if y.ndim == 1:
        return y
    if y.shape[1] == 1:
        return np.concatenate([1 - y, y], axis=1)
    if output == "sigmoid" and not ((y.max(1) == 1) & (y.sum(1) == 1)).all():
        raise ValueError("class_weight: expected None where a sample may have several labels")
    return y


def check_class_weight(
    value: Any, y: np.ndarray, n_out: int, output: str, rows: np.ndarray | None = None
) -> np.ndarray | None:
    """Return a weight per sample, (n,) of float64, from a weight per class.

    Parameters
    ----------
    value : dict, "balanced" or None
        By label, 1 for labels that are left out; "balanced" is ``n / (classes * n of the class)``
        over the classes that occur.
    y : ndarray
        Targets as `check_targets` returns them.
    n_out : int
    output : str
    rows : integer array, optional
        The samples that "balanced" counts.

    Raises
    ------
    TypeError
        If it is of another kind.
    ValueError
        If the network has no exclusive classes, or a label or weight is out of range.
    """
    if value is None:
        return None
    shares = _class_shares(y, output)
    n_classes = max(n_out, 2)
    weights = np.ones(n_classes)
    if isinstance(value, str):
        if value != "balanced":
            raise ValueError(f"class_weight: expected a dict, 'balanced' or None, got {value!r}")
        counted = shares if rows is None else shares[rows]
        counts = (
            np.bincount(counted, minlength=n_classes).astype(np.float64)
            if counted.ndim == 1
            else counted.sum(axis=0, dtype=np.float64)
        )
        there = counts > 0
        weights[there] = counts.sum() / (there.sum() * counts[there])
    elif isinstance(value, Mapping):
        for label, weight in value.items():
            if check_integer("class_weight", label, low=0) >= n_classes:
                raise ValueError(
                    f"class_weight: expected labels 0 to {n_classes - 1}, got {label!r}"
                )
            weights[int(label)] = check_number(
                f"class_weight[{label!r}]", weight, low=0.0, high=MOST_WEIGHT
            )
    else:
        raise TypeError(f"class_weight: expected a dict, 'balanced' or None, got {value!r}")
    return weights[shares] if shares.ndim == 1 else np.einsum("ij,j->i", shares, weights)
