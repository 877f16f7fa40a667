"""Who does what of a step and of an inference, read off their programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from extents import as_run, programs_of_blocks
from steps import records

from fastmlp.architecture import Architecture
from fastmlp.contract.parameters import Parameters
from fastmlp.kernels.emit.optimizers import OPTIMIZERS
from fastmlp.kernels.emit.target import current_target
from fastmlp.kernels.program import minibatch, per_sample, post_gradient
from fastmlp.kernels.program.job import Job, Lists, Loss, Regularizing
from fastmlp.kernels.program.operation import At, Slot
from fastmlp.kernels.run import rows_inference
from fastmlp.kernels.run.partition import row_bounds
from fastmlp.kernels.run.source import Source
from fastmlp.kernels.run.workspace import Workspace

TARGET = current_target()
MR = TARGET.tile_rows


def job_of(
    sizes: tuple[int, ...], shares: int, size: int, *, lists: Lists | None = None,
    loss: bool = True, **more: Any,
) -> Job:  # fmt: skip
    """Return a job of plain steps over `size` samples, in float64."""
    layers = Workspace(Parameters(Architecture(sizes, dtype="float64")), size).layers
    return Job(
        layers=layers, item=8, vector=TARGET.vector_bytes, tile_rows=MR, shares=shares,
        input="f64", loss=Loss("softmax_labels", (("y", At(Slot.Y)),)) if loss else None,
        batch_size=size, chunk=size, bounds=row_bounds(layers, shares, size)[1:],
        optimizer=OPTIMIZERS["sgd"], lists=lists, **more,
    )  # fmt: skip


def test_a_step_over_dense_samples_asks_for_no_list():
    (phase,) = per_sample.step(job_of((40, 9, 3), 1, 1))
    assert not any(records(phase, "prefetch_codes") + records(phase, "prefetch_values"))


@pytest.mark.parametrize("n", [310, 319, 320])
@pytest.mark.parametrize("loss", [False, True])
@pytest.mark.parametrize("block", [64, 112])
def test_each_share_takes_its_own_blocks_forward(monkeypatch, n, loss, block):
    """In rows of its own, whole blocks first."""
    programs = programs_of_blocks(monkeypatch)
    parameters = Parameters(Architecture((40, 70, 3), dtype="float64"))
    source = Source(np.zeros((1, 40)), parameters.architecture)
    of_loss = Loss("softmax_labels", (("y", At(Slot.Y)),)) if loss else None
    ready = rows_inference.Blocks(parameters, source, 3, block=block, loss=of_loss)
    ready.divide(n)
    for slot in (Slot.OUT, Slot.LOSSES, Slot.CORRECT):
        ready.enter(slot, 0, 24 if slot == Slot.OUT else 8)
    (phase,) = as_run(ready, programs[0])
    taken, rows = [], []
    q, last = ready.workspace.layers[0], ready.workspace.layers[-1]
    for gathers, ends in zip(
        records(phase, "gather_f64"), records(phase, "softmax_labels" if loss else "output"),
        strict=True,
    ):  # fmt: skip
        taken.append([])
        rows.append([])
        for gather, end in zip(gathers, ends, strict=True):
            first, count = gather["order"].offset // 8, gather["rows"]
            assert end["rows"] == count
            if loss:
                assert end["order"] == gather["order"]
                for name, slot in (("loss", Slot.LOSSES), ("correct", Slot.CORRECT)):
                    assert end[name] == At(slot, first * 8)
            else:
                assert end["out"] == At(Slot.OUT, first * 3 * 8)
            taken[-1] += range(first, first + count)
            row = (gather["dst"].offset - q.a.offset) // q.ld_a
            assert end["z"] == last.h + row * last.ld_h
            rows[-1] += range(row, row + count)
    assert taken == [list(range(112)), list(range(112, 224)), list(range(224, n))]
    if block == 112:  # as large as a share's part: each sample is in the row of its number
        assert rows == taken
    else:
        assert [set(r) for r in rows] == [set(range(64 * t, 64 * t + 64)) for t in range(3)]


@pytest.mark.parametrize("shares", [1, 2, 3, 8])
@pytest.mark.parametrize("rows", [1, 8, 9, 64, 100, 200])
def test_samples_are_shared_out_evenly_in_tiles(rows, shares):
    """From gathering them to their losses, in whole tiles of the workspace."""
    job = job_of((40, 9, 3), shares, rows)
    q, last = job.layers[0], job.layers[-1]
    (phase,) = [p for p in minibatch.step(job, rows) if p.name == "samples"]
    kernels = ("gather_f64", "softmax_labels", "forward", "backward")
    gathers, losses, forward, backward = (records(phase, kernel) for kernel in kernels)
    taken = []
    for t in range(shares):
        if not gathers[t]:
            assert not losses[t] + forward[t] + backward[t]
            continue
        (gather,), (loss,) = gathers[t], losses[t]
        first, count = gather["order"].offset // 8, gather["rows"]
        assert gather["order"] == At(Slot.ROWS, first * 8, step=rows * 8)
        assert gather["dst"] == q.a + first * q.ld_a
        assert loss["z"] == last.h + first * last.ld_h
        assert (loss["rows"], loss["loss"]) == (count, At(Slot.LOSSES, first * 8, step=rows * 8))
        tiles = -(-count // MR)
        assert {op["tiles"] for op in forward[t] + backward[t]} == {tiles}
        assert (len(forward[t]), len(backward[t])) == (2, 1)
        taken.append((first, count))
    firsts, counts = zip(*taken, strict=True)
    assert list(firsts) == [0, *np.cumsum(counts)[:-1]]
    assert sum(counts) == rows
    assert all(first % MR == 0 for first in firsts)
    tiles = -(-rows // MR)
    assert len(taken) == min(shares, tiles)
    assert max(counts) <= -(-tiles // shares) * MR


PENALTY = Regularizing(penalty=True, clips=False, limits=False, whole=False)


def test_a_step_adds_up_the_penalties_of_the_one_before():
    """In its first phase, before any of its own are noted; and a section does it for the last."""
    job = job_of((40, 9, 3), 2, 13, regularizing=PENALTY)
    first, *others = minibatch.step(job, 13)
    before, none = records(first, "reduce_penalties")
    assert [op["penalty"] for op in before] == [At(Slot.PENALTY, -8, step=8)]
    assert not none
    assert not any(records(first, "penalties"))
    for phase in others:
        assert not any(records(phase, "reduce_penalties"))
    assert all(records(others[0], "penalties"))
    last = post_gradient.penalties(job, before=True)
    assert records(last, "reduce_penalties") == [before, []]
