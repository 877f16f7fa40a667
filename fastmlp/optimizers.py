"""The optimizers' names, hyperparameters and state; their rules stand in `fastmlp.reference`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np

from .support.validation import check_bool, check_number

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "OptimizerState",
    "RMSProp",
    "get_optimizer",
    "make_optimizer",
    "most_slots",
]


@dataclass
class OptimizerState:
    """What an optimizer remembers between steps.

    Attributes
    ----------
    step : int
        How many steps have been taken.
    slots : list of list of ndarray
        ``slots[k][i]`` is the k-th moving quantity of the i-th parameter, shaped as it.
    """

    step: int = 0
    slots: list[list[np.ndarray]] = field(default_factory=list)


@dataclass(frozen=True)
class Optimizer:
    """Base of the optimizers: an immutable set of hyperparameters.

    The moving quantities live in an `OptimizerState`, so that one object may serve many networks.
    """

    learning_rate: float

    slots: ClassVar[int] = 0  # moving quantities per parameter

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, low=0.0)

    @property
    def rule(self) -> str:
        """The name of the update rule."""
        return type(self).__name__.lower()

    @classmethod
    def most_slots(cls) -> int:
        """Return the most moving quantities per parameter that an object of it has."""
        return cls.slots

    def start(self, parameters: Sequence[np.ndarray]) -> OptimizerState:
        """Return the state before the first step: zeros shaped as the parameters."""
        return OptimizerState(
            0, [[np.zeros_like(p) for p in parameters] for _ in range(self.slots)]
        )

    def config(self) -> dict[str, Any]:
        """Return the name and hyperparameters, as they are saved."""
        return {"name": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, plain or with momentum.

    Parameters
    ----------
    learning_rate : float, default 0.1
        The step size, at least 0.
    momentum : float in [0, 1), default 0
        How much of the last step is kept.
    nesterov : bool, default False
        Nesterov's look-ahead.

    Examples
    --------
    >>> from fastmlp import SGD
    >>> SGD(0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False)
    """

    learning_rate: float = 0.1
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("momentum", self.momentum, low=0.0, below=1.0)
        check_bool("nesterov", self.nesterov)

    @property
    def rule(self) -> str:
        """``"sgd"``, ``"momentum"`` or ``"nesterov"``."""
        if self.momentum == 0:
            return "sgd"
        return "nesterov" if self.nesterov else "momentum"

    @property
    def slots(self) -> int:  # type: ignore[override]
        """One velocity, or none without momentum."""
        return int(self.momentum != 0)

    @classmethod
    def most_slots(cls) -> int:
        """Return 1: a velocity."""
        return 1


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """Steps divided by the root of the summed squares of the gradients (Duchi et al. 2011).

    Parameters
    ----------
    learning_rate : float, default 0.01
        The step size, at least 0.
    epsilon : float, default 1e-8
        Added to the root.
    """

    learning_rate: float = 0.01
    epsilon: float = 1e-8
    slots: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("epsilon", self.epsilon, above=0.0)


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """Steps divided by the root of a moving mean of squared gradients (Tieleman, Hinton 2012).

    Parameters
    ----------
    learning_rate : float, default 0.001
        The step size, at least 0.
    rho : float in [0, 1), default 0.9
        The decay of the moving mean.
    epsilon : float, default 1e-8
        Added to the root.
    """

    learning_rate: float = 0.001
    rho: float = 0.9
    epsilon: float = 1e-8
    slots: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("rho", self.rho, low=0.0, below=1.0)
        check_number("epsilon", self.epsilon, above=0.0)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Moving means of the gradient and its square, bias-corrected (Kingma and Ba 2015).

    Parameters
    ----------
    learning_rate : float, default 0.001
        The step size, at least 0.
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
        The decays of the two moving means.
    epsilon : float, default 1e-8
        Added to the root.
    """

    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    slots: ClassVar[int] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("beta_1", self.beta_1, low=0.0, below=1.0)
        check_number("beta_2", self.beta_2, low=0.0, below=1.0)
        check_number("epsilon", self.epsilon, above=0.0)

    @property
    def rule(self) -> str:
        """``"adam"``."""
        return "adam"


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with the decay of weights apart from the gradient (Loshchilov and Hutter 2019).

    Parameters
    ----------
    learning_rate, beta_1, beta_2, epsilon
        As for `Adam`.
    weight_decay : float, default 0.01
        Each step multiplies weights, not biases, by ``1 - learning_rate * weight_decay``.
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("weight_decay", self.weight_decay, low=0.0)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind for kind in (SGD, AdaGrad, RMSProp, Adam, AdamW)
}


def most_slots() -> int:
    """Return the most moving quantities per parameter that any optimizer has."""
    return max(kind.most_slots() for kind in OPTIMIZERS.values())


def get_optimizer(optimizer: Optimizer | str) -> Optimizer:
    """Return the optimizer itself, or the one of that name with its defaults.

    Raises
    ------
    ValueError
        If the name is not known.
    TypeError
        If it is neither a name nor an optimizer.
    """
    if type(optimizer) in OPTIMIZERS.values():
        return optimizer  # type: ignore[return-value]
    if isinstance(optimizer, str):
        return make_optimizer({"name": optimizer})
    raise TypeError(
        f"optimizer: expected one of {', '.join(OPTIMIZERS)} or its name, got {optimizer!r}"
    )


def make_optimizer(config: dict[str, Any]) -> Optimizer:
    """Return the optimizer that a ``config()`` describes; see `get_optimizer` for errors."""
    settings = dict(config)
    name = str(settings.pop("name", None)).lower()
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {name!r}")
    return OPTIMIZERS[name](**settings)
