"""Partitions on workers: how they get there, where they are, and steps over them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..support.extras import require
from ._cluster import LOOK_SECONDS, Cluster, DistributedError
from ._data import Collections
from ._layout import Layout
from ._relay import Route, sum_kept
from ._sums import Sums
from ._worker import Job, Summary, merge, piece_of, split, summary_of, weights_of

__all__ = ["Kept", "keep"]

_LOST_SECONDS = 0.05  # before the scheduler is asked again where things are
_ATTEMPTS = 5  # at one step, before it is left
_LATER = -10  # the priority of reading: what is read is cut before more is read


def keep(cluster: Cluster, data: Collections, job: Job) -> Kept:
    """Check all chunks and have the workers keep them as partitions."""
    name, client = f"fastmlp-{job.name}", cluster.client
    layout, numbers = job.layout, range(job.layout.partitions)
    homes = _homes(layout, cluster.workers())
    given = [c for c in (data.X, data.y, data.weight) if c is not None]
    with cluster.named():
        read = [_chunks(c) for c in client.persist(given, priority=_LATER)]
        read += [[None] * len(read[0])] * (3 - len(read))
        firsts = np.cumsum([0, *data.lengths])[:-1].tolist()
        count = len(firsts)
        # in one message right behind the reads, or more would be read than is cut
        found = client.map(
            split, range(count), firsts, data.lengths, *read, [job] * count,
            key=[f"{name}-split-{i}" for i in range(count)],
        )  # fmt: skip
        summaries = client.map(summary_of, found, key=[f"{name}-summary-{i}" for i in range(count)])
        pieces: dict[int, list[Any]] = {k: [] for k in numbers}
        for i, (first, n) in enumerate(zip(firsts, data.lengths, strict=True)):
            for k in layout.cut(first, n):
                pieces[k].append(client.submit(piece_of, found[i], k, key=f"{name}-piece-{k}-{i}"))
        del read, found
        partitions = [
            client.submit(
                merge, k, job.architecture.n_out, pieces[k], key=f"{name}-partition-{k}",
                workers=[homes[k]], allow_other_workers=True,
            )
            for k in numbers
        ]  # fmt: skip
        del pieces
    known = cluster.results(summaries)
    cluster.wait(partitions)
    return Kept(cluster, partitions, known)


def _chunks(collection: Any) -> list[Any]:
    """Return the futures of a persisted array, in order of its rows."""
    futures_of = require("distributed", "dask").futures_of

    by_key = {future.key: future for future in futures_of(collection)}
    keys = list(np.ravel(np.array(collection.to_delayed(), dtype=object)))
    return [by_key[delayed.key] for delayed in keys]


def _homes(layout: Layout, workers: dict[str, int]) -> list[str]:
    """Return which worker keeps which partition: neighbours together, by numbers of threads."""
    slots = [address for address, threads in workers.items() for _ in range(threads)]
    return [slots[k * len(slots) // layout.partitions] for k in range(layout.partitions)]


class Kept:
    """The partitions that workers keep, and steps over them.

    Parameters
    ----------
    cluster : Cluster
    partitions : sequence of futures
    summaries : sequence of Summary
    """

    def __init__(
        self, cluster: Cluster, partitions: Sequence[Any], summaries: Sequence[Summary]
    ) -> None:
        self.cluster, self.summaries = cluster, summaries
        self._partitions = list(partitions)
        self._placed: list[str] = []  # the worker of each
        self._asks = 0
        self.seconds = 0.0  # of the last step, on the slowest worker
        self._asking = ThreadPoolExecutor(_ATTEMPTS + 1, thread_name_prefix="fastmlp")

    def _place(self) -> list[str]:
        """Return which worker has each partition, once they all are somewhere."""
        while True:
            self.cluster.workers()
            self.cluster.wait(self._partitions)
            with self.cluster.named():
                lies = self.cluster.client.who_has(self._partitions)
            placed = [sorted(lies.get(future.key, ()))[:1] for future in self._partitions]
            if all(placed):
                return [address for (address,) in placed]
            time.sleep(_LOST_SECONDS)  # the scheduler has not yet heard of a loss

    def _route(self, count: int) -> Route:
        """Return the workers of the first partitions, neighbours together."""
        if not self._placed:
            self._placed = self._place()
        route: Route = []
        for address, future in zip(self._placed[:count], self._partitions, strict=False):
            if not route or route[-1][0] != address:
                route.append((address, []))
            route[-1][1].append(future.key)
        return route

    def weights(self, job: Job) -> list[np.ndarray]:
        """Return the samples' weights, by partition."""
        client = self.cluster.client
        with self.cluster.named():
            futures = [client.submit(weights_of, p, job, pure=False) for p in self._partitions]
        return self.cluster.results(futures)

    def step(
        self,
        job: Job,
        step: int,
        key: tuple[int, ...] | None,
        flat: np.ndarray,
        words: np.ndarray | None,
    ) -> Sums:
        """Sum one step's groups, all of them; see `sum_groups`."""
        lost = ""
        for _ in range(_ATTEMPTS):
            found = self._ask(job, step, key, flat, words)
            for failure in found[:-1]:
                if isinstance(failure, BaseException) and not isinstance(failure, OSError):
                    raise failure
                lost = str(failure)
            if isinstance(found[-1], Sums):
                self.seconds = found[-1].seconds
                return found[-1]
            self._placed = []  # Dask makes what was lost anew, out of what it was made of
        raise DistributedError(f"workers were lost {_ATTEMPTS} times in one step ({lost})")

    def _ask(self, job: Job, step: int, *arguments: Any) -> list[Any]:
        """Have the workers sum their groups; return what went wrong, then the sums, or None."""
        route = self._route(len(job.layout.groups_of(step)))
        workers = list(dict.fromkeys(address for address, _ in route))
        self._asks += 1
        asked = self._asking.submit(
            self.cluster.client.run, sum_kept, (job.name, self._asks), route, job, step,
            *arguments, workers=workers, on_error="return",
        )  # fmt: skip
        while True:
            with self.cluster.named():
                try:
                    found = asked.result(LOOK_SECONDS)
                    break
                except TimeoutError:
                    if asked.done():
                        raise
            # the scheduler goes on knocking at the door of one that has left
            gone = set(workers) - set(self.cluster.present())
            if gone:
                return [f"{address} has left" for address in gone] + [None]
        last = found.pop(route[-1][0], "no answer")
        failures = [answer for answer in found.values() if answer is not None]
        return [*failures, last] if isinstance(last, Sums) else [*failures, last, None]
