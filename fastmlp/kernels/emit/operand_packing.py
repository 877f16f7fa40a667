"""Operands of a product, packed in the order in which its tile reads them.

A goes into tiles of MR rows, B into panels of NV vectors, both k-major; each tile or panel takes
the room of whole vectors of k. Any strides; nothing outside of an operand is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .elementwise import over_groups, over_rows
from .gemm import MR, NV
from .packing import over_squares
from .records import record
from .simd import I32, const, ir
from .vector_math import Vec

__all__ = ["over_blocks", "pack_a", "pack_b", "rounded"]

_TOGETHER = 8  # k that are packed at a time


def rounded(v: Vec, n: Any, unit: int) -> Any:
    """Return n, or the next multiple of `unit`."""
    return v.b.mul(v.b.udiv(v.b.add(n, const(unit - 1)), const(unit)), const(unit))


def over_blocks(
    v: Vec, n: Any, size: int, body: Callable[[Any, Any], None], least: int = 0
) -> None:
    """Emit ``body(first, count)`` for blocks of n, at least so many."""
    b = v.b
    count = b.udiv(b.add(n, const(size - 1)), const(size))
    if least:
        count = b.select(b.icmp_signed("<", count, const(least)), const(least), count)

    def block(i: Any) -> None:
        first = b.mul(i, const(size))
        body(first, v.least(const(size), b.sub(n, first)))

    over_rows(v, count, block)


Put = Callable[[Any, Any, Any], None]


def _pack(v: Vec, src: Any, n: Any, step: Any, k: Any, k_step: Any, put: Put) -> None:
    """Emit ``put(first, k, vector)`` for all k of the vectors of n lines: rows of A, or columns of
    B, `step` bytes apart, from line `first` on. Lines that are not there are any.
    """
    b = v.b

    def side_by_side() -> None:
        """Some k at a time: read from end to end, they come as fast as the memory sends them."""

        def some(first_k: Any, count: int) -> None:
            def vector(first: Any, left: Any) -> None:
                mask, line = v.lanes_below(left), b.add(src, b.mul(first, const(v.size)))
                for i in range(count):
                    at = b.add(first_k, const(i))
                    put(first, at, v.load_lanes(mask, line, b.mul(at, k_step)))

            over_blocks(v, n, v.length, vector)

        over_groups(v, k, _TOGETHER, some)

    def apart() -> None:
        def vector(first: Any, left: Any) -> None:
            lines = []
            for i in range(v.length):  # the last line stands in for those that are not there
                line = b.select(b.icmp_signed("<", const(i), left), const(i), b.sub(left, const(1)))
                lines.append(v.at(src, b.mul(b.add(first, line), step)))

            def squares() -> None:
                over_squares(v, lines, left, k, lambda at, values: put(first, at, *values))

            def one(at: Any) -> None:
                value: Any = ir.Constant(v.type, ir.Undefined)
                for i, line in enumerate(lines):
                    x = v.load_scalar(line, b.mul(at, k_step))
                    value = b.insert_element(value, x, I32(i))
                put(first, at, value)

            contiguous = b.icmp_signed("==", k_step, const(v.size))
            v.choose(contiguous, squares, lambda: over_rows(v, k, one))

        over_blocks(v, n, v.length, vector)

    v.choose(b.icmp_signed("==", step, const(v.size)), side_by_side, apart)


@record("dst b ldb step_b k columns")
def pack_b(v: Vec, q: Any) -> None:
    """Copy columns of B into panels, k-major; what lies beyond the last column is not said."""
    b = v.b
    width = NV * v.bytes
    k_bytes = b.mul(rounded(v, q.k, v.length), const(width))

    def put(first: Any, k: Any, value: Any) -> None:
        number = b.udiv(first, const(v.length))
        panel, place = b.udiv(number, const(NV)), b.urem(number, const(NV))
        dst = v.at(b.add(q.dst, b.mul(panel, k_bytes)), b.mul(place, const(v.bytes)))
        v.store(value, dst, b.mul(k, const(width)))

    _pack(v, q.b, q.columns, q.step_b, q.k, q.ldb, put)


@record("dst a lda step_a rows k")
def pack_a(v: Vec, q: Any) -> None:
    """Copy rows of A into tiles of MR rows, k-major; rows beyond the last one are any."""
    b = v.b
    k_bytes = b.mul(rounded(v, q.k, v.length), const(MR * v.size))

    def put(first: Any, k: Any, value: Any) -> None:
        for part in range(0, v.length, MR):
            row = b.add(first, const(part))
            tile, within = b.udiv(row, const(MR)), b.urem(row, const(MR))
            place = b.add(b.mul(tile, k_bytes), b.mul(within, const(v.size)))
            kept = value
            if v.length > MR:
                lanes = ir.Constant(ir.VectorType(I32, MR), list(range(part, part + MR)))
                kept = b.shuffle_vector(value, ir.Constant(v.type, ir.Undefined), lanes)
            v.store(kept, b.add(q.dst, place), b.mul(k, const(MR * v.size)))

    _pack(v, q.a, q.rows, q.lda, q.k, q.step_a, put)
