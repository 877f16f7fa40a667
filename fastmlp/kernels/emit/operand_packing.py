"""Operands of a product, packed in the order in which its tile reads them.

A goes into tiles of MR rows, B into panels of NV vectors, both k-major; each tile or panel takes
the room of whole vectors of k. Any strides; nothing outside of an operand is read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .elementwise import over_rows, vector_count
from .gemm import MR, NV
from .packing import over_squares
from .records import record
from .simd import I32, const, ir
from .vector_math import Vec

__all__ = ["over_blocks", "pack_a", "pack_b", "rounded"]

_TOGETHER = 8  # lines that are packed at a time


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


def _over_some(v: Vec, n: Any, some: Callable[[Any, int], None]) -> None:
    """Emit ``some(first, count)`` over n lines, a few at a time: read from end to end, they come
    as fast as the memory can send them.
    """
    b = v.b
    whole = b.udiv(n, const(_TOGETHER))
    over_rows(v, whole, lambda i: some(b.mul(i, const(_TOGETHER)), _TOGETHER))
    done = b.mul(whole, const(_TOGETHER))
    over_rows(v, b.sub(n, done), lambda i: some(b.add(done, i), 1))


@record("dst b ldb step_b k columns")
def pack_b(v: Vec, q: Any) -> None:
    """Copy columns of B into panels, k-major; what lies beyond the last column is not said."""
    b = v.b
    width = NV * v.length
    k_bytes = b.mul(rounded(v, q.k, v.length), const(width * v.size))

    def vectors(body: Callable[[Any, Any, Any], None]) -> None:
        """Emit ``body(destination, first column, columns left)`` for every vector of columns."""

        def vector(i: Any) -> None:
            panel, place = b.udiv(i, const(NV)), b.urem(i, const(NV))
            dst = v.at(b.add(q.dst, b.mul(panel, k_bytes)), b.mul(place, const(v.bytes)))
            first = b.mul(i, const(v.length))
            body(dst, first, b.sub(q.columns, first))

        over_rows(v, vector_count(v, q.columns), vector)

    def rows() -> None:
        def some(first: Any, count: int) -> None:
            def vector(dst: Any, column: Any, left: Any) -> None:
                mask, src = v.lanes_below(left), b.add(q.b, b.mul(column, const(v.size)))
                for i in range(count):
                    k = b.add(first, const(i))
                    value = v.load_lanes(mask, src, b.mul(k, q.ldb))
                    v.store(value, dst, b.mul(k, const(width * v.size)))

            vectors(vector)

        _over_some(v, q.k, some)

    def columns() -> None:
        def vector(dst: Any, first: Any, left: Any) -> None:
            _transpose(
                v, q.b, first, left, q.step_b, q.ldb, q.k,
                lambda k, value: v.store(value, dst, b.mul(k, const(width * v.size))),
            )  # fmt: skip

        vectors(vector)

    v.choose(b.icmp_signed("==", q.step_b, const(v.size)), rows, columns)


def _transpose(
    v: Vec, src: Any, first: Any, left: Any, step: Any, k_step: Any, k: Any,
    put: Callable[[Any, Any], None],
) -> None:  # fmt: skip
    """Emit ``put(k, vector)``: a vector of lines `first` and following, for every k.

    Lines lie `step` bytes apart; of those that are not left nothing is read.
    """
    b = v.b
    lines = []
    for i in range(v.length):
        place = b.select(b.icmp_signed("<", const(i), left), const(i), b.sub(left, const(1)))
        lines.append(v.at(src, b.mul(b.add(first, place), step)))

    def contiguous() -> None:
        over_squares(v, lines, left, k, lambda at, values: put(at, *values))

    def apart() -> None:
        def one(at: Any) -> None:
            offset = b.mul(at, k_step)
            value: Any = ir.Constant(v.type, ir.Undefined)
            for i, line in enumerate(lines):
                x = v.load_scalar(line, offset)
                value = b.insert_element(value, x, I32(i))
            put(at, value)

        over_rows(v, k, one)

    v.choose(b.icmp_signed("==", k_step, const(v.size)), contiguous, apart)


@record("dst a lda step_a rows k")
def pack_a(v: Vec, q: Any) -> None:
    """Copy rows of A into tiles of MR rows, k-major; rows beyond the last one are any."""
    b = v.b
    k_bytes = b.mul(rounded(v, q.k, v.length), const(MR * v.size))

    def put_rows(first: Any, k: Any, value: Any) -> None:
        """Store a vector of rows `first` and following, at k."""
        at = b.mul(k, const(MR * v.size))
        for part in range(0, v.length, MR):
            row = b.add(first, const(part))
            tile, within = b.udiv(row, const(MR)), b.urem(row, const(MR))
            place = b.add(b.mul(tile, k_bytes), b.mul(within, const(v.size)))
            kept = value
            if v.length > MR:
                lanes = ir.Constant(ir.VectorType(I32, MR), list(range(part, part + MR)))
                kept = b.shuffle_vector(value, ir.Constant(v.type, ir.Undefined), lanes)
            v.store(kept, b.add(q.dst, place), at)

    def rows_together() -> None:
        def some(first_k: Any, together: int) -> None:
            def group(first: Any, count: Any) -> None:
                mask, src = v.lanes_below(count), b.add(q.a, b.mul(first, const(v.size)))
                for i in range(together):
                    k = b.add(first_k, const(i))
                    put_rows(first, k, v.load_lanes(mask, src, b.mul(k, q.step_a)))

            over_blocks(v, q.rows, v.length, group)

        _over_some(v, q.k, some)

    def transposed() -> None:
        def group(first: Any, count: Any) -> None:
            put = partial(put_rows, first)
            _transpose(v, q.a, first, count, q.lda, q.step_a, q.k, put)

        over_blocks(v, q.rows, v.length, group)

    v.choose(b.icmp_signed("==", q.lda, const(v.size)), rows_together, transposed)
