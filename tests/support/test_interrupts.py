"""Signals held back while a block runs: whoever sends them, and however many."""

# ruff: noqa: PT012  # what is held back is raised at a block's end

from __future__ import annotations

import importlib
import signal
import threading

import pytest
from presses import everywhere

from fastmlp.support import interrupts
from fastmlp.support.interrupts import BrokenOff, CtrlC

pytestmark = [
    pytest.mark.usefixtures("ctrl_c_is_heard"),
    pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals as POSIX has them"),
]


def interrupted(times: int, *, breakable: bool = False) -> list[int]:
    """Return how far a block of 5 steps came, with Ctrl-C pressed so often in the second."""
    done: list[int] = []
    with pytest.raises(KeyboardInterrupt), CtrlC(breakable=breakable):
        for step in range(5):
            done.append(step)
            for _ in range(times * (step == 1)):
                signal.raise_signal(signal.SIGINT)
    return done


@pytest.mark.parametrize("times", [1, 2, 3, 10])
def test_a_block_is_finished_however_often_ctrl_c_is_pressed(times):
    assert interrupted(times) == [0, 1, 2, 3, 4]
    assert interrupted(times, breakable=True) == [0, 1, 2, 3, 4]  # all within a moment
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_third_that_comes_late_breaks_a_step_off_and_says_so(monkeypatch):
    monkeypatch.setattr(interrupts, "_PATIENCE_SECONDS", -1.0)
    assert interrupted(2, breakable=True) == [0, 1, 2, 3, 4]
    assert interrupted(9) == [0, 1, 2, 3, 4]
    with pytest.raises(BrokenOff, match="not those of whole steps"), CtrlC(breakable=True):
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_blocks_within_blocks_hand_on_to_the_outer_one():
    done = []
    outer, inner = CtrlC(), CtrlC()
    with pytest.raises(KeyboardInterrupt), outer:
        with inner:
            signal.raise_signal(signal.SIGINT)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]


def test_every_handler_is_called_once_whichever_raises():
    came = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        with pytest.raises(KeyboardInterrupt), CtrlC():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
                signal.raise_signal(number)
            assert came == []
        assert came == [signal.SIGTERM, signal.SIGHUP]
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)


def test_wherever_it_comes_a_block_is_whole_and_the_handler_given_back():
    done: list[int] = []

    def block():
        done.clear()
        with CtrlC():
            done.append(1)
            done.append(2)

    seen = []
    for _ in everywhere(block, ["support/interrupts.py"]):
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        seen.append(tuple(done))
    assert set(seen) == {(), (1, 2)}
    assert len(seen) > 15


def test_the_last_of_three_breaks_nothing_off_once_the_block_is_over(monkeypatch):
    monkeypatch.setattr(interrupts, "_PATIENCE_SECONDS", -1.0)
    own = interrupts._set

    def pressing(number, handler):
        if handler is signal.default_int_handler:
            signal.raise_signal(signal.SIGINT)
        return own(number, handler)

    monkeypatch.setattr(interrupts, "_set", pressing)
    with pytest.raises(KeyboardInterrupt) as caught, CtrlC(breakable=True):
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
    assert caught.type is KeyboardInterrupt
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_or_left_to_the_system_is_left_alone():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with CtrlC():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_that_others_set_meanwhile_is_theirs():
    came = []
    with CtrlC():
        signal.signal(signal.SIGINT, lambda *_: came.append(1))
    signal.raise_signal(signal.SIGINT)
    assert came == [1]


def test_the_error_of_a_block_comes_beside_the_interrupt():
    with pytest.raises(KeyboardInterrupt) as caught, CtrlC():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("a step's own")
    assert isinstance(caught.value.__context__, ValueError)


def test_other_threads_hold_nothing():
    seen = []

    def look():
        with CtrlC():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_an_import_is_finished_first(monkeypatch):
    import fastmlp

    done = []

    def slow(name, package=None):
        signal.raise_signal(signal.SIGINT)
        done.append(name)
        return importlib

    monkeypatch.setattr(importlib, "import_module", slow)
    monkeypatch.delitem(vars(fastmlp), "metrics", raising=False)
    with pytest.raises(KeyboardInterrupt):
        fastmlp.metrics  # noqa: B018
    assert done == [".metrics"]
