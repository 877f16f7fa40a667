"""Numba's threads where Numba compiles nothing, and how many there are on a Mac."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from fastmlp.kernels.jit import threading_layer

WITHOUT_JIT = """
import numba, numpy as np
from fastmlp import MLP
from fastmlp.kernels.jit import threading_layer

assert numba.config.DISABLE_JIT
threading_layer.thread_limit = lambda: 2
running, switch = [], numba.set_num_threads
numba.set_num_threads = lambda n: running.append(n) or switch(n)
X, y = np.random.default_rng(0).random((300, 20)), np.arange(300) % 3
found = set()
for threads in (1, 2):
    net = MLP((20, 16, 3), rng=0, threads=threads)
    net.fit(X, y, epochs=1, batch_size=32)
    found.add(net.predict_proba(X).tobytes())
    assert bool(running) == (threads > 1)
assert len(found) == 1
print(numba.threading_layer())
"""


@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_numba_without_its_compiler_gives_its_threads(layer):
    """Nothing of this package is compiled by Numba, so turning that off changes nothing."""
    told = {"NUMBA_DISABLE_JIT": "1", "NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_JIT], env={**os.environ, **told}, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert layer in ("default", done.stdout.strip())


class Mac:
    """The C library of a Mac with some cores of the faster kind; 0 where it knows no kinds."""

    def __init__(self, fast: int) -> None:
        self.fast = fast

    def sysctlbyname(self, name, count, size, new, new_size):
        assert (name, new, new_size) == (b"hw.perflevel0.logicalcpu", None, 0)
        assert size._obj.value == ctypes.sizeof(ctypes.c_int)
        if not self.fast:
            return -1
        count._obj.value = self.fast
        return 0


@pytest.mark.parametrize(("fast", "expected"), [(6, 6), (0, 10), (None, 10)])
def test_on_a_mac_the_performance_cores_count(fast, expected, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    monkeypatch.setattr(threading_layer, "_numba_threads", lambda: 99)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object() if fast is None else Mac(fast))
    threading_layer._performance_cores.cache_clear()
    try:
        assert threading_layer.thread_limit() == expected
    finally:
        threading_layer._performance_cores.cache_clear()
