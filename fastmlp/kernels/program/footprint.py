"""What every kernel reads and writes, and a proof that programs keep to their memory.

`FOOTPRINTS` has an entry for every kernel that programs call. `faults` goes through phases and
says where (a) an access lies outside of every array, (b) two shares of a phase touch the same bytes
and one of them writes. Nothing of this runs at training time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ..emit.activations import ACTIVATIONS, SLOPES
from ..emit.optimizers import HYPER_ROW, STORE, state_arrays
from ..emit.target import current_target
from .footprint_calls import CALLS
from .job import BLOCK
from .operation import At, Operation, Phase, Share, Slot

__all__ = ["FOOTPRINTS", "Access", "Array", "accesses", "faults"]

_WRITE_SLOPES = frozenset(ACTIVATIONS[name] for name in SLOPES)


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


Footprint = Callable[[Any, _Memory], list[Access]]


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


def _forward(q: Any, m: _Memory) -> list[Access]:
    rows, length = q.tiles * m.tile, q.vectors
    slope = q.slope if q.code in _WRITE_SLOPES else None
    return [
        *m.vectors(q.c, rows, q.ldc, length, writes=True),
        *m.vectors(slope, rows, q.ldc, length, writes=True),
        *m.rows(q.a, rows, q.lda, q.k * m.item), *m.vectors(q.w, q.k, q.ldw, length),
        *m.vectors(q.bias, 1, 0, length),
    ]  # fmt: skip


def _backward(q: Any, m: _Memory) -> list[Access]:
    rows, length = q.tiles * m.tile, q.vectors
    kept = None if q.code == ACTIVATIONS["identity"] else q.h
    return [
        *m.vectors(q.e, rows, q.lde, length, writes=True),
        *m.rows(q.d, rows, q.ldd, q.k * m.item), *m.vectors(q.wt, q.k, q.ldwt, length),
        *m.vectors(kept, rows, q.lde, length),
    ]  # fmt: skip


def _update(q: Any, m: _Memory) -> list[Access]:
    rows = q.tiles * m.tile
    return [
        *m.stepped(q, q.w, rows, q.ldw, q.vectors), *m.rows(q.a, q.k, q.lda, rows * m.item),
        *m.vectors(q.d, q.k, q.ldd, q.vectors),
    ]  # fmt: skip


def _bias_update(q: Any, m: _Memory) -> list[Access]:
    return [*m.stepped(q, q.bias, 1, 0, q.vectors), *m.vectors(q.d, q.rows, q.ldd, q.vectors)]


def _optimizer(q: Any, m: _Memory) -> list[Access]:
    return [*m.stepped(q, q.w, 1, 0, q.vectors), *m.vectors(q.g, 1, 0, q.vectors, writes=True)]


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


def _map_activation(q: Any, m: _Memory) -> list[Access]:
    slope = q.slope if q.always or q.code in _WRITE_SLOPES else None
    return [
        *m.vectors(q.y, q.rows, q.ld, q.vectors, writes=True),
        *m.vectors(slope, q.rows, q.ld, q.vectors, writes=True),
        *m.vectors(q.x, q.rows, q.ld, q.vectors),
    ]


def _padded(m: _Memory, n: int) -> int:
    """Return the bytes of the whole vectors that hold n elements."""
    return -(-n * m.item // m.vector) * m.vector


def _loss(q: Any, m: _Memory) -> list[Access]:
    length = _padded(m, q.n)
    targets = getattr(q, "t", None) or q.y
    return [
        *m.rows(q.d, q.rows, q.ldz, length, writes=True), *m.rows(q.z, q.rows, q.ldz, length),
        *m.rows(q.loss, q.rows, 8, 8, writes=True), *m.rows(q.correct, q.rows, 8, 8, writes=True),
        *m.rows(q.order, q.rows, 8, 8), *m.anywhere(targets, q.weight),
    ]  # fmt: skip


def _output(q: Any, m: _Memory) -> list[Access]:
    return [
        *m.rows(q.out, q.rows, q.ldo, q.n * m.item, writes=True),
        *m.rows(q.z, q.rows, q.ldz, _padded(m, q.n), writes=True),
    ]


def _dropout(q: Any, m: _Memory) -> list[Access]:
    return [
        *m.vectors(q.h, q.rows, q.ld, q.vectors, writes=True),
        *m.vectors(q.slope, q.rows, q.ld, q.vectors, writes=True),
        *m.rows(q.words, 1, 0, 8), *m.rows(q.scale, 1, 0, m.item),
    ]  # fmt: skip


def _penalties(q: Any, m: _Memory) -> list[Access]:
    return [
        *m.rows(q.totals, q.vectors, q.step, q.blocks * 8, writes=True),
        *m.vectors(q.w, q.blocks * BLOCK, q.ldw, q.vectors), *m.rows(q.coefficients, 1, 0, 16),
    ]  # fmt: skip


def _reduce_penalties(q: Any, m: _Memory) -> list[Access]:
    return [*m.rows(q.penalty, 1, 0, 8, writes=True), *m.rows(q.totals, 1, 0, q.count * 8)]


def _gradient_squares(q: Any, m: _Memory) -> list[Access]:
    rows = q.blocks * q.rows
    return [
        *m.rows(q.totals, 1, 0, q.blocks * 8, writes=True),
        *m.vectors(q.w, rows, q.ld, q.vectors), *m.vectors(q.g, rows, q.ld, q.vectors),
        *m.rows(q.hyper, 1, 0, HYPER_ROW * m.item),
    ]  # fmt: skip


def _clip(q: Any, m: _Memory) -> list[Access]:
    return [
        *m.rows(q.to, 1, 0, 2 * q.row_bytes, writes=True), *m.rows(q.hyper, 1, 0, 2 * q.row_bytes),
        *m.rows(q.squares, 1, 0, q.count * 8), *m.rows(q.limit, 1, 0, 8),
    ]  # fmt: skip


def _limit_columns(q: Any, m: _Memory) -> list[Access]:
    return [*m.vectors(q.w, q.rows, q.ldw, q.vectors, writes=True), *m.rows(q.limit, 1, 0, 8)]


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


def _feature_update(q: Any, m: _Memory) -> list[Access]:
    return [
        *m.stepped(q, q.w, q.features, q.ldw, q.vectors),
        *m.vectors(q.sums, q.features, q.ldw, q.vectors),
        *m.rows(q.counts, 1, 0, q.features * 4), *m.rows(q.before, 1, 0, q.features * 4),
        *m.rows(q.listed, q.features, q.ld_listed, q.ld_listed), *m.anywhere(q.d),
    ]  # fmt: skip


def _vector_forward(q: Any, m: _Memory) -> list[Access]:
    slope = q.slope if q.code in _WRITE_SLOPES else None
    return [
        *m.vectors(q.c, 1, 0, q.vectors, writes=True),
        *m.vectors(slope, 1, 0, q.vectors, writes=True), *m.rows(q.x, 1, 0, q.n * m.item),
        *m.vectors(q.w, q.n, q.ldw, q.vectors), *m.vectors(q.bias, 1, 0, q.vectors),
    ]  # fmt: skip


def _vector_backward(q: Any, m: _Memory) -> list[Access]:
    rows = q.blocks * m.vector // m.item
    return [
        *m.vectors(q.e, 1, 0, q.blocks, writes=True), *m.vectors(q.w, rows, q.ldw, q.vectors),
        *m.vectors(q.d, 1, 0, q.vectors), *m.vectors(q.h, 1, 0, q.blocks),
    ]  # fmt: skip


def _vector_update(q: Any, m: _Memory) -> list[Access]:
    return [
        *m.vectors(q.w, q.n, q.ldw, q.vectors, writes=True), *m.rows(q.x, 1, 0, q.n * m.item),
        *m.vectors(q.d, 1, 0, q.vectors),
    ]  # fmt: skip


def _step_row(q: Any, m: _Memory) -> list[Access]:
    return [
        *m.vectors(q.dst, 1, 0, q.vectors, writes=True), *m.vectors(q.src, 1, 0, q.vectors),
        *m.rows(q.hyper, 1, 0, 2 * m.item),
    ]  # fmt: skip


def _prefetch(q: Any, m: _Memory) -> list[Access]:
    return [*m.rows(q.order, 1, 0, 8), *m.lists(q)]


FOOTPRINTS: dict[str, Footprint] = {
    "forward": _forward, "map_activation": _map_activation, "backward": _backward,
    "transpose": _transpose, "add": _add, "softmax_labels": _loss, "softmax_targets": _loss,
    "elementwise_loss": _loss, "output": _output, "penalties": _penalties,
    "reduce_penalties": _reduce_penalties, "update": _update, "bias_update": _bias_update,
    "optimizer": _optimizer, "feature_update": _feature_update, "vector_forward": _vector_forward,
    "vector_backward": _vector_backward, "vector_update": _vector_update, "step_row": _step_row,
    "dropout": _dropout, "gradient_squares": _gradient_squares, "clip": _clip,
    "limit_columns": _limit_columns, **CALLS,
    **{f"gather_{kind}": _gather for kind in ("u8", "f32", "f64")},
    **{f"list_rows_{kind}": _list_rows for kind in ("u8", "f32", "f64")},
    **{f"sparse_forward_{kind}": _sparse_forward for kind in ("codes", "values")},
    **{f"sparse_gradient_{kind}": _sparse_gradient for kind in ("codes", "values")},
    **{f"by_feature_{kind}": _by_feature for kind in ("codes", "values")},
    **{f"prefetch_{kind}": _prefetch for kind in ("codes", "values")},
}  # fmt: skip


def accesses(operation: Operation, item: int) -> list[Access]:
    """Return what an operation reads and writes; `item` is the bytes of an element."""
    q = SimpleNamespace(**operation.named())
    return FOOTPRINTS[operation.kernel](q, _Memory(item))


Spans = np.ndarray  # (n, 2): first bytes, and those behind the last


def _spans(access: Access, step: int, turns: int, arrays: Sequence[Array]) -> Spans:
    """Return the bytes that an access touches in a step, in all turns."""
    at = access.at
    first = at.offset + step * at.step
    starts = (
        first + np.arange(turns)[:, None] * at.turn + np.arange(access.rows) * access.stride
    ).ravel()
    if access.size:
        return np.stack([starts, starts + access.size], axis=1)
    ends = [max((a.start + a.size for a in arrays if a.start <= s), default=s) for s in starts]
    return np.stack([starts, np.array(ends)], axis=1)


def _touched(
    share: Share, item: int, step: int, arrays: Mapping[Slot, Sequence[Array]]
) -> Iterator[tuple[str, Slot, bool, Spans]]:
    for loop in share.loops:
        for operation in loop.operations if loop.turns else ():
            for access in accesses(operation, item):
                slot = access.at.slot
                spans = _spans(access, step, loop.turns, arrays.get(slot, ()))
                yield operation.kernel, slot, access.writes, spans


def _outside(spans: Spans, arrays: Sequence[Array]) -> Spans:
    """Return the spans that do not lie in one array with the first one."""
    first = spans[0, 0]
    for array in arrays:
        start, end = array.start, array.start + array.size
        if start <= first and (first < end or start == end == first):
            return spans[(spans[:, 0] < start) | (spans[:, 1] > end)]
    return spans


def _joined(parts: Sequence[Spans]) -> Spans:
    """Return spans in order, those that touch made one."""
    spans = np.concatenate(parts)
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reach = np.maximum.accumulate(spans[:, 1])
    begins = np.append(True, spans[1:, 0] > reach[:-1])
    ends = np.append(np.flatnonzero(begins[1:]), len(spans) - 1)
    return np.stack([spans[begins, 0], reach[ends]], axis=1)


def _meet(a: Spans, b: Spans) -> bool:
    """Tell whether two lists of joined spans have a byte in common."""
    place = np.searchsorted(b[:, 1], a[:, 0], side="right")
    found = place < len(b)
    return bool((b[place[found], 0] < a[found, 1]).any())


def faults(
    phases: Sequence[Phase], item: int, arrays: Mapping[Slot, Sequence[Array]], steps: Sequence[int]
) -> list[str]:
    """Return what is wrong with some phases, a line each; nothing where all is well.

    Parameters
    ----------
    phases : sequence of Phase
    item : int
        Bytes of an element.
    arrays : mapping
        The arrays of every slot; bytes are counted from the slot's base.
    steps : sequence of int
        That are looked at: addresses move evenly, so the first and the last one tell all.
    """
    found = []
    for phase in phases:
        for step in steps:
            read, written = [], []
            for number, share in enumerate(phase.shares):
                reads: dict[Slot, list[Spans]] = defaultdict(list)
                writes: dict[Slot, list[Spans]] = defaultdict(list)
                for kernel, slot, is_written, spans in _touched(share, item, step, arrays):
                    for first, last in _outside(spans, arrays.get(slot, ()))[:1]:
                        found.append(
                            f"{phase.name}, share {number}: {kernel} touches bytes {first} to "
                            f"{last} of {slot.name}, in none of its arrays"
                        )
                    (writes if is_written else reads)[slot].append(spans)
                both = {
                    slot: [*reads.get(slot, ()), *writes.get(slot, ())]
                    for slot in {*reads, *writes}
                }
                read.append({slot: _joined(parts) for slot, parts in both.items()})
                written.append({slot: _joined(parts) for slot, parts in writes.items()})
            for one, other in permutations(range(len(phase.shares)), 2):
                found += [
                    f"{phase.name}: share {one} writes what share {other} touches of {slot.name}"
                    for slot, spans in written[one].items()
                    if slot in read[other] and _meet(spans, read[other][slot])
                ]
    return found
