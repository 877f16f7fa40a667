"""Whether an array holds a NaN, an infinity or a number that is too large: a kernel, on as many
threads as were asked for.

Nothing of it goes through BLAS, whose threads nobody has asked for: with another process on every
core a product of 100,000 elements was seen to take 16 ms instead of 0.8.
"""

from __future__ import annotations

import math
import os
from functools import cache

import numpy as np

from ...support.validation import sum_is_finite
from ..program.operation import At, Share, Slot
from .calls import call

__all__ = ["all_finite"]

_SMALL = 16_384  # elements: NumPy is done with fewer before a program has begun, in 2 to 6 us
_FLOPS = 20  # what looking at an element takes, in floating-point operations of a product


def _matrix(x: np.ndarray) -> np.ndarray | None:
    """Return x as a matrix with contiguous rows, if it has some as it lies, or its transpose: of
    what is apart NumPy's sum takes less time than a kernel.
    """
    if x.flags.c_contiguous or x.flags.f_contiguous:
        return x.reshape(1, -1, order="A")
    for matrix in (x, x.T) if x.ndim == 2 else ():
        if matrix.strides[1] == x.itemsize:
            return matrix
    return None


@cache
def _factor(dtype: np.dtype, most: float) -> int:
    """Return the bits of what takes numbers beyond `most` to twice the largest there is: no sum of
    others brings one back.
    """
    return int(np.float64(2 * (float(np.finfo(dtype).max) / most)).view(np.int64))


def all_finite(x: np.ndarray, threads: int | None, most: float = math.inf) -> bool:
    """Tell whether all elements are finite, and at most so large; False may be wrong where a sum is
    too large, or an element nearly so.

    Parameters
    ----------
    x : ndarray of any real dtype and layout
    threads : int or None
        None chooses from what calls take.
    most : float, optional

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.kernels.run.finite import all_finite
    >>> all_finite(np.ones((3, 4)), None), all_finite(np.array([0.0, np.nan]), 1)
    (True, False)
    >>> all_finite(np.array([[0.0, 2.0]]), None, most=1.0)
    False
    """
    if x.dtype.kind != "f" or not x.size:
        return True
    if x.size <= _SMALL:
        return bool(np.maximum.reduce(np.abs(x), axis=None) < most)  # NaN is the largest
    matrix = _matrix(x) if x.dtype.char in "fd" and x.dtype.isnative else None
    if matrix is None:
        return sum_is_finite(x, most=most)
    # of each share: there are never more than processors, whatever a limit was when one was chosen
    found = np.ones(threads or max(64, os.cpu_count() or 1), np.int64)

    def build(share: Share, t: int, shares: int) -> None:
        share.add(
            "finite", found=At(Slot.OUT, 8 * t), x=At(Slot.X), ldx=At(Slot.LD_X),
            rows=At(Slot.N_ROWS), columns=At(Slot.N_COLUMNS), share=t, shares=shares,
            factor=At(Slot.FACTOR),
        )  # fmt: skip

    digits, (rows, columns) = x.size.bit_length(), matrix.shape
    shares = call(
        ("finite", x.dtype.num, digits), _FLOPS * x.itemsize // 8 << digits, build, x.dtype, (),
        (Slot.OUT, found),
        (Slot.X, matrix), (Slot.LD_X, matrix.strides[0]), (Slot.N_ROWS, rows),
        (Slot.N_COLUMNS, columns), (Slot.FACTOR, _factor(x.dtype, most)),
        threads=threads,
    )  # fmt: skip
    return bool(found[:shares].all())
