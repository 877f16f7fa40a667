"""Kernels that list the non-zeros of rows: of a data set, once, or of some rows as they go by."""

from __future__ import annotations

from functools import partial
from typing import Any

from .elementwise import INPUTS, gather, over_rows
from .records import record, subroutine
from .simd import BOOL, I8, I16, I32, I64, const, ir
from .target import current_target
from .vector_math import Vec

__all__ = ["encode", "index_count", "index_fill", "list_rows"]

GATHER_FROM = "x ldx order n rows scale"
_AT_ONCE = current_target().tile_rows  # rows that are listed while they are in the cache
_GROUP = 16  # elements looked at together: a group of zeros costs one comparison


def _nonzero_bits(v: Vec, address: Any, kind: str) -> Any:
    """Return a 64-bit integer whose low 16 bits tell which of 16 elements are not zero."""
    b, (scalar, _) = v.b, INPUTS[kind]
    vector = ir.VectorType(scalar, _GROUP)
    group = b.load(v.pointer(address, vector))
    group.align = 1
    zero = ir.Constant(vector, [ir.Constant(scalar, 0)] * _GROUP)
    if kind == "u8":
        found = b.icmp_unsigned("!=", group, zero)
    else:
        found = b.fcmp_unordered("!=", group, zero)
    return b.zext(b.bitcast(found, ir.IntType(_GROUP)), I64)


def _bit_count(v: Vec, name: str, bits: Any) -> Any:
    more = [ir.Constant(BOOL, 1)] if name == "cttz" else []  # bits are never 0
    return v.call(f"llvm.{name}.i64", I64, [bits, *more])


def _over_groups(
    v: Vec, x: Any, first: Any, last: Any, kind: str, state: Any, use: Any, use_single: Any = None
) -> Any:
    """Run ``state = use(bits, column, state)`` over x[first .. last) in groups of 16, and then
    over what is left element by element, with `use_single` where it is given.
    """
    b, size = v.b, INPUTS[kind][1]
    whole = b.udiv(b.sub(last, first), const(_GROUP))

    def group(t: Any, s: list[Any]) -> list[Any]:
        column = b.add(first, b.mul(t, const(_GROUP)))
        bits = _nonzero_bits(v, v.at(x, b.mul(column, const(size))), kind)
        return [use(bits, column, s[0])]

    state = v.loop(whole, [state], group)[0]
    done = b.add(first, b.mul(whole, const(_GROUP)))

    def single(t: Any, s: list[Any]) -> list[Any]:
        column = b.add(done, t)
        scalar = INPUTS[kind][0]
        value = v.load_scalar(x, b.mul(column, const(size)), scalar)
        if kind == "u8":
            found = b.icmp_unsigned("!=", value, I8(0))
        else:
            found = b.fcmp_unordered("!=", value, scalar(0.0))
        return [(use_single or use)(b.zext(found, I64), column, s[0])]

    return v.loop(b.sub(last, done), [state], single)[0]


def _pack(v: Vec, bits: Any, elements: Any) -> Any:
    """Return the elements (integers of 4 or 8 bytes) whose bit is set, moved to the front."""
    b, lanes = v.b, elements.type.count
    mask = b.bitcast(b.trunc(bits, ir.IntType(lanes)), ir.VectorType(BOOL, lanes))
    name = f"llvm.x86.avx512.mask.compress.v{lanes}i{elements.type.element.width}"
    return v.call(name, elements.type, [elements, ir.Constant(elements.type, None), mask])


def _list_group(
    v: Vec, kind: str, x: Any, column: Any, bits: Any, columns: Any, values: Any, at: Any
) -> None:
    """List the elements of a group at `x` whose bit is set, from item `at` on: whole vectors are
    stored, so that what lies behind the items is overwritten.
    """
    b, size = v.b, INPUTS[kind][1]
    lanes = 8 if size == 8 else _GROUP
    wide = ir.VectorType(ir.IntType(512 // lanes), lanes)
    undefined, zeros = ir.Constant(wide, ir.Undefined), ir.Constant(ir.VectorType(I32, lanes), None)
    first = b.insert_element(undefined, b.trunc(column, wide.element), I32(0))
    numbers = b.add(
        b.shuffle_vector(first, undefined, zeros),
        ir.Constant(wide, [wide.element(i) for i in range(lanes)]),
    )
    for part in range(_GROUP // lanes):
        if part > 0:
            at = b.add(at, _bit_count(v, "ctpop", b.and_(bits, const((1 << lanes) - 1))))
            bits = b.lshr(bits, const(lanes))
            numbers = b.add(numbers, ir.Constant(wide, [wide.element(lanes)] * lanes))
        stored = ir.VectorType(ir.IntType(8 * size), lanes)
        found = b.load(v.pointer(v.at(x, part * lanes * size), stored))
        found.align = 1
        packed = _pack(v, bits, b.zext(found, wide) if size == 1 else found)
        for list_, item, vector in (
            (columns, 2, b.trunc(_pack(v, bits, numbers), ir.VectorType(I16, lanes))),
            (values, size, b.trunc(packed, stored) if size == 1 else packed),
        ):
            address = v.at(list_, b.mul(at, const(item)))
            b.store(vector, v.pointer(address, vector.type)).align = 1


@record("counts x ldx n rows")
def index_count(v: Vec, q: Any, kind: str) -> None:
    """Count the non-zeros of every row; counts are int64."""
    b = v.b

    def row(r: Any) -> None:
        start = v.at(q.x, b.mul(r, q.ldx))

        def add(bits: Any, column: Any, total: Any) -> Any:
            return b.add(total, _bit_count(v, "ctpop", bits))

        total = _over_groups(v, start, const(0), q.n, kind, const(0), add)
        v.store_scalar(total, q.counts, b.shl(r, const(3)))

    over_rows(v, q.rows, row)


@record("columns values cuts starts x ldx block n n_cuts rows")
def index_fill(v: Vec, q: Any, kind: str) -> None:
    """List the non-zeros of every row. `block` columns lie between two cuts; values keep x's type.

    A list ends where the next row's starts, whatever the row has become since it was counted:
    another thread may write into x. AVX-512 lists a group without a branch on what is in it.
    """
    b, (scalar, size) = v.b, INPUTS[kind]
    end_of_all = v.load_scalar(q.starts, b.shl(q.rows, const(3)), I64)

    def row(r: Any) -> None:
        row_of_x = v.at(q.x, b.mul(r, q.ldx))
        cut = v.at(q.cuts, b.shl(b.mul(r, q.n_cuts), const(1)))
        start = v.load_scalar(q.starts, b.shl(r, const(3)), I64)
        end = v.load_scalar(q.starts, b.shl(b.add(r, const(1)), const(3)), I64)

        def note(bits: Any, column: Any, at: Any) -> Any:
            def item(_: Any, s: list[Any]) -> list[Any]:
                left, position = s
                k = b.add(column, _bit_count(v, "cttz", left))
                v.store_scalar(b.trunc(k, I16), q.columns, b.shl(position, const(1)))
                value = v.load_scalar(row_of_x, b.mul(k, const(size)), scalar)
                v.store_scalar(value, q.values, b.mul(position, const(size)))
                return [b.and_(left, b.sub(left, const(1))), b.add(position, const(1))]

            found, room = _bit_count(v, "ctpop", bits), b.sub(end, at)
            return v.loop(v.least(found, room), [bits, at], item)[1]

        def note_group(bits: Any, column: Any, at: Any) -> Any:
            def at_once() -> list[Any]:
                group = v.at(row_of_x, b.mul(column, const(size)))
                _list_group(v, kind, group, column, bits, q.columns, q.values, at)
                following = b.add(at, _bit_count(v, "ctpop", bits))
                return [v.least(following, end)]

            if v.bytes < 64:
                return note(bits, column, at)
            fits = b.icmp_signed("<=", b.add(at, const(_GROUP)), end_of_all)
            return v.choose(fits, at_once, lambda: [note(bits, column, at)])[0]

        def one_block(i: Any, s: list[Any]) -> list[Any]:
            first = b.mul(i, q.block)
            last = v.least(b.add(first, q.block), q.n)
            at = _over_groups(v, row_of_x, first, last, kind, s[0], note_group, note)
            length = b.trunc(b.sub(at, start), I16)
            v.store_scalar(length, v.at(cut, b.shl(i, const(1))), 2)
            return [at]

        v.loop(b.sub(q.n_cuts, const(1)), [start], one_block)

    over_rows(v, q.rows, row)


@record(f"columns values cuts starts stage ld_stage block n_cuts {GATHER_FROM}")
def list_rows(v: Vec, q: Any, kind: str) -> None:
    """As `index_fill`, of samples on their way through the network: a few at a time are gathered
    into the rows at `stage`, in the network's dtype, and listed.
    """
    b = v.b
    count = b.udiv(b.add(q.rows, const(_AT_ONCE - 1)), const(_AT_ONCE))
    gather_some = subroutine(v, f"gather_{kind}_of_{v.suffix}", partial(gather, kind=kind))
    own = "f32" if v.size == 4 else "f64"
    fill = subroutine(v, f"fill_{own}", partial(index_fill, kind=own))

    def step(i: Any) -> None:
        first = b.mul(i, const(_AT_ONCE))
        some = v.least(b.sub(q.rows, first), const(_AT_ONCE))
        numbers = b.shl(first, const(3))
        gather_some(
            dst=q.stage, ldd=q.ld_stage, x=q.x, ldx=q.ldx, order=v.at(q.order, numbers), n=q.n,
            rows=some, scale=q.scale,
        )  # fmt: skip
        fill(
            columns=q.columns, values=q.values,
            cuts=v.at(q.cuts, b.shl(b.mul(first, q.n_cuts), const(1))),
            starts=v.at(q.starts, numbers), x=q.stage, ldx=q.ld_stage, block=q.block, n=q.n,
            n_cuts=q.n_cuts, rows=some,
        )  # fmt: skip

    over_rows(v, count, step)


@record("codes unknown values count slots multiplier table")
def encode(v: Vec, q: Any, kind: str) -> None:
    """Number the values by their place in a table. `slots` (uint8, 65536 of them) gives the place
    by the upper 16 bits of a value's bits times `multiplier`; `unknown` (int64) counts the values
    that are not there.
    """
    b, (scalar, size) = v.b, INPUTS[kind]
    bits = ir.IntType(8 * size)
    factor = b.trunc(q.multiplier, bits) if size == 4 else q.multiplier

    def item(t: Any, state: list[Any]) -> list[Any]:
        at = b.mul(t, const(size))
        product = b.mul(v.load_scalar(q.values, at, bits), factor)
        slot = b.lshr(product, bits(8 * size - 16))
        code = v.load_scalar(q.slots, b.zext(slot, I64) if size == 4 else slot, I8)
        v.store_scalar(code, q.codes, t)
        known = v.load_scalar(q.table, b.mul(b.zext(code, I64), const(size)), scalar)
        missed = b.fcmp_unordered("!=", known, v.load_scalar(q.values, at, scalar))
        return [b.add(state[0], b.zext(missed, I64))]

    v.store_scalar(v.loop(q.count, [const(0)], item)[0], q.unknown)
