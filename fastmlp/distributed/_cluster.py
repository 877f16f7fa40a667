"""A client and its workers: where partitions are, what is waited for, and what can go wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..extras import require
from ._data import Collections
from ._layout import Layout
from ._worker import (
    Job,
    Summary,
    Sums,
    merge,
    piece_of,
    split,
    sum_kept,
    summary_of,
    weights_of,
)

__all__ = ["Cluster", "DistributedError", "Kept", "connected"]

_LOOK_SECONDS = 1.0  # between two looks at who is there
_LOST_SECONDS = 0.05  # before the scheduler is asked again where things are
_ATTEMPTS = 5  # at one step, before it is left
_LATER = -10  # the priority of reading: what is read is cut before more is read


class DistributedError(RuntimeError):
    """The cluster cannot go on: no scheduler, no worker, or one that is lost again and again.

    The network keeps the parameters of its last whole step.
    """


@contextmanager
def connected(client: Any, timeout: float) -> Iterator[Any]:
    """Yield a client: the one given, the present one for None, a new one for an address.

    Raises
    ------
    TypeError
        If it is no client.
    DistributedError
        If nobody answers at the address, or the client is closed.
    """
    distributed = require("distributed", "dask")
    if client is None:
        try:
            client = distributed.default_client()
        except ValueError:
            raise ValueError(
                "client: expected a dask.distributed.Client or an address, got None and there is "
                "no present client"
            ) from None
    if isinstance(client, str):
        address = client
        try:
            client = distributed.Client(address, timeout=timeout, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise DistributedError(f"client: no scheduler answers at {address} ({error})") from None
        with client, client.as_current():
            yield client
        return
    if not isinstance(client, distributed.Client) or client.asynchronous:
        raise TypeError(f"client: expected a blocking dask.distributed.Client, got {client!r}")
    if client.status != "running":
        raise DistributedError(f"client: expected one that is connected, it is {client.status}")
    with client.as_current():  # waiting asks for the present one
        yield client


class Cluster:
    """A client whose failures have one name.

    Parameters
    ----------
    client : distributed.Client
    timeout : float
        Seconds that are waited for a worker when there is none.
    """

    def __init__(self, client: Any, timeout: float) -> None:
        self.client, self.timeout = client, timeout
        self._distributed = require("distributed", "dask")

    def workers(self) -> dict[str, int]:
        """Return the threads of every worker, by address; wait until there is one."""
        deadline = time.monotonic() + self.timeout
        while not (found := self.present()):
            if time.monotonic() > deadline:
                raise DistributedError(f"no worker has come within {self.timeout:g} seconds")
            time.sleep(0.05)
        return found

    def present(self) -> dict[str, int]:
        """Return the threads of every worker that is there now, by address."""
        if self.client.status != "running":
            raise DistributedError(f"the client is {self.client.status}: the scheduler is gone")
        with self._named():
            return dict(sorted(self.client.nthreads().items()))

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Give failures of the cluster their name."""
        d = self._distributed
        try:
            yield
        except d.scheduler.KilledWorker as error:
            raise DistributedError(
                f"workers died again and again over the same work: {error}"
            ) from error
        except (CancelledError, d.client.FutureCancelledError, d.comm.CommClosedError) as error:
            raise DistributedError(
                f"the scheduler has lost or dropped the work ({error})"
            ) from error
        except OSError as error:
            raise DistributedError(f"the scheduler does not answer ({error})") from error

    def wait(self, futures: Sequence[Any]) -> None:
        """Wait until futures have results, which stay where they are; raise what they raise."""
        self._wait(futures, "ALL_COMPLETED")
        with self._named():
            failed = [future for future in futures if future.status == "error"]
            if failed:
                raise failed[0].exception()

    def first(self, futures: Sequence[Any]) -> list[str]:
        """Wait until some futures have ended; return their keys."""
        return [future.key for future in self._wait(futures, "FIRST_COMPLETED").done]

    def _wait(self, futures: Sequence[Any], until: str) -> Any:
        since = time.monotonic()
        while True:
            with self._named():
                try:
                    return self._distributed.wait(futures, _LOOK_SECONDS, return_when=until)
                except TimeoutError:
                    pass
            if self.present():
                since = time.monotonic()
            elif time.monotonic() - since > self.timeout:
                raise DistributedError(
                    f"all workers are lost, and none has come back within {self.timeout:g} seconds"
                )

    def results(self, futures: Sequence[Any]) -> list[Any]:
        """Return what futures give, in their order; raise what they raise."""
        self.wait(futures)
        with self._named():
            return list(self.client.gather(futures))

    def keep(self, data: Collections, job: Job) -> Kept:
        """Check all chunks and have the workers keep them as partitions."""
        name, client = f"fastmlp-{job.name}", self.client
        layout, numbers = job.layout, range(job.layout.partitions)
        homes = _homes(layout, self.workers())
        given = [c for c in (data.X, data.y, data.weight) if c is not None]
        with self._named():
            read = [_chunks(c) for c in client.persist(given, priority=_LATER)]
            read += [[None] * len(read[0])] * (3 - len(read))
            summaries, first = [], 0
            pieces: dict[int, list[Any]] = {k: [] for k in numbers}
            for i, n in enumerate(data.lengths):
                found = client.submit(
                    split, i, first, n, *(chunks[i] for chunks in read), job,
                    key=f"{name}-split-{i}",
                )  # fmt: skip
                summaries.append(client.submit(summary_of, found, key=f"{name}-summary-{i}"))
                for k in layout.cut(first, n):
                    pieces[k].append(
                        client.submit(piece_of, found, k, key=f"{name}-piece-{k}-{i}")
                    )
                first += n
            del read, found
            partitions = [
                client.submit(
                    merge, k, job.architecture.n_out, pieces[k], key=f"{name}-partition-{k}",
                    workers=[homes[k]], allow_other_workers=True,
                )
                for k in numbers
            ]  # fmt: skip
            del pieces
        known = self.results(summaries)
        self.wait(partitions)
        return Kept(self, partitions, known)


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
        self._placed: dict[str, list[int]] = {}
        self._asking = ThreadPoolExecutor(_ATTEMPTS + 1, thread_name_prefix="fastmlp")

    def _place(self) -> dict[str, list[int]]:
        """Return which partitions each worker has, once they all are somewhere."""
        placed: dict[str, list[int]] = {}
        self.cluster.workers()
        self.cluster.wait(self._partitions)
        with self.cluster._named():
            lies = self.cluster.client.who_has(self._partitions)
        for k, future in enumerate(self._partitions):
            for worker in sorted(lies.get(future.key, ()))[:1]:
                placed.setdefault(worker, []).append(k)
        if sum(map(len, placed.values())) < len(self._partitions):
            time.sleep(_LOST_SECONDS)  # the scheduler has not yet heard of a loss
            return self._place()
        return placed

    def weights(self, job: Job) -> list[np.ndarray]:
        """Return the samples' weights, by partition."""
        client = self.cluster.client
        with self.cluster._named():
            futures = [client.submit(weights_of, p, job, pure=False) for p in self._partitions]
        return self.cluster.results(futures)

    def step(
        self,
        job: Job,
        step: int,
        key: tuple[int, ...] | None,
        flat: np.ndarray,
        words: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Sum one step's groups; see `sum_kept`.

        Returns
        -------
        gradient : ndarray, (size,)
            The sum over all groups, in their order.
        losses : ndarray of float64
            Of the step's samples, in order.
        correct : int
        """
        lost = ""
        for _ in range(_ATTEMPTS):
            if not self._placed:
                self._placed = self._place()
            found = self._ask(job, step, key, flat, words)
            failures = [answer for answer in found if not isinstance(answer, Sums)]
            for failure in failures:
                if isinstance(failure, BaseException) and not isinstance(failure, OSError):
                    raise failure
                lost = str(failure)
            if not failures:
                return _combined(found)
            self._placed = {}  # Dask makes what was lost anew, out of what it was made of
        raise DistributedError(f"workers were lost {_ATTEMPTS} times in one step ({lost})")

    def _ask(self, job: Job, *arguments: Any) -> list[Any]:
        """Have every worker sum its groups; return what they answer, or what happened instead."""
        keys = {
            worker: [self._partitions[k].key for k in numbers]
            for worker, numbers in self._placed.items()
        }
        asked = self._asking.submit(
            self.cluster.client.run, sum_kept, keys, job, *arguments, workers=list(keys),
            on_error="return",
        )  # fmt: skip
        while True:
            with self.cluster._named():
                try:
                    found = asked.result(_LOOK_SECONDS)
                    return [found.get(worker, "no answer") for worker in keys]
                except TimeoutError:
                    pass
            # the scheduler goes on knocking at the door of one that has left
            gone = set(keys) - set(self.cluster.present())
            if gone:
                return [f"{worker} has left" for worker in gone]


def _combined(found: Sequence[Sums]) -> tuple[np.ndarray, np.ndarray, int]:
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


def _chunks(collection: Any) -> list[Any]:
    """Return the futures of a persisted array, in order of its rows."""
    from distributed import futures_of

    by_key = {future.key: future for future in futures_of(collection)}
    keys = list(np.ravel(np.array(collection.to_delayed(), dtype=object)))
    return [by_key[delayed.key] for delayed in keys]


def _homes(layout: Layout, workers: dict[str, int]) -> list[str]:
    """Return which worker keeps which partition: neighbours together, by numbers of threads."""
    slots = [address for address, threads in workers.items() for _ in range(threads)]
    return [slots[k * len(slots) // layout.partitions] for k in range(layout.partitions)]
