"""The sum of a batch's losses from parts: few numbers travel, and the bits are those of the whole.

`numpy.add.reduceat` puts pairwise sums of the second value and those after it onto the first
(Higham 1993). Its tree follows from the number of values alone: up to 128 are added in one loop,
more are halved, the first half in whole eights. A part of the values knows the sums of the
branches that lie in it, and single values where one is cut.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["Branches", "branches", "joined", "whole"]

_LOOP = 128  # as many values are added without halving

Branches = dict[tuple[int, int], float]  # the sum of so many values from one on, by (first, count)


def _halves(first: int, count: int) -> tuple[tuple[int, int], tuple[int, int]]:
    half = count // 2
    half -= half % 8
    return (first, half), (first + half, count - half)


def _largest(n: int, start: int, stop: int, sum_of: Callable[[int, int], float]) -> Branches:
    """Return the largest branches of n values within start .. stop."""
    found: Branches = {}

    def walk(first: int, count: int) -> None:
        last = first + count
        if last <= start or first >= stop:
            return
        if start <= first and last <= stop:
            found[first, count] = sum_of(first, count)
        elif count <= _LOOP:
            for i in range(max(start, first), min(stop, last)):
                found[i, 1] = sum_of(i, 1)
        else:
            for half in _halves(first, count):
                walk(*half)

    walk(0, 1)
    walk(1, n - 1)
    return found


def branches(values: np.ndarray, first: int, n: int) -> Branches:
    """Return what a part of n values, from `first` on, knows of their sum.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.distributed._losses import branches, joined, whole
    >>> values = np.random.default_rng(0).random(1000)
    >>> parts = joined(branches(values[:300], 0, 1000), branches(values[300:], 300, 1000), 1000)
    >>> bool(whole(parts, 1000) == np.add.reduceat(values, [0])[0])
    True
    """

    def sum_of(start: int, count: int) -> float:
        # reduceat sums in pairs in every version of NumPy, reduce does not before 2
        part = values[start - first : start - first + count]
        return float(np.add.reduceat(np.append(-0.0, part), [0])[0])

    return _largest(n, first, first + len(values), sum_of)


def joined(before: Branches, after: Branches, n: int) -> Branches:
    """Return what two parts know together: all up to the second's end."""
    known = before | after
    stop = max(first + count for first, count in known)
    return _largest(n, 0, stop, lambda first, count: _sum(known, first, count))


def _sum(known: Branches, first: int, count: int) -> float:
    if (first, count) in known:
        return known[first, count]
    if count <= _LOOP:
        return float(np.add.reduce(np.array([known[i, 1] for i in range(first, first + count)])))
    one, other = _halves(first, count)
    return _sum(known, *one) + _sum(known, *other)


def whole(known: Branches, n: int) -> float:
    """Return the sum of n values, of which all is known."""
    return known[0, 1] + _sum(known, 1, n - 1) if n > 1 else known[0, 1]
