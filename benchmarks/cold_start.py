"""How long a first fit waits for its kernels: two trees of fastmlp in turns, in new processes.

    python benchmarks/cold_start.py OLD NEW [--rounds 3]

OLD and NEW are folders that hold the package. Each process trains 20-100-2 (relu, Adam) with an
empty cache, then the same with tanh, momentum and float64. With the cache filled, a process does
the first of these, and another one imports the kernels before it does so. Printed are medians of
seconds: of waiting, and of processors with the helper process included. Beside them stands
scikit-learn's first fit behind its imports, if it is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile

JOBS = """
import json, os, sys, time
import numpy as np
import fastmlp

def spent():
    t = os.times()
    return time.perf_counter(), t.user + t.system + t.children_user + t.children_system

def job(activation, dtype, optimizer):
    begun = spent()
    net = fastmlp.MLP((20, 100, 2), activation=activation, dtype=dtype, rng=0)
    net.fit(X, y, epochs=1, optimizer=optimizer, progress=False)
    return [b - a for a, b in zip(begun, spent())]

rng = np.random.default_rng(0)
X, y = rng.random((256, 20), np.float32), rng.integers(0, 2, 256)
found = {}
if sys.argv[1:] == ["imports"]:
    begun = spent()
    import fastmlp.kernels
    found["import"] = [b - a for a, b in zip(begun, spent())]
found["first"] = job("relu", "float32", "adam")
if not sys.argv[1:]:
    found["second"] = job("tanh", "float64", fastmlp.SGD(0.1, momentum=0.9))
print(json.dumps(found))
"""
PEER = """
import json, time
import numpy as np
from sklearn.neural_network import MLPClassifier
rng = np.random.default_rng(0)
X, y = rng.random((256, 20), np.float32), rng.integers(0, 2, 256)
begun = time.perf_counter()
import warnings
warnings.simplefilter("ignore")
MLPClassifier((100,), max_iter=1).fit(X, y)
print(json.dumps({"scikit-learn": [time.perf_counter() - begun] * 2}))
"""


def run(program, *arguments, **environment):
    """Return what a new process prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], env={**os.environ, **environment},
        capture_output=True, text=True, cwd="/", check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Take turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("trees", nargs=2, metavar="TREE")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[tuple[str, str], list[list[float]]] = {}
    for _ in range(options.rounds):
        for name, tree in zip(("old", "new"), options.trees, strict=True):
            with tempfile.TemporaryDirectory() as cache:
                where = {"PYTHONPATH": os.path.abspath(tree), "FASTMLP_CACHE_DIR": cache}
                for job, took in run(JOBS, **where).items():
                    found.setdefault((job, name), []).append(took)
                cached = run(JOBS, "cached", **where)["first"]
                found.setdefault(("cached", name), []).append(cached)
                imports = run(JOBS, "imports", **where)
                found.setdefault(("import", name), []).append(imports["import"])
                found.setdefault(("beyond", name), []).append(imports["first"])
        with contextlib.suppress(subprocess.CalledProcessError):
            found.setdefault(("beyond", "scikit-learn"), []).append(run(PEER)["scikit-learn"])
    for (job, name), times in found.items():
        waits, processor = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{job:7} {name:13} waits {waits:6.2f} s, processor {processor:6.2f} s")


if __name__ == "__main__":
    main()
