"""What is called while an estimator trains: the objects of `fastmlp.callbacks`, and functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from ..callbacks import Callback, ProgressBar
from ..initializers import RandomSource
from ..network import MLP
from ..training.history import History
from ._network import Network

__all__ = ["Hooks", "as_callbacks", "as_mlp"]


class _Function(Callback):
    """A plain function: called with the estimator after every epoch; a true answer stops."""

    def __init__(self, function: Callable[[Any], Any], estimator: Any) -> None:
        self.function, self.estimator = function, estimator

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        """Ask the function."""
        if self.function(self.estimator):
            self.net.stop_training = True


def as_callbacks(callbacks: Any, estimator: Any) -> list[Callback]:
    """Return what `fit` was given as objects of `fastmlp.callbacks`, the progress bar last.

    Raises
    ------
    TypeError
        If one is neither such an object nor a function.
    """
    if callbacks is None or isinstance(callbacks, Callback):
        callbacks = [] if callbacks is None else [callbacks]
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise TypeError(f"callbacks: expected a sequence, got {callbacks!r}")
    found = []
    for callback in callbacks:
        if isinstance(callback, type) or not (isinstance(callback, Callback) or callable(callback)):
            raise TypeError(
                "callbacks: expected objects of fastmlp.callbacks or functions of the estimator, "
                f"got {callback!r}"
            )
        known = isinstance(callback, Callback)
        found.append(callback if known else _Function(callback, estimator))
    if estimator.progress and not any(isinstance(c, ProgressBar) for c in found):
        found.append(ProgressBar())
    return found


def as_mlp(network: Network, rng: RandomSource) -> MLP:
    """Return a network of fastmlp that shares its parameters with an estimator's.

    What callbacks write into them takes effect, and what they save is the estimator as it stands.
    """
    net = MLP.__new__(MLP)
    net._start(network.parameters.architecture)
    net._parameters = network.parameters
    net.backend, net.threads, net._rng = "numba", network.threads, rng
    return net


class Hooks:
    """The callbacks of one fit, called in the order and with the words of `MLP.fit`.

    Parameters
    ----------
    callbacks : list of Callback
    net : MLP or None
        What they see; None where there are no callbacks.
    epochs, batch_size, samples : int
    """

    def __init__(
        self, callbacks: list[Callback], net: MLP | None, epochs: int, batch_size: int, samples: int
    ) -> None:
        self.callbacks, self._net = callbacks, net
        self._logs: dict[str, float] = {}
        for callback in callbacks:
            assert net is not None
            callback.net = net
            callback.params = {
                "epochs": epochs, "batch_size": batch_size, "steps": -(-samples // batch_size),
                "samples": samples,
            }  # fmt: skip
        if net is not None:
            net.history = History()

    def _call(self, hook: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments)

    @property
    def stopped(self) -> bool:
        """Whether a callback has asked for the end."""
        return self._net is not None and self._net.stop_training

    def begin(self) -> None:
        """Say that training begins."""
        self._call("on_train_begin", {})
        self._begun = time.perf_counter()

    def begin_epoch(self, epoch: int) -> None:
        """Say that an epoch begins; the first is 0."""
        self._call("on_epoch_begin", epoch, {})

    def begin_group(self, step: int) -> None:
        """Say that a group of steps begins, after `step` steps of the epoch."""
        self._call("on_batch_group_begin", step, {})

    def end_group(self, step: int, **logs: float) -> None:
        """Say that a group of steps is done."""
        self._call("on_batch_group_end", step, logs)

    def end_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Say that an epoch is done; note its numbers."""
        if self._net is None:
            return
        self._logs = {**logs, "seconds": time.perf_counter() - self._begun}
        self._net.history.append(self._logs)
        self._call("on_epoch_end", epoch, self._logs)
        self._begun = time.perf_counter()

    def interrupt(self) -> None:
        """Note that Ctrl-C has ended training."""
        if self._net is not None:
            self._net.history.interrupted = True

    def end(self) -> None:
        """Say that training is done."""
        self._call("on_train_end", self._logs)
