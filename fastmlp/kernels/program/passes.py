"""The forward pass, the loss and the backward pass of some samples."""

from __future__ import annotations

from ..emit.optimizers import STORE
from . import sparse_input
from .job import BLOCK, Job, Layer, Wide
from .operation import NOWHERE, At, Share, Slot, Value
from .samples import Samples

__all__ = [
    "backward",
    "dense",
    "forward",
    "gather",
    "output_delta",
    "through",
    "update_bias",
    "update_rows",
]


def gather(job: Job, share: Share, samples: Samples) -> None:
    """Bring samples into their rows of the workspace."""
    q = job.layers[0]
    share.add(
        f"gather_{job.input}", dst=samples.at(q.a, q.ld_a), ldd=q.ld_a, x=At(Slot.X),
        ldx=At(Slot.LD_X), order=samples.of(Slot.ROWS), n=q.n_in, rows=samples.rows,
        scale=At(Slot.SCALE),
    )  # fmt: skip


def dense(job: Job, share: Share, q: Layer, samples: Samples) -> None:
    """Take samples through a layer."""
    values: dict[str, Value] = {
        "c": samples.at(q.h, q.ld_h), "ldc": q.ld_h, "a": samples.at(q.a, q.ld_a), "lda": q.ld_a,
        "k": q.n_in, "bias": q.bias, "code": q.code, "slope": samples.at(q.slope, q.ld_h),
        "tiles": samples.tiles(job), "vectors": q.vectors_out,
    }  # fmt: skip
    wide = q.wide
    if wide is not None:
        _pack("columns_left", share, wide, wide.a, samples, q.a, q.ld_a, q.n_in)
    if wide is not None and wide.w != NOWHERE:
        values |= {"w": wide.w, "depth": wide.depth(q.blocks * BLOCK), "block": wide.block}
        if wide.parts:
            dst, ld = samples.at(wide.split_a, wide.ld_split_a), wide.ld_split_a
            _split_rows(share, wide, samples, dst, ld, q.a, q.ld_a, q.n_in)
            values |= {"a": dst, "lda": ld, "k": wide.depth(q.n_in)}
        share.add(f"packed_forward{wide.suffix}", **values)
    else:
        share.add("forward", w=q.w, ldw=q.ld_w, **values)


def _pack(
    way: str, share: Share, wide: Wide, dst: At, samples: Samples, rows: At, stride: int, n: int
) -> None:
    """Pack some of the rows that an update sums over."""
    share.add(
        f"pack_{way}{wide.suffix}", dst=dst, src=samples.at(rows, stride), lds=stride,
        first=wide.depth(samples.row), k=samples.count, n=n, depth=wide.depth(samples.depth),
    )  # fmt: skip


def _split_rows(
    share: Share, wide: Wide, samples: Samples, dst: At, ldd: int, rows: At, stride: int, n: int
) -> None:
    """Split rows for a pass over them."""
    share.add(
        f"split_rows_left{wide.suffix}", dst=dst, ldd=ldd, src=samples.at(rows, stride),
        lds=stride, n=n, rows=samples.count,
    )  # fmt: skip


def _dropout(job: Job, share: Share, q: Layer, samples: Samples) -> None:
    hidden = len(job.layers) - 1
    if q.factor is None:
        return
    share.add(
        "dropout", h=samples.at(q.h, q.ld_h), slope=samples.at(q.slope, q.ld_h), ld=q.ld_h,
        vectors=q.vectors_out, rows=samples.count, threshold=q.threshold, scale=q.factor,
        words=At(Slot.WORDS, q.number * 8, step=hidden * 8),
        place=At(Slot.PLACE, samples.first, turn=samples.turn), code=q.code,
    )  # fmt: skip


def forward(job: Job, share: Share, samples: Samples, *, gathers: bool = True) -> None:
    """Take samples through all layers (where the first one's panels are done, through the
    others); the last leaves logits. They are gathered unless the first layer reads X itself.
    """
    for q in job.layers:
        if q.number > 0 or job.lists is None:
            if q.number == 0 and gathers:
                gather(job, share, samples)
            dense(job, share, q, samples)
        elif job.packed is None:
            sparse_input.forward(job, share, q, samples)
        _dropout(job, share, q, samples)


def output_delta(job: Job, share: Share, samples: Samples) -> None:
    """Turn logits into deltas; note each sample's loss, and whether it was predicted right."""
    q, loss = job.layers[-1], job.loss
    assert loss is not None
    values: dict[str, Value] = {
        "d": samples.at(q.d, q.ld_h), "loss": samples.of(Slot.LOSSES),
        "correct": samples.of(Slot.CORRECT), "z": samples.at(q.h, q.ld_h), "ldz": q.ld_h,
        "order": samples.of(Slot.ORDER), "weight": At(Slot.WEIGHT), "n": q.n_out,
        "rows": samples.rows,
    }  # fmt: skip
    share.add(loss.kernel, **values, **dict(loss.targets))


def backward(job: Job, share: Share, samples: Samples) -> None:
    """Take deltas back to the first hidden layer."""
    for q in reversed(job.layers):
        wide, p = q.wide, job.layers[q.number - 1]
        # mutant >=: where lists are read, the first layer's deltas are packed for nobody
        if wide is not None and (q.number > 0 or job.lists is None):
            _pack("columns_right", share, wide, wide.d, samples, q.d, q.ld_h, q.n_out)
        if q.number == 0:
            return
        values: dict[str, Value] = {
            "e": samples.at(p.d, p.ld_h), "lde": p.ld_h, "d": samples.at(q.d, q.ld_h),
            "ldd": q.ld_h, "wt": q.wt, "k": q.n_out, "h": samples.at(p.slope, p.ld_h),
            "code": p.slope_code, "tiles": samples.tiles(job), "vectors": q.vectors_in,
        }  # fmt: skip
        if wide is None:
            share.add("backward", ldwt=q.ld_wt, **values)
            continue
        if wide.parts:
            dst, ld = samples.at(wide.split_d, wide.ld_split_d), wide.ld_split_d
            _split_rows(share, wide, samples, dst, ld, q.d, q.ld_h, q.n_out)
            values |= {"d": dst, "ldd": ld, "k": wide.depth(q.n_out)}
        share.add(
            f"packed_backward{wide.suffix}", zeros=wide.zeros, block=wide.block, **values
        )  # fmt: skip


def through(job: Job, share: Share, samples: Samples) -> None:
    """Take samples through everything but the weights' gradients."""
    forward(job, share, samples)
    output_delta(job, share, samples)
    backward(job, share, samples)


def update_rows(
    job: Job, share: Share, q: Layer, rows: tuple[int, int], samples: Samples, code: int,
    group: int = 0,
) -> None:  # fmt: skip
    """Sum the gradient of rows of a layer's W over samples, and do with it what `code` says.

    From STORE on the sums go to the gradient, that of the group; else into the optimizer.
    """
    i0, i1 = rows[0], min(rows[1], q.n_in)  # the rows behind the last input stay zeros
    if i1 <= i0:
        return
    target = q.w if code < STORE else job.gradient_of(q.w, group)
    values: dict[str, Value] = {
        "w": target + i0 * q.ld_w, "ldw": q.ld_w, "k": samples.count, "code": code,
        "state": job.n_bytes, "hyper": job.hyper(), "tiles": -(-(i1 - i0) // job.tile_rows),
        "vectors": q.vectors_out,
    }  # fmt: skip
    if q.wide is not None:
        a = q.wide.a + i0 * q.wide.depth(samples.depth) * job.item * max(1, q.wide.parts)
        values["k"] = q.wide.depth(samples.count)
        share.add(f"packed_update{q.wide.suffix}", a=a, d=q.wide.d, **values)
        return
    share.add(
        "update", a=samples.at(q.a, q.ld_a) + i0 * job.item, lda=q.ld_a,
        d=samples.at(q.d, q.ld_h), ldd=q.ld_h, **values,
    )  # fmt: skip


def update_bias(
    job: Job, share: Share, q: Layer, vectors: tuple[int, int], samples: Samples, code: int,
    group: int = 0,
) -> None:  # fmt: skip
    """As `update_rows`, of some vectors of a layer's bias."""
    v0, v1 = vectors
    if not q.has_bias or v1 <= v0:
        return
    target = q.bias if code < STORE else job.gradient_of(q.bias, group)
    share.add(
        "bias_update", bias=target + v0 * job.vector, d=samples.at(q.d, q.ld_h) + v0 * job.vector,
        ldd=q.ld_h, rows=samples.count, vectors=v1 - v0, code=code, state=job.n_bytes,
        hyper=job.hyper(bias=True),
    )  # fmt: skip
