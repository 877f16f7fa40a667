"""A team hands every share of every region to one thread, whoever comes, late or never."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from fastmlp import MLP, Adam
from fastmlp.kernels import training
from fastmlp.kernels.steps import take_part
from fastmlp.kernels.team import (
    OVER,
    announce,
    announced,
    arrive,
    claim,
    done,
    end,
    team_memory,
    wait,
)

SHARES = 4


def test_one_leads():
    team = team_memory(SHARES)
    assert [arrive(team.ctypes.data) for _ in range(3)] == [True, False, False]


def test_a_share_is_claimed_once_and_only_while_its_region_runs():
    memory = team_memory(SHARES)
    team = memory.ctypes.data
    for sequence in (1, 2, 3):
        announce(team, sequence, 7, sequence)
        assert announced(team, sequence - 1) == sequence
        for t in range(SHARES):
            assert not claim(team, sequence - 1, t)  # by one who slept through the last region
            assert claim(team, sequence, t)
            assert not claim(team, sequence, t)
            done(team, sequence, t)
        wait(team, sequence, SHARES)
    end(team)
    assert announced(team, 3) == OVER
    assert announced(team, 0) == OVER


def test_threads_share_a_thousand_regions():
    memory, regions = team_memory(SHARES), 1000
    team = memory.ctypes.data
    taken = np.zeros((6, regions + 1, SHARES), np.int64)

    def shares(me: int, sequence: int) -> None:
        for t in range(SHARES):
            if claim(team, sequence, t):
                taken[me, sequence, t] = 1
                done(team, sequence, t)

    def follower(me: int) -> None:
        sequence = 0
        while (sequence := announced(team, sequence)) != OVER:
            shares(me, sequence)

    others = [threading.Thread(target=follower, args=(me,)) for me in range(1, 6)]
    for other in others:
        other.start()
    for sequence in range(1, regions + 1):
        announce(team, sequence, 0, 0)
        shares(0, sequence)
        wait(team, sequence, SHARES)
        assert (taken[:, sequence].sum(axis=0) == 1).all()
    end(team)
    for other in others:
        other.join(60)
        assert not other.is_alive()


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
