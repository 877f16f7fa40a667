"""What the recipes share: how one is described and run, and what it hands back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backends import BACKENDS
from ..network import MLP
from ..support.notices import watched
from ..support.validation import check_choice, check_integer
from ..training.history import History

__all__ = ["Recipe", "Result", "Settings", "judge", "plain", "progress_bar", "timed_fit"]


@dataclass(frozen=True)
class Settings:
    """How a recipe is run.

    Parameters
    ----------
    backend : {"numba", "numpy"}, default "numba"
    seed : int, default 0
        Where the experiment draws at random; `numpy-ann` has its published seed.
    epochs : int, optional
        Fewer epochs than published. Such a run shows that a recipe works; it is never ok.
    samples : int, optional
        Fewer training samples than published; likewise never ok.
    progress : bool, optional
        A progress bar; by default when standard error is a terminal.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of that kind.
    """

    backend: str = "numba"
    seed: int = 0
    epochs: int | None = None
    samples: int | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        check_choice("backend", self.backend, tuple(BACKENDS))
        check_integer("seed", self.seed, low=0)
        for name in ("epochs", "samples"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), low=1)

    @property
    def shortened(self) -> bool:
        """Whether less than the published experiment is run."""
        return self.epochs is not None or self.samples is not None

    def n_epochs(self, published: int) -> int:
        """Return how many epochs to train."""
        return published if self.epochs is None else min(self.epochs, published)

    def n_samples(self, published: int) -> int:
        """Return how many training samples to use."""
        return published if self.samples is None else min(self.samples, published)


@dataclass(frozen=True)
class Result:
    """What came out beside what was published.

    Attributes
    ----------
    name : str
        The recipe's.
    published, measured : dict
        Figures by name; those that both have are to be compared.
    seconds : float
        Of the training, the compilation of a very first run included.
    ok : bool
        Whether the measured figures pass the recipe's rule.
    note : str
        The rule, or why there is no judgement.
    """

    name: str
    published: dict[str, Any]
    measured: dict[str, Any]
    seconds: float
    ok: bool
    note: str

    def as_dict(self) -> dict[str, Any]:
        """Return name, published, measured (the note in it as "judged"), seconds, ok, for JSON."""
        return {
            "name": self.name,
            "published": plain(self.published),
            "measured": {**plain(self.measured), "judged": self.note},
            "seconds": plain(self.seconds),
            "ok": self.ok,
        }


@dataclass(frozen=True)
class Recipe:
    """A published experiment.

    Attributes
    ----------
    name : str
        As the command line takes it.
    description : str
        Network and training in one line.
    run : callable
        ``run(Settings()) -> Result``.
    published : dict
        The published figures; empty where there are none.
    """

    name: str
    description: str
    run: Callable[[Settings], Result]
    published: dict[str, Any] = field(default_factory=dict)


def judge(
    settings: Settings,
    name: str,
    published: dict[str, Any],
    measured: dict[str, Any],
    seconds: float,
    *,
    passed: bool,
    rule: str,
) -> Result:
    """Return the result; of a shortened run it is never ok, whatever came out."""
    if settings.shortened:
        return Result(name, published, measured, seconds, False, "shortened: not judged")
    return Result(name, published, measured, seconds, bool(passed), rule)


def plain(value: Any) -> Any:
    """Return nested figures as strict JSON holds them: Python numbers, None for NaN, infinity."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def timed_fit(net: MLP, X: Any, y: Any, **arguments: Any) -> tuple[History, float]:
    """Train; return the history and the seconds that it took."""
    begun = time.perf_counter()
    history = net.fit(X, y, **arguments)
    return history, time.perf_counter() - begun


def progress_bar(settings: Settings, total: int, unit: str, description: str) -> Any:
    """Return a bar for a recipe that fits in many short stretches."""
    shown = settings.progress
    if shown is None:
        shown = watched()
    from tqdm.auto import tqdm

    return tqdm(total=total, unit=unit, desc=description, disable=not shown, dynamic_ncols=True)
