"""The time to the first result: import, compiling, and starting from compiled code."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

DATA = """
import numpy as np, fastmlp
rng = np.random.default_rng(0)
X, y = rng.random((256, 20), np.float32), rng.integers(0, 3, 256)
net = fastmlp.MLP((20, 16, 3), rng=0)
"""
FIRST = {
    "epoch": DATA + "net.fit(X, y, epochs=1)",
    "full batch": DATA + "net.fit(X, y, epochs=1, batch_size=None)",
    "prediction": DATA + "net.predict(X[:1])",
    # another activation, optimizer and dtype after a first job: what is missing is compiled
    "second job": DATA
    + """
net.fit(X, y, epochs=1, optimizer="adam")
other = fastmlp.MLP((20, 16, 3), activation="tanh", dtype="float64", rng=0)
other.fit(X, y, epochs=1, optimizer=fastmlp.SGD(0.1, momentum=0.9))
""",
}


def run(program: str, cache: str | None = None) -> None:
    environment = dict(os.environ)
    if cache is not None:
        environment["FASTMLP_CACHE_DIR"] = cache
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


class _Processes:
    number = 1
    rounds, repeat = 1, 3  # a setup compiles, and comes before each
    warmup_time = 0
    timeout = 600


class Import(_Processes):
    """Whole processes, from `python` to the end."""

    params = (("numpy", "fastmlp", "fastmlp.kernels"),)
    param_names = ("module",)

    def time_import(self, module: str) -> None:
        run(f"import {module}")


class FirstResult(_Processes):
    """Whole processes that end with their first result, kernels compiled anew or loaded."""

    params = (tuple(FIRST), ("compiled", "loaded"))
    param_names = ("result", "kernels")

    def setup(self, result: str, kernels: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        if kernels == "loaded":
            run(FIRST[result], self.folder.name)

    def teardown(self, result: str, kernels: str) -> None:
        self.folder.cleanup()

    def time_first_result(self, result: str, kernels: str) -> None:
        fresh = kernels == "compiled"
        run(FIRST[result], tempfile.mkdtemp(dir=self.folder.name) if fresh else self.folder.name)
