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
    at = access.at
    turn, row = (np.arange(count, dtype=np.int64) for count in (turns, access.rows))
    starts = (at.offset + step * at.step + turn[:, None] * at.turn + row * access.stride).ravel()
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
