"""One-hot rows, and the division of samples into a training and a test set."""

import math
import operator
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._checks import HIGHEST_LABEL, dtype_argument, whole_labels

_ONE_HOT_DTYPES = (
    *("float16", "float32", "float64", "bool"),
    *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
)


def one_hot(
    y: ArrayLike,
    n_classes: int | None = None,
    *,
    dtype: str | type | np.dtype[Any] = "float64",
) -> NDArray[Any]:
    """Turn class labels into rows with a single 1.

    Parameters
    ----------
    y : array_like, shape (n,)
        Labels: whole numbers from 0 to n_classes - 1.
    n_classes : int, optional
        The number of columns; without it, the largest label plus one.
    dtype : str, type or numpy.dtype
        A float, integer or bool dtype for the result.

    Returns
    -------
    ndarray, shape (n, n_classes)
        1 in column `y[i]` of row i, elsewhere 0.

    Raises
    ------
    TypeError
        If `y` does not hold numbers, `n_classes` is no int, or `dtype` no dtype.
    ValueError
        If `y` is not one-dimensional or holds a label that is not whole, negative or not below
        `n_classes`; if `n_classes` is below 1, or not given with an empty `y` or with a label
        above 65535; if `dtype` is not one of those above.

    Examples
    --------
    >>> one_hot([2, 0], 3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    wanted = dtype_argument(dtype, _ONE_HOT_DTYPES)
    if n_classes is not None:
        n_classes = _int_argument("n_classes", n_classes)
        if n_classes < 1:
            raise ValueError(f"n_classes: expected at least 1, got {n_classes}")
        labels = whole_labels(y, "y", n_classes - 1)
    else:
        labels = whole_labels(y, "y")
        if labels.size == 0:
            raise ValueError("n_classes: expected an int where y is empty, got None")
        if labels.max() > HIGHEST_LABEL:
            raise ValueError(
                f"n_classes: expected an int where labels exceed {HIGHEST_LABEL}, got None"
            )
        n_classes = int(labels.max()) + 1
    rows = np.zeros((labels.size, n_classes), wanted)
    rows[np.arange(labels.size), labels] = 1
    return rows


def train_test_split(
    X: Any,
    y: Any,
    *,
    test_size: float = 0.25,
    shuffle: bool = True,
    stratify: bool = False,
    rng: int | np.random.Generator | np.random.RandomState | None = None,
) -> tuple[Any, Any, Any, Any]:
    """Divide samples and their targets into a training set and a test set.

    Parameters
    ----------
    X : array_like, sparse matrix or data frame, shape (n, ...)
        The samples, one in each row.
    y : array_like, shape (n,) or (n, n_outputs)
        Their targets.
    test_size : float or int
        A float strictly between 0 and 1 is the share of the samples that go into the test set,
        rounded up to whole samples; an int from 1 to n - 1 is their number.
    shuffle : bool
        Draw the samples at random. If False the last ones are the test set, and arrays come
        back as views.
    stratify : bool
        Give each class of `y` its share of the test set, within one sample of the exact share,
        and at least one sample on either side. Needs `shuffle` and labels of shape (n,).
    rng : int, numpy.random.Generator, numpy.random.RandomState or None
        What draws: a seed, a generator that is used and moved on, or None for fresh entropy.

    Returns
    -------
    X_train, X_test, y_train, y_test
        Of the types of `X` and `y` (numpy arrays for lists).

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `X` and `y` differ in length or have fewer than two rows, `test_size` leaves a side
        empty, `rng` is negative, or `stratify` comes without `shuffle`, with `y` of other than
        one dimension, a class of a single sample or a side with fewer samples than classes.

    Examples
    --------
    >>> X, y = [[0], [1], [2], [3]], [0, 0, 1, 1]
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=1, shuffle=False)
    >>> X_test, y_test
    (array([[3]]), array([1]))
    >>> train_test_split(X, y, test_size=0.5, stratify=True, rng=0)[3].tolist()
    [1, 0]
    """
    X, y = _rows_argument("X", X), _rows_argument("y", y)
    n = X.shape[0]
    if y.shape[0] != n:
        raise ValueError(f"y: expected {n} rows, as X has, got {y.shape[0]}")
    if n < 2:
        raise ValueError(f"X: expected at least 2 rows, got {n}")
    for name, flag in (("shuffle", shuffle), ("stratify", stratify)):
        if not isinstance(flag, (bool, np.bool_)):
            raise TypeError(f"{name}: expected a bool, got {type(flag).__name__}")
    n_test = _test_count(test_size, n)
    random = _rng_argument(rng)
    train: Any
    test: Any
    if stratify:
        if not shuffle:
            raise ValueError("stratify: expected False where shuffle is False, got True")
        train, test = _stratified(np.asarray(y), n_test, random)
    elif shuffle:
        order = random.permutation(n)
        train, test = order[n_test:], order[:n_test]
    else:
        train, test = slice(0, n - n_test), slice(n - n_test, n)
    return _take(X, train), _take(X, test), _take(y, train), _take(y, test)


def _stratified(
    y: NDArray[Any], n_test: int, random: np.random.Generator | np.random.RandomState
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    if y.ndim != 1:
        raise ValueError(f"stratify: expected labels y of shape (n,), got shape {y.shape}")
    classes, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        rare = classes[counts.argmin()]
        raise ValueError(f"stratify: expected 2 samples of each class in y, got 1 of {rare}")
    if not len(classes) <= n_test <= len(y) - len(classes):
        raise ValueError(
            f"test_size: expected a sample of each of the {len(classes)} classes on either side, "
            f"got {n_test} test samples of {len(y)}"
        )
    quota = _quotas(counts, n_test)
    order = random.permutation(len(y))
    shuffled = inverse[order]
    # The rank of each sample within its class, in shuffled order: the first `quota` are tested.
    rank = np.empty(len(y), np.intp)
    rank[np.argsort(shuffled, kind="stable")] = np.arange(len(y)) - np.repeat(
        np.cumsum(counts) - counts, counts
    )
    is_test = rank < quota[shuffled]
    train: NDArray[np.intp] = order[~is_test]
    test: NDArray[np.intp] = order[is_test]
    return train, test


def _quotas(counts: NDArray[np.intp], n_test: int) -> NDArray[np.intp]:
    """Share `n_test` among the classes, by largest remainder, at least 1 left on either side."""
    exact = counts * (n_test / counts.sum())
    quota: NDArray[np.intp] = np.clip(np.floor(exact).astype(np.intp), 1, counts - 1)
    while (missing := n_test - int(quota.sum())) != 0:
        step = 1 if missing > 0 else -1
        may_change = quota < counts - 1 if step > 0 else quota > 1
        lag = np.where(may_change, step * (exact - quota), -np.inf)
        quota[np.argmax(lag)] += step
    return quota


def _test_count(test_size: Any, n: int) -> int:
    if isinstance(test_size, (bool, np.bool_)) or not isinstance(test_size, Real):
        raise TypeError(f"test_size: expected a float or int, got {type(test_size).__name__}")
    if isinstance(test_size, Integral):
        n_test = int(test_size)
    elif 0 < float(test_size) < 1:
        n_test = math.ceil(n * float(test_size))
    else:
        raise ValueError(f"test_size: expected a float between 0 and 1, got {test_size}")
    if not 1 <= n_test <= n - 1:
        raise ValueError(
            f"test_size: expected 1 to {n - 1} of the {n} samples, got {test_size} ({n_test})"
        )
    return n_test


def _rng_argument(rng: Any) -> np.random.Generator | np.random.RandomState:
    if isinstance(rng, (np.random.Generator, np.random.RandomState)):
        return rng
    if rng is None:
        return np.random.default_rng()
    seed = _int_argument("rng", rng)
    if seed < 0:
        raise ValueError(f"rng: expected a seed of at least 0, got {seed}")
    return np.random.default_rng(seed)


def _int_argument(name: str, value: Any) -> int:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected an int, got bool")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an int, got {type(value).__name__}") from None


def _rows_argument(name: str, value: Any) -> Any:
    if not hasattr(value, "shape"):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{name}: expected rows of equal length, got {error}") from error
    if len(value.shape) == 0:
        raise TypeError(f"{name}: expected an array with rows, got a scalar")
    return value


def _take(rows: Any, which: Any) -> Any:
    if hasattr(rows, "iloc"):
        return rows.iloc[which]
    if hasattr(rows, "tocsr"):
        return rows.tocsr()[which]
    return rows[which]
