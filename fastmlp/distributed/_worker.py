"""What runs on workers: checking and cutting what comes, keeping partitions, summing groups."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..architecture import Architecture
from ..parameters import Parameters, aligned_zeros
from ..reference.losses import smooth_targets
from ..regularization import Regularization
from ..validation import (
    as_rows,
    check_class_weight,
    check_finite,
    check_sample_weight,
    check_targets,
)
from ._layout import Layout

__all__ = [
    "Job",
    "Partition",
    "Summary",
    "Sums",
    "merge",
    "piece_of",
    "split",
    "sum_groups",
    "sum_kept",
    "summary_of",
    "weights_of",
]

_LOOKED_AT = 256  # rows whose density speaks for all, as in `kernels.index`


@dataclass(frozen=True)
class Job:
    """What a worker has to know of a fit, beside its data.

    Attributes
    ----------
    name : str
        Of this fit alone.
    architecture : Architecture
    layout : Layout
    regularization : Regularization
    class_weight : tuple of float or None
        By label.
    sparse : bool
        Whether all of X is mostly zeros.
    soft : bool
        Whether targets are rows of probabilities, in some partitions at least.
    """

    name: str
    architecture: Architecture
    layout: Layout
    regularization: Regularization = Regularization()  # noqa: RUF009  frozen
    class_weight: tuple[float, ...] | None = None
    sparse: bool = False
    soft: bool = False


@dataclass
class Summary:
    """What the one who asked has to know of a chunk of samples.

    Attributes
    ----------
    looked_at, nonzeros : int
        How many values were looked at for zeros, and how many were none.
    counts : ndarray of float64, (n_classes,), or None
        Samples by class.
    weighted : bool
        Whether a sample weight is above 0.
    soft : bool
        Whether the targets are rows of probabilities.
    """

    looked_at: int
    nonzeros: int
    counts: np.ndarray | None
    weighted: bool
    soft: bool


class Partition:
    """Samples that a worker keeps, and what it has prepared for them.

    Attributes
    ----------
    number : int
    X, y, weight
        Checked; weight is None where nobody gave any.
    """

    def __init__(self, number: int, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None):
        self.number, self.X, self.y, self.weight = number, X, y, weight
        self.prepared: Any = None  # for one fit: (its bench, GroupSums, an order and its key)

    def __sizeof__(self) -> int:
        """Return the bytes of its samples: Dask decides by them."""
        return sum(a.nbytes for a in (self.X, self.y, self.weight) if a is not None)

    def __getstate__(self) -> tuple[Any, ...]:
        return self.number, self.X, self.y, self.weight

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.number, self.X, self.y, self.weight = state
        self.prepared = None


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
    """

    partitions: list[int]
    gradients: np.ndarray
    folded: int
    losses: list[np.ndarray]
    correct: int


Piece = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def split(
    number: int, first: int, n: int, X: Any, y: Any, weight: Any, job: Job
) -> tuple[dict[int, Piece], Summary]:
    """Check a chunk of `n` samples from `first` on; return what goes to which partition.

    Raises
    ------
    TypeError, ValueError
        If it is not what the network takes; the message names the chunk.
    """
    a = job.architecture
    try:
        X = as_rows("X", X, a.n_in)
        if hasattr(X, "tocsr"):
            raise TypeError("X: expected dense partitions, got a sparse matrix")
        if X.shape[0] != n:
            raise ValueError(f"X: expected {n} rows, as was said, got {X.shape[0]}")
        if y is None:
            raise ValueError("y: expected labels, got None")
        check_finite("X", X)
        targets = check_targets("y", y, n, a.n_out, a.output, a.loss, np.dtype(a.dtype))
        if weight is not None:
            weight = np.asarray(weight)
            nothing = weight.shape == (n,) and weight.dtype.kind in "biuf" and not weight.any()
            weight = np.zeros(n) if nothing else check_sample_weight(weight, n)
    except (TypeError, ValueError) as error:
        raise type(error)(f"partition {number}: {error}") from None
    every = max(1, job.layout.samples // _LOOKED_AT)
    there = np.arange(-(-first // every) * every, first + n, every)
    looked_at = X[there[there < every * _LOOKED_AT] - first]
    soft = a.output == "softmax" and targets.ndim == 2
    summary = Summary(
        looked_at.size, int(np.count_nonzero(looked_at)), _counts(targets, a),
        weight is None or bool(weight.any()), soft,
    )  # fmt: skip
    pieces = {}
    for partition, slices in job.layout.cut(first, n).items():
        pieces[partition] = tuple(
            None if array is None else _joined([array[part] for part in slices])
            for array in (X, targets, weight)
        )
    return pieces, summary  # type: ignore[return-value]


def piece_of(found: tuple[dict[int, Piece], Summary], partition: int) -> Piece:
    """Return what goes to one partition."""
    return found[0][partition]


def summary_of(found: tuple[dict[int, Piece], Summary]) -> Summary:
    """Return what is said of a chunk."""
    return found[1]


def _counts(y: np.ndarray, a: Architecture) -> np.ndarray | None:
    if a.output == "identity":
        return None
    if y.ndim == 1:
        return np.bincount(y, minlength=max(a.n_out, 2)).astype(np.float64)
    if y.shape[1] == 1:
        return np.array([(1 - y).sum(dtype=np.float64), y.sum(dtype=np.float64)])
    return y.sum(axis=0, dtype=np.float64)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(arrays[0]) if len(arrays) == 1 else np.concatenate(arrays)


def merge(number: int, n_out: int, pieces: Sequence[Piece]) -> Partition:
    """Return the pieces of a partition, in their order, as one."""
    X, targets, weights = zip(*pieces, strict=True)
    if len({y.ndim for y in targets}) > 1:
        targets = tuple(_one_hot(y, n_out) for y in targets)
    weight = None if weights[0] is None else _joined(weights)
    return Partition(number, _joined(X), _joined(targets), weight)


def _one_hot(y: np.ndarray, n_out: int) -> np.ndarray:
    if y.ndim == 2:
        return y
    rows = np.zeros((len(y), n_out))
    rows[np.arange(len(y)), y] = 1
    return rows


def weights_of(partition: Partition, job: Job) -> np.ndarray:
    """Return the samples' weights times those of their classes."""
    a, weight = job.architecture, partition.weight
    if job.class_weight is None:
        return np.ones(len(partition.y)) if weight is None else weight
    given = dict(enumerate(job.class_weight))
    by_class = check_class_weight(given, partition.y, a.n_out, a.output)
    assert by_class is not None
    return by_class if weight is None else by_class * weight


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
        y = np.ascontiguousarray(_one_hot(y, a.n_out), a.dtype)
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
    return Sums(numbers, *_folded(numbers, out), losses, sum(correct))


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
