"""What ends a command from outside: Ctrl-C, SIGTERM of schedulers, SIGHUP of a terminal."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from typing import Any

__all__ = ["Signals"]

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_INTERRUPTED = 128 + signal.SIGINT
_MOST = 3  # who presses so often wants to get out at once
_GRACE_SECONDS = 1.0  # then, for what is being written


class Signals:
    """Turns the first signal into KeyboardInterrupt; the third ends the process within a second.

    The second changes nothing: what the first has ended is being saved. What a program that has
    fastmlp inside handles itself, and what is ignored, as SIGHUP under ``nohup``, stays so.

    Parameters
    ----------
    last : bool
        Whether the process ends behind the block: once interrupted, it hears no more signals.

    Attributes
    ----------
    exit_code : int
        128 and the number of the signal that came first, as shells have it.
    """

    def __init__(self, *, last: bool) -> None:
        self.exit_code = _INTERRUPTED
        self._last = last
        self._before: dict[int, Any] = {}
        self._came = False
        self._writing: int | None = None

    def _handle(self, number: int, frame: Any) -> None:
        if not self._came:
            self._came, self.exit_code = True, 128 + number
            raise KeyboardInterrupt

    def _count(self, reading: int) -> None:
        """Count signals, also while compiled code runs, in which Python hears none."""
        came = 0
        while text := os.read(reading, 16):
            came += sum(byte in self._before for byte in text)
            if came >= _MOST:
                time.sleep(_GRACE_SECONDS)
                with suppress(OSError):
                    os.write(2, b"fastmlp: ended at the third signal\n")
                os._exit(self.exit_code)
        os.close(reading)

    def _watch(self) -> None:
        before = signal.set_wakeup_fd(-1)
        if before != -1:  # somebody else's, as an event loop has one
            signal.set_wakeup_fd(before)
            return
        reading, writing = os.pipe()
        counter = threading.Thread(target=self._count, args=(reading,), daemon=True)
        try:
            counter.start()
        except RuntimeError:  # no more threads are allowed
            os.close(reading)
            os.close(writing)
            return
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._writing = writing

    def __enter__(self) -> Signals:
        if threading.current_thread() is not threading.main_thread():
            return self
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is None:
                continue
            before = signal.getsignal(number)
            if before in (signal.SIG_DFL, signal.default_int_handler):
                self._before[number] = before
                signal.signal(number, self._handle)
        if self._before and os.name == "posix":
            self._watch()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._came and self._last:
            for number in self._before:  # Python takes its handlers away while it ends
                signal.signal(number, signal.SIG_IGN)
            return
        self._came = True  # nothing is left that could be interrupted
        for number, before in self._before.items():
            signal.signal(number, before)
        if self._writing is not None:
            signal.set_wakeup_fd(-1)
            os.close(self._writing)  # the counter reads an end
