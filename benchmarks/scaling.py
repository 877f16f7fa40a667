"""How the cost of an epoch grows: ``python benchmarks/scaling.py [--plot FILE]``.

With the number of samples at a fixed network, and with the number of weights at a fixed number
of samples, over three orders of magnitude each. The exponent is the slope of a straight line
through the logarithms: 1 is linear. Of several runs the fastest counts: others' work on the
machine only ever adds time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fastmlp import MLP, SGD

SAMPLES = tuple(int(1000 * 10 ** (i / 2)) for i in range(7))  # 1,000 to 1,000,000
# Two equal hidden layers of 64 to 2,048: 10 thousand to 10 million weights. Narrower ones are
# paid for by the call, not by the weight.
WIDTHS = (64, 128, 256, 512, 1024, 2048)


@dataclass
class Scaling:
    """Sizes, seconds of an epoch, and the exponent of the one over the other."""

    name: str
    sizes: list[int]
    seconds: list[float]

    @property
    def exponent(self) -> float:
        """The least-squares slope on logarithmic scales."""
        return float(np.polyfit(np.log(self.sizes), np.log(self.seconds), 1)[0])

    @property
    def steepest(self) -> float:
        """The largest slope between neighbours."""
        return float(np.max(np.diff(np.log(self.seconds)) / np.diff(np.log(self.sizes))))


def fastest(net: MLP, X: np.ndarray, y: np.ndarray, rounds: int, epochs: int) -> float:
    """Return the fastest epoch, in seconds, once everything is compiled and warm."""
    net.fit(X[:1000], y[:1000], epochs=1, batch_size=64)
    best = np.inf
    for _ in range(rounds):
        begun = time.perf_counter()
        net.fit(X, y, epochs=epochs, batch_size=64)
        best = min(best, (time.perf_counter() - begun) / epochs)
    return float(best)


def over_samples(sizes: Sequence[int] = SAMPLES, rounds: int = 5) -> Scaling:
    """Time epochs of 64-64-64-10 over more and more samples, batches of 64."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((max(sizes), 64), np.float32), rng.integers(0, 10, max(sizes))
    seconds = []
    for n in sizes:
        net = MLP((64, 64, 64, 10), activation="relu", rng=0)
        net.optimizer = SGD(0.01)
        epochs = max(1, max(sizes) // n // 20)
        seconds.append(fastest(net, X[:n], y[:n], rounds, epochs))
    return Scaling("samples", list(sizes), seconds)


def over_weights(widths: Sequence[int] = WIDTHS, rounds: int = 5) -> Scaling:
    """Time epochs of 2,048 samples through w-w-w-10 for wider and wider layers, batches of 64."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2048, max(widths)), np.float32), rng.integers(0, 10, 2048)
    sizes, seconds = [], []
    for width in widths:
        net = MLP((width, width, width, 10), activation="relu", rng=0)
        net.optimizer = SGD(0.01)
        epochs = max(1, (max(widths) // width) ** 2 // 20)
        seconds.append(fastest(net, np.ascontiguousarray(X[:, :width]), y, rounds, epochs))
        sizes.append(sum(w.size for w in net.weights))
    return Scaling("weights", sizes, seconds)


def lines(scalings: Sequence[Scaling]) -> list[str]:
    """Return a table of the exponents."""
    table = ["| grows with | from | to | exponent | steepest step |", "|---|---|---|---|---|"]
    for s in scalings:
        table.append(
            f"| {s.name} | {s.sizes[0]:,}: {s.seconds[0] * 1e3:.2f} ms | "
            f"{s.sizes[-1]:,}: {s.seconds[-1] * 1e3:.0f} ms | {s.exponent:.2f} | "
            f"{s.steepest:.2f} |"
        )
    return table


def draw(scalings: Sequence[Scaling], path: str) -> None:
    """Draw seconds over sizes, with a line of slope 1 for comparison."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), dpi=150, layout="constrained")
    for axes, s in zip(figure.subplots(1, len(scalings), squeeze=False)[0], scalings, strict=True):
        sizes = np.array(s.sizes)
        axes.loglog(sizes, s.seconds, "o-", color="black", label=f"exponent {s.exponent:.2f}")
        axes.loglog(sizes, s.seconds[-1] * sizes / sizes[-1], "--", color="gray", label="linear")
        axes.set_xlabel(s.name)
        axes.set_ylabel("seconds of an epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path)


def measure(note: Callable[[str], None] = print) -> list[Scaling]:
    """Measure both; each is noted size by size."""
    scalings = []
    for over in (over_samples, over_weights):
        scaling = over()
        scalings.append(scaling)
        for size, seconds in zip(scaling.sizes, scaling.seconds, strict=True):
            note(f"{size:>12,} {scaling.name}: {seconds * 1e3:10.3f} ms")
    return scalings


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="How the cost of an epoch grows.")
    parser.add_argument("--plot", metavar="FILE", help="where a picture goes")
    arguments = parser.parse_args()
    measured = measure()
    for each in measured:
        print(f"exponent over {each.name}: {each.exponent:.3f}, steepest {each.steepest:.3f}")
    if arguments.plot is not None:
        draw(measured, arguments.plot)
