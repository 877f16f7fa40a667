"""What workers do in a step: sum loss and gradient of the groups they keep."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..contract.parameters import Parameters, aligned_zeros
from ..reference.losses import smooth_targets
from ._layout import Layout
from ._losses import Branches, branches, joined
from ._worker import Job, Partition, one_hot, weights_of

__all__ = ["Rows", "Sums", "sum_groups"]


@dataclass
class Sums:
    """What a step's groups give, from the first on.

    Attributes
    ----------
    gradient : ndarray, (size,)
        Added up in the groups' order.
    losses : Branches
        Of their samples.
    correct : int
    seconds : float
        What it took the slowest worker.
    """

    gradient: np.ndarray
    losses: Branches
    correct: int
    seconds: float


@dataclass
class Rows:
    """What groups that follow each other give: a gradient each, (groups, size); else as `Sums`."""

    gradients: np.ndarray
    losses: Branches
    correct: int
    seconds: float

    def onto(self, before: Sums | None, n: int) -> Sums:
        """Return the sums of the groups before these, if any, and these, of n samples."""
        if before is None:
            total, rows, losses = self.gradients[0], self.gradients[1:], self.losses
            correct, seconds = self.correct, self.seconds
        else:
            total, rows = before.gradient, self.gradients
            losses = joined(before.losses, self.losses, n)
            correct = before.correct + self.correct
            seconds = max(before.seconds, self.seconds)
        if not total.flags.writeable:  # as it came
            total = total.copy()
        for row in rows:
            np.add(total, row, out=total)
        return Sums(total, losses, correct, seconds)


@dataclass(eq=False)
class _Bench:
    """What the partitions of a fit share on a worker."""

    job: Job
    parameters: Parameters
    threads: int
    workspaces: list[Any] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


# A bench lives as long as a partition that was prepared on it.
_benches: weakref.WeakValueDictionary[str, _Bench] = weakref.WeakValueDictionary()
_making = threading.Lock()


def _bench(job: Job, threads: int) -> _Bench:
    from ..kernels.run.partial import GroupSums

    with _making:
        bench = _benches.get(job.name)
        if bench is None:
            bench = _Bench(job, Parameters(job.architecture), threads)
            bench.workspaces = [
                GroupSums.workspace(bench.parameters, job.regularization) for _ in range(threads)
            ]
            _benches[job.name] = bench
        return bench


def _group_sums(partition: Partition, bench: _Bench) -> Any:
    """Return the partition's `GroupSums` for this fit."""
    from ..kernels.run.partial import GroupSums

    if partition.prepared is not None and partition.prepared[0] is bench:
        return partition.prepared[1]
    job, y = bench.job, partition.y
    a, r = job.architecture, job.regularization
    if job.soft:
        y = np.ascontiguousarray(one_hot(y, a.n_out), a.dtype)
    if r.label_smoothing:
        y = smooth_targets(y, r.label_smoothing, a.n_out, a.output, np.dtype(a.dtype))
    weighted = partition.weight is not None or job.class_weight is not None
    sums = GroupSums(
        bench.parameters, partition.X, y, weights_of(partition, job) if weighted else None,
        group_samples=job.layout.group_samples, regularization=r, sparse=job.sparse,
    )  # fmt: skip
    partition.prepared = bench, sums, None
    return sums


def _order(partition: Partition, layout: Layout, key: tuple[int, ...] | None) -> np.ndarray:
    """Return an epoch's order of a partition's samples, kept until the next epoch."""
    kept = partition.prepared[2]
    if kept is None or kept[0] != key:
        drawn = None if key is None else np.array(key, np.uint32)
        kept = key, layout.order(partition.number, drawn)
        partition.prepared = *partition.prepared[:2], kept
    return kept[1]


def sum_groups(
    partitions: Sequence[Partition],
    threads: int,
    job: Job,
    step: int,
    key: tuple[int, ...] | None,
    flat: np.ndarray,
    words: np.ndarray | None,
) -> Rows:
    """Sum losses and gradients of one step's groups, one sum per partition.

    Parameters
    ----------
    partitions : sequence of Partition
        With neighbouring numbers, and samples in this step.
    threads : int
        Of this worker.
    job : Job
    step : int
        Within the epoch.
    key : tuple of two int, or None
        What the epoch's order is drawn from.
    flat : ndarray
        The parameters, with their padding.
    words : ndarray or None
        For dropout.
    """
    begun = time.perf_counter()
    bench = _bench(job, threads)
    layout = job.layout
    out = aligned_zeros(len(partitions) * flat.size, flat.dtype).reshape(-1, flat.size)
    losses: list[np.ndarray] = [np.zeros(0)] * len(partitions)
    correct = [0] * len(partitions)

    def run(thread: int) -> None:
        for i in range(thread, len(partitions), bench.threads):
            p = partitions[i]
            sums = _group_sums(p, bench)
            order = _order(p, layout, key)[layout.part(p.number, step)]
            losses[i], correct[i] = sums.sums(
                order, out[i], bench.workspaces[thread], words, p.number * layout.group_samples
            )

    with bench.lock:
        np.copyto(bench.parameters.flat, flat)
        if min(bench.threads, len(partitions)) < 2:
            for thread in range(bench.threads):
                run(thread)
        else:
            with ThreadPoolExecutor(bench.threads) as pool:
                list(pool.map(run, range(bench.threads)))
    first = partitions[0].number * layout.group_samples
    known = branches(np.concatenate(losses), first, layout.size(step))
    return Rows(out, known, sum(correct), time.perf_counter() - begun)
