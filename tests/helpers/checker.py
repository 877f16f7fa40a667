"""A proof that programs keep to their memory.

`faults` goes through phases and says where (a) an access lies outside of every array, (b) two
shares of a phase touch the same bytes and one of them writes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations

import numpy as np
from footprint import Access, Array, accesses

from fastmlp.kernels.program.operation import Phase, Share, Slot

Spans = np.ndarray  # (n, 2): first bytes, and those behind the last


def _spans(access: Access, step: int, turns: int, arrays: Sequence[Array]) -> Spans:
    """Return the bytes that an access touches in a step, in all turns."""
    at, rows, size = access.at, access.rows, access.size
    if access.stride == size:  # without a gap
        rows, size = 1, rows * size
    turn, row = np.arange(turns, dtype=np.int64), np.arange(rows, dtype=np.int64)
    spans = np.empty((turns * rows, 2), np.int64)
    starts, ends = spans[:, 0], spans[:, 1]
    starts[:] = (turn[:, None] * at.turn + row * access.stride).ravel()
    starts += at.offset + step * at.step
    if size:
        ends[:] = starts + size
    else:
        behind = [(array.start, array.start + array.size) for array in arrays]
        ends[:] = [max((end for start, end in behind if start <= s), default=s) for s in starts]
    return spans


def _touched(
    share: Share, item: int, steps: Sequence[int], arrays: Mapping[Slot, Sequence[Array]]
) -> Iterator[tuple[str, Slot, bool, list[Spans]]]:
    """Yield what a share touches, the bytes in each of the steps."""
    for loop in share.loops:
        for operation in loop.operations if loop.turns else ():
            for access in accesses(operation, item):
                slot = access.at.slot
                spans = [_spans(access, step, loop.turns, arrays.get(slot, ())) for step in steps]
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
    behind_a_gap = np.flatnonzero(spans[1:, 0] > reach[:-1])
    joined = np.empty((len(behind_a_gap) + 1, 2), np.int64)
    joined[0, 0], joined[1:, 0] = spans[0, 0], spans[behind_a_gap + 1, 0]
    joined[:-1, 1], joined[-1, 1] = reach[behind_a_gap], reach[-1]
    return joined


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
        touched = [list(_touched(share, item, steps, arrays)) for share in phase.shares]
        for turn in range(len(steps)):
            read, written = [], []
            for number, accesses_of_share in enumerate(touched):
                both: dict[Slot, list[Spans]] = defaultdict(list)
                writes: dict[Slot, list[Spans]] = defaultdict(list)
                for kernel, slot, is_written, spans in accesses_of_share:
                    for first, last in _outside(spans[turn], arrays.get(slot, ()))[:1]:
                        found.append(
                            f"{phase.name}, share {number}: {kernel} touches bytes {first} to "
                            f"{last} of {slot.name}, in none of its arrays"
                        )
                    both[slot].append(spans[turn])
                    if is_written:
                        writes[slot].append(spans[turn])
                read.append({slot: _joined(parts) for slot, parts in both.items()})
                written.append({slot: _joined(parts) for slot, parts in writes.items()})
            for one, other in permutations(range(len(phase.shares)), 2):
                found += [
                    f"{phase.name}: share {one} writes what share {other} touches of {slot.name}"
                    for slot, spans in written[one].items()
                    if slot in read[other] and _meet(spans, read[other][slot])
                ]
    return found
