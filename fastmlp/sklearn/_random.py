"""Where an estimator's random numbers come from."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from ..initializers import RandomSource

__all__ = ["legacy", "source"]


def source(random_state: Any) -> RandomSource:
    """Return a Generator itself, or what scikit-learn makes of a ``random_state``."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    return check_random_state(random_state)


def legacy(rng: RandomSource) -> np.random.RandomState:
    """Return a RandomState, for those parts of scikit-learn that take nothing else."""
    if isinstance(rng, np.random.RandomState):
        return rng
    return np.random.RandomState(int(rng.integers(2**32)))
