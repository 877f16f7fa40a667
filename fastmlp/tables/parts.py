"""Which rows of a table are trained on, validated on and tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..training.samples import hold_out

__all__ = ["Parts", "divide"]


@dataclass
class Parts:
    """Numbers of rows.

    Attributes
    ----------
    training, validation, test : ndarray of int
        `validation` may be empty.
    """

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def _count(name: str, size: float, n: int) -> int:
    count = round(size * n) if size < 1 else round(size)
    count = max(1, count) if size else 0
    if not 0 <= count < n:
        raise ValueError(f"{name}: expected fewer than the {n} rows, got {count}")
    return count


def _drawn(
    rng: np.random.Generator, y: np.ndarray, count: int, *, by_class: bool, shuffle: bool
) -> tuple[np.ndarray, np.ndarray]:
    n = len(y)
    if not shuffle:
        return np.arange(n - count), np.arange(n - count, n)
    codes = np.unique(y, return_inverse=True)[1] if by_class else np.zeros(n, np.int64)
    return hold_out(rng, codes, count / n, by_class=True)


def divide(
    y: np.ndarray,
    *,
    classes: bool,
    test_size: float = 0.2,
    validation_size: float | None = None,
    shuffle: bool = True,
    seed: int = 0,
) -> Parts:
    """Return which rows are trained on, validated on and tested on.

    Parameters
    ----------
    y : ndarray, (n,)
        Classes or values.
    classes : bool
        Parts are drawn class by class.
    test_size : float, default 0.2
        A share below 1, or a number of rows.
    validation_size : float, optional
        Of what is left; by default a twelfth, or none where that is less than a row.
    shuffle : bool, default True
        False: the last rows are tested on, those before them validated on.
    seed : int

    Raises
    ------
    ValueError
        If a part would be empty, or a class has no row in the training part.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.tables.parts import divide
    >>> parts = divide(np.repeat(["a", "b"], 10), classes=True)
    >>> len(parts.training), len(parts.validation), len(parts.test)
    (15, 1, 4)
    """
    n = len(y)
    if n < 2:
        raise ValueError(f"expected at least 2 rows with a label to train and to test, got {n}")
    rng = np.random.default_rng(seed)
    n_test = _count("--test-size", test_size, n)
    rest, test = _drawn(rng, y, n_test, by_class=classes, shuffle=shuffle)
    share = 1 / 12 if validation_size is None else validation_size
    n_held = _count("--validation-split", share, len(rest)) if round(share * len(rest)) else 0
    kept, held = _drawn(rng, y[rest], n_held, by_class=classes, shuffle=shuffle)
    parts = Parts(rest[kept], rest[held], test)
    if not classes:
        return parts
    lacking = np.setdiff1d(y, y[parts.training])
    if len(lacking):
        raise ValueError(
            f"class {lacking[0]!s}: expected rows of every class to train on, got none of its "
            f"{int((y == lacking[0]).sum())}, which are all in the test or validation part"
        )
    if len(np.unique(y)) < 2:
        raise ValueError(f"expected at least 2 classes, got only {y[0]!s}")
    return parts
