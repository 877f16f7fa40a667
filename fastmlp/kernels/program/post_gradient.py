"""What follows once a batch's whole gradient is there: its norm, the optimizer's step, bounds.

Most steps have none of this: the optimizer is applied where the gradient is summed. Only where the
gradient of a batch is summed in pieces, or something has to know the whole of it, are there phases
after the others: norms (where the gradient is clipped), the step, bounds and copies (where the
weights are bounded).
"""

from __future__ import annotations

from ..emit.optimizers import HYPER_ROW, STORE
from .job import BLOCK, Job, Layer
from .operation import NOWHERE, At, Phase, Share, Slot
from .sparse_input import Piece, columns, pieces

__all__ = [
    "add_penalties_of_step_before",
    "apply",
    "copies",
    "copy_rows",
    "note_penalties",
    "penalties",
    "phases",
]


def phases(job: Job) -> list[Phase]:
    """Return the phases from the summed gradient to the stepped and bounded weights."""
    r, n = job.regularizing, job.shares
    following = [Phase.of("norms", n, lambda share, t: _norms(job, share, t))] if r.clips else []
    following.append(Phase.of("optimizer", n, lambda share, t: apply(job, share, t)))
    if r.limits:
        following.append(Phase.of("limits", n, lambda share, t: _limit(job, share, t)))
        following.append(copies(job))
    return following


def note_penalties(job: Job, share: Share, q: Layer, piece: Piece) -> None:
    """Note the penalties of a piece of a layer's W before it changes."""
    if not job.regularizing.penalty:
        return
    i0, i1 = piece.rows
    share.add(
        "penalties", totals=At(Slot.PENALTIES, piece.slot(q) * 8), step=q.blocks * 8,
        w=piece.w, ldw=piece.ld, vectors=piece.vectors, blocks=(i1 - i0) // BLOCK,
        coefficients=At(Slot.LIMITS),
    )  # fmt: skip


def penalties(job: Job, *, before: bool) -> Phase:
    """Return the phase that adds up what was noted in this step, or in the one before it."""

    def build(share: Share, t: int) -> None:
        if t == 0 and job.regularizing.penalty:
            share.add(
                "reduce_penalties", penalty=At(Slot.PENALTY, -8 if before else 0, step=8),
                totals=At(Slot.PENALTIES), count=-(-job.slots // 4) * 4,
            )  # fmt: skip

    return Phase.of("penalties", job.shares, build)


def add_penalties_of_step_before(job: Job, phase: Phase) -> None:
    """Let a step's first phase add up the last step's penalties: no phase of its own for them."""
    phase.shares[0].loops[:0] = penalties(job, before=True).shares[0].loops


def copy_rows(job: Job, share: Share, q: Layer, rows: tuple[int, int]) -> None:
    """Copy rows of a layer's W to where the passes read it: as columns of its transpose, and into
    panels where the layer is wide.
    """
    i0, i1 = rows
    if i1 <= i0 or (q.number == 0 and job.lists is not None):
        return
    src, wide = q.w + i0 * q.ld_w, q.wide
    if wide is not None and wide.w != NOWHERE:
        share.add(
            f"pack_columns_right{wide.suffix}", dst=wide.w, src=src, lds=q.ld_w,
            first=wide.depth(i0), k=i1 - i0, n=q.n_out, depth=wide.depth(q.blocks * BLOCK),
        )  # fmt: skip
    if q.number > 0 and wide is not None:
        share.add(
            f"pack_rows_right{wide.suffix}", dst=q.wt, src=src, lds=q.ld_w,
            first=i0 * job.item // job.vector, rows=i1 - i0, vectors=q.vectors_in, depth=q.n_out,
        )  # fmt: skip
    elif q.number > 0:
        share.add(
            "transpose", dst=q.wt + i0 * job.item, ldd=q.ld_wt, src=src, lds=q.ld_w,
            row_blocks=(i1 - i0) * job.item // job.vector, vectors=q.vectors_out,
        )  # fmt: skip


def copies(job: Job) -> Phase:
    """Return the phase that copies every W: somebody else has changed the weights."""

    def build(share: Share, t: int) -> None:
        for q in job.layers:
            copy_rows(job, share, q, job.rows_of(q, t))

    return Phase.of("copies", job.shares, build)


def _norms(job: Job, share: Share, t: int) -> None:
    """Note the sums of squares of the whole gradient, the biases' last."""
    biases = At(Slot.NORMS, job.slots * 8)
    for q in job.layers:
        for piece in pieces(job, q, t):
            i0, i1 = piece.rows
            for v in range(0, piece.vectors, piece.together):
                at = v * job.vector
                share.add(
                    "gradient_squares", totals=At(Slot.NORMS, piece.slot(q, v) * 8),
                    w=piece.w + at, g=piece.gradient + at, ld=piece.ld, vectors=piece.together,
                    rows=BLOCK, blocks=(i1 - i0) // BLOCK, hyper=job.hyper(),
                )  # fmt: skip
        if q.has_bias and t == 0:
            share.add(
                # mutant 1: of ld, a single row has none behind it
                "gradient_squares", totals=biases + q.number * 8, w=q.bias, ld=0,
                g=job.gradient_of(q.bias), vectors=q.vectors_out, rows=1, blocks=1,
                hyper=job.hyper(bias=True),
            )  # fmt: skip


def _clipped(job: Job, share: Share, t: int) -> At:
    """Make a share's own copy of the hyperparameters, for a gradient of bounded norm."""
    row = HYPER_ROW * job.item
    copy = At(Slot.CLIPPED, t * 2 * row)
    share.add(
        "clip", to=copy, hyper=job.hyper(), row_bytes=row, squares=At(Slot.NORMS),
        count=job.slots + len(job.layers), limit=At(Slot.LIMITS, 16),
    )  # fmt: skip
    return copy


def apply(job: Job, share: Share, t: int) -> None:
    """Take the optimizer's step from the summed gradient."""
    assert job.optimizer < STORE
    hyper, bias_hyper = job.hyper(), job.hyper(bias=True)
    if job.regularizing.clips:
        hyper = _clipped(job, share, t)
        bias_hyper = hyper + HYPER_ROW * job.item
    for q in job.layers:
        for piece in pieces(job, q, t):
            i0, i1 = piece.rows
            note_penalties(job, share, q, piece)
            share.add(
                "optimizer", w=piece.w, g=piece.gradient,
                vectors=(i1 - i0) * piece.ld // job.vector, code=job.optimizer, state=piece.state,
                hyper=hyper,
            )  # fmt: skip
            if not job.regularizing.limits:
                copy_rows(job, share, q, piece.rows)
        if q.has_bias and t == 0:
            share.add(
                "optimizer", w=q.bias, g=job.gradient_of(q.bias), vectors=q.vectors_out,
                code=job.optimizer, state=job.n_bytes, hyper=bias_hyper,
            )  # fmt: skip


def _limit(job: Job, share: Share, t: int) -> None:
    """Bound a share's columns of every W: none is left longer than the limit."""
    for q in job.layers:
        for part in columns(job, q, t):
            share.add(
                "limit_columns", w=part.w, ldw=part.ld_w, rows=q.blocks * BLOCK,
                vectors=part.vectors_out, limit=At(Slot.LIMITS, 24),
            )  # fmt: skip
