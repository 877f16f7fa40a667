"""Times two trees of fastmlp in turns, workload by workload: is a change as fast as what was?

    python benchmarks/alternate.py OLD NEW [--workload NAME ...] [--turns 9]

OLD and NEW are folders that hold the package. Each is run by a process of its own; the two take
turns, so that what the machine does beside them meets both. Printed are the medians of the time
per sample, and of the ratio of neighbouring turns, new over old, with its quartiles.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time

MORE = ("batch-of-7", "batch-1-l2", "defaults", "table", "per-sample-table")


def timing_of(name):
    """Return a function that does a workload's work once, and how many samples that is."""
    import numpy as np

    import fastmlp
    from fastmlp.bench import WORKLOADS
    from fastmlp.bench.peers import FastMLP

    if name in WORKLOADS:
        work = WORKLOADS[name]
        X, _, y = work.arrays()
        trainer = FastMLP(work, X, y)
        if work.predicts:
            return lambda: [trainer.predict() for _ in range(work.epochs)], (
                work.samples * work.epochs
            )
        epochs = 20 if work.batch_size is None else 1
        return lambda: trainer.run(epochs), work.samples * epochs
    sizes, n, options = {
        "batch-of-7": ((30, 50, 20, 4), 5000, {"batch_size": 7}),
        "batch-1-l2": (
            (784, 128, 10),
            2000,
            {"batch_size": 1, "l2": 1e-4, "optimizer": fastmlp.SGD(0.01)},
        ),
        "defaults": ((20, 100, 3), 4000, {"batch_size": 200, "optimizer": "adam"}),
        "table": ((54, 256, 256, 7), 20_000, {"batch_size": 512, "optimizer": "adam"}),
        "per-sample-table": ((10, 20, 3), 10_000, {"batch_size": 1, "optimizer": "sgd"}),
    }[name]
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, sizes[0]), np.float32)
    if name == "batch-1-l2":
        X *= rng.random(X.shape) < 0.2
    y = rng.integers(0, sizes[-1], n)
    net = fastmlp.MLP(sizes, activation="relu", rng=0)
    return lambda: net.fit(X, y, epochs=2, progress=False, **options), 2 * n


def serve():
    """Time the workloads that are asked for, a line each; null for one that the tree lacks."""
    timings = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in timings:
            try:
                timings[name] = timing_of(name)
            except KeyError:
                print("null", flush=True)
                continue
            timings[name][0]()
        run, samples = timings[name]
        begun = time.perf_counter()
        run()
        print(json.dumps((time.perf_counter() - begun) / samples * 1e6), flush=True)


def ask(server, name):
    """Return the microseconds per sample that a server says, or None."""
    server.stdin.write(name + "\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())


def main():
    """Take turns and print a line per workload."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("trees", nargs=2, metavar="TREE")
    parser.add_argument("--workload", nargs="*")
    parser.add_argument("--turns", type=int, default=9)
    options = parser.parse_args()
    import numpy as np

    servers = [
        subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "--serve"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/",
            env=dict(os.environ, PYTHONPATH=os.path.abspath(tree)),
        )
        for tree in options.trees
    ]  # fmt: skip
    from fastmlp.bench import WORKLOADS

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors")
    print(f"{'workload':18} {'old us':>9} {'new us':>9}  new / old (quartiles)")
    for name in options.workload or [*WORKLOADS, *MORE]:
        if None in [ask(server, name) for server in servers]:
            print(f"{name:18} one of the trees has none of that name", flush=True)
            continue
        turns = np.array([[ask(server, name) for server in servers] for _ in range(options.turns)])
        low, middle, high = np.quantile(turns[:, 1] / turns[:, 0], (0.25, 0.5, 0.75))
        old, new = np.median(turns, axis=0)
        print(
            f"{name:18} {old:9.3f} {new:9.3f}  {middle:.3f} ({low:.3f} to {high:.3f})", flush=True
        )
    for server in servers:
        server.stdin.close()
        server.wait()


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
