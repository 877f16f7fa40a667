"""Operands of a product, packed in the order in which its tile reads them.

A goes into tiles of MR rows, B into panels of NV vectors, both k-major; each tile or panel takes
the room of whole vectors of k. Any strides; nothing outside of an operand is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .flow import I32, const, ir
from .gemm import MR, NV
from .packing import over_squares
from .records import record
from .vector_math import Vec

__all__ = ["pack_a", "pack_b", "rounded"]

_TOGETHER = 8  # k that are packed at a time


def rounded(v: Vec, n: Any, unit: int) -> Any:
    """Return n, or the next multiple of `unit`."""
    return v.times(v.ceil(n, unit), unit)


def _lines(
    v: Vec, src: Any, n: Any, step: Any, k: Any, k_step: Any
) -> Iterator[tuple[Any, Any, Any]]:
    """Emit the body of a ``for`` for all k of the vectors of n lines: rows of A, or columns of B,
    `step` bytes apart. It is given the first line's number, k, and the vector. Lines that are not
    there are any.
    """
    b = v.b
    for side_by_side in v.either(b.icmp_signed("==", step, const(v.size))):
        if side_by_side:  # some k at a time: read from end to end, they come as fast as they can
            for first_k, count in v.groups(k, _TOGETHER):
                with v.blocks(n, v.length) as (first, left):
                    mask, line = v.lanes_below(left), v.at(src, first, v.size)
                    for i in range(count):
                        at = b.add(first_k, const(i))
                        yield first, at, v.load_lanes(mask, line, b.mul(at, k_step))
            continue
        with v.blocks(n, v.length) as (first, left):
            lines = []
            for i in range(v.length):  # the last line stands in for those that are not there
                line = b.select(b.icmp_signed("<", const(i), left), const(i), b.sub(left, const(1)))
                lines.append(v.at(src, b.add(first, line), step))
            for contiguous in v.either(b.icmp_signed("==", k_step, const(v.size))):
                if contiguous:
                    for at, (value,) in over_squares(v, lines, left, k):
                        yield first, at, value
                    continue
                with v.each(k) as at:
                    value = ir.Constant(v.type, ir.Undefined)
                    for i, line in enumerate(lines):
                        x = v.load_scalar(line, b.mul(at, k_step))
                        value = b.insert_element(value, x, I32(i))
                    yield first, at, value


@record("dst b ldb step_b k columns")
def pack_b(v: Vec, q: Any) -> None:
    """Copy columns of B into panels, k-major; what lies beyond the last column is not said."""
    b = v.b
    width = NV * v.bytes
    k_bytes = v.times(rounded(v, q.k, v.length), width)
    for first, k, value in _lines(v, q.b, q.columns, q.step_b, q.k, q.ldb):
        number = b.udiv(first, const(v.length))
        panel, place = b.udiv(number, const(NV)), b.urem(number, const(NV))
        dst = v.at(v.at(q.dst, panel, k_bytes), place, v.bytes)
        v.store(value, dst, v.times(k, width))


@record("dst a lda step_a rows k")
def pack_a(v: Vec, q: Any) -> None:
    """Copy rows of A into tiles of MR rows, k-major; rows beyond the last one are any."""
    b = v.b
    k_bytes = v.times(rounded(v, q.k, v.length), MR * v.size)
    for first, k, value in _lines(v, q.a, q.rows, q.lda, q.k, q.step_a):
        for part in range(0, v.length, MR):
            row = b.add(first, const(part))
            tile, within = b.udiv(row, const(MR)), b.urem(row, const(MR))
            place = b.add(b.mul(tile, k_bytes), v.times(within, v.size))
            kept = value
            if v.length > MR:
                kept = v.shuffle(value, value, range(part, part + MR))
            v.store(kept, b.add(q.dst, place), v.times(k, MR * v.size))
