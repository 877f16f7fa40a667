"""A training set and a test set side by side, and the rule they must keep."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class MNIST(NamedTuple):
    """A training and a test set of labelled images, one image in each row.

    The shapes are those of MNIST itself; a set read from elsewhere may be smaller.

    Attributes
    ----------
    x_train : ndarray, shape (60000, 784)
        Training images, the 28 rows of 28 pixels one after the other.
    y_train : ndarray, shape (60000,), int64
        Their labels, 0 to 9.
    x_test : ndarray, shape (10000, 784)
        Test images.
    y_test : ndarray, shape (10000,), int64
        Their labels.

    Examples
    --------
    >>> import numpy as np
    >>> sets = MNIST(np.zeros((2, 784)), np.array([1, 7]), np.zeros((1, 784)), np.array([3]))
    >>> x_train, y_train, x_test, y_test = sets
    >>> y_train
    array([1, 7])
    """

    x_train: NDArray[Any]
    y_train: NDArray[np.int64]
    x_test: NDArray[Any]
    y_test: NDArray[np.int64]


def check_sets(sets: MNIST) -> None:
    """Raise ValueError unless the two sets are non-empty and fit each other."""
    for name, x, y in (
        ("train", sets.x_train, sets.y_train),
        ("test", sets.x_test, sets.y_test),
    ):
        if len(x) != len(y):
            raise ValueError(
                f"x_{name} and y_{name} should be equally long, got {len(x)} and {len(y)}"
            )
        if x.size == 0:
            raise ValueError(f"x_{name} should not be empty, got shape {x.shape}")
    if sets.x_train.shape[1] != sets.x_test.shape[1]:
        raise ValueError(
            f"x_train and x_test should have equally many columns, got "
            f"{sets.x_train.shape[1]} and {sets.x_test.shape[1]}"
        )
