"""How the learning rate moves during training.

A schedule is an immutable object. What it has to remember lives in a small dict that the network
keeps and saves, so a resumed run goes on as if it had never stopped.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .support.validation import check_integer, check_number

__all__ = [
    "SCHEDULES",
    "AnnealOnRise",
    "Constant",
    "CosineDecay",
    "ExponentialDecay",
    "InverseScaling",
    "OneCycle",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "get_schedule",
]


@dataclass(frozen=True)
class Schedule:
    """Base of the schedules: rates of an epoch's steps, and what to learn from its loss."""

    @property
    def spans_fit(self) -> bool:
        """Whether it takes its length from the fit, so that every fit begins it anew."""
        return False

    @property
    def within_epoch(self) -> bool:
        """Whether the rate moves from step to step, not only from epoch to epoch."""
        return False

    def rates(
        self, base: float, epoch: int, n_steps: int, n_epochs: int, memory: dict[str, float]
    ) -> np.ndarray:
        """Return the learning rate of each step of an epoch.

        Parameters
        ----------
        base : float
            The optimizer's learning rate.
        epoch : int
            Epochs done since the schedule began.
        n_steps : int
            Steps of an epoch.
        n_epochs : int
            Epochs that the schedule is spread over, where it has an end.
        memory : dict
            What `after_epoch` has left.

        Returns
        -------
        ndarray of float64, (n_steps,)
        """
        progress = epoch + np.arange(n_steps) / n_steps
        scale = memory.get("scale", 1.0) * self.curve(progress, n_steps, n_epochs)
        return base * np.broadcast_to(scale, (n_steps,)).astype(np.float64)

    def curve(self, progress: np.ndarray, n_steps: int, n_epochs: int) -> Any:
        """Return what multiplies the base rate after `progress` epochs, a fraction per step."""
        return 1.0

    def after_epoch(self, memory: dict[str, float], loss: float, val_loss: float | None) -> None:
        """Note the epoch's loss in `memory`; by default there is nothing to learn."""

    def config(self) -> dict[str, Any]:
        """Return the name and settings, as they are saved."""
        return {"name": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class Constant(Schedule):
    """The optimizer's own learning rate throughout."""


@dataclass(frozen=True)
class AnnealOnRise(Schedule):
    """Multiply the rate by a factor whenever an epoch's loss is above the one before.

    Parameters
    ----------
    factor : float in (0, 1), default 0.9

    Examples
    --------
    >>> from fastmlp.schedules import AnnealOnRise
    >>> memory = {}
    >>> for loss in (1.0, 2.0):
    ...     AnnealOnRise(factor=0.5).after_epoch(memory, loss, None)
    >>> memory["scale"]
    0.5
    """

    factor: float = 0.9

    def __post_init__(self) -> None:
        check_number("factor", self.factor, above=0.0, below=1.0)

    def after_epoch(self, memory: dict[str, float], loss: float, val_loss: float | None) -> None:
        """Compare the loss with the last epoch's."""
        if loss > memory.get("loss", np.inf):
            memory["scale"] = memory.get("scale", 1.0) * self.factor
        memory["loss"] = loss


@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiply the rate by a factor every so many epochs.

    Parameters
    ----------
    factor : float in (0, 1), default 0.5
    every : int, default 10
        Epochs between two drops.
    """

    factor: float = 0.5
    every: int = 10

    def __post_init__(self) -> None:
        check_number("factor", self.factor, above=0.0, below=1.0)
        check_integer("every", self.every, low=1)

    def curve(self, progress: np.ndarray, n_steps: int, n_epochs: int) -> Any:
        """Return ``factor ** floor(epochs / every)``."""
        return self.factor ** np.floor(progress / self.every)


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """Multiply the rate by a factor after every epoch.

    Parameters
    ----------
    factor : float in (0, 1), default 0.95
    """

    factor: float = 0.95

    def __post_init__(self) -> None:
        check_number("factor", self.factor, above=0.0, below=1.0)

    def curve(self, progress: np.ndarray, n_steps: int, n_epochs: int) -> Any:
        """Return ``factor ** floor(epochs)``."""
        return self.factor ** np.floor(progress)


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """Divide the rate by a power of the number of the step: ``rate / (1 + t) ** power``.

    Parameters
    ----------
    power : float, default 0.5
    """

    power: float = 0.5

    def __post_init__(self) -> None:
        check_number("power", self.power, above=0.0)

    @property
    def within_epoch(self) -> bool:
        """Whether the rate moves from step to step, not only from epoch to epoch."""
        return True

    def curve(self, progress: np.ndarray, n_steps: int, n_epochs: int) -> Any:
        """Return ``(1 + t) ** -power``, t the steps taken."""
        return (1 + np.rint(progress * n_steps)) ** -self.power


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """Half a cosine from the full rate to `final` times it, after a linear warm-up.

    Parameters
    ----------
    final : float in [0, 1], default 0
    warmup : float in [0, 1), default 0
        The share of all steps that the rate rises over.
    epochs : int, optional
        The schedule's length; by default the epochs of the fit. Name it to resume a run.
    """

    final: float = 0.0
    warmup: float = 0.0
    epochs: int | None = None

    def __post_init__(self) -> None:
        check_number("final", self.final, low=0.0, high=1.0)
        check_number("warmup", self.warmup, low=0.0, below=1.0)
        if self.epochs is not None:
            check_integer("epochs", self.epochs, low=1)

    @property
    def spans_fit(self) -> bool:
        """Whether it takes its length from the fit, so that every fit begins it anew."""
        return self.epochs is None

    @property
    def within_epoch(self) -> bool:
        """Whether the rate moves from step to step, not only from epoch to epoch."""
        return True

    def curve(self, progress: np.ndarray, n_steps: int, n_epochs: int) -> Any:
        """Return the rise and the half cosine over all steps."""
        x = np.minimum(progress / (self.epochs or n_epochs), 1.0)
        return _rise_and_fall(x, self.warmup, 0.0, self.final)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to the optimizer's rate and far down again, each half a cosine (Smith 2018).

    Parameters
    ----------
    warmup : float in (0, 1), default 0.3
        The share of all steps that the rate rises over.
    start : float in [0, 1], default 0.04
        The first rate, as a part of the full one.
    final : float in [0, 1], default 4e-6
        The last rate, as a part of the full one.
    epochs : int, optional
        The schedule's length; by default the epochs of the fit. Name it to resume a run.
    """

    warmup: float = 0.3
    start: float = 0.04
    final: float = 4e-6
    epochs: int | None = None

    def __post_init__(self) -> None:
        check_number("warmup", self.warmup, above=0.0, below=1.0)
        check_number("start", self.start, low=0.0, high=1.0)
        check_number("final", self.final, low=0.0, high=1.0)
        if self.epochs is not None:
            check_integer("epochs", self.epochs, low=1)

    @property
    def spans_fit(self) -> bool:
        """Whether it takes its length from the fit, so that every fit begins it anew."""
        return self.epochs is None

    @property
    def within_epoch(self) -> bool:
        """Whether the rate moves from step to step, not only from epoch to epoch."""
        return True

    def curve(self, progress: np.ndarray, n_steps: int, n_epochs: int) -> Any:
        """Return the two half cosines over all steps."""
        x = np.minimum(progress / (self.epochs or n_epochs), 1.0)
        rise = self.start + (1 - self.start) * (1 - np.cos(np.pi * x / self.warmup)) / 2
        return np.where(x < self.warmup, rise, _rise_and_fall(x, self.warmup, 0.0, self.final))


def _rise_and_fall(x: np.ndarray, warmup: float, start: float, final: float) -> np.ndarray:
    """Return a linear rise over x < warmup, then half a cosine down to `final`."""
    rise = start + (1 - start) * x / warmup if warmup else x
    fall = final + (1 - final) * (1 + np.cos(np.pi * (x - warmup) / (1 - warmup))) / 2
    return np.where(x < warmup, rise, fall)


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """Multiply the rate by a factor when the loss has stopped falling.

    Watches the validation loss where there is one, else the training loss.

    Parameters
    ----------
    factor : float in (0, 1), default 0.1
    patience : int, default 10
        Epochs without an improvement that are waited for.
    min_delta : float, default 1e-4
        The least improvement that counts.
    """

    factor: float = 0.1
    patience: int = 10
    min_delta: float = 1e-4

    def __post_init__(self) -> None:
        check_number("factor", self.factor, above=0.0, below=1.0)
        check_integer("patience", self.patience, low=0)
        check_number("min_delta", self.min_delta, low=0.0)

    def after_epoch(self, memory: dict[str, float], loss: float, val_loss: float | None) -> None:
        """Count epochs without improvement."""
        watched = loss if val_loss is None else val_loss
        if watched < memory.get("best", np.inf) - self.min_delta:
            memory["best"], memory["waited"] = watched, 0.0
            return
        memory["waited"] = memory.get("waited", 0.0) + 1
        if memory["waited"] > self.patience:
            memory["scale"] = memory.get("scale", 1.0) * self.factor
            memory["waited"] = 0.0


SCHEDULES: dict[str, type[Schedule]] = {
    kind.__name__.lower(): kind
    for kind in (
        Constant,
        AnnealOnRise,
        StepDecay,
        ExponentialDecay,
        InverseScaling,
        CosineDecay,
        OneCycle,
        ReduceOnPlateau,
    )
}


def get_schedule(schedule: Schedule | str | dict[str, Any] | None) -> Schedule:
    """Return the schedule itself, or the one of that name or ``config()``; None is constant.

    Raises
    ------
    ValueError
        If the name is not known.
    TypeError
        If it is none of these.
    """
    if schedule is None:
        return Constant()
    if type(schedule) in SCHEDULES.values():
        return schedule  # type: ignore[return-value]
    if isinstance(schedule, str):
        schedule = {"name": schedule}
    if not isinstance(schedule, dict):
        raise TypeError(
            f"schedule: expected one of {', '.join(SCHEDULES)} or its name, got {schedule!r}"
        )
    settings = dict(schedule)
    name = str(settings.pop("name", None)).lower()
    if name not in SCHEDULES:
        raise ValueError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {name!r}")
    return SCHEDULES[name](**settings)
