"""The first layer over non-zero inputs only.

There are two layouts of its W. Inference, a full batch and a single sample use it as it lies, row
by row. A mini-batch uses packed panels: groups of columns, each with rows of its own, packed before
a piece of an epoch and unpacked after it. A share owns whole panels, so that its part of the
largest matrix stays in its core's cache from step to step (where there are fewer panels than
shares, all take part in every panel: by samples forward, by rows in the update).
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ..emit.activations import ACTIVATIONS, SLOPE_CODES
from ..emit.optimizers import STORE
from .job import BLOCK, Job, Layer, Lists, Packed
from .operation import NOWHERE, At, Share, Slot, cut
from .samples import Samples

__all__ = [
    "Piece",
    "add_gradient",
    "columns",
    "forward",
    "forward_panels",
    "list_by_feature",
    "list_samples",
    "pieces",
    "update_panel",
]


def _lists(job: Job) -> Lists:
    assert job.lists is not None
    return job.lists


def _packed(job: Job) -> Packed:
    assert job.packed is not None
    return job.packed


def list_samples(job: Job, share: Share, samples: Samples) -> None:
    """List the non-zeros of samples on their way, in the places of their rows."""
    q, lists = job.layers[0], _lists(job)
    starts, cuts = (At(slot) for slot in (Slot.INDEX_STARTS, Slot.INDEX_CUTS))
    share.add(
        f"list_rows_{job.input}", columns=At(Slot.INDEX_COLUMNS),
        values=At(Slot.INDEX_VALUES), cuts=samples.at(cuts, lists.n_cuts * 2),
        starts=samples.at(starts, 8), stage=samples.at(q.a, q.ld_a), ld_stage=q.ld_a,
        block=lists.block, n_cuts=lists.n_cuts, x=At(Slot.X), ldx=At(Slot.LD_X),
        order=samples.of(Slot.ROWS), n=q.n_in, rows=samples.rows, scale=At(Slot.SCALE),
    )  # fmt: skip


def forward(job: Job, share: Share, q: Layer, samples: Samples) -> None:
    """Take samples through the first layer, q: sums, then the activation where they lie, and
    f'(z) if it is kept itself.
    """
    lists, h = _lists(job), samples.at(q.h, q.ld_h)
    order = samples.at(At(Slot.NUMBERS), 8) if lists.passing else samples.of(Slot.ROWS)
    share.add(
        f"sparse_forward_{lists.kind}", z=h, ldz=q.ld_h, bias=q.bias, order=order, **lists.where,
        at_once=lists.at_once, w=q.w, ldw=q.ld_w, rows=samples.rows, vectors=q.vectors_out,
    )  # fmt: skip
    if q.code != ACTIVATIONS["identity"]:
        slope = samples.at(q.slope, q.ld_h) if q.code in SLOPE_CODES else NOWHERE
        share.add(
            "activate_rows", y=h, ldy=q.ld_h, slope=slope, lds=q.ld_h, x=h, ldx=q.ld_h,
            rows=samples.rows, columns=q.vectors_out * job.vector // job.item, code=q.code,
        )  # fmt: skip


def add_gradient(job: Job, share: Share, samples: Samples, target: At, d: At) -> None:
    """Add the gradient of the first layer's W to `target`, from rows of deltas at `d`."""
    q, lists = job.layers[0], _lists(job)
    share.add(
        f"sparse_gradient_{lists.kind}", g=target, ldg=q.ld_w, d=d, ldd=q.ld_h,
        order=samples.of(Slot.ROWS), **lists.where, at_once=lists.at_once,
        rows=samples.count, vectors=q.vectors_out,
    )  # fmt: skip


class Piece(NamedTuple):
    """Rows of columns of a W that are a share's own: of a panel, or of all columns as they lie."""

    w: At  # its first row
    gradient: At
    ld: int  # bytes from row to row
    first: int  # which vector of W's rows is its first
    vectors: int
    rows: tuple[int, int]  # its first row, and the one behind its last
    state: int  # bytes from a weight to the optimizer's state of it
    together: int  # vectors whose squares are summed together

    def slot(self, q: Layer, vector: int = 0) -> int:
        """Return where one of its vectors is in tables of sums by vectors and blocks of rows."""
        return q.first_slot + (self.first + vector) * q.blocks + self.rows[0] // BLOCK


def pieces(job: Job, q: Layer, t: int) -> list[Piece]:
    """Return what of a layer's W is a share's own: panels, or rows as they lie; those of a wide one
    are so few at a time that they are copied from a cache.
    """
    packed, (i0, i1) = job.packed, job.rows_of(q, t)
    found = []
    if q.number == 0 and packed is not None:
        if packed.count >= job.shares:
            i0, i1 = 0, q.blocks * BLOCK
        for first, panel in _panels(job, t)[0] if i1 > i0 else ():
            ld, n = panel.ld_w, panel.vectors_out
            w = panel.w + i0 * ld
            found.append(Piece(w, w + packed.gradient, ld, first, n, (i0, i1), packed.state, 1))
        return found
    n, at_once = q.vectors_out, q.wide.rows if q.wide else max(1, i1 - i0)
    for i in range(i0, i1, at_once):
        w, rows = q.w + i * q.ld_w, (i, min(i + at_once, i1))
        found.append(Piece(w, job.gradient_of(w), q.ld_w, 0, n, rows, job.n_bytes, n))
    return found


def columns(job: Job, q: Layer, t: int) -> list[Layer]:
    """Return the layer with only the columns that are a share's own."""
    if q.number == 0 and job.packed is not None:
        panels, part, _ = _panels(job, t)  # what all take part in, the first of them does
        return [panel for _, panel in panels if part == 0]
    v0, v1 = job.part(q.vectors_out, t)
    return [q.part(v0, v1, job.vector)] if v1 > v0 else []  # mutant >=: a part of no columns


def _panels(job: Job, number: int) -> tuple[list[tuple[int, Layer]], int, int]:
    """Return a share's panels, their first vector and the layer with only their columns, and which
    of how many parts of them it has.
    """
    q, count = job.layers[0], _packed(job).count
    first, last, part, parts = 0, count, number, job.shares
    if count >= job.shares:
        (first, last), part, parts = job.part(count, number), 0, 1
    panels = []
    for p in range(first, last):
        v0, v1 = cut(q.vectors_out, count, p)
        w = At(Slot.PACKED, v0 * q.blocks * BLOCK * job.vector)
        panel = replace(q.part(v0, v1, job.vector), w=w, ld_w=(v1 - v0) * job.vector)
        panels.append((v0, panel))
    return panels, part, parts


def forward_panels(job: Job, share: Share, number: int, samples: Samples) -> None:
    """Take a share's panels over all samples of a chunk."""
    panels, part, parts = _panels(job, number)
    r0, r1 = cut(samples.count, parts, part)
    if r1 <= r0:
        return
    for _, panel in panels:
        forward(job, share, panel, samples.part(r0, r1))


def list_by_feature(job: Job, share: Share, number: int, samples: Samples) -> None:
    """List in which samples of a chunk each feature of a share's blocks is not zero."""
    q, lists, packed = job.layers[0], _lists(job), _packed(job)
    first, last = packed.blocks[number], packed.blocks[number + 1]
    i0, i1 = (min(block * lists.block, q.blocks * BLOCK) for block in (first, last))
    counts = At(Slot.COUNTS)
    for r in range(0, samples.count, packed.portion):
        order = samples.of(Slot.ROWS) + r * 8
        share.add(
            f"by_feature_{lists.kind}", counts=counts + packed.ld_counts, before=counts,
            listed=At(Slot.LISTED), ld_listed=packed.ld_listed, ldd=q.ld_h, first_row=r,
            order=order, **lists.where, first=first, last=last, begin=i0, features=i1 - i0,
            rows=min(packed.portion, samples.count - r), following=order + samples.count * 8,
        )  # fmt: skip
        counts += packed.ld_counts


def update_panel(job: Job, share: Share, piece: Piece, count: int, code: int) -> None:
    """Sum the gradient of a share's part of a panel over the `count` samples listed, and do with it
    what `code` says.

    Where it is stepped with, samples are taken in portions whose deltas stay in a cache; the
    panel's own gradient holds the sums from one to the next.
    """
    q, packed, (i0, i1) = job.layers[0], _packed(job), piece.rows
    portions = -(-count // packed.portion)
    before_last = 0 if code >= STORE else portions - 1
    counts = At(Slot.COUNTS, i0 * 4)

    def features(first: int, last: int, sums: At, code: int, w: At) -> None:
        share.add(
            "feature_update", w=w, ldw=piece.ld, sums=sums, d=q.d + piece.first * job.vector,
            counts=counts + last * packed.ld_counts, before=counts + first * packed.ld_counts,
            listed=At(Slot.LISTED, i0 * packed.ld_listed), ld_listed=packed.ld_listed,
            features=i1 - i0, vectors=piece.vectors, code=code, state=packed.state,
            hyper=job.hyper(),
        )  # fmt: skip

    sums = NOWHERE
    for portion in range(before_last):
        features(portion, portion + 1, sums, STORE, piece.gradient)
        sums = piece.gradient
    features(before_last, portions, sums, code, piece.w if code < STORE else piece.gradient)
