"""Ctrl-C between steps, never within one."""

from __future__ import annotations

import signal
import threading
from typing import Any

__all__ = ["CtrlC", "Halt"]


class CtrlC:
    """Holds Ctrl-C back while a block runs: steps and epochs are whole or not at all.

    A second Ctrl-C goes through at once. In another thread than the main one nothing is held.
    """

    def __init__(self) -> None:
        self._before: Any = None
        self._holding, self._held = False, False

    def _handle(self, *arguments: Any) -> None:
        if self._holding and not self._held:
            self._held = True
        else:
            self._before(*arguments)

    def watch(self) -> None:
        """Take the signal over, where Python has it."""
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if callable(before):
                self._before = before
                signal.signal(signal.SIGINT, self._handle)

    def leave(self) -> None:
        """Give the signal back."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def __enter__(self) -> None:
        self._holding = True

    def __exit__(self, *_: Any) -> None:
        self._holding = False
        if self._held:
            self._held = False
            self._before(signal.SIGINT, None)


class Halt:
    """What `CtrlC` is to the main thread, to others: a block that runs is finished first.

    Parameters
    ----------
    asked : threading.Event
        Once it is set, the end of a block raises KeyboardInterrupt.
    """

    def __init__(self, asked: threading.Event) -> None:
        self._asked = asked

    def watch(self) -> None:
        """Do nothing: signals go to the main thread."""

    def leave(self) -> None:
        """Do nothing."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, error: type[BaseException] | None, *_: Any) -> None:
        if error is None and self._asked.is_set():
            raise KeyboardInterrupt
