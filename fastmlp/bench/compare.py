"""Runs a workload on every installed peer, in turns, and takes medians."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .peak import fma_peak
from .peers import PEERS, FastMLP, does, installed
from .workloads import WORKLOADS, Workload

__all__ = ["Row", "compare", "speed_table"]

_EPOCHS = 10  # over which moments decay


@dataclass
class Row:
    """What came out of one workload.

    Attributes
    ----------
    workload : str
    microseconds : float
        Of fastmlp, per sample, its preparations included.
    ratios : dict
        Peer's time over fastmlp's.
    losses : dict
        The mean loss of the last epoch each has run, or of what each has predicted: a check that
        all do the same work.
    share_of_peak : float
        Operations per second, zeros included, over the peak that was measured in turns with them.
        Above 1 where zeros are left out.
    peak : float
        That peak, in operations per second.
    growth : float
        What an epoch takes after ten, over the first: moments that decay must not slow it down.
    """

    workload: str
    microseconds: float
    ratios: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    share_of_peak: float = 0.0
    peak: float = 0.0
    growth: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON holds them."""
        return asdict(self)


def _peer_samples(name: str, work: Workload) -> int:
    return work.samples if name == "JAX" else min(work.samples, work.peer_samples)


def _peer_epochs(work: Workload) -> int:
    if work.predicts:
        return work.epochs
    return 2 if work.batch_size is None else 1


def _loss(trainer: Any, work: Workload, y: np.ndarray) -> float:
    """Let a trainer do its work once; return the loss it ends with."""
    if not work.predicts:
        return float(trainer.run(1))
    probabilities = np.asarray(trainer.predict())
    return float(-np.log(probabilities[np.arange(len(y)), y]).mean())


def _seconds_per_sample(trainer: Any, work: Workload, epochs: int, samples: int) -> float:
    begun = time.perf_counter()
    if work.predicts:
        for _ in range(epochs):
            trainer.predict()
    else:
        trainer.run(epochs)
    return (time.perf_counter() - begun) / (epochs * samples)


def compare(work: Workload, peers: Sequence[str] | None = None, *, rounds: int = 3) -> Row:
    """Time a workload on fastmlp and on peers, in turns.

    Parameters
    ----------
    work : Workload
    peers : sequence of str, optional
        Names in `PEERS`; by default all that are installed.
    rounds : int, default 3
        How often everyone runs; medians count.

    Returns
    -------
    Row
    """
    X, floats, y = work.arrays()
    names = [name for name in PEERS if installed(name)] if peers is None else list(peers)
    names = [name for name in names if does(name, work)]
    ours = FastMLP(work, X, y)
    others: dict[str, Any] = {}
    row = Row(work.name, 0.0)
    _loss(ours, work, y)
    for name in names:
        n = _peer_samples(name, work)
        others[name] = PEERS[name](work, floats[:n], y[:n])
        row.losses[name] = _loss(others[name], work, y[:n])
    row.losses["fastmlp"] = _loss(FastMLP(work, X, y), work, y)
    mine: list[float] = []
    peaks: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        mine.append(_seconds_per_sample(ours, work, work.epochs, work.samples))
        peaks.append(fma_peak(work.dtype, repeats=1000))
        for name, peer in others.items():
            n = _peer_samples(name, work)
            theirs[name].append(_seconds_per_sample(peer, work, _peer_epochs(work), n))
    time_per_sample = float(np.median(mine))
    row.microseconds = time_per_sample * 1e6
    row.ratios = {name: float(np.median(theirs[name])) / time_per_sample for name in names}
    row.peak = float(np.median(peaks))
    row.share_of_peak = work.flops / time_per_sample / row.peak
    if work.optimizer.slots and not work.predicts:
        seconds = FastMLP(work, X, y).seconds(_EPOCHS)
        row.growth = float(np.median(seconds[-3:]) / seconds[0])
    return row


def speed_table(
    names: Sequence[str] | None = None,
    peers: Sequence[str] | None = None,
    *,
    rounds: int = 3,
    note: Callable[[str], None] | None = None,
) -> tuple[list[Row], dict[str, float]]:
    """Compare on several workloads; return their rows and the median peaks by dtype."""
    rows = []
    for name in names or WORKLOADS:
        work = WORKLOADS[name]
        if note is not None:
            note(work.name)
        rows.append(compare(work, peers, rounds=rounds))
    dtypes = {WORKLOADS[row.workload].dtype for row in rows}
    peaks = {
        dtype: float(np.median([r.peak for r in rows if WORKLOADS[r.workload].dtype == dtype]))
        for dtype in sorted(dtypes)
    }
    return rows, peaks
