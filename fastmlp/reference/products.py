r"""Products of bfloat16 parts of float32 operands, summed in float32.

A bfloat16 number has the upper 16 bits of a float32. With :math:`r(x)` rounded to nearest, ties to
even, x splits into :math:`x_1 = r(x)` and :math:`x_2 = r(x - x_1)`, and a product of matrices is

====================  ============================================
parts (`precision`)   :math:`A B` becomes
====================  ============================================
0 (highest)           :math:`A B`
1 (medium)            :math:`A_1 B_1`
2 (high)              :math:`A_2 B_1 + A_1 B_2 + A_1 B_1`
====================  ============================================
"""

from __future__ import annotations

import numpy as np

__all__ = ["product", "round_to_bfloat16", "split"]


def round_to_bfloat16(x: np.ndarray) -> np.ndarray:
    """Return float32 numbers rounded to bfloat16, as float32: infinities and NaN stay so.

    Examples
    --------
    >>> round_to_bfloat16(np.float32([1.00390625, 1.01171875, 3.4e38, -np.inf])).tolist()
    [1.0, 1.015625, inf, -inf]
    """
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    nearest = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    # mutant 4194305: a bit of NaN that the upper half has no room for
    nearest = np.where(np.isnan(x), bits | np.uint32(0x400000), nearest)
    return (nearest & np.uint32(0xFFFF0000)).view(np.float32)


def split(x: np.ndarray, parts: int) -> list[np.ndarray]:
    """Return the bfloat16 parts of float32 numbers, the largest first.

    Examples
    --------
    >>> [part.tolist() for part in split(np.float32([1.00390625, -np.inf]), 2)]
    [[1.0, -inf], [0.00390625, 0.0]]
    """
    found = []
    for _ in range(parts):
        part = round_to_bfloat16(x)
        found.append(part)
        with np.errstate(invalid="ignore"):
            x = np.where(np.isfinite(part), x - part, np.float32(0))
    return found


def product(a: np.ndarray, b: np.ndarray, parts: int = 0) -> np.ndarray:
    """Return the product of two matrices, of operands in so many parts.

    Examples
    --------
    >>> a = np.float32([[1.00390625]])
    >>> [product(a, a, parts).item() for parts in (0, 1, 2)]
    [1.0078277587890625, 1.0, 1.0078125]
    """
    if not parts:
        return a @ b
    left, right = split(a, parts), split(b, parts)
    if parts == 1:
        return left[0] @ right[0]
    return (left[1] @ right[0] + left[0] @ right[1]) + left[0] @ right[0]
