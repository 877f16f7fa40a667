"""fit_many on a cluster: whole networks go to workers, the data once to each."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..persistence import set_rng
from ..support.notices import watched
from ..training.history import History
from ..training.trainer import fit
from ._cluster import Cluster, DistributedError, connected

if TYPE_CHECKING:
    from ..network import MLP
    from ..training.options import FitOptions
    from ..training.trainer import Plan

__all__ = ["train_many"]

_SENT = ("validation_data", "sample_weight")  # beside X and y: once, if all networks share them


def train_many(
    plans: Sequence[Plan],
    X: Any,
    y: Any,
    each: Sequence[FitOptions],
    *,
    client: Any,
    timeout: float,
    progress: bool | None,
) -> tuple[list[History], dict[int, BaseException], list[tuple[int, str]], bool]:
    """Train networks on workers, each on one thread.

    Parameters
    ----------
    plans : sequence of Plan
        Checked; their networks change once they are trained.
    X, y
        As for `fastmlp.fit_many`.
    each : sequence of FitOptions
        Every network's.
    client, timeout
        As for `fit`.
    progress : bool or None

    Returns
    -------
    histories : list of History
    failed : dict of int to exception
    told : list of (int, str)
        What networks warned of.
    pressed : bool
        Whether Ctrl-C was pressed.
    """
    histories = [History(interrupted=True) for _ in plans]
    failed: dict[int, BaseException] = {}
    told: list[tuple[int, str]] = []
    shared = {
        name: getattr(each[0], name)
        for name in _SENT
        if len({id(getattr(own, name)) for own in each}) == 1
    }
    with connected(client, timeout) as found:
        cluster = Cluster(found, timeout)
        cluster.workers()
        with cluster.named():
            data = found.scatter((X, y, shared), broadcast=True, hash=False)
            futures = {}
            for i, (plan, own) in enumerate(zip(plans, each, strict=True)):
                options = replace(own, **dict.fromkeys(shared))
                if options.optimizer is plan.net.optimizer:
                    options = replace(options, optimizer=None)  # goes on from its state
                future = found.submit(_train, plan.net, data, options, pure=False)
                futures[future.key] = i, future
        waiting, pressed = dict(futures), False
        with _bar(len(plans), progress) as bar:
            try:
                while waiting:
                    for key in cluster.first([future for _, future in waiting.values()]):
                        i, future = waiting.pop(key)
                        bar.update()
                        _take(plans[i], future, i, histories, failed, told, cluster)
            except KeyboardInterrupt:
                pressed = True
                found.cancel([future for _, future in waiting.values()])
    return histories, failed, told, pressed


def _take(
    plan: Plan,
    future: Any,
    i: int,
    histories: list[History],
    failed: dict[int, BaseException],
    told: list[tuple[int, str]],
    cluster: Cluster,
) -> None:
    """Bring a network home, or what became of it."""
    try:
        net, error, texts = cluster.results([future])[0]
    except DistributedError as lost:
        failed[i] = lost
        return
    told += [(i, text) for text in texts]
    if error is not None:
        failed[i] = error
    _enter(plan, net)
    histories[i] = net.history


def _enter(plan: Plan, trained: MLP) -> None:
    """Give a network what training has made of its copy; its arrays and generator stay its own."""
    net = plan.net
    net.optimizer = plan.settings.optimizer
    net._parameters.state[:] = trained._parameters.state
    net._state.step = trained._state.step
    net._schedule, net._schedule_memory = trained._schedule, trained._schedule_memory
    net.history, net._held_out = trained.history, trained._held_out
    net._best, net.stop_training = trained._best, trained.stop_training
    set_rng(net._rng, trained._rng)


def _train(
    net: MLP, data: tuple[Any, Any, dict[str, Any]], options: FitOptions
) -> tuple[MLP, BaseException | None, list[str]]:
    """Train a network on a worker; return it, what ended it early, and its warnings."""
    X, y, shared = data
    threads, net.threads = net.threads, 1
    error: BaseException | None = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit(net, X, y, replace(options, **shared))
        except Exception as raised:
            error = raised
    net.threads = threads
    ours = [w for w in caught if issubclass(w.category, RuntimeWarning)]
    return net, error, [str(w.message) for w in ours]


class _Quiet:
    """A bar that nobody sees."""

    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def update(self) -> None:
        """Do nothing."""


def _bar(total: int, progress: bool | None) -> Any:
    if progress is None:
        progress = watched()
    if not progress:
        return _Quiet()
    from tqdm.auto import tqdm

    return tqdm(total=total, desc="networks", unit=" networks", dynamic_ncols=True)
