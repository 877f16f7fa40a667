"""Interrupts between steps, never within one."""

from __future__ import annotations

import signal
import threading
import time
from importlib import import_module
from typing import Any

__all__ = ["BrokenOff", "CtrlC", "Halt"]

# Those that end programs. SIGKILL cannot be held back, SIGQUIT should not.
_SIGNALS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)
]
# Without signal's own look for names of handlers: a block takes 2 us where that takes 33.
_get, _set = (getattr(import_module("_signal"), name) for name in ("getsignal", "signal"))
_PATIENCE_SECONDS = 1.0  # presses within it are one: a terminal's and those that wrappers hand on


class BrokenOff(KeyboardInterrupt):
    """A step was broken off: parameters are not those of whole steps."""


class CtrlC:
    """Holds Ctrl-C back while a block runs: steps and epochs are whole or not at all.

    So it does with SIGTERM and SIGHUP where a program has handlers for them. A handler is called
    once after the block, however often its signal came. Blocks may lie within others, of other
    objects. In another thread than the main one nothing is held.

    Parameters
    ----------
    breakable : bool, default False
        Whether the third Ctrl-C, a second or more after the first, raises `BrokenOff` within the
        block.
    """

    def __init__(self, *, breakable: bool = False) -> None:
        self._breakable = breakable
        self._before: dict[int, Any] = {}
        self._held: list[int] = []
        self._holding = self._within = False
        self._first = 0.0

    def _handle(self, number: int, frame: Any) -> None:
        if not self._holding:
            self._before[number](number, frame)
            return
        now = time.monotonic()
        if not self._held:
            self._first = now
        self._held.append(number)
        late = len(self._held) > 2 and now - self._first > _PATIENCE_SECONDS
        # where __exit__ has just been called, the block is over
        ended = frame is not None and frame.f_code is CtrlC.__exit__.__code__
        if self._breakable and late and self._within and not ended:
            raise BrokenOff("a step of fit was broken off: parameters are not those of whole steps")

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self._holding = True
        try:
            for number in _SIGNALS:
                before = _get(number)
                if callable(before) and before != self._handle:  # as it is after a rare race
                    self._before[number] = before  # neither ignored nor left to the system
                    _set(number, self._handle)
            self._within = True
        except BaseException:  # a signal that came just now
            self._end(heard=True)
            raise

    def __exit__(self, error: type[BaseException] | None, *_: Any) -> None:
        self._within = False
        self._end(heard=error is not BrokenOff)

    def _end(self, *, heard: bool) -> None:
        """Give the signals back, apart from those that others have taken meanwhile.

        Those that come while it does so are held, until Ctrl-C, the last, is given back.
        """
        try:
            for number, before in self._before.items():
                if _get(number) == self._handle:
                    _set(number, before)
        finally:
            self._holding = False
            held, self._held = list(dict.fromkeys(self._held)), []
            if held and heard:
                self._deliver(held)

    def _deliver(self, held: list[int]) -> None:
        """Call the handlers, each whatever the ones before it raise."""
        try:
            self._before[held[0]](held[0], None)
        finally:
            if held[1:]:
                self._deliver(held[1:])


class Halt:
    """What `CtrlC` is to the main thread, to others: a block that runs is finished first.

    Parameters
    ----------
    asked : threading.Event
        Once it is set, the end of a block raises KeyboardInterrupt.
    """

    def __init__(self, asked: threading.Event) -> None:
        self._asked = asked

    def __enter__(self) -> None:
        pass

    def __exit__(self, error: type[BaseException] | None, *_: Any) -> None:
        if error is None and self._asked.is_set():
            raise KeyboardInterrupt
