"""What an epoch goes over: data that workers keep, as the trainer sees them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract.operations import EpochResult
from ..contract.splitting import lists_fit, mostly_zero
from ..network import MLP
from ..reference.dropout import key_words
from ..regularization import Regularization
from ..support.validation import check_class_weight
from ..training.samples import Segment, dropout_key
from ._cluster import Cluster
from ._data import collections
from ._kept import Kept, keep
from ._layout import Layout
from ._losses import whole
from ._worker import Job

if TYPE_CHECKING:
    from ..kernels.run.partial import Update

__all__ = ["Data", "DistributedSamples"]


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
        from ..kernels.run.partial import BLOCK

        a = self._net.architecture
        data = collections(*self._given, a.n_in, self._net.feature_names)
        n = sum(data.lengths)
        size = n if batch_size is None else min(batch_size, n)
        job = Job(uuid.uuid4().hex[:12], a, Layout(n, size, self._groups, BLOCK))
        kept = keep(self._cluster, data, job)
        job = self._completed(job, kept, data.weight)
        weighted = data.weight is not None or job.class_weight is not None
        samples = DistributedSamples(self._net, kept, job, shuffle, weighted)
        samples.feature_names = data.names
        return samples

    def _completed(self, job: Job, kept: Kept, weight: Any) -> Job:
        """Add to a job what is known once all data are."""
        if weight is not None and not any(s.weighted for s in kept.summaries):
            raise ValueError("sample_weight: expected at least one weight above 0")
        looked_at = sum(s.looked_at for s in kept.summaries)
        nonzeros = sum(s.nonzeros for s in kept.summaries)
        a, layout = job.architecture, job.layout
        job = replace(
            job,
            sparse=lists_fit(layout.samples, a.n_in) and mostly_zero(nonzeros, looked_at),
            soft=any(s.soft for s in kept.summaries),
        )
        if self._class_weight is None:
            return job
        n_classes = max(a.n_out, 2)
        if isinstance(self._class_weight, str):
            counts = np.sum([s.counts for s in kept.summaries if s.counts is not None], axis=0)
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

    Attributes
    ----------
    feature_names : tuple of str or None
        Of the columns, where they have names.
    """

    feature_names: tuple[str, ...] | None = None

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
        key = tuple(map(int, dropout_key(self._net._rng))) if self._shuffle else None
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
            from ..kernels.run.partial import Update

            r: Regularization = self.settings["regularization"]
            self._update = Update(net._parameters, self.settings["optimizer"], net._state, r)
            self._job = replace(self._job, regularization=r)
        words = None
        if dropout is not None:
            words = key_words(dropout, net._state.step, 1, a.n_layers - 1)
        gradient, loss, correct, total = self.sums(step, key, words, orders)
        self._update.gradient[: gradient.size] = gradient
        loss += self._update.step(total, rate) * total
        return EpochResult(
            np.array([loss]), np.array([total]), np.array([correct]), self._layout.size(step)
        )

    def sums(
        self,
        step: int = 0,
        key: tuple[int, ...] | None = None,
        words: np.ndarray | None = None,
        orders: list[np.ndarray] | None = None,
    ) -> tuple[np.ndarray, float, int, float]:
        """Return a batch's summed gradient and loss, number of hits and sum of weights."""
        found = self._kept.step(self._job, step, key, self._net._parameters.flat, words)
        loss = whole(found.losses, self._layout.size(step))
        return found.gradient, loss, found.correct, self._total(step, orders)

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
