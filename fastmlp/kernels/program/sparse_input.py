"""The first layer over non-zero inputs only.

There are two layouts of its W. Inference, a full batch and a single sample use it as it lies, row
by row. A mini-batch uses packed panels: groups of columns, each with rows of its own, packed before
a piece of an epoch and unpacked after it. A share owns whole panels, so that its part of the
largest matrix stays in its core's cache from step to step (where there are fewer panels than
shares, all take part in every panel: by samples forward, by rows in the update).
"""

from __future__ import annotations

from typing import NamedTuple

from ..emit.activations import ACTIVATIONS, SLOPE_CODES
from ..emit.optimizers import STORE
from .job import BLOCK, Job, Layer, Lists, Packed
from .operation import At, Share, Slot, Value
from .samples import Samples

__all__ = [
    "add_gradient",
    "apply_panels",
    "forward",
    "forward_panels",
    "limit_panels",
    "list_by_feature",
    "list_samples",
    "norms_of_panels",
    "update_panels",
]


def _lists(job: Job) -> Lists:
    assert job.lists is not None
    return job.lists


def _packed(job: Job) -> Packed:
    assert job.packed is not None
    return job.packed


def _activate(
    job: Job, share: Share, q: Layer, places: tuple[At, At], rows: Value, vectors: int
) -> None:
    """Apply the activation to rows of z where they lie, and write f'(z) if it is kept itself."""
    h, slope = places
    if q.code == ACTIVATIONS["identity"]:
        return
    share.add(
        "activate_rows", y=h, ldy=q.ld_h, slope=slope if q.code in SLOPE_CODES else At(Slot.NONE),
        lds=q.ld_h, x=h, ldx=q.ld_h, rows=rows, columns=vectors * job.vector // job.item,
        code=q.code,
    )  # fmt: skip


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
    """Take samples through the first layer, q."""
    lists = _lists(job)
    order = samples.at(At(Slot.NUMBERS), 8) if lists.passing else samples.of(Slot.ROWS)
    share.add(
        f"sparse_forward_{lists.kind}", z=samples.at(q.h, q.ld_h), ldz=q.ld_h, bias=q.bias,
        order=order, **lists.where, at_once=lists.at_once, w=q.w, ldw=q.ld_w, rows=samples.rows,
        vectors=q.vectors_out,
    )  # fmt: skip
    places = samples.at(q.h, q.ld_h), samples.at(q.slope, q.ld_h)
    _activate(job, share, q, places, samples.rows, q.vectors_out)


def add_gradient(
    job: Job, share: Share, samples: Samples, target: At, d: At, *, at_once: int = 1
) -> None:
    """Add the gradient of the first layer's W to `target`, from rows of deltas at `d`, `at_once`
    blocks at a time.
    """
    q, lists = job.layers[0], _lists(job)
    share.add(
        f"sparse_gradient_{lists.kind}", g=target, ldg=q.ld_w, d=d, ldd=q.ld_h,
        order=samples.of(Slot.ROWS), **lists.where, at_once=at_once, rows=samples.count,
        vectors=q.vectors_out,
    )  # fmt: skip


class _Panel(NamedTuple):
    first: int  # its first vector
    width: int  # in vectors
    w: At

    def rows(self, job: Job, i0: int) -> At:
        """Return the address of its row i0."""
        return self.w + i0 * self.width * job.vector


def _panels(job: Job, number: int) -> tuple[list[_Panel], int, int]:
    """Return a share's panels, and which of how many parts of them it has."""
    q, count = job.layers[0], _packed(job).count
    first, last, part, parts = 0, count, number, job.shares
    if count >= job.shares:
        (first, last), part, parts = job.part(count, number), 0, 1
    panels = []
    for p in range(first, last):
        v0, v1 = q.vectors_out * p // count, q.vectors_out * (p + 1) // count
        at = At(Slot.PACKED, v0 * q.blocks * BLOCK * job.vector)
        panels.append(_Panel(v0, v1 - v0, at))
    return panels, part, parts


def _rows(job: Job, number: int) -> tuple[int, int]:
    """Return the rows of its panels that are a share's: all, or its part of them."""
    shared = _packed(job).count < job.shares
    return job.rows_of(0, number) if shared else (0, job.layers[0].blocks * BLOCK)


def forward_panels(job: Job, share: Share, number: int, samples: Samples) -> None:
    """Take a share's panels over all samples of a chunk."""
    q, lists = job.layers[0], _lists(job)
    panels, part, parts = _panels(job, number)
    r0, r1 = samples.count * part // parts, samples.count * (part + 1) // parts
    if r1 <= r0:
        return
    for panel in panels:
        at, length = panel.first * job.vector, panel.width * job.vector
        h, slope = (place + (r0 * q.ld_h + at) for place in (q.h, q.slope))
        share.add(
            f"sparse_forward_{lists.kind}", z=h, ldz=q.ld_h,
            bias=q.bias + at, order=samples.of(Slot.ROWS) + r0 * 8, **lists.where,
            at_once=lists.at_once, w=panel.w, ldw=length, rows=r1 - r0, vectors=panel.width,
        )  # fmt: skip
        _activate(job, share, q, (h, slope), r1 - r0, panel.width)


def list_by_feature(job: Job, share: Share, number: int, samples: Samples, following: At) -> None:
    """List in which samples of a chunk each feature of a share's blocks is not zero."""
    q, lists, packed = job.layers[0], _lists(job), _packed(job)
    first, last = packed.blocks[number], packed.blocks[number + 1]
    i0, i1 = (min(block * lists.block, q.blocks * BLOCK) for block in (first, last))
    counts = At(Slot.COUNTS)
    for r in range(0, samples.count, packed.portion):
        share.add(
            f"by_feature_{lists.kind}", counts=counts + packed.ld_counts, before=counts,
            listed=At(Slot.LISTED), ld_listed=packed.ld_listed, ldd=q.ld_h, first_row=r,
            order=samples.of(Slot.ROWS) + r * 8, **lists.where, first=first, last=last,
            rows=min(packed.portion, samples.count - r), begin=i0, features=i1 - i0,
            following=following + r * 8,
        )  # fmt: skip
        counts += packed.ld_counts


def _penalties(job: Job, share: Share, panel: _Panel, i0: int, i1: int) -> None:
    """Note the penalties of a panel's rows before they change."""
    q = job.layers[0]
    if job.regularizing.penalty:
        share.add(
            "penalties", totals=At(Slot.PENALTIES, (panel.first * q.blocks + i0 // BLOCK) * 8),
            step=q.blocks * 8, w=panel.rows(job, i0), ldw=panel.width * job.vector,
            vectors=panel.width, blocks=(i1 - i0) // BLOCK, coefficients=At(Slot.LIMITS),
        )  # fmt: skip


def update_panels(job: Job, share: Share, number: int, count: int, code: int) -> None:
    """Sum the gradient of a share's panels over the `count` samples listed, and do with it what
    `code` says.

    Where it is stepped with, samples are taken in portions whose deltas stay in a cache; the
    panel's own gradient holds the sums from one to the next.
    """
    q, packed = job.layers[0], _packed(job)
    (panels, _, _), (i0, i1) = _panels(job, number), _rows(job, number)
    if i1 <= i0:
        return
    portions = -(-count // packed.portion)
    before_last = 0 if code >= STORE else portions - 1
    counts = At(Slot.COUNTS, i0 * 4)
    for panel in panels:
        w, length = panel.rows(job, i0), panel.width * job.vector
        gradient = w + packed.gradient
        if code < STORE:
            _penalties(job, share, panel, i0, i1)

        def features(
            first: int, last: int, sums: At, code: int, w: At,
            panel: _Panel = panel, length: int = length,
        ) -> None:  # fmt: skip
            share.add(
                "feature_update", w=w, ldw=length, sums=sums, d=q.d + panel.first * job.vector,
                counts=counts + last * packed.ld_counts, before=counts + first * packed.ld_counts,
                listed=At(Slot.LISTED, i0 * packed.ld_listed), ld_listed=packed.ld_listed,
                features=i1 - i0, vectors=panel.width, code=code, state=packed.state,
                hyper=job.hyper(),
            )  # fmt: skip

        sums = At(Slot.NONE)
        for portion in range(before_last):
            features(portion, portion + 1, sums, STORE, gradient)
            sums = gradient
        features(before_last, portions, sums, code, w if code < STORE else gradient)


def apply_panels(job: Job, share: Share, number: int, hyper: At) -> None:
    """Take the optimizer's step for a share's panels from their summed gradient."""
    packed = _packed(job)
    (panels, _, _), (i0, i1) = _panels(job, number), _rows(job, number)
    for panel in panels:
        _penalties(job, share, panel, i0, i1)
        w = panel.rows(job, i0)
        share.add(
            "optimizer", w=w, g=w + packed.gradient, vectors=(i1 - i0) * panel.width,
            code=job.optimizer, state=packed.state, hyper=hyper,
        )  # fmt: skip


def norms_of_panels(job: Job, share: Share, number: int) -> None:
    """Note the sums of squares of the gradient of a share's panels, each vector's own."""
    q, packed = job.layers[0], _packed(job)
    (panels, _, _), (i0, i1) = _panels(job, number), _rows(job, number)
    for panel in panels:
        for j in range(panel.width):
            w = panel.rows(job, i0) + j * job.vector
            place = (panel.first + j) * q.blocks + i0 // BLOCK
            share.add(
                "gradient_squares", totals=At(Slot.NORMS, place * 8), w=w, g=w + packed.gradient,
                ld=panel.width * job.vector, vectors=1, rows=BLOCK, blocks=(i1 - i0) // BLOCK,
                hyper=job.hyper(),
            )  # fmt: skip


def limit_panels(job: Job, share: Share, number: int) -> None:
    """Bound the columns of a share's panels; what all take part in, the first of them does."""
    q = job.layers[0]
    panels, part, _ = _panels(job, number)
    if part == 0:
        for panel in panels:
            share.add(
                "limit_columns", w=panel.w, ldw=panel.width * job.vector, rows=q.blocks * BLOCK,
                vectors=panel.width, limit=At(Slot.LIMITS, 24),
            )  # fmt: skip
