"""float32 numbers as bfloat16 parts, and products of pairs of them that are summed in float32.

A part has the upper 16 bits of a float32, rounded to nearest, ties to even; the next part is what
is left. Two parts of the same kind, of one k and the next, share 32 bits: the even k has the lower
half, as the instruction ``vdpbf16ps`` of AVX-512 wants it.

A product of parts is exact in float32. The instruction adds the odd k's to the sum and rounds, then
the even k's; so do two multiply-adds. On AMD's Zen 4 both give the same bits in all cases tried,
subnormals included, which the instruction takes for zeros and threads flush (`emit.executor`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from .flow import I32, constant, ir
from .target import multiplies_bfloat16
from .vector_math import Vec

__all__ = ["Products", "pairs", "parts_of"]

# Of integers: LLVM 15 knows it so, and LLVM 22, whose own has bfloat16, converts it.
_PRODUCT = "llvm.x86.avx512bf16.dpbf16ps.512"
_UPPER = 0xFFFF0000
# of the left and the right operand, by how many parts each has: small products first
_ORDER = {1: ((0, 0),), 2: ((1, 0), (0, 1), (0, 0))}


def parts_of(v: Vec, x: Any, parts: int) -> list[Any]:
    """Return the parts of a vector of float32, of any length, in the upper halves of integers.

    Infinities stay so, with parts of 0 behind them; NaN stays NaN.
    """
    b, integers = v.b, ir.VectorType(I32, x.type.count)
    every = partial(constant, integers)
    found = []
    for number in range(parts):
        bits = b.bitcast(x, integers)
        odd = b.and_(b.lshr(bits, every(16)), every(1))
        nearest = b.add(b.add(bits, every(0x7FFF)), odd)
        quiet = b.or_(bits, every(0x400000))
        upper = b.select(b.fcmp_unordered("uno", x, x), quiet, nearest)
        found.append(b.and_(upper, every(_UPPER)))
        if number < parts - 1:
            part = b.bitcast(found[-1], x.type)
            left = b.fsub(x, part)
            none = constant(x.type, 0.0)  # part - part is a zero unless it is infinite
            x = b.select(b.fcmp_ordered("ord", b.fsub(part, part), none), left, none)
    return found


def pairs(v: Vec, even: Sequence[Any], odd: Sequence[Any]) -> list[Any]:
    """Return the parts of two vectors, of one k and the next, side by side."""
    return [
        v.b.or_(v.b.lshr(low, constant(low.type, 16)), high)
        for low, high in zip(even, odd, strict=True)
    ]


class Products:
    """What a tile's loop over pairs of k does with operands of so many `parts`."""

    def __init__(self, v: Vec, parts: int) -> None:
        self.v, self.order = v, _ORDER[parts]
        self.whole = v.bytes == 64 and multiplies_bfloat16()

    def operand(self, pair: Any) -> Any:
        """Return a vector of pairs as `add` takes it."""
        b, v = self.v.b, self.v
        bits = b.bitcast(pair, v.int_type)
        if self.whole:
            return bits
        odd, even = b.and_(bits, v.ic(_UPPER)), b.shl(bits, v.ic(16))
        return b.bitcast(odd, v.type), b.bitcast(even, v.type)

    def add(self, total: Any, left: Sequence[Any], right: Sequence[Any]) -> Any:
        """Add the products of two operands, by their parts, to a vector of sums."""
        v = self.v
        for i, j in self.order:
            x, y = left[i], right[j]
            if self.whole:
                total = v.call(_PRODUCT, v.type, [total, x, y])
            else:
                total = v.fma(x[1], y[1], v.fma(x[0], y[0], total))
        return total
