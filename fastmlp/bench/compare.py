"""Runs a workload on every installed peer, in turns, and takes medians."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from .peak import fma_peak
from .peers import PEERS, FastMLP, installed
from .workloads import WORKLOADS, Workload

__all__ = ["Row", "compare", "speed_table"]


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
        The mean loss of the last epoch each has run: a check that all do the same work.
    share_of_peak : float
        Operations per second, zeros included, over the measured peak. Above 1 where zeros are
        left out.
    """

    workload: str
    microseconds: float
    ratios: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    share_of_peak: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON holds them."""
        return asdict(self)


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _peer_samples(name: str, work: Workload) -> int:
    return work.samples if name == "JAX" else min(work.samples, work.peer_samples)


def compare(
    work: Workload, peers: Sequence[str] | None = None, *, rounds: int = 3, peak: float = 0.0
) -> Row:
    """Time a workload on fastmlp and on peers, alternating.

    Parameters
    ----------
    work : Workload
    peers : sequence of str, optional
        Names in `PEERS`; by default all that are installed.
    rounds : int, default 3
        How often everyone runs; medians count.
    peak : float, optional
        The measured peak, for the share of it.

    Returns
    -------
    Row
    """
    X, floats, y = work.arrays()
    names = [name for name in PEERS if installed(name)] if peers is None else list(peers)
    ours = FastMLP(work, X, y)
    others: dict[str, Any] = {}
    row = Row(work.name, 0.0)
    ours.run(1)
    for name in names:
        n = _peer_samples(name, work)
        others[name] = PEERS[name](work, floats[:n], y[:n])
        row.losses[name] = others[name].run(1)
    row.losses["fastmlp"] = FastMLP(work, X, y).run(1)
    mine: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        mine.append(_seconds(lambda: ours.run(work.epochs)) / (work.epochs * work.samples))
        for name in names:
            peer = others[name]
            epochs = 2 if work.batch_size is None else 1
            seconds = _seconds(partial(peer.run, epochs))
            theirs[name].append(seconds / (epochs * _peer_samples(name, work)))
    time_per_sample = float(np.median(mine))
    row.microseconds = time_per_sample * 1e6
    row.ratios = {name: float(np.median(theirs[name])) / time_per_sample for name in names}
    if peak:
        row.share_of_peak = work.flops / time_per_sample / peak
    return row


def speed_table(
    names: Sequence[str] | None = None,
    peers: Sequence[str] | None = None,
    *,
    rounds: int = 3,
    note: Callable[[str], None] | None = None,
) -> tuple[list[Row], dict[str, float]]:
    """Compare on several workloads; return their rows and the measured peaks by dtype."""
    peaks = {dtype: fma_peak(dtype) for dtype in ("float32", "float64")}
    rows = []
    for name in names or WORKLOADS:
        work = WORKLOADS[name]
        if note is not None:
            note(work.name)
        rows.append(compare(work, peers, rounds=rounds, peak=peaks[work.dtype]))
    return rows, peaks
