"""What workers do in a step: sum loss and gradient of the groups they keep."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..parameters import Parameters, aligned_zeros
from ..reference.losses import smooth_targets
from ._layout import Layout
from ._worker import Job, Partition, one_hot, weights_of

__all__ = ["Sums", "combined", "sum_groups", "sum_kept"]


@dataclass
class Sums:
    """What a worker's partitions give in a step.

    Attributes
    ----------
    partitions : list of int
    gradients : ndarray, (rows, size)
        Their sums; the first row is that of several, if `folded`: of partitions 0, 1, ... in order.
    folded : int
    losses : list of ndarray of float64
        Of every sample, by partition.
    correct : int
    seconds : float
        What it took here.
    """

    partitions: list[int]
    gradients: np.ndarray
    folded: int
    losses: list[np.ndarray]
    correct: int
    seconds: float


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
    from ..kernels.partial import GroupSums

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
    from ..kernels.partial import GroupSums, readable

    if partition.prepared is not None and partition.prepared[0] is bench:
        return partition.prepared[1]
    job, y = bench.job, partition.y
    a, r = job.architecture, job.regularization
    if job.soft:
        y = np.ascontiguousarray(one_hot(y, a.n_out), a.dtype)
    if r.label_smoothing:
        y = smooth_targets(y, r.label_smoothing, a.n_out, a.output, np.dtype(a.dtype))
    weighted = partition.weight is not None or job.class_weight is not None
    X, scaled = readable(partition.X, a)
    sums = GroupSums(
        bench.parameters, X, y, weights_of(partition, job) if weighted else None, scaled=scaled,
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


async def sum_kept(
    keys: dict[str, list[str]], job: Job, *arguments: Any, dask_worker: Any
) -> Sums | str:
    """Sum the groups of partitions that this worker keeps, beside what else it does.

    Parameters
    ----------
    keys : dict of list of str
        By worker: under which names Dask keeps the partitions.
    job, arguments
        As for `sum_groups`.

    Returns
    -------
    Sums or str
        Text, if it keeps one of them no more.
    """
    mine = keys[dask_worker.address]
    missing = [key for key in mine if key not in dask_worker.data]
    if missing:
        return f"{dask_worker.address} keeps {missing[0]} no more"
    partitions = [dask_worker.data[key] for key in mine]
    threads = dask_worker.state.nthreads
    return await asyncio.to_thread(sum_groups, partitions, threads, job, *arguments)


def sum_groups(
    partitions: Sequence[Partition],
    threads: int,
    job: Job,
    step: int,
    key: tuple[int, ...] | None,
    flat: np.ndarray,
    words: np.ndarray | None,
) -> Sums:
    """Sum losses and gradients of one step's groups, one sum per partition.

    Parameters
    ----------
    partitions : sequence of Partition
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
    partitions = [p for p in partitions if len(layout.rows(p.number, step))]
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
    numbers = [p.number for p in partitions]
    return Sums(numbers, *_folded(numbers, out), losses, sum(correct), time.perf_counter() - begun)


def _folded(numbers: list[int], out: np.ndarray) -> tuple[np.ndarray, int]:
    """Add up the sums of partitions 0, 1, ... where the first of them are here: less to send."""
    folded = 0
    while folded < len(numbers) and numbers[folded] == folded:
        folded += 1
    if folded < 2:
        return out, folded
    total = out[folded - 1 :]
    for i in range(1, folded):
        np.add(out[0], out[i], out=out[0])
    total[0] = out[0]
    return total, folded


def combined(found: Sequence[Sums]) -> tuple[np.ndarray, np.ndarray, int]:
    """Add the groups' sums up in their order, whoever made them."""
    rows: dict[int, np.ndarray] = {}
    losses: dict[int, np.ndarray] = {}
    for sums in found:
        losses |= dict(zip(sums.partitions, sums.losses, strict=True))
        named = sums.partitions[max(0, sums.folded - 1) :]
        rows |= dict(zip(named, sums.gradients, strict=True))
    first, *others = sorted(rows)
    total = rows[first].copy()
    for k in others:
        np.add(total, rows[k], out=total)
    correct = sum(sums.correct for sums in found)
    return total, np.concatenate([losses[k] for k in sorted(losses)]), correct
