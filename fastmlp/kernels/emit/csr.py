"""Kernels that list the non-zeros of rows: of a data set, once, or of some rows as they go by."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from .elementwise import INPUTS, gather
from .flow import BOOL, I8, I16, I64, const, constant, ir
from .records import record, subroutine
from .target import current_target
from .vector_math import Vec

__all__ = ["encode", "index_count", "index_fill", "list_rows"]

_AT_ONCE = current_target().tile_rows  # rows that are listed while they are in the cache
_GROUP = 16  # elements looked at together: a group of zeros costs one comparison


def _bit_count(v: Vec, name: str, bits: Any) -> Any:
    more = [BOOL(1)] if name == "cttz" else []  # bits are never 0
    return v.call(f"llvm.{name}.i64", I64, [bits, *more])


def _over_groups(
    v: Vec, x: Any, first: Any, last: Any, kind: str, state: list[Any]
) -> Iterator[tuple[Any, Any, bool]]:
    """Emit the body of a ``for`` over x[first .. last) in groups of 16, and then over what is left
    element by element: it is given a 64-bit integer whose low bits tell what is not zero, the first
    one's column, and whether it is a group; it changes `state`.
    """
    b, (scalar, size) = v.b, INPUTS[kind]
    compare = b.icmp_unsigned if kind == "u8" else b.fcmp_unordered
    for start, count in v.groups(b.sub(last, first), _GROUP, state):
        column = b.add(first, start)
        values = v.load_any(v.at(x, column, size), scalar, count)
        found = compare("!=", values, ir.Constant(values.type, None))
        yield b.zext(b.bitcast(found, ir.IntType(count)), I64), column, count > 1


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
    lane_numbers = ir.Constant(wide, [wide.element(i) for i in range(lanes)])
    numbers = b.add(v.splat(b.trunc(column, wide.element), lanes), lane_numbers)
    for part in range(_GROUP // lanes):
        if part > 0:
            at = b.add(at, _bit_count(v, "ctpop", b.and_(bits, const((1 << lanes) - 1))))
            bits = b.lshr(bits, const(lanes))
            numbers = b.add(numbers, constant(wide, wide.element(lanes)))
        stored = ir.VectorType(ir.IntType(8 * size), lanes)
        found = v.load_any(v.at(x, part * lanes * size), stored.element, lanes)
        packed = _pack(v, bits, b.zext(found, wide) if size == 1 else found)
        for list_, item, vector in (
            (columns, 2, b.trunc(_pack(v, bits, numbers), ir.VectorType(I16, lanes))),
            (values, size, b.trunc(packed, stored) if size == 1 else packed),
        ):
            b.store(vector, v.pointer(v.at(list_, at, item), vector.type)).align = 1


@record("counts x ldx n rows")
def index_count(v: Vec, q: Any, kind: str) -> None:
    """Count the non-zeros of every row; counts are int64."""
    with v.each(q.rows) as r:
        total: list[Any] = [const(0)]
        for bits, _, _ in _over_groups(v, v.at(q.x, r, q.ldx), const(0), q.n, kind, total):
            total[0] = v.b.add(total[0], _bit_count(v, "ctpop", bits))
        v.store_item(total[0], q.counts, r)


@record("columns values cuts starts x ldx block n n_cuts rows")
def index_fill(v: Vec, q: Any, kind: str) -> None:
    """List the non-zeros of every row. `block` columns lie between two cuts; values keep x's type.

    A list ends where the next row's starts, whatever the row has become since it was counted:
    another thread may write into x. AVX-512 lists a group without a branch on what is in it.
    """
    b, (scalar, size) = v.b, INPUTS[kind]
    end_of_all = v.load_item(q.starts, q.rows, I64)
    with v.each(q.rows) as r:
        row_of_x = v.at(q.x, r, q.ldx)
        cut = v.at(q.cuts, b.mul(r, q.n_cuts), 2)
        start = v.load_item(q.starts, r, I64)
        end = v.load_item(q.starts, b.add(r, const(1)), I64)

        def note(bits: Any, column: Any, at: Any) -> list[Any]:
            found, room = _bit_count(v, "ctpop", bits), b.sub(end, at)
            with v.loop(v.least(found, room), [bits, at]) as (_, state):
                left, position = state
                k = b.add(column, _bit_count(v, "cttz", left))
                v.store_item(k, q.columns, position, I16)
                v.store_item(v.load_item(row_of_x, k, scalar), q.values, position, scalar)
                state[:] = [b.and_(left, b.sub(left, const(1))), b.add(position, const(1))]
            return state[1:]

        def note_group(bits: Any, column: Any, at: Any) -> list[Any]:
            group = v.at(row_of_x, column, size)
            _list_group(v, kind, group, column, bits, q.columns, q.values, at)
            return [v.least(b.add(at, _bit_count(v, "ctpop", bits)), end)]

        with v.loop(b.sub(q.n_cuts, const(1)), [start]) as (i, at):
            first = b.mul(i, q.block)
            last = v.least(b.add(first, q.block), q.n)
            for bits, column, is_group in _over_groups(v, row_of_x, first, last, kind, at):
                item = bits, column, at[0]
                if is_group and v.bytes == 64:
                    fits = b.icmp_signed("<=", b.add(at[0], const(_GROUP)), end_of_all)
                    at[:] = v.choose(fits, partial(note_group, *item), partial(note, *item))
                else:
                    at[:] = note(*item)
            v.store_item(b.sub(at[0], start), cut, b.add(i, const(1)), I16)


@record("columns values cuts starts stage ld_stage block n_cuts x ldx order n rows scale")
def list_rows(v: Vec, q: Any, kind: str) -> None:
    """As `index_fill`, of samples on their way through the network: a few at a time are gathered
    into the rows at `stage`, in the network's dtype, and listed.
    """
    gather_some = subroutine(v, f"gather_{kind}_of_{v.suffix}", partial(gather, kind=kind))
    own = "f32" if v.size == 4 else "f64"
    fill = subroutine(v, f"fill_{own}", partial(index_fill, kind=own))
    with v.blocks(q.rows, _AT_ONCE) as (first, some):
        gather_some(q, dst=q.stage, ldd=q.ld_stage, order=v.at(q.order, first, 8), rows=some)
        cuts = v.at(q.cuts, v.b.mul(first, q.n_cuts), 2)
        starts = v.at(q.starts, first, 8)
        fill(q, cuts=cuts, starts=starts, x=q.stage, ldx=q.ld_stage, rows=some)


@record("codes unknown values count slots multiplier table")
def encode(v: Vec, q: Any, kind: str) -> None:
    """Number the values by their place in a table. `slots` (uint8, 65536 of them) gives the place
    by the upper 16 bits of a value's bits times `multiplier`; `unknown` (int64) counts the values
    that are not there.
    """
    b, (scalar, size) = v.b, INPUTS[kind]
    bits = ir.IntType(8 * size)
    factor = b.trunc(q.multiplier, bits) if size == 4 else q.multiplier
    with v.loop(q.count, [const(0)]) as (t, missed):
        at = v.times(t, size)
        product = b.mul(v.load_scalar(q.values, at, bits), factor)
        slot = b.lshr(product, bits(8 * size - 16))
        code = v.load_item(q.slots, b.zext(slot, I64) if size == 4 else slot, I8)
        v.store_item(code, q.codes, t, I8)
        known = v.load_item(q.table, code, scalar)
        differs = b.fcmp_unordered("!=", known, v.load_scalar(q.values, at, scalar))
        missed[0] = b.add(missed[0], b.zext(differs, I64))
    v.store_scalar(missed[0], q.unknown)
