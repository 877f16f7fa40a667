"""One sample a step: exact, in order, on one thread, by matrix-vector kernels.

There is no work to share out between two updates. Each layer's delta is taken back through its
weights before they change.
"""

from __future__ import annotations

from . import sparse_input
from .job import Job, Layer
from .operation import NOWHERE, At, Phase, Share, Slot, Value
from .passes import gather, output_delta
from .samples import Samples

__all__ = ["step", "vector_forward"]

_ONE = Samples(0, 0, 1, step=1)


def vector_forward(share: Share, q: Layer) -> None:
    """Take the sample in the first row through a layer."""
    share.add(
        "vector_forward", c=q.h, x=q.a, n=q.n_in, w=q.w, ldw=q.ld_w, bias=q.bias, code=q.code,
        slope=q.slope, vectors=q.vectors_out,
    )  # fmt: skip


def _forward(job: Job, share: Share) -> None:
    """Take the sample through all layers; the last leaves logits."""
    for q in job.layers:
        first = q.scaled.product if q.scaled else q
        if q.number > 0 or job.lists is None:
            if q.number == 0:
                gather(job, share, _ONE)
            vector_forward(share, first)
        else:
            sparse_input.forward(job, share, first, _ONE)
        if q.scaled:
            vector_forward(share, q.scaled.finished)


def _update(job: Job, share: Share, q: Layer, step: At) -> None:
    """Step a layer's bias and weights; the weights' step, a row, is left at `step`."""
    fields: dict[str, Value] = {
        "bias": q.bias if q.has_bias else NOWHERE, "step": step, "d": q.d,
        "vectors": q.vectors_out, "hyper": job.hyper(),
    }  # fmt: skip
    if q.number > 0 or job.lists is None:
        share.add("vector_update", w=q.w, ldw=q.ld_w, x=q.a, n=q.n_in, **fields)
        return
    share.add("step_row", **fields)
    sparse_input.add_gradient(job, share, _ONE, q.w, step)


def step(job: Job) -> list[Phase]:
    """Return the one phase of a step of plain gradient descent.

    Under an L2 penalty a step ``W <- (1 - rate l2) W - rate g`` touches every weight, though g is x
    times a delta, and most of x may be zero. So the weights have a common scale s (`Scaled`):
    with ``W = s V`` it is ``s <- (1 - rate l2) s`` and ``V <- V - rate / s g`` (Bottou 2012,
    "Stochastic Gradient Descent Tricks", section 5.1). On the way forward ``z = s (x V) + b``, on
    the way back ``s d`` goes through V.
    """

    def build(share: Share, t: int) -> None:
        _forward(job, share)
        if job.lists is not None:
            # the next step's list may lie anywhere in memory (the order is padded)
            order = _ONE.of(Slot.ROWS) + 8
            share.add(f"prefetch_{job.lists.kind}", order=order, **job.lists.where)
        output_delta(job, share, _ONE)
        for q in reversed(job.layers):
            d = q.scaled.delta.h if q.scaled else q.d
            if q.number > 0:
                if q.scaled:
                    vector_forward(share, q.scaled.delta)
                p = job.layers[q.number - 1]
                share.add(
                    "vector_backward", e=p.d, w=q.w, ldw=q.ld_w, d=d, vectors=q.vectors_out,
                    blocks=q.vectors_in, h=p.slope, code=p.code,
                )  # fmt: skip
            _update(job, share, q, d)

    return [Phase.of("sample", 1, build)]
