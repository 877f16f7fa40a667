"""The dense tile: C[MR, NV vectors] = sum_k A[i, k] B[k, j], held in registers, and its epilogues.

Three kernels, each for operands as they lie and packed (`packing`), share one loop. They differ in
where the sums begin and in what happens to the accumulators before they are stored: bias and
activation (forward), the activation's derivative (backward), the optimizer's step (update). Every
sum runs over k in ascending order, so a result depends neither on the tile it fell into nor on the
number of threads.

Arguments are addresses and strides in bytes, outputs first. Rows are padded to whole vectors and
buffers to 16 rows, so a tile never reads or writes outside of them; padding columns stay zero
because the weights' padding is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from .activations import ACTIVATIONS, SLOPES, derivative, evaluate
from .flow import const
from .optimizers import OPTIMIZERS, state_arrays, updates
from .records import record
from .vector_math import Vec

__all__ = ["Left", "accumulate", "tile", "tile_update"]

_LINE = 64  # bytes of a cache line
_REGISTERS = {64: 32, 32: 16, 16: 16}  # vector registers there are at least, by their bytes
_FIRST_LEVEL, _SECOND_LEVEL = 3, 2  # of caches, as prefetch counts them
_AHEAD = 16  # rows of a panel

Tile = list[list[Any]]


def _elements(tile: Tile) -> Iterator[tuple[int, int, Any]]:
    """Yield the vectors of a tile with the numbers of their rows and columns."""
    return ((i, j, x) for i, row in enumerate(tile) for j, x in enumerate(row))


class Left(NamedTuple):
    """A: its address, the bytes to each of its rows, and from k to k.

    Where both operands are split into `parts`, k counts pairs (`bfloat16`), and there are bytes
    from part to part.
    """

    address: Any
    rows: list[Any]
    k_step: Any
    parts: int = 0
    part_step: Any = None


def accumulate(
    v: Vec, init: Tile, a: Left, b: Any, ldb: Any, k: Any, ahead: tuple[int, int] | None = None,
    between: Callable[[Any], None] | None = None,
) -> Tile:  # fmt: skip
    """Emit the loop: init[i][j] + sum over k of A[i, k] B[k, j].

    `ahead` is what is asked for with every row of B: as many vectors as it has, so many bytes
    further, into that level of the caches. `between` is called for every row of the tile, with its
    number, somewhere along the way.
    """
    rows, vectors = len(init), len(init[0])
    read = vectors * max(1, a.parts)
    multiply = _multiply_split(v, a) if a.parts else _multiply(v)
    flat = [x for row in init for x in row]
    room = len(flat) + read + 1 < _REGISTERS[v.bytes]

    def over(count: Any, before: list[Any]) -> list[Any]:
        with v.loop(count, before, unroll=room) as (_, state):
            a_k, b_k, *sums = state
            panel = v.load_row(b_k, read)
            if ahead:
                distance, level = ahead
                for line in range(0, read * v.bytes, _LINE):
                    v.prefetch(b_k, distance + line, locality=level)
            for i in range(rows):
                row = slice(i * vectors, (i + 1) * vectors)
                sums[row] = multiply(v.at(a_k, a.rows[i]), panel, sums[row])
            state[:] = [v.at(a_k, a.k_step), v.at(b_k, ldb), *sums]
        return state

    state = [a.address, b, *flat]
    if between is None:
        sums = over(k, state)[2:]
    else:  # in as many parts of k as there are rows
        most = v.b.udiv(v.b.add(k, const(rows - 1)), const(rows))
        with v.loop(const(rows), state, unroll=False) as (t, state):
            between(t)
            state[:] = over(v.least(most, v.b.sub(k, v.b.mul(t, most))), state[:])
        sums = state[2:]
    return [sums[i * vectors : (i + 1) * vectors] for i in range(rows)]


Multiply = Callable[[Any, list[Any], list[Any]], list[Any]]


def _multiply(v: Vec) -> Multiply:
    """Return what adds the products of an element of A and a row of B to sums."""

    def multiply(at: Any, panel: list[Any], sums: list[Any]) -> list[Any]:
        x = v.splat(v.load_scalar(at))
        return [v.fma(x, y, total) for y, total in zip(panel, sums, strict=True)]

    return multiply


def _multiply_split(v: Vec, a: Left) -> Multiply:
    """Return the same for pairs of k, in parts."""
    from .bfloat16 import Products  # by those alone who have asked for it

    products = Products(v, a.parts)
    offsets = [v.b.mul(const(i), a.part_step) for i in range(a.parts)]

    def multiply(at: Any, panel: list[Any], sums: list[Any]) -> list[Any]:
        left = [products.operand(v.splat(v.load_scalar(v.at(at, offset)))) for offset in offsets]
        right, n = [products.operand(y) for y in panel], len(sums)
        return [products.add(total, left, right[j::n]) for j, total in enumerate(sums)]

    return multiply


def _store_forward(v: Vec, q: Any, sums: Tile, out: list[Any]) -> None:
    """Emit out = f(sums), and f' of the SLOPES activations."""
    for name in v.cases(q.code, ACTIVATIONS):
        slopes = v.rows(q.kept, q.ldo, len(sums)) if name in SLOPES else []
        for i, j, z in _elements(sums):
            value, f_slope = evaluate(v, name, z)
            v.store(value, out[i], j * v.bytes)
            if slopes:
                v.store(f_slope, slopes[i], j * v.bytes)


def _store_backward(v: Vec, q: Any, sums: Tile, out: list[Any]) -> None:
    """Emit out = sums f'(z)."""
    kept = v.rows(q.kept, q.ldo, len(sums))
    for name in v.cases(q.code, ACTIVATIONS):
        for i, j, x in _elements(sums):
            if name != "identity":
                x = v.b.fmul(x, derivative(v, name, v.load(kept[i], j * v.bytes)))
            v.store(x, out[i], j * v.bytes)


def _store_update(v: Vec, q: Any, sums: Tile, out: list[Any]) -> None:
    """Emit the optimizer's step, or what else becomes of the sums."""
    for become in updates(v, q):
        for i, j, x in _elements(sums):
            become(x, out[i], j * v.bytes)


def _ask_for(v: Vec, vectors: int, stride: Any, *addresses: Any) -> Callable[[Any], None]:
    """Return what asks for a row of what is read or written once the sums are made.

    It is called while they are: all rows at once would hold them up.
    """

    def ask(row: Any) -> None:
        for address in addresses:
            for line in range(0, vectors * v.bytes, _LINE):
                v.prefetch(v.at(address, v.b.mul(row, stride)), line)

    return ask


def _ask_for_state(v: Vec, q: Any, vectors: int) -> Callable[[Any], None]:
    """Return what asks for a row of the parameters and of all that the optimizer keeps of them."""
    codes = [code for code in OPTIMIZERS.values() if v.kept is None or code in v.kept]
    places = [q.w]
    for _ in range(max(map(state_arrays, codes), default=0)):
        places.append(v.at(places[-1], q.state))
    return _ask_for(v, vectors, q.ldw, *places)


@record("out ldo begin ldbegin a lda b ldb k code kept")
def tile(
    v: Vec, q: Any, rows: int, vectors: int, forward: bool, packed: bool, parts: int = 0
) -> None:
    """out = f(begin + a b) forward, out = (begin + a b) f'(z) backward.

    Rows at `begin` are the bias or zeros, or what was summed before; backward, unless b is
    `packed`, the sums begin with zeros. `kept`, strided as out, takes f'(z) of the SLOPES
    activations forward. Backward it holds the layer's activations, or f'(z) for these. `code` is
    the activation's. With `parts` operands are split, and k counts pairs.
    """
    out, begin = v.rows(q.out, q.ldo, rows), [[v.c(0.0)] * vectors] * rows
    if forward or packed:
        begin = [v.load_row(row, vectors) for row in v.rows(q.begin, q.ldbegin, rows)]
    # the parts of a row lie one after the other
    part_step = v.b.udiv(q.lda, const(parts)) if parts else None
    left = Left(q.a, v.rows(const(0), q.lda, rows), const(v.size), parts, part_step)
    # the vectors right of B's, which the next panel begins with: rows are too far apart for the
    # processor to foresee them
    ahead, ask = (vectors * v.bytes, _SECOND_LEVEL), None
    if packed:
        ahead = _further_down(v, vectors, parts)
        ask = _ask_for(v, vectors, q.ldo, *([q.out] if forward else [q.out, q.kept]))
    sums = accumulate(v, begin, left, q.b, q.ldb, q.k, ahead, ask)
    (_store_forward if forward else _store_backward)(v, q, sums, out)


@record("w ldw a lda d ldd k code state hyper")
def tile_update(v: Vec, q: Any, rows: int, vectors: int, packed: bool, parts: int = 0) -> None:
    """dW = A^T delta over k samples, then the optimizer.

    With STORE or ADD `w` is the gradient's own address. MR consecutive columns of A are the tile's
    rows; `lda` and `ldd` step from sample to sample. With `parts` operands are split, and k counts
    pairs.
    """
    out, zero = v.rows(q.w, q.ldw, rows), [[v.c(0.0)] * vectors] * rows
    left = Left(q.a, v.rows(const(0), v.size, rows), q.lda, parts, const(rows * v.size))
    ahead = _further_down(v, vectors, parts) if packed else None
    sums = accumulate(v, zero, left, q.d, q.ldd, q.k, ahead, _ask_for_state(v, q, vectors))
    _store_update(v, q, sums, out)


def _further_down(v: Vec, vectors: int, parts: int) -> tuple[int, int]:
    """Return what is asked for ahead in a panel, which is read from end to end."""
    return _AHEAD * vectors * v.bytes * max(1, parts), _FIRST_LEVEL
