"""Whether steps are quicker on one thread or on several is found out, and changes no bit."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import MLP, Adam
from fastmlp.kernels.jit.threading_layer import thread_limit
from fastmlp.kernels.run.autotune import Autotuner


def taken(tuner: Autotuner, alone: float, team: float, runs: int, steps: int = 500) -> list[tuple]:
    """Return the stretches of so many runs, a step of which takes these microseconds: whether on
    one thread, and how many steps.
    """
    found = []
    for _ in range(runs):
        done = 0
        while done < steps:
            count = tuner.steps(steps - done)
            assert 0 < count <= steps - done
            found.append((tuner.alone, count))
            tuner.note(count * (alone if tuner.alone else team) * 1e-6, count)
            done += count
    return found


@pytest.mark.parametrize("begin", [True, False])
@pytest.mark.parametrize(("alone", "team"), [(200, 110), (200, 280), (200, 196)])
def test_the_quicker_way_is_taken(begin, alone, team):
    """For all but a hundredth of the steps, once it is known; a small difference moves nobody."""
    found = taken(Autotuner(alone=begin), alone, team, 100)
    sums = {way: sum(count for a, count in found if a is way) for way in (True, False)}
    quicker = team > alone if abs(team - alone) > 10 else begin
    first = 500 if begin is not quicker else 0  # before anything is known
    assert sums[quicker] + first > 0.99 * 50_000
    assert sums[not quicker] > first  # the other way is tried now and then
    assert len([way for way, _ in found if way is not quicker]) < 12


def test_a_team_is_tried_after_the_first_run_of_short_steps():
    assert taken(Autotuner(alone=True), 20, 12, 2) == [(True, 500), (False, 150), (False, 350)]
    assert taken(Autotuner(alone=False), 20, 12, 2) == [(False, 500), (False, 500)]


def test_the_other_way_is_tried_when_steps_take_longer():
    tuner = Autotuner(alone=False)
    assert set(taken(tuner, 200, 110, 1)) == {(False, 500)}
    assert taken(tuner, 200, 290, 2) == [(False, 500), (True, 11), (True, 489)]
    assert taken(tuner, 400, 110, 2) == [(True, 500), (False, 8), (False, 492)]


def test_too_little_tells_nothing():
    """Runs of few steps, and steps so long that a trial would take long."""
    assert set(taken(Autotuner(alone=True), 20, 12, 100, 90)) == {(True, 90)}
    assert set(taken(Autotuner(alone=True), 20_000, 12_000, 100, 5)) == {(True, 5)}
    assert set(taken(Autotuner(alone=False), 12_000, 20_000, 100, 5)) == {(False, 5)}


def test_short_steps_find_their_way_and_change_no_bit(monkeypatch):
    """Two steps on one thread, one on a team, and so on."""
    if thread_limit() < 2:
        pytest.skip("one core")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20_000, 4), np.float32), rng.integers(0, 2, 20_000)
    ways: list[bool] = []

    def steps(tuner: Autotuner, most: int) -> int:
        ways.append(len(ways) % 2 == 0)
        return min(most, 1 + ways[-1])

    monkeypatch.setattr(Autotuner, "steps", steps)
    monkeypatch.setattr(Autotuner, "alone", property(lambda _: ways[-1]))
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
