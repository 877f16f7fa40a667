"""The activations f(z) of hidden layers and their derivatives f'(z)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..contract import signatures
from ..contract.operations import (
    check_activate,
    check_outs,
    implements,
    written,
)

__all__ = ["activate", "activation_function", "sigmoid"]

LEAKY_SLOPE = 0.01
GELU_SCALE = np.sqrt(2 / np.pi).item()
GELU_CUBIC = 0.044715

Pair = tuple[np.ndarray, np.ndarray]


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return ``s(z) = 1 / (1 + exp(-z))``."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-z))


def _identity(z: np.ndarray) -> Pair:
    """f = z, f' = 1."""
    return z.copy(), np.ones_like(z)


def _sigmoid(z: np.ndarray) -> Pair:
    """f = s(z), f' = f (1 - f)."""
    a = sigmoid(z)
    return a, a * (1 - a)


def _tanh(z: np.ndarray) -> Pair:
    """f = tanh z, f' = 1 - f^2."""
    a = np.tanh(z)
    return a, 1 - a * a


def _relu(z: np.ndarray) -> Pair:
    """f = max(z, 0), f' = 1 where z > 0, else 0."""
    return np.maximum(z, 0), (z > 0).astype(z.dtype)


def _leaky_relu(z: np.ndarray) -> Pair:
    """f = z where z > 0, else 0.01 z; f' = 1 or 0.01."""
    slope = np.where(z > 0, 1, LEAKY_SLOPE).astype(z.dtype)
    return slope * z, slope


def _elu(z: np.ndarray) -> Pair:
    """f = z where z > 0, else exp(z) - 1; f' = 1 or exp(z) (Clevert et al. 2016)."""
    low = np.minimum(z, 0)
    # mutant >=: at 0 both are 0
    return np.where(z > 0, z, np.expm1(low)), np.exp(low)


def _gelu(z: np.ndarray) -> Pair:
    """f = z s(u) with u = 2 sqrt(2/pi) (z + 0.044715 z^3) (Hendrycks and Gimpel 2016).

    Equal to their ``0.5 z (1 + tanh(u / 2))``; f' = s(u) + z s(u) (1 - s(u)) u'.
    """
    s = sigmoid(2 * GELU_SCALE * z * (1 + GELU_CUBIC * z * z))
    inner = 2 * GELU_SCALE * (1 + 3 * GELU_CUBIC * z * z)
    return z * s, s + z * s * (1 - s) * inner


def _silu(z: np.ndarray) -> Pair:
    """f = z s(z), f' = s + z s (1 - s)."""
    s = sigmoid(z)
    return z * s, s + z * s * (1 - s)


def _softplus(z: np.ndarray) -> Pair:
    """f = log(1 + exp(z)), f' = s(z)."""
    # mutant True: a copy more, of the same values
    return np.logaddexp(0, z).astype(z.dtype, copy=False), sigmoid(z)


_FUNCTIONS: dict[str, Callable[[np.ndarray], Pair]] = {
    "identity": _identity,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "gelu": _gelu,
    "silu": _silu,
    "softplus": _softplus,
}


def activation_function(name: str) -> Callable[[np.ndarray], Pair]:
    """Return ``z -> (f(z), f'(z))``."""
    return _FUNCTIONS[name]


@implements(signatures.activate)
def activate(
    z: np.ndarray, *, activation: str, out: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Apply the function of that name; they stand above, with their formulas."""
    z = check_activate(z, activation)
    outs = None if out is None else check_outs(out, (z.shape, z.shape), z.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        a, derivative = _FUNCTIONS[activation](z)
    if outs is None:
        return a, derivative
    return written(outs[0], a), written(outs[1], derivative)
