"""Calls of `predict_proba` and `predict`, few rows and many, beside other libraries.

    python benchmarks/inference.py [--rounds N] [--json FILE]

Three networks, 1 to 10,000 rows a call, float32, all cores. A network is asked beside onnxruntime
and PyTorch, an estimator beside scikit-learn's. They take turns in one run, and each makes its
calls in a row, once the others' threads are asleep: onnxruntime's wait for work for 40 ms, and
would have one of the cores meanwhile. What counts is the median call of a turn, and the median turn
of the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

NETWORKS = ((20, 100, 2), (784, 128, 64, 10), (784, 1024, 1024, 10))
ROWS = (1, 8, 32, 100, 1000, 10_000)
PEERS = ("onnxruntime", "PyTorch", "predict_proba", "predict")
_PAUSE = _WARM = _TURN = 0.1  # seconds


class Measured(NamedTuple):
    """What calls of so many rows took: seconds of fastmlp's, the least of the medians beside each
    peer, and how many times as long others' are, each over fastmlp's beside it.
    """

    sizes: tuple[int, ...]
    rows: int
    seconds: float
    ratios: dict[str, float]


def turn(call: Callable[[], Any]) -> float:
    """Return the median seconds of a call, of those made in a row."""
    time.sleep(_PAUSE)
    end = time.perf_counter() + _WARM
    while time.perf_counter() < end:  # short calls learn whether threads pay
        call()
    taken: list[float] = []
    end = time.perf_counter() + _TURN
    while len(taken) < 3 or time.perf_counter() < end:
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def calls(sizes: tuple[int, ...], rows: int) -> dict[str, tuple[Callable[[], Any], ...]]:
    """Return our call and the peer's, by the peer's name."""
    import numpy as np

    from fastmlp.bench import peers
    from fastmlp.bench.workloads import Workload
    from fastmlp.sklearn import MLPClassifier

    work = Workload("ask", sizes, "relu", "float32", None, "random", rows, predicts=True)
    X, _, y = work.arrays()
    ours = peers.FastMLP(work, X, y)
    found: dict[str, tuple[Callable[[], Any], ...]] = {}
    for name in ("onnxruntime", "PyTorch"):
        if peers.installed(name):
            peer = peers.PEERS[name](work, X, y)
            np.testing.assert_allclose(peer.predict(), ours.predict(), atol=1e-5)
            found[name] = ours.predict, peer.predict
    if peers.installed("scikit-learn"):
        estimator = MLPClassifier(sizes[1:-1], dtype="float32", random_state=0)
        estimator.partial_fit(X, y, classes=np.arange(sizes[-1]))
        theirs = peers.PEERS["scikit-learn"](work, X, y)._fitted
        theirs.coefs_, theirs.intercepts_ = estimator.coefs_, estimator.intercepts_
        for name in ("predict_proba", "predict"):
            pair = [getattr(model, name) for model in (estimator, theirs)]
            found[name] = tuple(lambda f=f: f(X) for f in pair)
    return found


def measure(sizes: tuple[int, ...], rows: int, rounds: int) -> Measured:
    """Time calls of so many rows, all in turns."""
    pairs = calls(sizes, rows)
    taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in pairs}
    for _ in range(rounds):
        for name, pair in pairs.items():
            taken[name].append(tuple(map(turn, pair)))
    medians = {
        name: tuple(map(statistics.median, zip(*turns, strict=True)))
        for name, turns in taken.items()
    }
    ratios = {name: theirs / ours for name, (ours, theirs) in medians.items()}
    return Measured(sizes, rows, min(ours for ours, _ in medians.values()), ratios)


def lines(found: Sequence[Measured]) -> list[str]:
    """Return the table: a row for each network and number of rows."""
    names = [name for name in PEERS if any(name in m.ratios for m in found)]
    heads = {"predict_proba": "scikit-learn, `predict_proba`", "predict": "`predict`"}
    table = [
        "| network | rows | fastmlp | " + " | ".join(heads.get(n, n) for n in names) + " |",
        "|---" * (3 + len(names)) + "|",
    ]
    for m in found:
        cells = [f"{m.ratios[name]:.2f}" if name in m.ratios else "" for name in names]
        sizes = "-".join(map(str, m.sizes))
        table.append(f"| {sizes} | {m.rows:,} | {m.seconds * 1e6:.1f} us | {' | '.join(cells)} |")
    return table


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="a file for all figures")
    options = parser.parse_args()
    found = []
    for sizes in NETWORKS:
        for rows in ROWS:
            found.append(measure(sizes, rows, options.rounds))
            print(*lines(found[-1:])[2:], sep="\n", file=sys.stderr)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump([m._asdict() for m in found], file, indent=1)
    print("\n".join(lines(found)))


if __name__ == "__main__":
    main()
