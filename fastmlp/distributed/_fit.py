"""fit: `MLP.fit` over data that the workers of a Dask cluster keep."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..history import History
from ..interrupts import CtrlC
from ..network import MLP
from ..notices import notices, warn
from ..operations import EpochResult
from ..optimizers import Optimizer
from ..reference.dropout import key_words
from ..regularization import Regularization
from ..samples import Segment, dropout_key
from ..schedules import Schedule
from ..trainer import prepare
from ..validation import check_class_weight, check_integer, check_number
from ._cluster import Cluster, Kept, connected
from ._data import collections
from ._layout import Layout
from ._worker import Job

if TYPE_CHECKING:
    from ..kernels.partial import Update

__all__ = ["Data", "DistributedSamples", "check_network", "fit"]

_DENSITY = 0.4  # a larger share of non-zeros is no matter for lists, as in `kernels.index`


class Data:
    """Samples on a cluster, checked and kept there.

    Parameters
    ----------
    net : MLP
    cluster : Cluster
    given : tuple
        X, y and sample weights, as users pass them.
    groups : int
    class_weight : dict, "balanced" or None
    """

    def __init__(
        self, net: MLP, cluster: Cluster, given: tuple[Any, Any, Any], groups: int,
        class_weight: Any,
    ) -> None:  # fmt: skip
        self._net, self._cluster, self._class_weight = net, cluster, class_weight
        self._groups, self._given = groups, given
        a = net.architecture
        if class_weight is not None:  # what is wrong with it shows before data move
            nothing = np.zeros(0, np.int64) if a.n_out > 1 else np.zeros((0, 1))
            check_class_weight(class_weight, nothing, a.n_out, a.output)

    def make_samples(
        self, epochs: int, batch_size: int | None, shuffle: bool, class_weight: Any
    ) -> DistributedSamples:
        """Return what an epoch goes over: called by the trainer once all arguments are checked."""
        from ..kernels.partial import BLOCK

        a = self._net.architecture
        data = collections(*self._given, a.n_in)
        n = sum(data.lengths)
        size = n if batch_size is None else min(batch_size, n)
        job = Job(uuid.uuid4().hex[:12], a, Layout(n, size, self._groups, BLOCK))
        kept = self._cluster.keep(data, job)
        job = self._completed(job, kept, data.weight)
        weighted = data.weight is not None or job.class_weight is not None
        return DistributedSamples(self._net, kept, job, shuffle, weighted)

    def _completed(self, job: Job, kept: Kept, weight: Any) -> Job:
        """Add to a job what is known once all data are."""
        if weight is not None and not any(s.weighted for s in kept.summaries):
            raise ValueError("sample_weight: expected at least one weight above 0")
        looked_at = sum(s.looked_at for s in kept.summaries)
        nonzeros = sum(s.nonzeros for s in kept.summaries)
        a, layout = job.architecture, job.layout
        sparse = 16 <= a.n_in <= 65536 and layout.samples >= 64
        job = replace(
            job,
            sparse=sparse and nonzeros <= _DENSITY * looked_at,
            soft=any(s.soft for s in kept.summaries),
        )
        if self._class_weight is None:
            return job
        n_classes = max(a.n_out, 2)
        if isinstance(self._class_weight, str):
            counts = np.sum([s.counts for s in kept.summaries], axis=0)
            there = counts > 0
            weights = np.ones(n_classes)
            weights[there] = counts.sum() / (there.sum() * counts[there])
        else:
            weights = np.array([self._class_weight.get(k, 1.0) for k in range(n_classes)], float)
        return replace(job, class_weight=tuple(weights.tolist()))


class DistributedSamples:
    """What an epoch goes over: partitions that workers keep; as `ArraySamples`.

    Parameters
    ----------
    net : MLP
    kept : Kept
    job : Job
    shuffle, weighted : bool
    """

    def __init__(self, net: MLP, kept: Kept, job: Job, shuffle: bool, weighted: bool) -> None:
        self._net, self._kept, self._job = net, kept, job
        layout = self._layout = job.layout
        self.count, self.batch_size, self.steps = layout.samples, layout.batch_size, layout.steps
        self._shuffle = shuffle and layout.steps > 1
        self.settings: dict[str, Any] = {}
        self._weights = kept.weights(job) if weighted else None
        self._update: Update | None = None

    def measure(self) -> None:
        """Do nothing: the steps are known."""

    def segments(self) -> Iterator[Segment]:
        """Yield the epoch, one segment."""
        key = tuple(map(int, dropout_key(self._net))) if self._shuffle else None
        orders = self.orders(key)

        def train(order: range, rates: np.ndarray, dropout: np.ndarray | None) -> EpochResult:
            first = order.start // self.batch_size
            return EpochResult.join(
                [
                    self._step(first + i, float(rate), key, dropout, orders)
                    for i, rate in enumerate(rates)
                ]
            )

        yield Segment(train, range(self.count), self.batch_size)  # type: ignore[arg-type]

    def _step(
        self,
        step: int,
        rate: float,
        key: tuple[int, ...] | None,
        dropout: np.ndarray | None,
        orders: list[np.ndarray] | None,
    ) -> EpochResult:
        net, a = self._net, self._net.architecture
        if self._update is None:
            from ..kernels.partial import Update

            r: Regularization = self.settings["regularization"]
            self._update = Update(net._parameters, self.settings["optimizer"], net._state, r)
            self._job = replace(self._job, regularization=r)
        words = None
        if dropout is not None:
            words = key_words(dropout, net._state.step, 1, a.n_layers - 1)
        gradient, losses, correct, total = self.sums(step, key, words, orders)
        self._update.gradient[: gradient.size] = gradient
        penalty = self._update.step(total, rate)
        # as the kernels' caller sums them: the same bits
        loss = np.add.reduceat(losses, [0]) + penalty * total
        return EpochResult(loss, np.array([total]), np.array([correct]), len(losses))

    def sums(
        self,
        step: int = 0,
        key: tuple[int, ...] | None = None,
        words: np.ndarray | None = None,
        orders: list[np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray, int, float]:
        """Return a batch's summed gradient, losses, number of hits and sum of weights."""
        flat = self._net._parameters.flat
        return *self._kept.step(self._job, step, key, flat, words), self._total(step, orders)

    def orders(self, key: tuple[int, ...] | None = None) -> list[np.ndarray] | None:
        """Return the partitions' orders, where anybody here has to know them."""
        if self._weights is None:
            return None
        drawn = None if key is None else np.array(key, np.uint32)
        return [self._layout.order(k, drawn) for k in range(self._layout.partitions)]

    def dense(self) -> None:
        """Go without lists of non-zeros, as `MLP.loss_and_gradients` does."""
        self._job = replace(self._job, sparse=False)

    def _total(self, step: int, orders: list[np.ndarray] | None) -> float:
        """Return the sum of a batch's sample weights."""
        layout = self._layout
        if self._weights is None or orders is None:
            return float(layout.size(step))
        batch = [
            weight[order[layout.part(k, step)]]
            for k, (weight, order) in enumerate(zip(self._weights, orders, strict=True))
        ]
        return float(np.add.reduceat(np.concatenate(batch), [0])[0])


def check_network(net: Any, y: Any, groups: Any, timeout: Any) -> tuple[int, float]:
    """Check what every fit on a cluster needs; return the number of groups and the timeout."""
    if not isinstance(net, MLP):
        raise TypeError(f"net: expected an MLP, got {type(net).__name__}")
    if net.backend != "numba":
        raise ValueError(f"net: expected one with backend 'numba', got {net.backend!r}")
    timeout = check_number("timeout", timeout, above=0.0)
    from ..kernels.partial import GROUPS

    groups = GROUPS if groups is None else check_integer("groups", groups, low=1)
    if y is None:
        raise ValueError("y: expected targets beside X, got None")
    return groups, timeout


def fit(
    net: MLP,
    X: Any,
    y: Any,
    *,
    client: Any = None,
    epochs: int = 10,
    batch_size: int | None = None,
    optimizer: Optimizer | str | None = None,
    schedule: Schedule | str | None = None,
    l2: float = 0.0,
    dropout: float | Sequence[float] = 0.0,
    shuffle: bool = True,
    validation_data: tuple[Any, Any] | None = None,
    early_stopping: Any = None,
    callbacks: Sequence[Any] = (),
    sample_weight: Any = None,
    class_weight: Any = None,
    l1: float = 0.0,
    clip_norm: float | None = None,
    label_smoothing: float = 0.0,
    max_norm: float | None = None,
    metrics: Sequence[Any] = (),
    on_divergence: str = "raise",
    resume: bool = False,
    progress: bool | None = None,
    groups: int | None = None,
    timeout: float = 60.0,
) -> History:
    """Train on data that the workers of a Dask cluster keep in memory; else as `MLP.fit`.

    A batch is cut into groups of samples, by its size alone. Workers sum loss and gradient of the
    groups they keep, the sums are added up here in the groups' order, and the optimizer takes one
    step. So the number of workers, and which of them is lost on the way, changes no bit.

    **What equals what.** With ``shuffle=False``, or in full batch, parameters, optimizer state and
    history are those of ``net.fit(X, y, shuffle=False, ...)`` on one machine, bit for bit, on
    processors of one kind, where that goes by the same groups: batches of more than 512 samples, a
    gradient of at most 512 KB (131,072 parameters in float32), uint8, bool, float32 or float64,
    and the default `groups`. Larger networks, other dtypes or `groups` have a sum of their own,
    which is the same for any cluster.

    **Shuffling** happens within partitions: the k-th holds group k of every batch, and so a
    sample of the whole; every epoch draws an order within each. No sample moves between workers.

    Parameters
    ----------
    net : MLP
        With ``backend="numba"``.
    X : dask array, dask frame, str or path
        (n, n_in). A path, or a URI that pyarrow knows, is that of a folder of Parquet files that
        all workers can read: rows in order of the files' names.
    y : dask array, frame or series; with Parquet str or sequence of str
        Labels (n,) or targets (n, n_out); with Parquet the names of their columns. All other
        columns are X, in the order of the first file.
    client : distributed.Client or str, optional
        Or a scheduler's address; the present client by default.
    batch_size : int or None, default None
        None is the full batch; a mini-batch gives work to ``batch_size / 64`` threads at most.
    validation_data : (X, y), optional
        Arrays in memory here, not on the cluster.
    sample_weight : dask array or series, or array, (n,), optional
        With Parquet a column's name.
    groups : int, optional
        The most groups of a batch, and so the most threads that have work; 32 by default.
    timeout : float, default 60
        Seconds that are waited for a scheduler to answer, and for a worker where there is none.
    epochs ... progress
        As for `MLP.fit`.

    Returns
    -------
    History
        Also kept as ``net.history``.

    Raises
    ------
    DistributedError
        If there is no scheduler, or no worker is left and none comes back. The network has the
        parameters of the last whole step.
    DivergenceError
        As for `MLP.fit`.
    TypeError, ValueError
        If an argument or any partition of the data is not what was expected; the network is
        unchanged then.

    Examples
    --------
    >>> import dask.array as da, fastmlp
    >>> from dask.distributed import Client
    >>> from fastmlp import distributed
    >>> X = da.random.default_rng(0).normal(size=(10_000, 20), chunks=(2_000, 20))
    >>> y = (X[:, 0] > X[:, 1]).astype(int)
    >>> net = fastmlp.MLP((20, 16, 2), rng=0)
    >>> with Client(n_workers=2, dashboard_address=":0") as client:  # doctest: +SKIP
    ...     history = distributed.fit(net, X, y, client=client, epochs=50, optimizer="adam")
    """
    groups, timeout = check_network(net, y, groups, timeout)
    with connected(client, timeout) as found, notices(progress):
        data = Data(net, Cluster(found, timeout), (X, y, sample_weight), groups, class_weight)
        plan = prepare(
            net, data, None, epochs=epochs, batch_size=batch_size, optimizer=optimizer,
            schedule=schedule, l2=l2, dropout=dropout, shuffle=shuffle,
            validation_data=validation_data, validation_split=0.0, early_stopping=early_stopping,
            callbacks=callbacks, sample_weight=None, class_weight=None, l1=l1,
            clip_norm=clip_norm, label_smoothing=label_smoothing, max_norm=max_norm,
            metrics=metrics, on_divergence=on_divergence, resume=resume, progress=progress,
        )  # fmt: skip
        history = plan.run(CtrlC(), warn)
    if history.interrupted:
        warn(
            f"fit was interrupted after {len(history)} whole epochs; the network is trained so far"
        )
    return history
