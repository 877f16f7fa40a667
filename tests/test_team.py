"""A team hands every share of every region to one thread, whoever comes, late or never."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from fastmlp import MLP, Adam
from fastmlp.kernels import training
from fastmlp.kernels._jit import jit
from fastmlp.kernels.regions import region_addresses
from fastmlp.kernels.steps import take_part
from fastmlp.kernels.tables import S_REGIONS, S_TEAM, SETTINGS
from fastmlp.kernels.team import team_memory

SHARES = 4


@jit()
def counting(R, K, S, layers, bounds, n, batch_size, s, number, t, threads):
    """Count in `bounds` how often each share of each region of each step was worked on."""
    if number == 0 and t == 0:
        S[S_REGIONS] = 1 + (s + 1) % 3
    bounds[((s + 1) * 3 + number) * threads + t] += 1


@pytest.mark.parametrize("members", [1, 2, 3, 6])
def test_every_share_of_every_region_is_worked_on_once(members):
    steps = 2000
    team, S = team_memory(SHARES), np.zeros(SETTINGS, np.int64)
    S[S_TEAM] = team.ctypes.data
    counts = np.zeros((steps + 1) * 3 * SHARES, np.int64)
    R, K = region_addresses([counting, None]), region_addresses([])
    arguments = (R, K, S, np.zeros((1, 1), np.int64), counts, 1, 1, steps, np.zeros(1))
    others = [
        threading.Thread(target=take_part, args=(*arguments, np.zeros(1), own % SHARES, SHARES))
        for own in range(members)
    ]
    for other in others:
        other.start()
    for other in others:
        other.join(60)
        assert not other.is_alive()
    table = counts.reshape(steps + 1, 3, SHARES)
    for step in range(steps + 1):
        assert (table[step, : 1 + step % 3] == 1).all()
        assert (table[step, 1 + step % 3 :] == 0).all()


@pytest.mark.parametrize("batch_size", [16, 600, None])
@pytest.mark.parametrize("delays", [[0], [0, 0], [0.03, 0], [0, 0.03], [0, 0.01, 0.02, 0.03, 9]])
def test_the_same_bits_whoever_comes(batch_size, delays, monkeypatch):
    """Members of a team that come at once, in the middle, when all is over, or not at all."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((1500, 40), np.float32), rng.integers(0, 3, 1500)

    def trained(threads: int) -> bytes:
        net = MLP((40, 64, 64, 3), rng=0, threads=threads)
        net.fit(X, y, batch_size=batch_size, epochs=3, optimizer=Adam(), progress=False)
        return b"".join(array.tobytes() for array in net.weights + net.biases)

    expected, runs = trained(1), []

    def run(drivers, threads, *arguments):
        def member(own: int, delay: float) -> None:
            if not over.wait(delay):
                take_part(*arguments, own, threads)

        over = threading.Event()
        others = [threading.Thread(target=member, args=pair) for pair in enumerate(delays)]
        for other in others:
            other.start()
        while sum(other.is_alive() for other in others) > sum(delay > 1 for delay in delays):
            time.sleep(1e-3)
        over.set()
        for other in others:
            other.join()
        runs.append(drivers)

    monkeypatch.setattr(training, "run", run)
    assert trained(SHARES) == expected
    assert len(runs) >= 1
