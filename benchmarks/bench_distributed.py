"""A step on a cluster of local workers: what it costs beyond its compute."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import fastmlp

SAMPLES = 20_000
NETWORKS = {
    "64-32-10": (64, 32, 10),
    "64-256-10": (64, 256, 10),
    "64-600-128-10": (64, 600, 128, 10),
}
WORKERS = (1, 2)


@contextmanager
def workers(count: int) -> Iterator[Any]:
    """Yield the client of so many processes with one thread each."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1",
            memory_limit=None, silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        client.wait_for_workers(count, timeout=60)
        yield client


def steps(client: Any, sizes: tuple[int, ...], count: int, n: int = SAMPLES) -> np.ndarray:
    """Return seconds of full-batch steps and of the slowest worker within them, (count, 2)."""
    import dask.array as da

    from fastmlp.distributed._cluster import Cluster
    from fastmlp.distributed._samples import Data
    from fastmlp.regularization import Regularization

    rng = np.random.default_rng(0)
    X = da.from_array(rng.standard_normal((n, sizes[0]), np.float32), chunks=(n // 8, -1))
    y = da.from_array(rng.integers(0, sizes[-1], n), chunks=-1)
    net = fastmlp.MLP(sizes, rng=0)
    found = []
    with client.as_current():
        samples = Data(net, Cluster(client, 60.0), (X, y, None), 32, None).make_samples(
            1, None, False, None
        )
        samples.settings = {"optimizer": net.optimizer, "regularization": Regularization()}
        for _ in range(count + 3):
            begun = time.perf_counter()
            samples._step(0, 0.1, None, None, None)
            found.append((time.perf_counter() - begun, samples._kept.seconds))
    return np.array(found[3:])


class Step:
    """Median over steps, in milliseconds."""

    params = (tuple(NETWORKS), WORKERS)
    param_names = ("network", "workers")
    timeout = 300
    unit = "ms"

    def track_overhead(self, network: str, count: int) -> float:
        """What is no compute of the slowest worker: parameters out, sums in, the step."""
        with workers(count) as client:
            seconds = steps(client, NETWORKS[network], 40)
        return float(np.median(seconds[:, 0] - seconds[:, 1])) * 1e3
