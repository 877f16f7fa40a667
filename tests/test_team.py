"""A team hands every share of every region to one thread, whoever comes, late or never."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from fastmlp.kernels.regions import region_addresses
from fastmlp.kernels.steps import take_part
from fastmlp.kernels.tables import S_REGIONS, S_TEAM, SETTINGS

from fastmlp import MLP, Adam
from fastmlp.kernels import training
from fastmlp.kernels.jit.cache import jit
from fastmlp.kernels.jit.threading_layer import thread_limit
from fastmlp.kernels.run import atomics as team
from fastmlp.kernels.run.atomics import team_memory
from fastmlp.kernels.run.autotune import Pace

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


def test_every_look_has_a_pause_and_the_last_of_many_gives_way(monkeypatch):
    seen = []
    monkeypatch.setattr(team, "_pause", lambda: seen.append("pause"))
    monkeypatch.setattr(team, "_give_way", lambda: seen.append("give way"))
    assert team.look_again.py_func(0) == 1
    assert team.look_again.py_func(team._SPINS - 1) == team._SPINS
    assert seen == ["pause", "pause"]
    assert team.look_again.py_func(team._SPINS) == 0
    assert seen[2:] == ["pause", "give way"]


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


def taken(pace: Pace, alone: float, team: float, runs: int, steps: int = 500) -> list[tuple]:
    """Return the stretches of so many runs, a step of which takes these microseconds: whether on
    one thread, and how many steps.
    """
    found = []
    for _ in range(runs):
        done = 0
        while done < steps:
            count = pace.steps(steps - done)
            assert 0 < count <= steps - done
            found.append((pace.alone, count))
            pace.note(count * (alone if pace.alone else team) * 1e-6, count)
            done += count
    return found


@pytest.mark.parametrize("begin", [True, False])
@pytest.mark.parametrize(("alone", "team"), [(200, 110), (200, 280), (200, 196)])
def test_the_quicker_way_is_taken(begin, alone, team):
    """For all but a hundredth of the steps, once it is known; a small difference moves nobody."""
    found = taken(Pace(begin), alone, team, 100)
    sums = {way: sum(count for a, count in found if a is way) for way in (True, False)}
    quicker = team > alone if abs(team - alone) > 10 else begin
    first = 500 if begin is not quicker else 0  # before anything is known
    assert sums[quicker] + first > 0.99 * 50_000
    assert sums[not quicker] > first  # the other way is tried now and then
    assert len([way for way, _ in found if way is not quicker]) < 12


def test_a_team_is_tried_after_the_first_run_of_short_steps():
    assert taken(Pace(True), 20, 12, 2) == [(True, 500), (False, 150), (False, 350)]
    assert taken(Pace(False), 20, 12, 2) == [(False, 500), (False, 500)]


def test_the_other_way_is_tried_when_steps_take_longer():
    pace = Pace(False)
    assert set(taken(pace, 200, 110, 1)) == {(False, 500)}
    assert taken(pace, 200, 290, 2) == [(False, 500), (True, 11), (True, 489)]
    assert taken(pace, 400, 110, 2) == [(True, 500), (False, 8), (False, 492)]


def test_too_little_tells_nothing():
    """Runs of few steps, and steps so long that a trial would take long."""
    assert set(taken(Pace(True), 20, 12, 100, 90)) == {(True, 90)}
    assert set(taken(Pace(True), 20_000, 12_000, 100, 5)) == {(True, 5)}
    assert set(taken(Pace(False), 12_000, 20_000, 100, 5)) == {(False, 5)}


def test_short_steps_find_their_way_and_change_no_bit(monkeypatch):
    """Two steps on one thread, one on a team, and so on."""
    if thread_limit() < 2:
        pytest.skip("one core")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20_000, 4), np.float32), rng.integers(0, 2, 20_000)
    ways: list[bool] = []

    def steps(pace: Pace, most: int) -> int:
        ways.append(len(ways) % 2 == 0)
        return min(most, 1 + ways[-1])

    monkeypatch.setattr(Pace, "steps", steps)
    monkeypatch.setattr(Pace, "alone", property(lambda _: ways[-1]))
    nets = []
    for threads in (None, 1):
        nets += [MLP((4, 64, 64, 2), rng=0, threads=threads)]
        nets[-1].fit(
            X, y, batch_size=64, epochs=3, optimizer=Adam(), l2=1e-3, dropout=0.1, progress=False
        )
    assert len(ways) > 600
    assert nets[0].history.loss == nets[1].history.loss
    for ours, theirs in zip(nets[0].weights, nets[1].weights, strict=True):
        assert ours.tobytes() == theirs.tobytes()
