"""Clusters of real processes on this machine, shared by tests, and what is trained on them."""

from __future__ import annotations

import logging
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
    """Clusters that one test after the other goes on with: a process takes seconds to start."""

    def __init__(self) -> None:
        self._open, self._found = ExitStack(), {}

    def get(self, name: str, n_workers: int, **settings):
        """Return a cluster and its client; start them if there are none, or no more."""
        found = self._found.get(name)
        if found is None or found[1].status != "running":
            found = self._open.enter_context(local_cluster(n_workers, **settings))
            self._found[name] = found
        return found

    def close(self) -> None:
        """Close all."""
        self._open.close()
        self._found.clear()


shared = Shared()


def mortal(n_workers: int):
    """Return a cluster of which a test may kill what it likes, at this many workers."""
    cluster, client = shared.get("mortal", n_workers)
    cluster.scale(n_workers)
    client.wait_for_workers(n_workers, timeout=60)
    return cluster, client


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
