"""The time to the first result: import, compiling, and starting from compiled code."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

FIRST_EPOCH = """
import numpy as np, fastmlp
rng = np.random.default_rng(0)
X, y = rng.random((256, 20), np.float32), rng.integers(0, 3, 256)
fastmlp.MLP((20, 16, 3), rng=0).fit(X, y, epochs=1)
"""


def run(program: str, cache: str | None = None) -> None:
    environment = dict(os.environ)
    if cache is not None:
        environment["FASTMLP_CACHE_DIR"] = cache
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


class Start:
    """Whole processes, from `python` to the end."""

    number = 1
    repeat = 3
    warmup_time = 0
    timeout = 300

    def setup(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.warm = os.path.join(self.folder.name, "warm")
        self.cold = 0
        run(FIRST_EPOCH, self.warm)

    def teardown(self) -> None:
        self.folder.cleanup()

    def time_import_numpy(self) -> None:
        run("import numpy")

    def time_import_fastmlp(self) -> None:
        run("import fastmlp")

    def time_first_epoch_compiling(self) -> None:
        self.cold += 1
        run(FIRST_EPOCH, os.path.join(self.folder.name, f"cold-{self.cold}"))

    def time_first_epoch_cached(self) -> None:
        run(FIRST_EPOCH, self.warm)
