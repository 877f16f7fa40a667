"""What every kernel reads and writes: its promise, to which tests hold programs and kernels.

`FOOTPRINTS` has an entry for every kernel that programs call. Nothing of this runs at training
time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

from ..emit.activations import ACTIVATIONS, SLOPE_CODES
from ..emit.optimizers import HYPER_ROW, STORE, state_arrays
from ..emit.sparse import LISTS
from ..emit.target import current_target
from ..jit.registry import SPLIT
from .job import BLOCK
from .operation import At, Operation, Slot

__all__ = ["FOOTPRINTS", "Access", "Array", "accesses"]


class Access(NamedTuple):
    """Rows that are touched: so many `rows`, `size` bytes of each, `stride` bytes apart.

    With a size of 0, all from the address to the end of its array: where the data say which rows.
    """

    at: Any
    rows: int
    stride: int
    size: int
    writes: bool = False


class Array(NamedTuple):
    """An array of a slot: its name, its first byte and how many there are."""

    name: str
    start: int
    size: int


class _Memory:
    """Makes accesses to rows; to none where an array is not there."""

    def __init__(self, item: int) -> None:
        self.item = item
        target = current_target()
        self.vector, self.tile = target.vector_bytes, target.tile_rows
        self.panel = target.tile_vectors

    def rows(
        self, at: Any, count: int, stride: int, size: int, *, writes: bool = False
    ) -> list[Access]:
        """Rows of so many bytes."""
        if not isinstance(at, At) or at.slot == Slot.NONE or count <= 0 or size <= 0:
            return []
        return [Access(at, count, stride, size, writes)]

    def vectors(
        self, at: Any, count: int, stride: int, vectors: int, *, writes: bool = False
    ) -> list[Access]:
        """Rows of so many vectors."""
        return self.rows(at, count, stride, vectors * self.vector, writes=writes)

    def parts(self, at: Any, count: int, stride: int, k: int, parts: int) -> list[Access]:
        """Rows of so many elements or, each part of them for itself, of pairs of halves."""
        part = stride // max(1, parts)
        starts = [at + number * part for number in range(max(1, parts))]
        return [x for start in starts for x in self.rows(start, count, stride, k * self.item)]

    def anywhere(self, *places: Any, writes: bool = False) -> list[Access]:
        """All from each address on."""
        there = [at for at in places if isinstance(at, At) and at.slot != Slot.NONE]
        return [Access(at, 1, 0, 0, writes) for at in there]

    def stepped(self, q: Any, at: At, count: int, stride: int, vectors: int) -> list[Access]:
        """What an optimizer's step changes: parameters and their state, or sums."""
        found = self.vectors(at, count, stride, vectors, writes=True)
        if q.code < STORE:
            for number in range(1, state_arrays(q.code) + 1):
                state = at + number * q.state
                found += self.vectors(state, count, stride, vectors, writes=True)
            found += self.rows(q.hyper, 1, 0, HYPER_ROW * self.item)
        return found

    def lists(self, q: Any) -> list[Access]:
        """Lists of non-zeros: of any samples, or of the rows that the same share has listed."""
        if q.order.slot != Slot.NUMBERS:
            return self.anywhere(q.starts, q.cuts, q.columns, q.values, q.table)
        size = q.n_cuts * 2
        cuts = At(q.cuts.slot, q.order.offset // 8 * size, 0, q.order.turn // 8 * size)
        starts = At(q.starts.slot, q.order.offset, 0, q.order.turn)
        return [*self.rows(cuts, q.rows, size, size), *self.rows(starts, q.rows, 8, 8)]


Footprint = Callable[..., list[Access]]


def _gather(q: Any, m: _Memory) -> list[Access]:
    return [
        *m.rows(q.dst, q.rows, q.ldd, q.n * m.item, writes=True), *m.anywhere(q.x),
        *m.rows(q.order, q.rows, 8, 8), *m.rows(q.scale, 1, 0, 8),
    ]  # fmt: skip


def _list_rows(q: Any, m: _Memory) -> list[Access]:
    return [
        *m.rows(q.stage, min(q.rows, m.tile), q.ld_stage, q.n * m.item, writes=True),
        *m.anywhere(q.x), *m.rows(q.order, q.rows, 8, 8), *m.rows(q.scale, 1, 0, 8),
        *m.rows(q.cuts, q.rows, q.n_cuts * 2, q.n_cuts * 2, writes=True),
        *m.rows(q.starts, q.rows + 1, 8, 8), *_items(q, m, q.columns, 2),
        *_items(q, m, q.values, m.item),
    ]  # fmt: skip


def _items(q: Any, m: _Memory, items: At, size: int) -> list[Access]:
    """Return the room for the non-zeros of some rows: n items of each, one row behind the other."""
    row = q.n * size
    at = At(items.slot, q.starts.offset // 8 * row, 0, q.starts.turn // 8 * row)
    return m.rows(at, q.rows, row, row, writes=True)


def _forward(q: Any, m: _Memory, parts: int = 0) -> list[Access]:
    rows, length = q.tiles * m.tile, q.vectors
    slope = q.slope if q.code in SLOPE_CODES else None
    if hasattr(q, "ldw"):
        w = m.vectors(q.w, q.k, q.ldw, length)
    else:  # packed
        w = m.vectors(q.w, 1, 0, q.depth * length * max(1, parts))
    return [
        *m.vectors(q.c, rows, q.ldc, length, writes=True),
        *m.vectors(slope, rows, q.ldc, length, writes=True),
        *m.parts(q.a, rows, q.lda, q.k, parts), *w, *m.vectors(q.bias, 1, 0, length),
    ]  # fmt: skip


def _backward(q: Any, m: _Memory, parts: int = 0) -> list[Access]:
    rows, length = q.tiles * m.tile, q.vectors
    kept = None if q.code == ACTIVATIONS["identity"] else q.h
    if hasattr(q, "ldwt"):
        wt = m.vectors(q.wt, q.k, q.ldwt, length)
    else:  # packed
        wt = m.vectors(q.wt, 1, 0, q.k * length * max(1, parts))
        wt += m.vectors(q.zeros, 1, 0, min(length, m.panel))
    return [
        *m.vectors(q.e, rows, q.lde, length, writes=True), *m.parts(q.d, rows, q.ldd, q.k, parts),
        *wt, *m.vectors(kept, rows, q.lde, length),
    ]  # fmt: skip


def _update(q: Any, m: _Memory, parts: int = 0) -> list[Access]:
    rows, depth = q.tiles * m.tile, q.k * max(1, parts)
    if hasattr(q, "lda"):
        a, d = m.rows(q.a, q.k, q.lda, rows * m.item), m.vectors(q.d, q.k, q.ldd, q.vectors)
    else:  # packed
        a, d = m.rows(q.a, 1, 0, depth * rows * m.item), m.vectors(q.d, 1, 0, depth * q.vectors)
    return [*m.stepped(q, q.w, rows, q.ldw, q.vectors), *a, *d]


def _pack_columns_left(q: Any, m: _Memory, parts: int = 0) -> list[Access]:
    row = m.tile * m.item * max(1, parts)
    blocks, k = -(-q.n // m.tile), _pairs(q.k, parts)
    return [
        *m.rows(q.dst + q.first * row, blocks, q.depth * row, k * row, writes=True),
        *m.rows(q.src, q.k, q.lds, q.n * m.item),
    ]


def _pack_columns_right(q: Any, m: _Memory, parts: int = 0) -> list[Access]:
    row, k = m.panel * m.vector * max(1, parts), _pairs(q.k, parts)
    whole, rest = divmod(_padded(m, q.n) * max(1, parts), row)
    last = q.dst + (whole * q.depth * row + q.first * rest)
    return [
        *m.rows(q.dst + q.first * row, whole, q.depth * row, k * row, writes=True),
        *m.rows(last, 1, 0, k * rest, writes=True), *m.rows(q.src, q.k, q.lds, q.n * m.item),
    ]  # fmt: skip


def _pack_rows_right(q: Any, m: _Memory, parts: int = 0) -> list[Access]:
    found = m.rows(q.src, q.rows, q.lds, q.depth * m.item)
    count = min(_padded(m, q.rows) // m.vector, q.vectors - q.first)
    depth = _pairs(q.depth, parts) * max(1, parts)
    for number in range(q.first, q.first + count):
        panel, inside = divmod(number, m.panel)
        width = min(m.panel, q.vectors - panel * m.panel)
        at = q.dst + (panel * m.panel * depth + inside) * m.vector
        found += m.vectors(at, depth, width * m.vector, 1, writes=True)
    return found


def _split_rows_left(q: Any, m: _Memory, parts: int) -> list[Access]:
    return [
        *m.rows(q.dst, q.rows, q.ldd, q.ldd, writes=True),
        *m.rows(q.src, q.rows, q.lds, q.n * m.item),
    ]


def _pairs(k: int, parts: int) -> int:
    """Return the pairs of so many k, or as many where they are not split."""
    return (k + 1) // 2 if parts else k


_PACKED: dict[str, Footprint] = {
    "packed_forward": _forward, "packed_backward": _backward, "packed_update": _update,
    "pack_columns_left": _pack_columns_left,
    "pack_columns_right": _pack_columns_right, "pack_rows_right": _pack_rows_right,
}  # fmt: skip


def _add(q: Any, m: _Memory) -> list[Access]:
    pieces = [q.src + number * q.distance for number in range(q.pieces)]
    return [
        access for at in (q.dst, *pieces) for access in m.vectors(at, 1, 0, q.vectors, writes=True)
    ]


def _transpose(q: Any, m: _Memory) -> list[Access]:
    length = m.vector // m.item
    return [
        *m.vectors(q.dst, q.vectors * length, q.ldd, q.row_blocks, writes=True),
        *m.vectors(q.src, q.row_blocks * length, q.lds, q.vectors),
    ]


def _padded(m: _Memory, n: int) -> int:
    """Return the bytes of the whole vectors that hold n elements."""
    return -(-n * m.item // m.vector) * m.vector


def _loss(q: Any, m: _Memory, padded: bool = True) -> list[Access]:
    length = _padded(m, q.n) if padded else q.n * m.item
    targets = getattr(q, "t", None) or q.y
    return [
        *m.rows(q.d, q.rows, q.ldz, length, writes=True), *m.rows(q.z, q.rows, q.ldz, length),
        *m.rows(q.loss, q.rows, 8, 8, writes=True), *m.rows(q.correct, q.rows, 8, 8, writes=True),
        *m.rows(q.order, q.rows, 8, 8), *m.anywhere(targets, q.weight),
    ]  # fmt: skip


def _output(q: Any, m: _Memory, padded: bool = True) -> list[Access]:
    length = _padded(m, q.n) if padded else q.n * m.item
    return [
        *m.rows(q.out, q.rows, q.ldo, q.n * m.item, writes=True),
        *m.rows(q.z, q.rows, q.ldz, length, writes=padded),
    ]  # fmt: skip


_LAST: dict[str, Footprint] = {
    "softmax_labels": _loss, "softmax_targets": _loss, "elementwise_loss": _loss, "output": _output,
}  # fmt: skip


def _sparse_forward(q: Any, m: _Memory) -> list[Access]:
    return [
        *m.vectors(q.z, q.rows, q.ldz, q.vectors, writes=True), *m.vectors(q.bias, 1, 0, q.vectors),
        *m.rows(q.order, q.rows, 8, 8), *m.lists(q), *m.anywhere(q.w),
    ]  # fmt: skip


def _sparse_gradient(q: Any, m: _Memory) -> list[Access]:
    return [
        *m.anywhere(q.g, writes=True), *m.vectors(q.d, q.rows, q.ldd, q.vectors),
        *m.rows(q.order, q.rows, 8, 8), *m.lists(q),
    ]  # fmt: skip


def _by_feature(q: Any, m: _Memory) -> list[Access]:
    listed = q.listed + q.begin * q.ld_listed
    counts, before = (at + q.begin * 4 for at in (q.counts, q.before))
    return [
        *m.rows(counts, 1, 0, q.features * 4, writes=True), *m.rows(before, 1, 0, q.features * 4),
        *m.rows(listed, q.features, q.ld_listed, q.ld_listed, writes=True),
        *m.rows(q.order, q.rows, 8, 8), *m.rows(q.following, q.rows, 8, 8), *m.lists(q),
    ]  # fmt: skip


def _vector_forward(q: Any, m: _Memory) -> list[Access]:
    slope = q.slope if q.code in SLOPE_CODES else None
    return [
        *m.vectors(q.c, 1, 0, q.vectors, writes=True),
        *m.vectors(slope, 1, 0, q.vectors, writes=True), *m.rows(q.x, 1, 0, q.n * m.item),
        *m.vectors(q.w, q.n, q.ldw, q.vectors), *m.vectors(q.bias, 1, 0, q.vectors),
    ]  # fmt: skip


def _prefetch(q: Any, m: _Memory) -> list[Access]:
    return [*m.rows(q.order, 1, 0, 8), *m.lists(q)]


def _matrix(m: _Memory, at: Any, shape: tuple[int, int], strides: tuple[int, int]) -> list[Access]:
    """Return the accesses to a matrix of any strides."""
    (rows, columns), (down, across) = shape, strides
    if across == m.item or columns <= 1:
        return m.rows(at, rows, down, columns * m.item)
    if down == m.item or rows <= 1:
        return m.rows(at, columns, across, rows * m.item)
    return [x for j in range(columns) for x in m.rows(at + j * across, rows, down, m.item)]


def _product(q: Any, m: _Memory) -> list[Access]:
    return [
        *m.rows(q.c, q.rows, q.ldc, q.columns * m.item, writes=True),
        *_matrix(m, q.a, (q.rows, q.k), (q.lda, q.step_a)),
        *_matrix(m, q.b, (q.k, q.columns), (q.ldb, q.step_b)),
        *m.rows(q.bias, 1, 0, q.columns * m.item),
        *m.anywhere(q.room_a, q.room_b, writes=True),
    ]  # fmt: skip


def _finite(q: Any, m: _Memory) -> list[Access]:
    looked_at = m.anywhere(q.x)  # what a run is told
    if isinstance(q.rows, int):
        looked_at = m.rows(q.x, q.rows, q.ldx, q.columns * m.item)
    return [*m.rows(q.found, 1, 0, 8, writes=True), *looked_at]


FOOTPRINTS: dict[str, Footprint] = {
    "bias_update": lambda q, m: [
        *m.stepped(q, q.bias, 1, 0, q.vectors), *m.vectors(q.d, q.rows, q.ldd, q.vectors),
    ],
    "optimizer": lambda q, m: [
        *m.stepped(q, q.w, 1, 0, q.vectors), *m.vectors(q.g, 1, 0, q.vectors, writes=True),
    ],
    "dropout": lambda q, m: [
        *m.vectors(q.h, q.rows, q.ld, q.vectors, writes=True),
        *m.vectors(q.slope, q.rows, q.ld, q.vectors, writes=True),
        *m.rows(q.words, 1, 0, 8), *m.rows(q.scale, 1, 0, m.item),
    ],
    "penalties": lambda q, m: [
        *m.rows(q.totals, q.vectors, q.step, q.blocks * 8, writes=True),
        *m.vectors(q.w, q.blocks * BLOCK, q.ldw, q.vectors), *m.rows(q.coefficients, 1, 0, 16),
    ],
    "reduce_penalties": lambda q, m: [
        *m.rows(q.penalty, 1, 0, 8, writes=True), *m.rows(q.totals, 1, 0, q.count * 8),
    ],
    "gradient_squares": lambda q, m: [
        *m.rows(q.totals, 1, 0, q.blocks * 8, writes=True),
        *m.vectors(q.w, q.blocks * q.rows, q.ld, q.vectors),
        *m.vectors(q.g, q.blocks * q.rows, q.ld, q.vectors),
        *m.rows(q.hyper, 1, 0, HYPER_ROW * m.item),
    ],
    "clip": lambda q, m: [
        *m.rows(q.to, 1, 0, 2 * q.row_bytes, writes=True), *m.rows(q.hyper, 1, 0, 2 * q.row_bytes),
        *m.rows(q.squares, 1, 0, q.count * 8), *m.rows(q.limit, 1, 0, 8),
    ],
    "limit_columns": lambda q, m: [
        *m.vectors(q.w, q.rows, q.ldw, q.vectors, writes=True), *m.rows(q.limit, 1, 0, 8),
    ],
    "feature_update": lambda q, m: [
        *m.stepped(q, q.w, q.features, q.ldw, q.vectors),
        *m.vectors(q.sums, q.features, q.ldw, q.vectors),
        *m.rows(q.counts, 1, 0, q.features * 4), *m.rows(q.before, 1, 0, q.features * 4),
        *m.rows(q.listed, q.features, q.ld_listed, q.ld_listed), *m.anywhere(q.d),
    ],
    "vector_backward": lambda q, m: [
        *m.vectors(q.e, 1, 0, q.blocks, writes=True),
        *m.vectors(q.w, q.blocks * m.vector // m.item, q.ldw, q.vectors),
        *m.vectors(q.d, 1, 0, q.vectors), *m.vectors(q.h, 1, 0, q.blocks),
    ],
    "vector_update": lambda q, m: [
        *m.vectors(q.w, q.n, q.ldw, q.vectors, writes=True), *m.rows(q.x, 1, 0, q.n * m.item),
        *m.vectors(q.d, 1, 0, q.vectors),
    ],
    "step_row": lambda q, m: [
        *m.vectors(q.dst, 1, 0, q.vectors, writes=True), *m.vectors(q.src, 1, 0, q.vectors),
        *m.rows(q.hyper, 1, 0, 2 * m.item),
    ],
    "activate_rows": lambda q, m: [
        *m.rows(q.y, q.rows, q.ldy, q.columns * m.item, writes=True),
        *m.rows(q.slope, q.rows, q.lds, q.columns * m.item, writes=True),
        *m.rows(q.x, q.rows, q.ldx, q.columns * m.item),
    ],
    "optimizer_items": lambda q, m: m.anywhere(q.items),  # the arrays are where these say
    "matrix_product": _product, "finite": _finite, "forward": _forward, "backward": _backward,
    "transpose": _transpose, "add": _add, "update": _update, "vector_forward": _vector_forward,
    **_PACKED,
    **{
        f"{name}_{end}": partial(of, parts=parts)
        for parts, end in SPLIT.items()
        for name, of in [*_PACKED.items(), ("split_rows_left", _split_rows_left)]
    },
    **_LAST,
    **{f"{name}_of_rows": partial(of, padded=False) for name, of in _LAST.items()},
    **{f"gather_{kind}": _gather for kind in ("u8", "f32", "f64")},
    **{f"list_rows_{kind}": _list_rows for kind in ("u8", "f32", "f64")},
    **{f"sparse_forward_{kind}": _sparse_forward for kind in LISTS},
    **{f"sparse_gradient_{kind}": _sparse_gradient for kind in LISTS},
    **{f"by_feature_{kind}": _by_feature for kind in LISTS},
    **{f"prefetch_{kind}": _prefetch for kind in LISTS},
}  # fmt: skip


def accesses(operation: Operation, item: int) -> list[Access]:
    """Return what an operation reads and writes; `item` is the bytes of an element."""
    q = SimpleNamespace(**operation.named())
    return FOOTPRINTS[operation.kernel](q, _Memory(item))
