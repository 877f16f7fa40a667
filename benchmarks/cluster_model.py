"""Where a cluster pays: ``python benchmarks/cluster_model.py [--plot FILE]``; a model, no promise.

A step of `fastmlp.distributed.fit` is modelled from five costs, which are measured on this
machine with one and two local workers. What they give for one, two and four workers is printed
beside what those take, then extended to workers that a machine does not have: each with one core
like this one's, `LATENCY` and `BANDWIDTH` of a network between them on top of what was measured.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LATENCY = 1e-4  # seconds from machine to machine, as within a data centre
BANDWIDTH = 1.25e9  # bytes a second: 10 Gbit/s
GROUPS = 32
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SAMPLES = (100_000, 1_000_000, 10_000_000)  # of a step
MEASURED = (1, 2, 4)


@dataclass(frozen=True)
class Costs:
    """What a step costs beside its compute, in seconds.

    Attributes
    ----------
    ask : float
        Asking workers for their sums, and hearing from the last one.
    hop : float
        Handing sums on from one worker to the next.
    sent : float
        A byte on its way between two processes, through the scheduler or not.
    added : float
        A byte of a gradient that is added to a sum.
    """

    ask: float
    hop: float
    sent: float
    added: float

    def apart(self, latency: float = LATENCY, bandwidth: float = BANDWIDTH) -> Costs:
        """Return the costs with a network between the processes: four ways to ask, two to hand."""
        return Costs(
            self.ask + 4 * latency, self.hop + 2 * latency, self.sent + 1 / bandwidth, self.added
        )


@dataclass(frozen=True)
class Network:
    """Layer sizes, and the seconds that a core needs for a sample: forward, loss and gradient."""

    sizes: tuple[int, ...]
    sample: float

    @property
    def parameters(self) -> int:
        """How many there are, biases too."""
        return sum((a + 1) * b for a, b in zip(self.sizes, self.sizes[1:], strict=False))

    @property
    def name(self) -> str:
        """The sizes as text."""
        return "-".join(map(str, self.sizes))


def step_seconds(
    costs: Costs, network: Network, samples: int, workers: int, cores: int | None = None
) -> float:
    """Return the modelled time of a step on workers of one thread each, in float32.

    All are asked at once. The slowest has the most groups; then sums go from worker to worker, and
    each adds a gradient per group that it has.

    Parameters
    ----------
    costs : Costs
    network : Network
    samples : int
        Of the step.
    workers : int
        As many groups as there are workers, if they are more than `GROUPS`.
    cores : int, optional
        That all workers share; one each by default.
    """
    size, groups = 4 * network.parameters, max(GROUPS, workers)
    own = math.ceil(groups / workers)
    together = 1.0 if cores is None else max(1.0, workers / cores)
    compute = samples * network.sample * own / groups * together
    asked = costs.ask + 2 * workers * size * costs.sent  # to the scheduler, which sends to each
    add = own * size * costs.added
    chain = (workers - 1) * (costs.hop + size * costs.sent + add)
    back = 2 * size * costs.sent
    return compute + asked + add + chain + back


def speedup(costs: Costs, network: Network, samples: int, workers: int) -> float:
    """Return how much faster a step is than one core's compute alone."""
    return samples * network.sample / step_seconds(costs, network, samples, workers)


def best(costs: Costs, network: Network, samples: int) -> int:
    """Return the number of workers, of those in `WORKERS`, with the fastest step; 0: none is."""
    found = max(WORKERS, key=lambda workers: speedup(costs, network, samples, workers))
    return found if speedup(costs, network, samples, found) > 1 else 0


@dataclass(frozen=True)
class Row:
    """A step's seconds, measured and modelled."""

    network: Network
    workers: int
    measured: float
    modelled: float


def _added(size: int = 1_000_000) -> float:
    """Return the seconds per byte of adding gradients up."""
    rows, total = np.ones((16, size // 4), np.float32), np.zeros(size // 4, np.float32)
    rounds = []
    for _ in range(20):
        begun = time.perf_counter()
        for row in rows:
            np.add(total, row, out=total)
        rounds.append(time.perf_counter() - begun)
    return float(np.median(rounds)) / rows.nbytes


def calibrated(found: dict[tuple[str, int], np.ndarray], added: float) -> Costs:
    """Return the costs that medians of steps show.

    Parameters
    ----------
    found : dict of ndarray, (2,)
        By network and workers: seconds of a step, and of its slowest worker's compute. Looked at
        are the smallest and the largest network with one worker, and the smallest with two.
    added : float
        See `Costs`.
    """
    named = sorted({name for name, _ in found}, key=lambda name: _network(name, 0).parameters)
    small, large = named[0], named[-1]
    bytes_of = {name: 4 * _network(name, 0).parameters for name in (small, large)}

    def beyond(name: str, workers: int) -> float:
        total, compute = found[name, workers]
        return float(total - compute) - bytes_of[name] * math.ceil(GROUPS / workers) * added

    more = beyond(large, 1) - beyond(small, 1)
    sent = max(0.0, more / (4 * (bytes_of[large] - bytes_of[small])))  # four ways
    ask = beyond(small, 1) - 4 * bytes_of[small] * sent
    at_two = ask + 7 * bytes_of[small] * sent + bytes_of[small] * GROUPS / 2 * added
    hop = max(0.0, beyond(small, 2) - at_two)
    return Costs(max(0.0, ask), hop, sent, added)


def _network(name: str, sample: float) -> Network:
    return Network(tuple(map(int, name.split("-"))), sample)


def measure(samples: int = 20_000, count: int = 40) -> tuple[Costs, list[Row]]:
    """Measure steps on local workers; return the costs, and all steps beside the model's."""
    from bench_distributed import NETWORKS, steps, workers

    found = {}
    for number in MEASURED:
        with workers(number) as client:
            for name, sizes in NETWORKS.items():
                found[name, number] = np.median(steps(client, sizes, count, samples), axis=0)
    costs = calibrated(found, _added())
    networks = {name: _network(name, found[name, 1][1] / samples) for name in NETWORKS}
    cores = os.cpu_count()
    return costs, [
        Row(
            networks[name], number, float(seconds[0]),
            step_seconds(costs, networks[name], samples, number, cores),
        )
        for (name, number), seconds in sorted(found.items(), key=lambda each: each[0][1])
    ]  # fmt: skip


def networks_of(rows: Sequence[Row]) -> list[Network]:
    """Return the measured networks, and one of a million parameters, at the largest's rate."""
    found = sorted({row.network for row in rows}, key=lambda network: network.parameters)
    large = (64, 1000, 900, 10)
    rate = found[-1].sample / found[-1].parameters
    return [*found, Network(large, rate * Network(large, 0).parameters)]


def lines(costs: Costs, rows: Sequence[Row]) -> list[str]:
    """Return two tables: measured beside modelled, and what the model says of clusters."""
    table = [
        "| network | parameters | "
        + " | ".join(f"{n} worker{'s' * (n > 1)}" for n in MEASURED)
        + " |",
        "|---|---|" + "---|" * len(MEASURED),
    ]
    networks = networks_of(rows)
    for network in networks[:-1]:
        cells = [
            f"{r.measured * 1e3:.1f} / {r.modelled * 1e3:.1f} ms"
            for r in rows
            if r.network == network
        ]
        table.append(f"| {network.name} | {network.parameters:,} | " + " | ".join(cells) + " |")
    costs = costs.apart()
    table += [
        "",
        "| network | parameters | "
        + " | ".join(f"{samples:,} samples a step" for samples in SAMPLES)
        + " |",
        "|---|---|" + "---|" * len(SAMPLES),
    ]
    for network in networks:
        cells = []
        for samples in SAMPLES:
            n = best(costs, network, samples)
            gain = speedup(costs, network, samples, n) if n else 0
            cells.append(f"{gain:.1f} times with {n}" if n > 1 else "no gain")
        table.append(f"| {network.name} | {network.parameters:,} | " + " | ".join(cells) + " |")
    return table


def draw(costs: Costs, networks: Sequence[Network], path: str) -> None:
    """Draw speed-ups over one core, one picture per size of step."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    costs = costs.apart()
    figure = Figure(figsize=(9, 3.4), dpi=100, layout="constrained")
    shades = colormaps["Blues"](np.linspace(0.4, 1, len(networks)))
    for axes, samples in zip(figure.subplots(1, len(SAMPLES), sharey=True), SAMPLES, strict=True):
        axes.loglog(WORKERS, WORKERS, "--", color="gray", label="as many times as workers")
        axes.axhline(1, color="gray", linewidth=0.8)
        for network, color in zip(networks, shades, strict=True):
            gains = [speedup(costs, network, samples, n) for n in WORKERS]
            axes.loglog(
                WORKERS, gains, "o-", markersize=3, color=color,
                label=f"{network.parameters:,} parameters",
            )  # fmt: skip
        axes.set_title(f"{samples:,} samples a step", fontsize=10)
        axes.set_xticks(WORKERS[::2], [str(n) for n in WORKERS[::2]])
        axes.minorticks_off()
        axes.set_xlabel("workers of one core (model)")
        axes.grid(alpha=0.3)
        axes.set_ylim(0.1, 300)
    figure.axes[0].set_ylabel("step: times as fast as one core")
    figure.axes[-1].legend(fontsize=7, loc="lower right")
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Where a cluster pays, by a model.")
    parser.add_argument("--plot", metavar="FILE", help="where a picture goes")
    arguments = parser.parse_args()
    measured, steps_found = measure()
    print(measured)
    print("\n".join(lines(measured, steps_found)))
    if arguments.plot is not None:
        draw(measured, networks_of(steps_found), arguments.plot)
