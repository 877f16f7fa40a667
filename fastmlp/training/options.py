"""What a fit is asked for: the arguments of `MLP.fit` beside the data, as given and as checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..callbacks import Callback, EarlyStopping, ProgressBar
from ..callbacks.early_stopping import get_early_stopping
from ..metrics import Metric, get_metrics
from ..optimizers import Optimizer, get_optimizer
from ..regularization import Regularization, get_regularization
from ..schedules import Schedule, get_schedule
from ..support.notices import watched
from ..support.validation import check_bool, check_choice, check_integer, check_number
from .divergence import ON_DIVERGENCE

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["FitOptions", "FitSettings", "get_callbacks"]


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """The arguments of a fit, checked; for their meaning see `MLP.fit`."""

    epochs: int
    batch_size: int | None
    optimizer: Optimizer
    schedule: Schedule
    regularization: Regularization
    shuffle: bool
    validation_split: float
    metrics: tuple[Metric, ...]
    stopping: EarlyStopping | None
    callbacks: list[Callback]
    on_divergence: str
    resume: bool


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The arguments of a fit as a user has given them; for their meaning see `MLP.fit`.

    `fastmlp.fit_many` has lists in them, with a value for each network.
    """

    epochs: Any
    batch_size: Any
    optimizer: Any
    schedule: Any
    l2: Any
    dropout: Any
    shuffle: Any
    validation_data: Any
    validation_split: Any
    early_stopping: Any
    callbacks: Any
    sample_weight: Any
    class_weight: Any
    l1: Any
    clip_norm: Any
    label_smoothing: Any
    max_norm: Any
    metrics: Any
    on_divergence: Any
    resume: Any
    progress: Any

    def check(self, net: MLP) -> FitSettings:
        """Check all that the samples have no say in.

        Raises
        ------
        TypeError, ValueError
            If an argument is not of its kind, does not fit the network or another argument.
        """
        batch_size = self.batch_size
        if batch_size is not None:
            batch_size = check_integer("batch_size", batch_size, low=1)
        # mutant True: either is a bool
        flags = {"shuffle": self.shuffle, "resume": self.resume, "progress": self.progress or False}
        for name, flag in flags.items():
            check_bool(name, flag)
        stopping = get_early_stopping(self.early_stopping)
        settings = FitSettings(
            optimizer=self._optimizer(net),
            epochs=check_integer("epochs", self.epochs, low=0),
            batch_size=batch_size,
            schedule=get_schedule(self.schedule),
            regularization=self._regularization(net),
            shuffle=bool(self.shuffle),
            metrics=get_metrics(self.metrics, net.architecture),
            stopping=stopping,
            callbacks=get_callbacks(self.callbacks, stopping, self.progress),
            resume=bool(self.resume),
            on_divergence=check_choice("on_divergence", self.on_divergence, ON_DIVERGENCE),
            validation_split=check_number(
                "validation_split", self.validation_split, low=0.0, below=1.0
            ),
        )
        if settings.validation_split and self.validation_data is not None:
            raise ValueError("validation_split: expected 0 where validation_data is given")
        return settings

    def _optimizer(self, net: MLP) -> Optimizer:
        chosen = net.optimizer if self.optimizer is None else get_optimizer(self.optimizer)
        # an equal one, when a run is resumed, is the same one: it goes on where it was
        return net.optimizer if self.resume and chosen == net.optimizer else chosen

    def _regularization(self, net: MLP) -> Regularization:
        return get_regularization(
            net.architecture, dropout=self.dropout, l1=self.l1, l2=self.l2,
            label_smoothing=self.label_smoothing, clip_norm=self.clip_norm, max_norm=self.max_norm,
        )  # fmt: skip


def get_callbacks(
    callbacks: Any, stopping: EarlyStopping | None, progress: bool | None
) -> list[Callback]:
    """Return the callbacks of a fit, checked, with early stopping and the progress bar.

    Raises
    ------
    TypeError
        If `callbacks` holds something else.
    """
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
        progress = watched() and not any(isinstance(c, ProgressBar) for c in found)
    return [*found, ProgressBar()] if progress else found
