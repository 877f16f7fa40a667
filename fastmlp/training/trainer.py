"""fit: epochs, their pieces, validation, history and callbacks."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..callbacks.base import check_callbacks
from ..contract.operations import EpochResult
from ..persistence import make_rng, rng_state, set_rng
from ..support.frames import column_names, in_order
from ..support.interrupts import BrokenOff, CtrlC, Halt
from ..support.notices import notices, warn
from ..support.validation import check_sample_weight
from ..support.wording import counted
from .divergence import DivergenceError, Watch
from .evaluation import Evaluation
from .history import History
from .options import FitOptions, FitSettings
from .samples import (
    ArraySamples,
    ChunkSamples,
    Segment,
    check_share,
    chunks_of,
    combined_weight,
    dropout_key,
    hold_out,
    make_samples,
)

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["Plan", "fit", "prepare", "warn_of_interrupt"]

_PIECE_SECONDS = 0.1  # Python is re-entered about this often: callbacks, Ctrl-C

Work = tuple[ArraySamples | ChunkSamples, Evaluation | None]
Check = Callable[["MLP", Any, Any], tuple[Any, np.ndarray]]


@dataclass
class Plan:
    """A fit whose arguments are checked; nothing is changed before it runs.

    Attributes
    ----------
    net : MLP
    settings
        ``epochs``, ``callbacks`` ... as checked.
    begin : callable
        Installs optimizer and schedule; returns what to go over and what to measure, None
        where no epochs are wanted.
    """

    net: MLP
    settings: FitSettings
    begin: Callable[[], Work | None]

    def run(self, ctrl_c: CtrlC | Halt, tell: Callable[[str], None]) -> History:
        """Train; `ctrl_c` ends it between steps, `tell` hears of divergence."""
        if self.net._trains:
            raise ValueError("this network is being trained already; its next fit has to wait")
        if (work := self.begin()) is None:
            return self.net.history
        return _Fit(self.net, self.settings, *work, ctrl_c, tell).run()


def fit(net: MLP, X: Any, y: Any, options: FitOptions) -> History:
    """Train a network; see `MLP.fit`."""
    plan = prepare(net, X, y, options)
    with notices(options.progress):
        history = plan.run(CtrlC(breakable=True), warn)
    if history.interrupted:
        warn_of_interrupt(history)
    return history


def warn_of_interrupt(history: History) -> None:
    """Say how far a fit came that Ctrl-C has ended."""
    epochs = counted(len(history), "whole epoch")
    warn(f"fit was interrupted after {epochs}; the network is trained so far")


def _samples(net: MLP, X: Any, y: Any) -> tuple[Any, np.ndarray]:
    return net._samples(X, y, None)[:2]


def prepare(net: MLP, X: Any, y: Any, options: FitOptions, *, check: Check = _samples) -> Plan:
    """Check all arguments of `MLP.fit`; `check` returns samples and targets as checked."""
    s = options.check(net)
    names = net.feature_names or column_names(X)
    if chunks_of(X, y):
        if s.validation_split or options.sample_weight is not None:
            name = "validation_split" if s.validation_split else "sample_weight"
            raise ValueError(f"{name}: expected none where X comes in chunks")
        return Plan(net, s, _prepare_chunks(net, X, options, s, check))
    validation = _validation(net, options.validation_data, check, names)
    begin = _prepare_arrays(net, check(net, X, y), options, s, validation)
    return Plan(net, s, _remembering(net, names, begin))


def _remembering(
    net: MLP, names: tuple[str, ...] | None, begin: Callable[[], Work | None]
) -> Callable[[], Work | None]:
    """Let the network know the names of its features once training begins."""

    def named() -> Work | None:
        work = begin()
        net.feature_names = names
        return work

    return named


def _validation(
    net: MLP, data: Any, check: Check, names: tuple[str, ...] | None
) -> tuple[Any, np.ndarray] | None:
    if data is None:
        return None
    if not isinstance(data, Sequence) or len(data) != 2:
        values = f" of {len(data)}" if isinstance(data, tuple | list) else ""
        raise TypeError(
            f"validation_data: expected a pair (X, y), got {type(data).__name__}{values}"
        )
    try:
        return check(net, in_order("X", data[0], names), data[1])
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation_data: {error}") from None


def _prepare_arrays(
    net: MLP,
    data: tuple[Any, np.ndarray],
    options: FitOptions,
    s: FitSettings,
    validation: tuple[Any, np.ndarray] | None,
) -> Callable[[], Work | None]:
    X, targets = data
    class_weight, share, n = options.class_weight, s.validation_split, len(targets)
    weight = check_sample_weight(options.sample_weight, n)
    combined = combined_weight(net, weight, class_weight, targets)
    name, by_class = "validation_split", False
    if s.stopping is not None and s.stopping.monitor.startswith("val_") and validation is None:
        by_class = net.architecture.output != "identity"
        if not share:
            name, share = "early_stopping: validation_fraction", s.stopping.validation_fraction
    _check_callbacks(net, s, validated=bool(share) or validation is not None)
    if share:
        check_share(n, share, name)

    def begin() -> Work | None:
        rows, held, drawn, weights = np.arange(n), None, None, combined
        if share:
            # from a copy: what is refused below leaves the network's generator as it was
            drawn = net._held_out if s.resume else None
            own = drawn is None
            rng = copy.deepcopy(net._rng) if drawn is None else make_rng(drawn)
            drawn = rng_state(rng)
            rows, held = hold_out(rng, targets, share, by_class=by_class)
            if weights is not None and not weights[rows].any():
                at_fault = "class_weight" if weight is None else "sample_weight"
                raise ValueError(f"{at_fault}: expected a weight above 0 outside the held-out part")
            if class_weight is not None:
                weights = combined_weight(net, weight, class_weight, targets, rows)
        with CtrlC():
            if share and own:
                set_rng(net._rng, rng)
            _install(net, s)
            net._held_out = drawn
        if not s.epochs:
            return None
        samples = ArraySamples(
            net, (X, targets, weights), rows, s.batch_size, s.shuffle, _trainer_settings(s)
        )
        if held is not None:
            return samples, _evaluation(net, s, data, held)
        if validation is None and s.metrics:
            # mutant True: preparations that pay only for more epochs
            return samples, Evaluation(net, X, targets, None, s.metrics, prefix="", repeated=False)
        return samples, _evaluation(net, s, validation, None)

    return begin


def _prepare_chunks(
    net: MLP, X: Any, options: FitOptions, s: FitSettings, check: Check
) -> Callable[[], Work | None]:
    validated = options.validation_data is not None
    if s.metrics and not validated:
        raise ValueError("metrics: expected validation_data beside chunks")
    _check_callbacks(net, s, validated=validated)
    samples = make_samples(net, X, s.epochs, s.batch_size, s.shuffle, options.class_weight)
    names = getattr(samples, "feature_names", None) or net.feature_names
    validation = _validation(net, options.validation_data, check, names)

    def begin() -> Work | None:
        if s.schedule.within_epoch:
            samples.measure()
        with CtrlC():
            _install(net, s)
        if not s.epochs:
            return None
        samples.settings = _trainer_settings(s)
        return samples, _evaluation(net, s, validation, None)

    return _remembering(net, names, begin)


def _evaluation(
    net: MLP, s: FitSettings, data: tuple[Any, np.ndarray] | None, rows: np.ndarray | None
) -> Evaluation | None:
    if data is None:
        return None
    # mutant >=: preparations that pay only for more epochs
    return Evaluation(net, *data, rows, s.metrics, prefix="val_", repeated=s.epochs > 2)


def _trainer_settings(s: FitSettings) -> dict[str, Any]:
    return {"optimizer": s.optimizer, "regularization": s.regularization}


def _check_callbacks(net: MLP, s: FitSettings, *, validated: bool) -> None:
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
    if s.stopping is not None:
        s.stopping.check(names)
    check_callbacks([c for c in s.callbacks if c is not s.stopping], names)


def _install(net: MLP, s: FitSettings) -> None:
    """Give the network its optimizer and schedule; another one starts afresh."""
    net.optimizer = s.optimizer
    if s.schedule != net._schedule or (s.schedule.spans_fit and not s.resume):
        net._schedule, net._schedule_memory = s.schedule, {}
    if s.resume:
        net.history.interrupted = False
    else:
        net.history, net._held_out, net._best = History(), None, None
    net.stop_training = False


class _Fit:
    """One call of fit: the loop over epochs."""

    def __init__(
        self,
        net: MLP,
        settings: FitSettings,
        samples: ArraySamples | ChunkSamples,
        evaluation: Evaluation | None,
        ctrl_c: CtrlC | Halt,
        tell: Callable[[str], None],
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
        self._ctrl_c, self._tell = ctrl_c, tell
        self._watch = Watch(net, settings.on_divergence)

    def _call(self, hook: str, *arguments: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(*arguments)

    def run(self) -> History:
        history, diverged = self.net.history, ""
        self.net._trains = True
        try:
            try:
                self._call("on_train_begin", {})
                for epoch in range(len(history), self.settings.epochs):
                    if self.net.stop_training:
                        break
                    self._epoch(epoch)
            except BrokenOff:
                raise
            except KeyboardInterrupt:
                history.interrupted = True
            except DivergenceError as error:
                if self.settings.on_divergence != "restore":
                    raise
                with CtrlC():
                    self._watch.restore()
                diverged = f"{error}; the parameters are those before it"
            self._call("on_train_end", self._logs)
        finally:
            self.net._trains = False  # at once: no call lies between, during which a signal comes
            self._call("close")
        if diverged:
            self._tell(diverged)
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
            s.optimizer.learning_rate, done,
            self.samples.steps or 1,  # mutant 2: schedules that know no number have one rate
            s.epochs, memory,
        )  # fmt: skip
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
        if warning := self._watch.warning():
            self._tell(warning)
        self._call("on_epoch_end", epoch, logs)

    def _train(self, epoch: int, rates: np.ndarray) -> EpochResult:
        """Train an epoch piece by piece; where it is cut has no influence on the result."""
        key = dropout_key(self.net._rng) if self.settings.regularization.dropout else None
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
