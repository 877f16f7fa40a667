"""Between an estimator's lists of arrays and the buffer that the kernels work on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..architecture import Architecture
from ..backends import get_backend
from ..contract.parameters import Parameters
from ..initializers import RandomSource

if TYPE_CHECKING:
    from ..kernels.run.training import Training

__all__ = ["APPLIED", "OUTPUT_NAMES", "Network", "activation_names", "copies", "draw"]

ALIASES = {"logistic": "sigmoid"}
OUTPUT_NAMES = {
    "identity": "identity", "logistic": "sigmoid", "softmax": "softmax", "exp": "identity",
    "tanh": "identity", "relu": "identity",
}  # fmt: skip
"""The network's output for each ``out_activation_``: those that it lacks are applied after it."""
APPLIED: dict[str, Any] = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0)}


def activation_names(activation: Any, n_hidden: int) -> tuple[str, ...]:
    """Return fastmlp's name of every hidden layer's activation."""
    names = [activation] * n_hidden if isinstance(activation, str) else list(activation)
    if len(names) != n_hidden:
        raise ValueError(
            f"activation: expected one name, or {n_hidden} for the hidden layers, got {len(names)}"
        )
    return tuple(ALIASES.get(name, name) for name in names)


def draw(
    rng: RandomSource, sizes: Sequence[int], names: Sequence[str], dtype: np.dtype
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return weights and biases, uniform within ``sqrt(6 / (n_in + n_out))`` (Glorot, Bengio 2010).

    Under a logistic activation within ``sqrt(2 / (n_in + n_out))``. The last layer goes by the
    activation of the last hidden one.
    """
    weights, biases = [], []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        name = names[min(i, len(names) - 1)] if names else "identity"
        bound = np.sqrt((2.0 if name == "sigmoid" else 6.0) / (n_in + n_out))
        weights.append(rng.uniform(-bound, bound, (n_in, n_out)).astype(dtype, copy=False))
        biases.append(rng.uniform(-bound, bound, n_out).astype(dtype, copy=False))
    return weights, biases


class Network:
    """Parameters that the kernels can use, and the way forward.

    Parameters
    ----------
    weights, biases : sequences of ndarray
        Copied.
    activations : sequence of str
        Of the hidden layers.
    output, loss : str
    threads : int or None
    precision : str
        As steps of training have it; of float64 the highest.

    Attributes
    ----------
    weights, biases : list of ndarray
        Live views: what is written into them takes effect.
    parameters : Parameters
    kept : Training or None
        What took the steps of the last `partial_fit`, ready for samples of the same shape.
    made_for : tuple
        The estimator's ``out_activation_`` and fitted settings that it was made for.
    """

    made_for: tuple[Any, Any]

    def __init__(
        self,
        weights: Sequence[np.ndarray],
        biases: Sequence[np.ndarray],
        activations: Sequence[str],
        output: str,
        loss: str,
        threads: int | None,
        precision: str = "highest",
    ) -> None:
        weights = [np.asarray(w) for w in weights]
        sizes = [weights[0].shape[0], *(w.shape[1] for w in weights)]
        dtype = "float32" if weights[0].dtype == np.float32 else "float64"
        architecture = Architecture(
            [int(size) for size in sizes], activation=list(activations), output=output, loss=loss,
            dtype=dtype, precision="highest" if dtype == "float64" else precision,
        )  # fmt: skip
        self.parameters = Parameters(architecture)
        self.parameters.assign(weights, biases)
        self.weights, self.biases = self.parameters.weights, self.parameters.biases
        self.threads = threads
        self.kept: Training | None = None
        self._backend = get_backend("numba")

    def holds(self, weights: Any, biases: Any) -> bool:
        """Tell whether these are this network's own arrays."""
        try:
            for ours, theirs in ((self.weights, weights), (self.biases, biases)):
                for a, b in zip(ours, theirs, strict=True):
                    if a is not b:
                        return False
        except (TypeError, ValueError):
            return False
        return True

    def accepts(self, X: Any) -> bool:
        """Tell whether X is a plain array of finite floats of the right width.

        Everything else has to be looked at more closely; this takes about a microsecond for a
        single row.
        """
        if type(X) is not np.ndarray or X.ndim != 2 or X.shape[1:] != self.weights[0].shape[:1]:
            return False
        if X.dtype.char not in "fd" or not len(X) or not X.flags.c_contiguous:
            return False
        return self._backend.finite(X, self.threads)

    def answers(self, X: Any, check: Callable[[Any], Any]) -> np.ndarray:
        """Return the outputs for what a user hands over; `check` makes rows of it, or raises."""
        return self._backend.answers(self.parameters, X, check, self.threads)

    def outputs(self, X: Any) -> np.ndarray:
        """Return the outputs for X, which has been checked."""
        return self._backend.outputs(self.parameters, X, self.threads)

    def slots_in_use(self) -> list[list[np.ndarray]]:
        """Return copies of what the optimizer remembers."""
        views = self.parameters.slot_views(len(self.parameters.slots))
        used = [slot for slot in views if any(a.any() for a in slot)]
        return [copies(slot) for slot in views[: len(used)]]


def copies(arrays: Sequence[Any]) -> list[np.ndarray]:
    """Return copies in C order, of plain memory."""
    return [np.array(array, order="C") for array in arrays]
