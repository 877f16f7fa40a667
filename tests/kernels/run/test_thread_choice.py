"""Calls learn whether threads pay, on machines that are simulated: what a call takes is given."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastmlp.kernels.run.thread_choice import ThreadChoice


def calls(choice: ThreadChoice, seconds: float, alone, together):
    """Make calls that take at least so long together; return how long each took, and its way."""
    made, total = [], 0.0
    while total < seconds:
        way = choice.together
        took = together(total) if way else alone(total)
        choice.note(took)
        made.append((way, took))
        total += took
    return made


def constant(seconds):
    return lambda now: seconds


def test_the_first_call_is_on_one_thread():
    assert not ThreadChoice().together


@pytest.mark.parametrize("alone", [20e-6, 1e-3, 5e-3])
def test_threads_that_pay_are_taken(alone):
    made = calls(ThreadChoice(), 1.0, constant(alone), constant(0.6 * alone))
    took = sum(seconds for _, seconds in made)
    assert took / len(made) < 0.66 * alone
    assert sum(way for way, _ in made) > 0.9 * len(made)


@pytest.mark.parametrize("alone", [20e-6, 1e-3, 5e-3])
def test_threads_that_do_not_pay_cost_little(alone):
    made = calls(ThreadChoice(), 2.0, constant(alone), constant(1.5 * alone))
    took = sum(seconds for _, seconds in made)
    assert took / len(made) < 1.06 * alone


@pytest.mark.parametrize("alone", [50e-6, 0.5e-3, 3e-3])
def test_where_other_processes_have_the_cores_calls_are_hardly_slower(alone):
    """A thread that the system has put aside comes back after 8 ms, in two of three calls."""
    rng = np.random.default_rng(0)

    def together(now):
        return 0.6 * alone if rng.random() < 0.3 else 0.6 * alone + 8e-3

    made = calls(ThreadChoice(), 4.0, constant(alone), together)
    took = sum(seconds for _, seconds in made)
    assert took / len(made) < 1.3 * alone
    assert np.median([seconds for _, seconds in made]) == alone


@pytest.mark.parametrize("alone", [20e-6, 1e-3])
def test_that_sleeping_threads_have_to_be_woken_is_not_held_against_them(alone):
    """The first call on several threads after others takes 100 us more."""
    choice, total, made = ThreadChoice(), 0.0, []
    before = False
    while total < 1.0:
        way = choice.together
        took = 0.6 * alone + 1e-4 * (not before) if way else alone
        choice.note(took)
        made.append(way)
        before, total = way, total + took
    assert sum(made) > 0.9 * len(made)


def test_a_machine_that_gets_busy_and_free_again_is_followed():
    busy = lambda now: 1.0 < now < 3.0  # noqa: E731
    alone, together = 1e-3, lambda now: 8e-3 if busy(now) else 0.6e-3
    made = calls(ThreadChoice(), 6.0, constant(alone), together)
    ends = np.cumsum([seconds for _, seconds in made])
    ways = np.array([way for way, _ in made])
    of = lambda a, b: ways[(ends > a) & (ends < b)].mean()  # noqa: E731
    assert of(0.1, 1.0) > 0.9
    assert of(1.1, 3.0) < 0.05
    assert of(5.0, 6.0) > 0.9


def test_a_single_long_wait_leaves_the_threads_alone_for_a_while():
    choice = ThreadChoice()
    calls(choice, 0.5, constant(1e-3), constant(0.6e-3))
    while not choice.together:
        choice.note(1e-3)
    choice.note(20e-3)
    assert not choice.together


def test_a_hopeless_trial_is_ended_at_once():
    choice, ways = ThreadChoice(), []
    for _ in range(8):
        ways.append(choice.together)
        choice.note(10e-3 if choice.together else 1e-3)
    assert ways.count(True) == 1


@pytest.mark.parametrize("every", [60, 200])
def test_waits_that_cost_less_than_threads_save_are_borne(every):
    """A wait of a time slice, 4 ms, now and then, as beside a thread that spins for a while."""
    made = itertools.count(1)

    def together(now):
        return 120e-6 + 4e-3 * (next(made) % every == 0)

    calls(choice := ThreadChoice(), 0.1, constant(220e-6), together)
    ways = calls(choice, 2.0, constant(220e-6), together)
    assert sum(way for way, _ in ways) > 0.9 * len(ways)
    assert sum(seconds for _, seconds in ways) < 220e-6 * len(ways)


def test_what_a_call_takes_alone_is_looked_at_again():
    """The first calls met a bad moment: alone is quicker than together."""
    choice = ThreadChoice()
    calls(choice, 3e-3, constant(1e-3), constant(0.6e-3))
    made = calls(choice, 2.0, constant(0.2e-3), constant(0.6e-3))
    took = sum(seconds for _, seconds in made)
    assert took / len(made) < 1.1 * 0.2e-3


def test_trials_grow_rare_where_they_change_nothing():
    choice, ways = ThreadChoice(), []
    for _ in range(20_000):
        ways.append(choice.together)
        choice.note(1.2e-3 if choice.together else 1e-3)
    runs = [len(list(run)) for way, run in itertools.groupby(ways) if not way]
    assert runs[1] < runs[2] < runs[3] < runs[4] <= max(runs) < 3000
