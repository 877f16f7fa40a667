"""How many threads steps are quickest on is found out, and changes no bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fastmlp import MLP, Adam
from fastmlp.kernels.jit import threading_layer
from fastmlp.kernels.jit.threading_layer import thread_limit
from fastmlp.kernels.run import choose
from fastmlp.kernels.run.autotune import Autotuner


def tuner_of(most: int, first: int) -> Autotuner:
    return Autotuner(choose.thread_levels(most), first)


def taken(
    tuner: Autotuner, cost: Callable[[int], float], runs: int, steps: int = 500
) -> list[tuple[int, int]]:
    """Return the stretches of so many runs, a step of which takes `cost` of its threads in
    microseconds: how many threads, and how many steps.
    """
    found = []
    for _ in range(runs):
        done = 0
        while done < steps:
            count = tuner.steps(steps - done)
            assert 0 < count <= steps - done
            found.append((tuner.threads, count))
            tuner.note(count * cost(tuner.threads) * 1e-6, count)
            done += count
    return found


def of_two(alone: float, both: float) -> Callable[[int], float]:
    return {1: alone, 2: both}.__getitem__


@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize(("alone", "both"), [(200, 110), (200, 280), (200, 196)])
def test_the_quicker_way_is_taken(first, alone, both):
    """For all but a hundredth of the steps, once it is known; a small difference moves nobody."""
    found = taken(tuner_of(2, first), of_two(alone, both), 100)
    sums = {way: sum(count for t, count in found if t == way) for way in (1, 2)}
    quicker = (1 if both > alone else 2) if abs(both - alone) > 10 else first
    unknown = 500 if first != quicker else 0  # before anything is known
    assert sums[quicker] + unknown > 0.99 * 50_000
    assert sums[3 - quicker] > unknown  # the other way is tried now and then
    assert len([way for way, _ in found if way != quicker]) < 12


def test_more_threads_are_tried_after_the_first_run_of_short_steps():
    assert taken(tuner_of(2, 1), of_two(20, 12), 2) == [(1, 500), (2, 150), (2, 350)]
    assert taken(tuner_of(2, 2), of_two(20, 12), 2) == [(2, 500), (2, 500)]


def test_the_other_way_is_tried_when_steps_take_longer():
    tuner = tuner_of(2, 2)
    assert set(taken(tuner, of_two(200, 110), 1)) == {(2, 500)}
    assert taken(tuner, of_two(200, 290), 2) == [(2, 500), (1, 11), (1, 489)]
    assert taken(tuner, of_two(400, 110), 2) == [(1, 500), (2, 8), (2, 492)]


def test_too_little_tells_nothing():
    """Runs of few steps, and steps so long that a trial would take long."""
    assert set(taken(tuner_of(2, 1), of_two(20, 12), 100, 90)) == {(1, 90)}
    assert set(taken(tuner_of(2, 1), of_two(20_000, 12_000), 100, 5)) == {(1, 5)}
    assert set(taken(tuner_of(2, 2), of_two(12_000, 20_000), 100, 5)) == {(2, 5)}


def test_a_users_number_of_threads_is_kept():
    costs = iter(np.linspace(20, 60, 100).tolist())  # a step takes longer and longer
    assert set(taken(Autotuner([3], 3), lambda threads: next(costs), 30)) == {(3, 500)}


def test_the_levels():
    assert [choose.thread_levels(n) for n in (1, 2, 3, 4, 6, 64)] == [
        [1], [1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 4, 6], [1, 2, 4, 8, 16, 32, 64],
    ]  # fmt: skip


def simulated(work: float, barrier: float, most: int) -> Callable[[int], float]:
    """Return what a step of `work` microseconds takes on cores whose memory serves `most` of them
    at full speed, when each thread costs `barrier` at the end of two phases.
    """
    return lambda threads: work / min(threads, most) + 2 * barrier * (threads > 1) * threads


@pytest.mark.parametrize("first", [1, 8, 64])
@pytest.mark.parametrize(
    ("work", "barrier", "most"),
    [(30, 0.5, 64), (200, 0.5, 64), (1000, 0.5, 64), (4000, 0.5, 64), (4000, 0.5, 8), (15, 5, 64)],
)
def test_a_small_network_does_not_take_all_of_64_cores(work, barrier, most, first):
    """Soon the steps are taken on about as few threads as are quickest."""
    cost = simulated(work, barrier, most)
    tuner = tuner_of(64, first)
    taken(tuner, cost, 60, 2000)
    settled = taken(tuner, cost, 100, 2000)
    mean = sum(count * cost(t) for t, count in settled) / sum(count for _, count in settled)
    best = min(cost(t) for t in choose.thread_levels(64))
    assert mean < 1.08 * best
    if work < 50:
        assert {t for t, count in settled if count > 1000} <= {1, 2, 4, 8}


def test_it_follows_when_cores_are_taken_away():
    tuner = tuner_of(16, 16)
    taken(tuner, simulated(2000, 0.2, 16), 20)
    assert tuner.threads == 16
    taken(tuner, simulated(2000, 60, 16), 30)
    assert tuner.threads <= 4
    taken(tuner, simulated(2000, 0.2, 16), 60)
    assert tuner.threads == 16


def test_how_many_threads_a_step_is_shared_out_to(monkeypatch):
    monkeypatch.setattr(choose, "thread_limit", lambda: 64)
    monkeypatch.setattr(choose, "core_count", lambda: 64)
    monkeypatch.setattr(choose, "start_threads", lambda: "omp")
    chosen = [choose.choose_threads(None, int(f), steps=100, phases=2) for f in
              (1e4, 1e6, 1e7, 1e8, 1e10)]  # fmt: skip
    assert chosen == sorted(chosen)
    assert chosen[0] == 1
    assert 1 < chosen[2] < 64
    assert chosen[-1] == 64
    monkeypatch.setattr(choose, "core_count", lambda: 32)  # of two hardware threads each
    assert choose.choose_threads(None, 10**10, steps=100, phases=2) == 32
    assert choose.choose_threads(7, 1, steps=1, phases=2) == 7


def test_hardware_threads_of_a_core_are_one(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(threading_layer, "_siblings", lambda n: f"{n % 2},{n % 2 + 2}")
    assert threading_layer.core_count() == 2
    monkeypatch.setattr(threading_layer, "_siblings", str)
    assert threading_layer.core_count() == 4


def test_short_steps_find_their_way_and_change_no_bit(monkeypatch):
    """Two steps on one thread, one on two, and so on."""
    if thread_limit() < 2:
        pytest.skip("one core")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20_000, 4), np.float32), rng.integers(0, 2, 20_000)
    ways: list[int] = []

    def steps(tuner: Autotuner, most: int) -> int:
        ways.append(1 + len(ways) % 2)
        return min(most, 3 - ways[-1])

    monkeypatch.setattr(Autotuner, "steps", steps)
    monkeypatch.setattr(Autotuner, "threads", property(lambda _: ways[-1]))
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
