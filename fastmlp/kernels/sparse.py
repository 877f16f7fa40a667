"""Kernels of the first layer over non-zero inputs only.

A zero adds nothing to the forward sum and nothing to its row of dW, so both are left out; what is
added is added in ascending order, as in the dense tile. Samples come as lists of columns (uint16)
and values, one list a row. `cuts` (uint16) holds where in the list each block of columns begins,
and behind the last one the list's length: rows of W are worked on block by block, because a block
stays in the first-level cache where the whole of W does not.
"""

from __future__ import annotations

from typing import Any

from ._simd import BOOL, F32, F64, I8, I16, I64, const, ir
from .vector_math import Vec

__all__ = [
    "forward",
    "gather_codes",
    "gather_values",
    "gradient",
    "index_count",
    "index_fill",
]

_SUMS = 4  # chains in flight that hide the latency of the multiply-add in narrow layers


def _gather(v: Vec, args: list[Any], coded: bool) -> None:
    """Bring the lists of samples order[0 .. rows) into the workspace: (columns, ldc, values, ldv,
    cuts, lds, order, rows, starts, index_cuts, n_cuts, index_columns, index_values, table).

    Coded values are uint8 numbers into the table.
    """
    (columns, ldc, values, ldv, cuts, lds, order, rows, starts, index_cuts, n_cuts,
     index_columns, index_values, table) = args  # fmt: skip
    b = v.b

    def row(r: Any, _: list[Any]) -> list[Any]:
        sample = v.load_scalar(order, b.shl(r, const(3)), I64)
        first = v.load_scalar(starts, b.shl(sample, const(3)), I64)
        from_cuts = v.at(index_cuts, b.shl(b.mul(sample, n_cuts), const(1)))
        to_cuts = v.at(cuts, b.mul(r, lds))

        def cut(i: Any, _: list[Any]) -> list[Any]:
            at = b.shl(i, const(1))
            v.store_scalar(v.load_scalar(from_cuts, at, I16), to_cuts, at)
            return []

        v.loop(n_cuts, [], cut)
        last = v.load_scalar(from_cuts, b.shl(b.sub(n_cuts, const(1)), const(1)), I16)
        to_columns, to_values = v.at(columns, b.mul(r, ldc)), v.at(values, b.mul(r, ldv))

        def item(i: Any, _: list[Any]) -> list[Any]:
            at = b.add(first, i)
            column = v.load_scalar(index_columns, b.shl(at, const(1)), I16)
            v.store_scalar(column, to_columns, b.shl(i, const(1)))
            if coded:
                code = b.zext(v.load_scalar(index_values, at, I8), I64)
                value = v.load_scalar(table, b.mul(code, const(v.size)))
            else:
                value = v.load_scalar(index_values, b.mul(at, const(v.size)))
            v.store_scalar(value, to_values, b.mul(i, const(v.size)))
            return []

        v.loop(b.zext(last, I64), [], item)
        return []

    v.loop(rows, [], row)


def gather_codes(v: Vec, args: list[Any]) -> None:
    """Gather lists whose values are numbers into a table; see _gather."""
    _gather(v, args, coded=True)


def gather_values(v: Vec, args: list[Any]) -> None:
    """Gather lists whose values are stored as they are; see _gather."""
    _gather(v, args, coded=False)


def _column(v: Vec, columns: Any, t: Any) -> Any:
    return v.b.zext(v.load_scalar(columns, v.b.shl(t, const(1)), I16), I64)


def _stretch(v: Vec, cuts: Any, first: Any, last: Any) -> tuple[Any, Any]:
    """Return where blocks first .. last begin and end in a row's list."""
    at = [v.load_scalar(cuts, v.b.shl(block, const(1)), I16) for block in (first, last)]
    return v.b.zext(at[0], I64), v.b.zext(at[1], I64)


def forward(v: Vec, width: int, args: list[Any]) -> None:
    """z += x W over some blocks, for `width` vectors of every row: (z, ldz, bias, columns, ldc,
    values, ldv, cuts, lds, first, last, w, ldw, rows). Block 0 starts at the bias.
    """
    z, ldz, bias, columns, ldc, values, ldv, cuts, lds, block, end, w, ldw, rows = args
    b = v.b
    sets = max(1, _SUMS // width)

    def row(r: Any, _: list[Any]) -> list[Any]:
        first, last = _stretch(v, v.at(cuts, b.mul(r, lds)), block, end)
        cols, vals = v.at(columns, b.mul(r, ldc)), v.at(values, b.mul(r, ldv))
        out = v.at(z, b.mul(r, ldz))

        def add_item(t: Any, sums: list[Any]) -> list[Any]:
            x = v.splat(v.load_scalar(vals, b.mul(t, const(v.size))))
            start = v.at(w, b.mul(_column(v, cols, t), ldw))
            return [v.fma(x, v.load(start, j * v.bytes), sums[j]) for j in range(width)]

        def several(t: Any, sums: list[Any]) -> list[Any]:
            new = []
            for u in range(sets):
                at = b.add(first, b.add(b.mul(t, const(sets)), const(u)))
                new += add_item(at, sums[u * width : (u + 1) * width])
            return new

        begin = b.select(b.icmp_signed("==", block, const(0)), bias, out)
        sums = [v.load(begin, j * v.bytes) for j in range(width)]
        sums += [v.c(0.0)] * (width * (sets - 1))
        count = b.sub(last, first)
        whole = b.udiv(count, const(sets))
        sums = v.loop(whole, sums, several)
        while len(sums) > width:
            half = len(sums) // 2
            sums = [b.fadd(p, q) for p, q in zip(sums[:half], sums[half:], strict=True)]
        if sets > 1:
            done = b.mul(whole, const(sets))
            rest = b.sub(count, done)
            done = b.add(first, done)
            sums = v.loop(rest, sums, lambda t, s: add_item(b.add(done, t), s))
        for j, total in enumerate(sums):
            v.store(total, out, j * v.bytes)
        return []

    v.loop(rows, [], row)


def gradient(v: Vec, width: int, args: list[Any]) -> None:
    """g[k] += x[k] d for the k of some blocks, sample by sample: (g, ldg, d, ldd, columns, ldc,
    values, ldv, cuts, lds, first, last, rows).
    """
    g, ldg, d, ldd, columns, ldc, values, ldv, cuts, lds, block, end, rows = args
    b = v.b

    def row(r: Any, _: list[Any]) -> list[Any]:
        first, last = _stretch(v, v.at(cuts, b.mul(r, lds)), block, end)
        cols, vals = v.at(columns, b.mul(r, ldc)), v.at(values, b.mul(r, ldv))
        delta = v.at(d, b.mul(r, ldd))
        held = [v.load(delta, j * v.bytes) for j in range(width)]

        def item(i: Any, _: list[Any]) -> list[Any]:
            t = b.add(first, i)
            x = v.splat(v.load_scalar(vals, b.mul(t, const(v.size))))
            start = v.at(g, b.mul(_column(v, cols, t), ldg))
            for j in range(width):
                total = v.fma(x, held[j], v.load(start, j * v.bytes))
                v.store(total, start, j * v.bytes)
            return []

        v.loop(b.sub(last, first), [], item)
        return []

    v.loop(rows, [], row)


_GROUP = 16  # elements looked at together: a group of zeros costs one comparison
_KINDS = {"u8": (I8, 1), "f32": (F32, 4), "f64": (F64, 8)}


def _nonzero_bits(v: Vec, address: Any, kind: str) -> Any:
    """Return a 64-bit integer whose low 16 bits tell which of 16 elements are not zero."""
    b, (scalar, _) = v.b, _KINDS[kind]
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
    kind = [I64] if name == "ctpop" else [I64, BOOL]
    full = f"llvm.{name}.i64"
    function = v.module.globals.get(full)
    if function is None:
        function = ir.Function(v.module, ir.FunctionType(I64, kind), full)
    return v.b.call(function, [bits] if name == "ctpop" else [bits, ir.Constant(BOOL, 1)])


def _over_groups(v: Vec, x: Any, first: Any, last: Any, kind: str, state: Any, use: Any) -> Any:
    """Run ``state = use(bits, column, state)`` over x[first .. last) in groups of 16.

    `first` is a multiple of 16; the bits behind `last` are cleared, but the group is read whole
    only where it lies within the row.
    """
    b, size = v.b, _KINDS[kind][1]
    whole = b.udiv(b.sub(last, first), const(_GROUP))

    def group(t: Any, s: list[Any]) -> list[Any]:
        column = b.add(first, b.mul(t, const(_GROUP)))
        bits = _nonzero_bits(v, v.at(x, b.mul(column, const(size))), kind)
        return [use(bits, column, s[0])]

    state = v.loop(whole, [state], group)[0]
    done = b.add(first, b.mul(whole, const(_GROUP)))

    def single(t: Any, s: list[Any]) -> list[Any]:
        column = b.add(done, t)
        scalar = _KINDS[kind][0]
        value = v.load_scalar(x, b.mul(column, const(size)), scalar)
        if kind == "u8":
            found = b.icmp_unsigned("!=", value, I8(0))
        else:
            found = b.fcmp_unordered("!=", value, scalar(0.0))
        return [use(b.zext(found, I64), column, s[0])]

    return v.loop(b.sub(last, done), [state], single)[0]


def index_count(v: Vec, kind: str, args: list[Any]) -> None:
    """Count the non-zeros of every row: (counts, x, ldx, n, rows); counts are int64."""
    counts, x, ldx, n, rows = args
    b = v.b

    def row(r: Any, _: list[Any]) -> list[Any]:
        start = v.at(x, b.mul(r, ldx))

        def add(bits: Any, column: Any, total: Any) -> Any:
            return b.add(total, _bit_count(v, "ctpop", bits))

        total = _over_groups(v, start, const(0), n, kind, const(0), add)
        v.store_scalar(total, counts, b.shl(r, const(3)))
        return []

    v.loop(rows, [], row)


def index_fill(v: Vec, kind: str, args: list[Any]) -> None:
    """List the non-zeros of every row: (columns, values, cuts, starts, x, ldx, block, n, n_cuts,
    rows). `block` columns lie between two cuts; values keep x's type.
    """
    columns, values, cuts, starts, x, ldx, block, n, n_cuts, rows = args
    b, (scalar, size) = v.b, _KINDS[kind]

    def row(r: Any, _: list[Any]) -> list[Any]:
        row_of_x = v.at(x, b.mul(r, ldx))
        cut = v.at(cuts, b.shl(b.mul(r, n_cuts), const(1)))
        start = v.load_scalar(starts, b.shl(r, const(3)), I64)

        def note(bits: Any, column: Any, at: Any) -> Any:
            def item(_: Any, s: list[Any]) -> list[Any]:
                left, position = s
                k = b.add(column, _bit_count(v, "cttz", left))
                v.store_scalar(b.trunc(k, I16), columns, b.shl(position, const(1)))
                value = v.load_scalar(row_of_x, b.mul(k, const(size)), scalar)
                v.store_scalar(value, values, b.mul(position, const(size)))
                return [b.and_(left, b.sub(left, const(1))), b.add(position, const(1))]

            return v.loop(_bit_count(v, "ctpop", bits), [bits, at], item)[1]

        def one_block(i: Any, s: list[Any]) -> list[Any]:
            first = b.mul(i, block)
            last = b.add(first, block)
            last = b.select(b.icmp_signed("<", last, n), last, n)
            at = _over_groups(v, row_of_x, first, last, kind, s[0], note)
            length = b.trunc(b.sub(at, start), I16)
            v.store_scalar(length, v.at(cut, b.shl(i, const(1))), 2)
            return [at]

        v.loop(b.sub(n_cuts, const(1)), [start], one_block)
        return []

    v.loop(rows, [], row)
