"""Scenarios that run in processes of their own, on every threading layer.

Each is a function of a test module, which such a process runs with its name and a layer's.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest

__all__ = ["LAYERS", "THREADS", "crowded", "data", "run", "scenario", "trained"]

SECONDS = 600  # a scenario that is not over by then hangs
THREADS = 4


def layers() -> list[str]:
    """Return the threading layers that can be loaded here.

    TBB's library comes with ``pip install tbb``; ``LD_LIBRARY_PATH`` has to name its folder, the
    environment's ``lib``.
    """
    found = []
    for name, module in (("omp", "omppool"), ("tbb", "tbbpool"), ("workqueue", "workqueue")):
        try:
            importlib.import_module(f"numba.np.ufunc.{module}")
            found.append(name)
        except ImportError:
            pass
    return found


@cache
def data() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 600)
    zeros = rng.integers(0, 256, (600, 400)) * (rng.random((600, 400)) < 0.2)
    return {"dense": (rng.normal(size=(600, 50)).astype("float32"), y),
            "zeros": (zeros.astype("uint8"), y)}  # fmt: skip


def trained(seed: int, threads: int | None = THREADS, epochs: int = 2) -> str:
    """Return a digest of what training, predictions and gradients give."""
    from fastmlp import MLP, Adam

    digest = hashlib.sha256()
    for X, y in data().values():
        for batch_size in (64, None):
            net = MLP((X.shape[1], 48, 10), rng=seed, threads=threads)
            net.fit(X, y, epochs=epochs,
                    batch_size=batch_size, optimizer=Adam(0.005))  # fmt: skip
            loss, gradients = net.loss_and_gradients(X, y)
            arrays = (*net.weights, *gradients.weights, net.predict_proba(X), np.array(loss))
            for array in arrays:
                digest.update(array.tobytes())
    return digest.hexdigest()


def crowded(seed: int) -> str:
    """Train as if the process had `THREADS` cores, whatever it has."""
    os.sched_getaffinity = lambda _: range(THREADS)
    return trained(seed)


LAYERS = [  # their first is quick
    pytest.param(layer, marks=pytest.mark.slow if i else ()) for i, layer in enumerate(layers())
]


def run(work: Callable[[], None], layer: str) -> None:
    """Run a scenario, a function of a test module, in a process of its own."""
    file = sys.modules[work.__module__].__file__
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {
        **os.environ, "NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": str(THREADS),
        "MALLOC_ARENA_MAX": "1", "PYTHONPATH": path,
    }  # fmt: skip
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, file, work.__name__, layer], env=environment,
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    took = time.perf_counter() - begun
    assert done.returncode == 0, f"{done.returncode} after {took:.0f} s: {done.stderr[-2000:]}"
    assert done.stdout.split()[-1] == layer  # Numba has its say about forks under TBB


def scenario(module: Mapping[str, Callable[[], None]], *, crowd: bool = True) -> None:
    """Do what `run` asks of this process.

    Parameters
    ----------
    module : mapping
        The test module's ``globals()``.
    crowd : bool, default True
        Whether it then trains as if there were `THREADS` cores.
    """
    import numba

    name, layer = sys.argv[1:]
    module[name]()
    if crowd:
        os.sched_getaffinity = lambda _: range(THREADS)
    trained(0, threads=2)
    assert numba.threading_layer() == layer
    print(layer)
