"""A cluster of real processes on this machine, shared by tests, and what is trained on them."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest

from fastmlp import MLP

distributed = pytest.importorskip("distributed")


@contextmanager
def local_cluster(n_workers: int, **settings):
    """Start workers in processes of their own, without a dashboard or fixed ports."""
    given = {
        "threads_per_worker": 1, "processes": True, "dashboard_address": ":0",
        "host": "127.0.0.1", "memory_limit": None, "silence_logs": logging.CRITICAL, **settings,
    }  # fmt: skip
    with (
        distributed.LocalCluster(n_workers=n_workers, **given) as cluster,
        distributed.Client(cluster, set_as_default=False, timeout=60) as client,
    ):
        if n_workers:
            client.wait_for_workers(n_workers, timeout=60)
        yield cluster, client


class Shared:
    """A cluster that one test after the other goes on with: a process takes seconds to start."""

    def __init__(self) -> None:
        self._open, self._found = ExitStack(), None

    def get(self, n_workers: int):
        """Return the cluster and its client, at this many workers; they may be killed."""
        if self._found is None or self._found[1].status != "running":
            self._found = self._open.enter_context(local_cluster(n_workers, memory_limit="8GB"))
        cluster, client = self._found
        cluster.scale(n_workers)
        deadline = time.monotonic() + 60
        while not self._settled(n_workers) and time.monotonic() < deadline:
            time.sleep(0.01)
        return cluster, client

    def _settled(self, n_workers: int) -> bool:
        """Tell whether those who are there are those who stay: one that was killed comes back, and
        may do so while it is being sent away.
        """
        cluster, client = self._found
        mine = {nanny.worker_address for nanny in list(cluster.workers.values())}
        return len(cluster.workers) == n_workers and mine == set(client.nthreads())

    def close(self) -> None:
        """Close it."""
        self._open.close()
        self._found = None


shared = Shared()


RNG = np.random.default_rng(0)
X = RNG.normal(size=(3000, 20)).astype(np.float32)
LABELS = X[:, :3].argmax(axis=1)


def make(sizes=(20, 12, 3), **settings) -> MLP:
    return MLP(sizes, **{"rng": 1, **settings})


def state(net: MLP) -> np.ndarray:
    """Return parameters and what the optimizer remembers."""
    return net._parameters.state.copy()


def numbers(history) -> dict:
    return {name: v for name, v in history.as_dict().items() if name != "seconds"}
