"""A team hands every share of every region to one thread, whoever comes, late or never."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from fastmlp import MLP, Adam
from fastmlp.kernels import team, training
from fastmlp.kernels._jit import jit
from fastmlp.kernels.costs import Pace
from fastmlp.kernels.regions import region_addresses
from fastmlp.kernels.steps import take_part
from fastmlp.kernels.tables import S_REGIONS, S_TEAM, SETTINGS
from fastmlp.kernels.team import team_memory
from fastmlp.kernels.threads import thread_limit

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
    memory, S = team_memory(SHARES), np.zeros(SETTINGS, np.int64)
    S[S_TEAM] = memory.ctypes.data
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


@pytest.mark.parametrize("shares", [1, 3, 8])
def test_shares_are_in_lines_of_their_own_once(shares):
    places = [0, team.SEQUENCE, team.STEP, *(team.SHARES + t * team.LINE for t in range(shares))]
    lines = [place // 128 for place in places]
    assert lines == sorted(set(lines))
    assert all(place % 128 == 0 for place in places)
    assert team.NUMBER == team.STEP + 8
    memory = team_memory(shares)
    assert memory.nbytes == places[-1] + 128
    assert not memory.any()


def test_who_has_looked_for_long_gives_way_and_counts_anew():
    looks = [0]
    for _ in range(10_000):
        looks.append(team.look_again(looks[-1]))
    often = max(looks) + 1
    assert 1000 < often < 10_000
    assert looks == [number % often for number in range(10_001)]


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


# one thread or a team


def runs(pace: Pace, alone: float, team: float, count: int) -> list[bool]:
    """Return whether each of so many runs was on one thread, at these seconds a sample."""
    found = []
    for _ in range(count):
        found.append(pace.alone)
        pace.note(100 * (alone if pace.alone else team), 100)
    return found


def test_the_quicker_way_is_kept():
    assert runs(Pace(), 1.0, 0.7, 50) == [True] + 49 * [False]
    slow = runs(Pace(), 1.0, 1.5, 50)
    assert slow[:2] == [True, False]
    assert all(slow[2:18])
    assert slow.count(False) == 3  # tried again now and then


def test_another_way_is_tried_when_it_becomes_slow():
    pace = Pace()
    runs(pace, 1.0, 0.7, 5)
    assert runs(pace, 1.0, 2.0, 3) == [False, True, True]
    assert runs(pace, 1.0, 0.7, 20)[-1] is False
    pace = Pace()
    pace.note(1e-4, 1)  # too short to tell anything
    assert pace.alone


def test_short_steps_find_their_way_and_change_no_bit(monkeypatch):
    """Every run counts, and what it takes is made up: both ways, one after the other."""
    if thread_limit() < 2:
        pytest.skip("one core")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20_000, 4), np.float32), rng.integers(0, 2, 20_000)
    ways: list[bool] = []

    def note(pace: Pace, seconds: float, samples: int) -> None:
        ways.append(pace.alone)
        pace.alone = len(ways) % 2 == 0

    monkeypatch.setattr(Pace, "note", note)
    monkeypatch.setattr("fastmlp.trainer._PIECE_SECONDS", 1e-3)
    nets = []
    for threads in (None, 1):
        nets += [MLP((4, 64, 64, 2), rng=0, threads=threads)]
        nets[-1].fit(X, y, batch_size=64, epochs=3, optimizer=Adam(), progress=False)
    assert set(ways) == {True, False}
    for ours, theirs in zip(nets[0].weights, nets[1].weights, strict=True):
        assert ours.tobytes() == theirs.tobytes()
