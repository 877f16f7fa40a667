"""Ctrl-C at every place of some code, one place after the other; or several times, any time."""

from __future__ import annotations

import dis
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

__all__ = ["everywhere", "pressed"]

# Python hears of signals where a function begins, where a loop goes round, and after a call.
_HEARD_AT = ("RESUME", "JUMP_BACKWARD")
_TOOL = 4  # a number for `sys.monitoring` that no debugger, coverage or profiler has


class _Press:
    """Presses once, at the n-th place where Python would hear it; `came` tells whether it did."""

    def __init__(self, n: int) -> None:
        self._left, self.came = n, False
        self._operations: dict[CodeType, dict[int, str]] = {}
        self._before: dict[Any, str] = {}

    def at(self, code: CodeType, offset: int, run: Any) -> None:
        """Hear of an operation of some code, in this run of it."""
        if code not in self._operations:
            self._operations[code] = {i.offset: i.opname for i in dis.get_instructions(code)}
        name = self._operations[code][offset]
        heard = name in _HEARD_AT or self._before.get(run, "").startswith("CALL")
        self._before[run] = name
        if heard and not self.came:
            self._left -= 1
            if self._left < 0:
                self.came = True
                signal.raise_signal(signal.SIGINT)


@contextmanager
def _traced(files: Collection[str], press: _Press) -> Iterator[None]:
    """Let a press hear of all operations of some files."""

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            if not frame.f_code.co_filename.endswith(tuple(files)):
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            press.at(frame.f_code, frame.f_lasti, frame)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def _monitored(files: Collection[str], press: _Press) -> Iterator[None]:
    """The same from Python 3.12 on, where a trace does not hear of all of them.

    Code is heard from its second run on: `everywhere` begins with a run without a press.
    """
    monitoring, me = sys.monitoring, threading.get_ident()  # type: ignore[attr-defined,unused-ignore]
    events = monitoring.events

    def start(code: CodeType, offset: int) -> Any:
        if code.co_filename.endswith(tuple(files)):
            monitoring.set_local_events(_TOOL, code, events.INSTRUCTION)
        return monitoring.DISABLE

    def operation(code: CodeType, offset: int) -> None:
        if threading.get_ident() == me:
            press.at(code, offset, code)

    if monitoring.get_tool(_TOOL) is None:
        monitoring.use_tool_id(_TOOL, "presses")
    monitoring.register_callback(_TOOL, events.PY_START, start)
    monitoring.register_callback(_TOOL, events.INSTRUCTION, operation)
    monitoring.restart_events()
    monitoring.set_events(_TOOL, events.PY_START)
    try:
        yield
    finally:
        monitoring.set_events(_TOOL, 0)
        monitoring.register_callback(_TOOL, events.INSTRUCTION, None)


def everywhere(work: Callable[[], Any], files: Collection[str], every: int = 1) -> Iterator[int]:
    """Do `work` again and again, with Ctrl-C at the first, second ... place of some files.

    Parameters
    ----------
    work : callable
    files : collection of str
        Ends of their names.
    every : int, default 1
        How many places further the next press is.

    Yields
    ------
    int
        The number of the place, once the KeyboardInterrupt came; other errors come out. The last
        is followed by a run that ends before its place.
    """
    watched, n = _traced, 0
    if sys.version_info >= (3, 12):
        watched = _monitored
        with watched(files, _Press(sys.maxsize)):
            work()
    while True:
        press = _Press(n)
        try:
            with watched(files, press):
                work()
        except KeyboardInterrupt:
            assert press.came
        if not press.came:
            return
        yield n
        n += every


def pressed(work: Callable[[], Any], gaps: Sequence[float]) -> bool:
    """Do `work` with Ctrl-C after each of these gaps in seconds; return whether it came out.

    Python itself drops an exception of a `__del__`, as those of Dask's futures, and goes on: such
    a press is lost, and pytest's check of dropped exceptions does not hear of it.
    """
    heard, over = True, False
    report = sys.unraisablehook

    def unless_pressed(dropped: Any) -> None:
        if dropped.exc_type is not KeyboardInterrupt:
            report(dropped)

    def handle(number: int, frame: Any) -> None:
        if heard:
            raise KeyboardInterrupt

    def press() -> None:
        nonlocal over
        for gap in gaps:
            time.sleep(gap)
            os.kill(os.getpid(), signal.SIGINT)
        over = True

    def wait() -> None:  # Thread.join that is broken off takes the thread for over
        while not over:
            time.sleep(0.001)

    before, error = signal.signal(signal.SIGINT, handle), None
    sys.unraisablehook = unless_pressed
    try:
        threading.Thread(target=press).start()
        work()
        wait()
    except BaseException as raised:
        heard = False  # at once: no call lies between, during which the next one comes
        error = raised
    heard = False
    wait()
    now = signal.signal(signal.SIGINT, before)
    sys.unraisablehook = report
    if error is not None and type(error) is not KeyboardInterrupt:
        raise error
    assert now is handle
    return error is not None
