"""scikit-learn's estimators and ours on the same program: ``python benchmarks/bench_sklearn.py``.

By asv too; the command alone prints every ratio.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn import neural_network as theirs
from sklearn.exceptions import ConvergenceWarning

from fastmlp import sklearn as ours
from fastmlp.datasets import load_mnist

ROUNDS = 3
_CALLS = 1000  # of predict with a single row, for one timing


@dataclass(frozen=True)
class Program:
    """What both run, on so many samples; ``peer_samples`` where theirs would take too long."""

    settings: dict[str, Any] = field(default_factory=dict)
    data: str = "mnist"
    samples: int = 60_000
    epochs: int = 5
    peer_samples: int = 20_000
    predicts: bool = False

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return X and y."""
        if self.data == "table":
            rng = np.random.default_rng(0)
            X = rng.standard_normal((self.samples, 50))
            return X, (X[:, :5].sum(axis=1) + rng.standard_normal(len(X)) > 0).astype(np.int64)
        digits = load_mnist("float64" if self.data == "mnist-float64" else "float32")
        return digits.x_train[: self.samples], digits.y_train[: self.samples]


_TUTORIAL = {"hidden_layer_sizes": (200, 100, 50), "batch_size": 64}
_ONE = {"hidden_layer_sizes": (128, 64), "batch_size": 1, "solver": "sgd", "momentum": 0.0}
PROGRAMS = {
    "batch 64, adam": Program(_TUTORIAL),
    "batch 64, sgd": Program({**_TUTORIAL, "solver": "sgd", "activation": "logistic"}),
    "defaults, MNIST": Program(),
    "defaults, MNIST in float64": Program(data="mnist-float64"),
    "defaults, table": Program(data="table", samples=100_000, peer_samples=100_000),
    "one sample": Program(_ONE, samples=5000, peer_samples=1000),
    "one sample, no penalty": Program({**_ONE, "alpha": 0.0}, samples=5000, peer_samples=1000),
    "predict a row": Program({"hidden_layer_sizes": (128, 64)}, samples=1000, epochs=1,
                             predicts=True),
}  # fmt: skip


def fitted(module: Any, program: Program, X: np.ndarray, y: np.ndarray) -> Any:
    """Return the estimator after its epochs."""
    model = module.MLPClassifier(
        **program.settings, max_iter=program.epochs, tol=0.0, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y)


def seconds(module: Any, program: Program, X: np.ndarray, y: np.ndarray) -> float:
    """Return what a fit takes per sample, or a prediction."""
    if program.predicts:
        model, row = fitted(module, program, X, y), X[:1]
        begun = time.perf_counter()
        for _ in range(_CALLS):
            model.predict(row)
        return (time.perf_counter() - begun) / _CALLS
    begun = time.perf_counter()
    fitted(module, program, X, y)
    return (time.perf_counter() - begun) / len(X)


def compare(program: Program, rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Run both in turns; return their time over ours, and both times: medians."""
    X, y = program.arrays()
    n = program.peer_samples
    seconds(ours, program, X, y)  # compiled now, if not before
    pairs = [
        (seconds(theirs, program, X[:n], y[:n]), seconds(ours, program, X, y))
        for _ in range(rounds)
    ]
    their, our = np.median(pairs, axis=0)
    return float(their / our), float(their), float(our)


class Sklearn:
    """Ratios: above 1 ours are faster."""

    params = (tuple(PROGRAMS),)
    param_names = ("program",)
    timeout = 600

    def track_ratio(self, program: str) -> float:
        return compare(PROGRAMS[program])[0]

    track_ratio.unit = "times"  # type: ignore[attr-defined]


if __name__ == "__main__":
    import sys

    for name in sys.argv[1:] or PROGRAMS:
        ratio, their, our = compare(PROGRAMS[name])
        shown = f"{their * 1e6:10.2f} us {our * 1e6:10.2f} us"
        print(f"{name:30} {ratio:6.1f}  {shown}", flush=True)
