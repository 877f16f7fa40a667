"""Networks that train at once, a thread each, and the progress bar over all of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any

from ..callbacks import Callback, ProgressBar
from ..callbacks.progress import new_bar
from ..support.interrupts import CtrlC, Halt
from ..support.notices import warn, watched
from ..support.threads import startable
from .history import History
from .trainer import Plan

__all__ = ["Pool", "add_bar", "report"]

_LOOK_SECONDS = 0.2  # where a blocked main thread hears no signal, it looks this often
_TICKS = 1000  # of an epoch on the bar; whole numbers add up to all of it


class _Share(Callback):
    """One network's part of the bar."""

    def __init__(self, bar: Any, lock: threading.Lock) -> None:
        self._bar, self._lock = bar, lock
        self._done = 0

    def _move(self, epochs: float) -> None:
        done = int(_TICKS * epochs)
        with self._lock:
            self._bar.update(done - self._done)
        self._done = done

    def on_epoch_begin(self, epoch: int, logs: Any) -> None:
        """Note where the epoch begins."""
        self._epoch, self._samples = epoch, 0

    def on_batch_group_end(self, step: int, logs: Any) -> None:
        """Move within the epoch, if its samples are counted."""
        self._samples += int(logs["samples"])
        if self.params["samples"]:
            self._move(self._epoch + min(1.0, self._samples / self.params["samples"]))

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        """Move to the epoch's end."""
        self._move(epoch + 1)

    def on_train_end(self, logs: Any) -> None:
        """Move to the end of a fit that ended early of its own accord."""
        if not self.net.history.interrupted:
            self._move(self.params["epochs"])


def add_bar(plans: list[Plan], progress: bool | None) -> Any:
    """Return a bar over all epochs, with its callbacks added to the plans; None without one."""
    if progress is None:
        own = any(isinstance(c, ProgressBar) for plan in plans for c in plan.settings.callbacks)
        progress = watched() and not own
    if not progress:
        return None
    total = _TICKS * sum(plan.settings.epochs for plan in plans)
    bar = new_bar(total, "epochs", f"networks 0/{len(plans)}", scale=1 / _TICKS)
    lock = threading.Lock()
    for plan in plans:
        plan.settings.callbacks.append(_Share(bar, lock))
    return bar


class Pool:
    """The threads, and what they leave behind."""

    def __init__(self, plans: list[Plan], workers: int, bar: Any) -> None:
        self._plans, self._workers, self._bar = plans, workers, bar
        self._halt, self._begun = threading.Event(), threading.Event()
        self._told: list[tuple[int, str]] = []
        self._histories = [History(interrupted=True) for _ in plans]
        self._failed: dict[int, BaseException] = {}
        self._ended, self._pressed = 0, False

    def _train(self, i: int, interrupts: CtrlC | Halt) -> None:
        """Train network i, on this thread alone."""
        self._begun.wait()  # Ctrl-C while a thread starts would leave it out of the pool
        if self._halt.is_set():
            return
        plan = self._plans[i]
        net = plan.net
        threads, net.threads = net.threads, 1
        try:
            self._histories[i] = plan.run(interrupts, lambda text: self._told.append((i, text)))
        except BaseException as error:  # the calling thread raises it
            self._failed[i] = error
        finally:
            net.threads = threads

    def _alone(self) -> None:
        """Train one after the other where no thread can be started."""
        self._begun.set()
        for i in range(len(self._plans)):
            self._train(i, CtrlC(breakable=True))
            if type(self._failed.get(i)) is KeyboardInterrupt:  # before its first step
                del self._failed[i]
            elif not self._histories[i].interrupted:
                continue
            self._pressed = True
            return

    def run(self) -> list[History]:
        """Train all, then say what there is to say."""
        workers = startable(self._workers)
        if workers:
            self._together(workers)
        else:
            self._alone()
        report(self._histories, self._failed, self._told, self._pressed)
        return self._histories

    def _together(self, workers: int) -> None:
        """Train on threads, which end after a step when Ctrl-C is pressed."""
        pool = ThreadPoolExecutor(workers, thread_name_prefix="fastmlp")
        halt = Halt(self._halt)
        futures: list[Future[None]] = []
        try:
            try:
                for i in range(len(self._plans)):
                    futures.append(pool.submit(copy_context().run, self._train, i, halt))
                self._begun.set()
                self._wait(futures)
            except KeyboardInterrupt:
                self._halt.set()
                self._begun.set()
                self._pressed = True
                with CtrlC(breakable=True):
                    pool.shutdown()  # waits for all, for one that is not among the futures too
        finally:
            self._halt.set()
            self._begun.set()
            pool.shutdown(wait=False, cancel_futures=True)
            if self._bar is not None:
                self._bar.close()

    def _wait(self, futures: list[Future[None]]) -> None:
        while wait(futures, timeout=_LOOK_SECONDS).not_done:
            self._show(futures)
        self._show(futures)

    def _show(self, futures: list[Future[None]]) -> None:
        ended = sum(future.done() for future in futures)
        if self._bar is not None and ended != self._ended:
            self._ended = ended
            self._bar.set_description_str(f"networks {ended}/{len(futures)}")


def report(
    histories: Sequence[History],
    failed: dict[int, BaseException],
    told: Sequence[tuple[int, str]],
    pressed: bool,
) -> None:
    """Say what there is to say of networks by their numbers: warnings, then errors.

    Parameters
    ----------
    histories : sequence of History
    failed : dict
        Errors by network.
    told : sequence of (int, str)
        Warnings.
    pressed : bool
        Whether Ctrl-C was.
    """
    count = len(histories)
    for i, text in sorted(told):
        warn(f"nets[{i}]: {text}")
    if failed:
        errors = dict(sorted(failed.items()))
        for i, error in errors.items():
            error.add_note(f"nets[{i}] failed in fastmlp.fit_many")
        names = ", ".join(f"nets[{i}]" for i in errors)
        raise BaseExceptionGroup(
            f"{len(errors)} of {count} networks failed: {names}", list(errors.values())
        )
    whole = sum(not history.interrupted for history in histories)
    if pressed or whole < count:
        warn(
            f"fit_many was interrupted when {whole} of {count} networks were trained to the "
            "end; the others are trained so far"
        )
