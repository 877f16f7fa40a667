"""Ctrl-C at every place of some code, one place after the other; or several times, any time."""

from __future__ import annotations

import dis
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from types import CodeType, FrameType
from typing import Any

__all__ = ["everywhere", "pressed"]

# Python hears of signals where a function begins, where a loop goes round, and after a call.
_HEARD_AT = ("RESUME", "JUMP_BACKWARD")


class _Press:
    """Presses once, at the n-th place where Python would hear it; `came` tells whether it did."""

    def __init__(self, files: Collection[str], n: int) -> None:
        self._files, self._left, self.came = files, n, False
        self._operations: dict[CodeType, dict[int, str]] = {}
        self._before: dict[FrameType, str] = {}

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "call":
            if not frame.f_code.co_filename.endswith(tuple(self._files)):
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            self._at(frame)
        elif event == "return":
            self._before.pop(frame, None)
        return self

    def _at(self, frame: FrameType) -> None:
        code = frame.f_code
        if code not in self._operations:
            self._operations[code] = {i.offset: i.opname for i in dis.get_instructions(code)}
        name = self._operations[code][frame.f_lasti]
        heard = name in _HEARD_AT or self._before.get(frame, "").startswith("CALL")
        self._before[frame] = name
        if heard and not self.came:
            self._left -= 1
            if self._left < 0:
                self.came = True
                signal.raise_signal(signal.SIGINT)


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
    # from Python 3.12 on, code that asks for its operations has them from its next run on
    first, n = sys.version_info >= (3, 12), 0
    while True:
        press = _Press(files, sys.maxsize if first else n)
        before = sys.gettrace()
        try:
            sys.settrace(press)
            try:
                work()
            finally:
                sys.settrace(before)
        except KeyboardInterrupt:
            assert press.came
        if first:
            first = False
            continue
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
