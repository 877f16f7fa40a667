"""How weights are drawn. Biases start at zero unless an initializer says otherwise."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .support.validation import check_bool, check_choice, check_integer, check_number

__all__ = [
    "INITIALIZERS",
    "Initializer",
    "Normal",
    "RandomSource",
    "Scaled",
    "Uniform",
    "Zeros",
    "get_initializer",
    "random_source",
]

RandomSource = np.random.Generator | np.random.RandomState


class Initializer(Protocol):
    """Anything that draws the weights of one layer, and tells whether it draws biases."""

    @property
    def biases(self) -> bool:
        """Whether biases are drawn too (with `draw`, behind the layer's weights)."""
        ...

    def draw(self, rng: RandomSource, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
        """Return float64 values of `shape` for a layer of `n_in` inputs and `n_out` outputs."""
        ...


@dataclass(frozen=True)
class Normal:
    """Draw from a normal distribution of mean 0.

    Parameters
    ----------
    scale : float, default 0.01
        The standard deviation.
    biases : bool, default False
        Whether biases are drawn as well; else they are 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.initializers import Normal
    >>> Normal(0.01).draw(np.random.default_rng(0), (2, 3), 2, 3).shape
    (2, 3)
    """

    scale: float = 0.01
    biases: bool = False

    def __post_init__(self) -> None:
        check_number("scale", self.scale, low=0.0)
        check_bool("biases", self.biases)

    def draw(self, rng: RandomSource, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
        """Return float64 values of `shape`."""
        return rng.standard_normal(shape) * self.scale


@dataclass(frozen=True)
class Uniform:
    """Draw uniformly from [low, high).

    Parameters
    ----------
    low, high : float, default -0.5 and 0.5
        The interval.
    biases : bool, default False
        Whether biases are drawn as well; else they are 0.
    """

    low: float = -0.5
    high: float = 0.5
    biases: bool = False

    def __post_init__(self) -> None:
        check_number("low", self.low)
        check_number("high", self.high, low=self.low)
        check_bool("biases", self.biases)

    def draw(self, rng: RandomSource, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
        """Return float64 values of `shape`."""
        return rng.uniform(self.low, self.high, shape)


@dataclass(frozen=True)
class Zeros:
    """Start at zero.

    Parameters
    ----------
    biases : bool, default False
        Whether biases are drawn as well, which are 0 anyway.
    """

    biases: bool = False

    def __post_init__(self) -> None:
        check_bool("biases", self.biases)

    def draw(self, rng: RandomSource, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
        """Return zeros of `shape`."""
        return np.zeros(shape)


@dataclass(frozen=True)
class Scaled:
    """Draw with a spread that follows from the layer's size.

    Parameters
    ----------
    variance : callable
        ``(n_in, n_out) -> variance`` of the weights.
    normal : bool
        Normally distributed, or uniformly in ``[-sqrt(3 variance), sqrt(3 variance))``.
    biases : bool, default False
        Whether biases are drawn as well; else they are 0.
    """

    variance: Callable[[int, int], float]
    normal: bool
    biases: bool = False

    def __post_init__(self) -> None:
        if not callable(self.variance):
            raise TypeError(f"variance: expected a function, got {self.variance!r}")
        check_bool("normal", self.normal)
        check_bool("biases", self.biases)

    def draw(self, rng: RandomSource, shape: tuple[int, ...], n_in: int, n_out: int) -> np.ndarray:
        """Return float64 values of `shape`."""
        variance = self.variance(n_in, n_out)
        if self.normal:
            return rng.standard_normal(shape) * np.sqrt(variance)
        limit = np.sqrt(3.0 * variance)
        return rng.uniform(-limit, limit, shape)


# Glorot and Bengio 2010, He et al. 2015, LeCun et al. 1998.
INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": Scaled(lambda n_in, n_out: 2.0 / (n_in + n_out), normal=False),
    "glorot_normal": Scaled(lambda n_in, n_out: 2.0 / (n_in + n_out), normal=True),
    "he_uniform": Scaled(lambda n_in, n_out: 2.0 / n_in, normal=False),
    "he_normal": Scaled(lambda n_in, n_out: 2.0 / n_in, normal=True),
    "lecun_uniform": Scaled(lambda n_in, n_out: 1.0 / n_in, normal=False),
    "lecun_normal": Scaled(lambda n_in, n_out: 1.0 / n_in, normal=True),
    "zeros": Zeros(),
}


def random_source(rng: Any) -> RandomSource:
    """Return a generator itself, or a new one from a seed or from nowhere.

    Raises
    ------
    TypeError, ValueError
        If it is neither a generator nor an integer of at least 0.
    """
    if isinstance(rng, np.random.Generator | np.random.RandomState):
        return rng
    if rng is None:
        return np.random.default_rng()
    if not isinstance(rng, numbers.Integral):
        raise TypeError(f"rng: expected an integer, a Generator or a RandomState, got {rng!r}")
    return np.random.default_rng(check_integer("rng", rng, low=0))


def get_initializer(init: Any) -> Initializer:
    """Return the initializer itself, or the one of that name.

    Raises
    ------
    TypeError, ValueError
        If it is neither an initializer nor a known name.
    """
    if isinstance(init, str):
        return INITIALIZERS[check_choice("init", init, tuple(INITIALIZERS))]
    if isinstance(init, type) or not (hasattr(init, "draw") and hasattr(init, "biases")):
        raise TypeError(f"init: expected a name or an initializer, got {init!r}")
    return init  # type: ignore[no-any-return]
