"""Checks of labels and dtypes that the readers and the helpers share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

HIGHEST_LABEL = 65_535
"""The largest class label a reader believes; a larger one is a file of something else, and
would let a small file ask for a gigantic output layer."""


def whole_labels(values: Any, name: str, highest: int | None = None) -> NDArray[np.int64]:
    """Return `values` as int64 class labels, or say what is wrong with them.

    Parameters
    ----------
    values : array_like, shape (n,)
        Integers, bools, or floats that hold whole numbers.
    name : str
        How messages call the values: an argument's name, or a file and a column.
    highest : int, optional
        The largest label allowed; without it, whatever int64 holds.

    Returns
    -------
    ndarray, shape (n,), int64

    Raises
    ------
    TypeError
        If the values are not numbers.
    ValueError
        If they are not one-dimensional, not whole, negative or above `highest`.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name}: expected class labels of shape (n,), got {error}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: expected whole numbers as labels, got dtype {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name}: expected labels of shape (n,), got shape {array.shape}")
    limit = f"to {highest}"
    if highest is None:
        highest, limit = np.iinfo(np.int64).max, "to one less than the number of classes"
    if array.dtype.kind == "f":
        whole = np.isfinite(array) & (np.trunc(array) == array)
        if not whole.all():
            at = int(np.argmin(whole))
            raise ValueError(f"{name}: expected whole numbers, got {array[at]} at index {at}")
        # 2**63 is the first float beyond int64, and int64's maximum is not a float.
        highest = min(highest, 2**63 - 1024)
    if array.dtype.kind != "b" and array.size:
        lowest_seen, highest_seen = int(array.min()), int(array.max())
        if lowest_seen < 0 or highest_seen > highest:
            got = lowest_seen if lowest_seen < 0 else highest_seen
            raise ValueError(f"{name}: expected labels from 0 {limit}, got {got}")
    return array.astype(np.int64)


def dtype_argument(dtype: Any, allowed: tuple[str, ...]) -> np.dtype[Any]:
    """Return the numpy dtype that the argument `dtype` names.

    Parameters
    ----------
    dtype : str, type or numpy.dtype
        What the user passed.
    allowed : tuple of str
        The names of the dtypes accepted.

    Returns
    -------
    numpy.dtype

    Raises
    ------
    TypeError
        If `dtype` is neither a string, a type nor a numpy dtype.
    ValueError
        If it names a dtype that is not among `allowed`.
    """
    wanted = " or ".join(repr(name) for name in allowed)
    if not isinstance(dtype, (str, type, np.dtype)):
        raise TypeError(f"dtype: expected {wanted}, got {type(dtype).__name__}")
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    for name in allowed:
        if found is not None and found == np.dtype(name):
            return np.dtype(name)
    raise ValueError(f"dtype: expected {wanted}, got {dtype!r}")
