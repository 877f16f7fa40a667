"""One sample a step: exact, in order, on one thread, by matrix-vector kernels.

There is no work to share out between two updates. Each layer's delta is taken back through its
weights before they change. `decayed` is the same under an L2 penalty, with weights that have a
common scale.
"""

from __future__ import annotations

from collections.abc import Callable

from ..emit.optimizers import OPTIMIZERS
from . import sparse_input
from .job import Job, Layer
from .operation import At, Phase, Share, Slot
from .passes import gather, output_delta
from .samples import Samples

__all__ = ["decayed", "forward_one", "step"]

_SGD = OPTIMIZERS["sgd"]
_ONE = Samples(0, 0, 1, step=1)


def _vector_forward(share: Share, q: Layer) -> None:
    share.add(
        "vector_forward", c=q.h, x=q.a, n=q.n_in, w=q.w, ldw=q.ld_w, bias=q.bias, code=q.code,
        slope=q.slope, vectors=q.vectors_out,
    )  # fmt: skip


def forward_one(job: Job, share: Share, sample: Samples) -> None:
    """Take one sample through all layers; the last leaves logits."""
    if job.lists is None:
        gather(job, share, sample)
    for l, q in enumerate(job.layers):  # noqa: E741
        if l == 0 and job.lists is not None:
            sparse_input.forward(job, share, sample)
        else:
            _vector_forward(share, q)


def _ask_for_next(job: Job, share: Share) -> None:
    """Ask for the next step's sample: its list may lie anywhere in memory (the order is padded)."""
    if job.lists is not None:
        order = _ONE.of(Slot.ROWS) + 8
        share.add(f"prefetch_{job.lists.kind}", order=order, **job.lists.where)


def _backward(share: Share, q: Layer, p: Layer, d: At) -> None:
    share.add(
        "vector_backward", e=p.d, w=q.w, ldw=q.ld_w, d=d, vectors=q.vectors_out,
        blocks=q.vectors_in, h=p.slope, code=p.code,
    )  # fmt: skip


def _update(job: Job, share: Share, l: int, step: At) -> None:  # noqa: E741
    """Step a layer's bias and weights; the weights' step, a row, is left at `step`."""
    q = job.layers[l]
    if q.has_bias:
        share.add(
            "bias_update", bias=q.bias, d=q.d, ldd=q.ld_h, rows=1, vectors=q.vectors_out, code=_SGD,
            state=0, hyper=job.hyper(bias=True),
        )  # fmt: skip
    share.add("step_row", dst=step, src=q.d, vectors=q.vectors_out, hyper=job.hyper())
    if l > 0 or job.lists is None:
        share.add(
            "vector_update", w=q.w, ldw=q.ld_w, x=q.a, n=q.n_in, d=step, vectors=q.vectors_out
        )
        return
    lists = job.lists
    share.add(
        f"sparse_gradient_{lists.kind}", g=q.w, ldg=q.ld_w, d=step, ldd=q.ld_h,
        order=_ONE.of(Slot.ROWS), **lists.where, at_once=lists.n_cuts, rows=1,
        vectors=q.vectors_out,
    )  # fmt: skip


def _alone(build: Callable[[Share], None]) -> list[Phase]:
    return [Phase.of("sample", 1, lambda share, t: build(share))]


def step(job: Job) -> list[Phase]:
    """Return the one phase of a step of plain gradient descent."""

    def build(share: Share) -> None:
        forward_one(job, share, _ONE)
        _ask_for_next(job, share)
        output_delta(job, share, _ONE)
        for l in range(len(job.layers) - 1, -1, -1):  # noqa: E741
            if l > 0:
                _backward(share, job.layers[l], job.layers[l - 1], job.layers[l].d)
            _update(job, share, l, job.layers[l].d)

    return _alone(build)


def decayed(job: Job) -> list[Phase]:
    """Return the one phase of a step under an L2 penalty, on weights with a common scale s.

    A step of plain gradient descent ``W <- (1 - rate l2) W - rate g`` touches every weight, though
    g is x times a delta, and most of x may be zero. With ``W = s V`` it is ``s <- (1 - rate l2) s``
    and ``V <- V - rate / s g`` (Bottou 2012, "Stochastic Gradient Descent Tricks", section 5.1).
    On the way forward ``z = s (x V) + b``, on the way back ``s d`` goes through V.
    """
    layers = job.scaled

    def build(share: Share) -> None:
        for l, (q, of) in enumerate(zip(job.layers, layers, strict=True)):  # noqa: E741
            if l == 0 and job.lists is not None:
                lists = job.lists
                share.add(
                    f"sparse_forward_{lists.kind}", z=of.raw.h, ldz=q.ld_h, bias=of.raw.bias,
                    order=_ONE.of(Slot.ROWS), **lists.where, at_once=lists.at_once, w=q.w,
                    ldw=q.ld_w, rows=1, vectors=q.vectors_out,
                )  # fmt: skip
            else:
                if l == 0:
                    gather(job, share, _ONE)
                _vector_forward(share, of.raw)
            _vector_forward(share, of.finished)
        _ask_for_next(job, share)
        output_delta(job, share, _ONE)
        for l in range(len(job.layers) - 1, -1, -1):  # noqa: E741
            if l > 0:
                _vector_forward(share, layers[l].scaled)
                _backward(share, job.layers[l], job.layers[l - 1], layers[l].scaled.h)
            _update(job, share, l, layers[l].scaled.h)

    return _alone(build)
