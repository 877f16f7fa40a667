"""fit: epochs, their pieces, validation, history and callbacks."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .callbacks import Callback, EarlyStopping, ProgressBar
from .callbacks.early_stopping import get_early_stopping
from .divergence import ON_DIVERGENCE, DivergenceError, Watch
from .evaluation import Evaluation
from .history import History
from .interrupts import CtrlC
from .metrics import Metric, get_metrics
from .notices import notices
from .operations import EpochResult
from .optimizers import Optimizer, get_optimizer
from .persistence import make_rng, rng_state
from .regularization import Regularization, get_regularization
from .samples import ArraySamples, ChunkSamples, Segment, chunks_of, combined_weight, hold_out
from .schedules import Schedule, get_schedule
from .validation import check_choice, check_integer, check_number, check_sample_weight

if TYPE_CHECKING:
    from .network import MLP

__all__ = ["fit"]

_PIECE_SECONDS = 0.1  # Python is re-entered about this often: callbacks, Ctrl-C
_PACKAGE = os.path.dirname(__file__)


@dataclass
class _Settings:
    """What a fit has checked."""

    epochs: int
    batch_size: int | None
    optimizer: Optimizer
    schedule: Schedule
    regularization: Regularization
    shuffle: bool
    metrics: tuple[Metric, ...]
    stopping: EarlyStopping | None
    callbacks: list[Callback]
    on_divergence: str
    resume: bool


def fit(
    net: MLP,
    X: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int | None,
    optimizer: Any,
    schedule: Any,
    shuffle: bool,
    validation_data: Any,
    validation_split: float,
    early_stopping: Any,
    callbacks: Any,
    sample_weight: Any,
    class_weight: Any,
    metrics: Any,
    on_divergence: Any,
    resume: Any,
    progress: bool | None,
    **regularization: Any,
) -> History:
    """Train a network; see `MLP.fit`."""
    if batch_size is not None:
        batch_size = check_integer("batch_size", batch_size, low=1)
    for name, flag in (("shuffle", shuffle), ("resume", resume)):
        if not isinstance(flag, bool | np.bool_):
            raise TypeError(f"{name}: expected True or False, got {flag!r}")
    stopping = get_early_stopping(early_stopping)
    chosen = net.optimizer if optimizer is None else get_optimizer(optimizer)
    if resume and chosen == net.optimizer:
        chosen = net.optimizer  # the same object goes on where it was
    s = _Settings(
        epochs=check_integer("epochs", epochs, low=0),
        batch_size=batch_size,
        optimizer=chosen,
        schedule=get_schedule(schedule),
        regularization=get_regularization(net.architecture, **regularization),
        shuffle=bool(shuffle),
        metrics=get_metrics(metrics, net.architecture),
        stopping=stopping,
        callbacks=_callbacks(callbacks, stopping, progress),
        resume=bool(resume),
        on_divergence=check_choice("on_divergence", on_divergence, ON_DIVERGENCE),
    )
    share = check_number("validation_split", validation_split, low=0.0, below=1.0)
    if share and validation_data is not None:
        raise ValueError("validation_split: expected 0 where validation_data is given")
    validation = _validation(net, validation_data)
    if chunks_of(X, y):
        if share or sample_weight is not None:
            name = "validation_split" if share else "sample_weight"
            raise ValueError(f"{name}: expected none where X comes in chunks")
        with notices(progress):
            return _fit_chunks(net, X, s, validation, class_weight)
    with notices(progress):
        return _fit_arrays(net, X, y, s, validation, share, sample_weight, class_weight)


def _callbacks(callbacks: Any, stopping: EarlyStopping | None, progress: Any) -> list[Callback]:
    if isinstance(callbacks, Callback):
        callbacks = [callbacks]
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise TypeError(f"callbacks: expected a sequence of Callback objects, got {callbacks!r}")
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks: expected objects of fastmlp.callbacks.Callback, got {callback!r}"
            )
    # The best parameters are back before others see the end of training.
    found = [*([] if stopping is None else [stopping]), *callbacks]
    if progress is None:
        watched = sys.stderr is not None and sys.stderr.isatty()
        progress = watched and not any(isinstance(c, ProgressBar) for c in found)
    return [*found, ProgressBar()] if progress else found


def _validation(net: MLP, data: Any) -> tuple[Any, np.ndarray] | None:
    if data is None:
        return None
    if not isinstance(data, Sequence) or len(data) != 2:
        raise TypeError(f"validation_data: expected a pair (X, y), got {type(data).__name__}")
    try:
        X, y, _ = net._samples(data[0], data[1], None)
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation_data: {error}") from None
    return X, y


def _fit_arrays(
    net: MLP,
    X: Any,
    y: Any,
    s: _Settings,
    validation: tuple[Any, np.ndarray] | None,
    share: float,
    sample_weight: Any,
    class_weight: Any,
) -> History:
    X, targets, _ = net._samples(X, y, None)
    weight = check_sample_weight(sample_weight, X.shape[0])
    combined = combined_weight(net, weight, class_weight, targets)
    name, by_class = "validation_split", False
    if s.stopping is not None and s.stopping.monitor.startswith("val_") and validation is None:
        by_class = net.architecture.output != "identity"
        if not share:
            name, share = "early_stopping: validation_fraction", s.stopping.validation_fraction
    _check_callbacks(net, s, validated=bool(share) or validation is not None)
    rows, held, drawn = np.arange(len(targets)), None, None
    if share:
        drawn = net._held_out if s.resume else None
        rng = net._rng if drawn is None else make_rng(drawn)
        drawn = rng_state(rng)
        rows, held = hold_out(rng, targets, share, by_class=by_class, name=name)
        if combined is not None and not combined[rows].any():
            raise ValueError("sample_weight: expected a weight above 0 outside the held-out part")
        if class_weight is not None:
            combined = combined_weight(net, weight, class_weight, targets, rows)
    _install(net, s)
    net._held_out = drawn
    if not s.epochs:
        return net.history
    samples = ArraySamples(
        net, (X, targets, combined), rows, s.batch_size, s.shuffle, _trainer_settings(s)
    )
    evaluation, repeated = None, s.epochs > 2
    if validation is not None:
        evaluation = Evaluation(net, *validation, None, s.metrics, prefix="val_", repeated=repeated)
    elif held is not None:
        evaluation = Evaluation(net, X, targets, held, s.metrics, prefix="val_", repeated=repeated)
    elif s.metrics:
        evaluation = Evaluation(net, X, targets, None, s.metrics, prefix="", repeated=False)
    return _Fit(net, s, samples, evaluation).run()


def _fit_chunks(
    net: MLP, X: Any, s: _Settings, validation: tuple[Any, np.ndarray] | None, class_weight: Any
) -> History:
    if s.metrics and validation is None:
        raise ValueError("metrics: expected validation_data beside chunks")
    _check_callbacks(net, s, validated=validation is not None)
    samples = ChunkSamples(net, X, s.epochs, s.batch_size, s.shuffle, class_weight)
    if s.schedule.within_epoch:
        samples.measure()
    _install(net, s)
    if not s.epochs:
        return net.history
    samples.settings = _trainer_settings(s)
    evaluation = None
    if validation is not None:
        evaluation = Evaluation(
            net, *validation, None, s.metrics, prefix="val_", repeated=s.epochs > 2
        )
    return _Fit(net, s, samples, evaluation).run()


def _trainer_settings(s: _Settings) -> dict[str, Any]:
    return {"optimizer": s.optimizer, "regularization": s.regularization}


def _check_callbacks(net: MLP, s: _Settings, *, validated: bool) -> None:
    classifier = net.architecture.output != "identity"
    own = ["loss", "accuracy"] if classifier else ["loss"]
    prefix = "val_" if validated else ""
    measured = [prefix + name for name in own * validated]
    measured += [prefix + metric.name for metric in s.metrics]
    names = [*own, *measured, "learning_rate", "seconds"]
    known = {name for name, values in net.history.as_dict().items() if values}
    if s.resume and known and known != set(names):
        raise ValueError(
            f"resume: expected a fit that measures {', '.join(sorted(known))} as the run so far "
            f"did, got {', '.join(sorted(names))}"
        )
    for callback in s.callbacks:
        callback.check(names)


def _install(net: MLP, s: _Settings) -> None:
    """Give the network its optimizer and schedule; another one starts afresh."""
    net.optimizer = s.optimizer
    if s.schedule != net._schedule or (s.schedule.spans_fit and not s.resume):
        net._schedule, net._schedule_memory = s.schedule, {}
    if s.resume:
        net.history.interrupted = False
    else:
        net.history, net._held_out, net._best = History(), None, None
    net.stop_training = False


def _stacklevel() -> int:
    """Return which caller, seen from the function that calls this, is not of this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


class _Fit:
    """One call of fit: the loop over epochs."""

    def __init__(
        self,
        net: MLP,
        settings: _Settings,
        samples: ArraySamples | ChunkSamples,
        evaluation: Evaluation | None,
    ) -> None:
        self.net, self.settings = net, settings
        self.samples, self.evaluation = samples, evaluation
        self.callbacks = settings.callbacks
        for callback in self.callbacks:
            callback.net = net
            callback.params = {
                "epochs": settings.epochs, "batch_size": samples.batch_size,
                "steps": samples.steps, "samples": samples.count,
            }  # fmt: skip
        self._logs: dict[str, float] = {}
        self._ctrl_c = CtrlC()
        self._watch = Watch(net, settings.on_divergence)

    def _call(self, hook: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments)

    def run(self) -> History:
        history, diverged = self.net.history, ""
        try:
            try:
                self._ctrl_c.watch()
                self._call("on_train_begin", {})
                for epoch in range(len(history), self.settings.epochs):
                    if self.net.stop_training:
                        break
                    self._epoch(epoch)
            except KeyboardInterrupt:
                history.interrupted = True
            except DivergenceError as error:
                if self.settings.on_divergence != "restore":
                    raise
                self._watch.restore()
                diverged = f"{error}; the parameters are those before it"
            self._call("on_train_end", self._logs)
        finally:
            self._ctrl_c.leave()
            self._call("close")
        if diverged:
            warnings.warn(diverged, RuntimeWarning, stacklevel=_stacklevel())
        if history.interrupted:
            warnings.warn(
                f"fit was interrupted after {len(history)} whole epochs; the network is trained "
                "so far",
                RuntimeWarning,
                stacklevel=_stacklevel(),
            )
        return history

    def _epoch(self, epoch: int) -> None:
        begun = time.perf_counter()
        net, s = self.net, self.settings
        memory = net._schedule_memory
        done = int(memory.get("epoch", 0))
        self._call("on_epoch_begin", epoch, {})
        if net.stop_training:
            return
        rates = s.schedule.rates(
            s.optimizer.learning_rate, done, self.samples.steps or 1, s.epochs, memory
        )
        result = self._train(epoch, rates)
        if self.callbacks or epoch + 1 == s.epochs:  # others see the parameters
            self._watch.check_parameters(epoch, result, float(rates[-1]))
        numbers = {} if self.evaluation is None else self.evaluation()
        logs = {"loss": result.loss}
        if net.architecture.output != "identity":
            logs["accuracy"] = result.accuracy
        logs |= numbers
        with self._ctrl_c:
            s.schedule.after_epoch(memory, result.loss, numbers.get("val_loss"))
            memory["epoch"] = done + 1
            logs["learning_rate"] = float(rates[0])
            logs["seconds"] = time.perf_counter() - begun
            net.history.append(logs)
        self._logs = logs
        self._warn_of_divergence()
        self._call("on_epoch_end", epoch, logs)

    def _train(self, epoch: int, rates: np.ndarray) -> EpochResult:
        """Train an epoch piece by piece; where it is cut has no influence on the result."""
        key = _dropout_key(self.net) if self.settings.regularization.dropout else None
        parts: list[EpochResult] = []
        done, group = 0, 1
        segments = self.samples.segments()
        while (segment := next(segments, None)) is not None:
            # what a schedule does within an epoch is known for every step; else one rate is all
            places = np.minimum(np.arange(done, done + segment.steps), len(rates) - 1)
            group = self._segment(segment, rates[places], key, epoch, done, group, parts)
            done += segment.steps
            del segment
            if self.net.stop_training:
                break
        return EpochResult.join(parts)

    def _segment(
        self,
        segment: Segment,
        rates: np.ndarray,
        key: np.ndarray | None,
        epoch: int,
        before: int,
        group: int,
        parts: list[EpochResult],
    ) -> int:
        """Train a segment in groups of steps; return how many steps the next group has."""
        done, size = 0, segment.batch_size
        while done < len(rates) and not self.net.stop_training:
            self._call("on_batch_group_begin", before + done, {})
            self._watch.keep()
            begun = time.perf_counter()
            part = rates[done : done + group]
            with self._ctrl_c:
                result = segment.train(
                    segment.order[done * size : (done + group) * size], part, key
                )
            parts.append(result)
            done += len(part)
            seconds = time.perf_counter() - begun
            group = max(1, int(min(len(part) * _PIECE_SECONDS / seconds, 8 * group)))
            if self.callbacks:
                logs = {"loss": result.loss, "samples": result.samples}
                if self.net.architecture.output != "identity":
                    logs["accuracy"] = result.accuracy
                self._call("on_batch_group_end", before + done, logs)
            # a callback may have ended the fit over it already
            if self._watch.diverged(result) and not self.net.stop_training:
                self._watch.raise_for(result, epoch, before + done - len(part), part)
        return group

    def _warn_of_divergence(self) -> None:
        losses = self.net.history.loss
        if not np.isfinite(losses[-1]) and np.isfinite(losses[-2:-1]).all():
            warnings.warn(
                f"the loss of epoch {len(losses)} is {losses[-1]}; a smaller learning rate or "
                "scaled inputs may help",
                RuntimeWarning,
                stacklevel=_stacklevel(),
            )


def _dropout_key(net: MLP) -> np.ndarray:
    """Draw an epoch's key from the network's rng: what is saved goes on with the same bits."""
    if isinstance(net._rng, np.random.RandomState):
        return net._rng.randint(0, 2**32, 2, dtype=np.uint32)
    return net._rng.integers(0, 2**32, 2, dtype=np.uint32)
