"""The activations of hidden layers on vectors: what `fastmlp.reference.activations` is in NumPy.

An entry of the table is all that the kernels know of an activation: from it come the cases of
every kernel that applies one, forward or backward, and their codes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from ...activations import ACTIVATIONS as NAMES
from .vector_math import Vec

__all__ = ["ACTIVATIONS", "SLOPES", "SLOPE_CODES", "derivative", "evaluate"]

LEAKY_SLOPE = 0.01
GELU_SCALE = 0.7978845608028654  # sqrt(2 / pi)
GELU_CUBIC = 0.044715


class Activation(NamedTuple):
    """f on vectors.

    With `derivative`, `function` returns a = f(z), and `derivative` f' from a. Without it
    `function` returns f(z) and f'(z), and the forward pass keeps both.
    """

    function: Callable[[Vec, Any], Any]
    derivative: Callable[[Vec, Any], Any] | None = None


def _leaky_relu(v: Vec, z: Any) -> Any:
    negative = v.b.fcmp_ordered("<", z, v.c(0.0))
    return v.b.select(negative, v.b.fmul(z, v.c(LEAKY_SLOPE)), z)


def _step(v: Vec, a: Any, below: float) -> Any:
    return v.b.select(v.greater(a, v.c(0.0)), v.c(1.0), v.c(below))


def _elu(v: Vec, z: Any) -> tuple[Any, Any]:
    below = v.b.fcmp_ordered("<=", z, v.c(0.0))
    return v.b.select(below, v.expm1(z), z), v.b.select(below, v.exp(z), v.c(1.0))


def _silu(v: Vec, z: Any) -> tuple[Any, Any]:
    b = v.b
    s = v.sigmoid(z)
    slope = v.fma(b.fmul(z, s), b.fsub(v.c(1.0), s), s)
    return b.fmul(z, s), slope


def _gelu(v: Vec, z: Any) -> tuple[Any, Any]:
    b = v.b
    square = b.fmul(z, z)
    cubic = v.fma(square, v.c(GELU_CUBIC), v.c(1.0))
    u = b.fmul(b.fmul(z, v.c(2 * GELU_SCALE)), cubic)
    s = v.sigmoid(u)
    inner = v.fma(square, v.c(6 * GELU_SCALE * GELU_CUBIC), v.c(2 * GELU_SCALE))
    slope = v.fma(b.fmul(b.fmul(z, s), b.fsub(v.c(1.0), s)), inner, s)
    return b.fmul(z, s), slope


def _softplus(v: Vec, z: Any) -> tuple[Any, Any]:
    value = v.b.fadd(v.max(z, v.c(0.0)), v.log1p_exp_negative(z))
    return value, v.sigmoid(z)


_TABLE = {
    "identity": Activation(lambda v, z: z, lambda v, a: v.c(1.0)),
    "sigmoid": Activation(Vec.sigmoid, lambda v, a: v.b.fmul(a, v.b.fsub(v.c(1.0), a))),
    "tanh": Activation(Vec.tanh, lambda v, a: v.b.fsub(v.c(1.0), v.b.fmul(a, a))),
    "relu": Activation(lambda v, z: v.max(z, v.c(0.0)), partial(_step, below=0.0)),
    "leaky_relu": Activation(_leaky_relu, partial(_step, below=LEAKY_SLOPE)),
    "elu": Activation(_elu),
    "gelu": Activation(_gelu),
    "silu": Activation(_silu),
    "softplus": Activation(_softplus),
}

# The codes that programs pass; SLOPES activations have f'(z) kept beside f(z).
ACTIVATIONS = {name: code for code, name in enumerate(NAMES)}
SLOPES = frozenset(name for name in NAMES if _TABLE[name].derivative is None)
SLOPE_CODES = frozenset(ACTIVATIONS[name] for name in SLOPES)


def evaluate(v: Vec, name: str, z: Any) -> tuple[Any, Any]:
    """Return f(z), and f'(z) of the SLOPES activations or None."""
    result = _TABLE[name].function(v, z)
    return result if name in SLOPES else (result, None)


def derivative(v: Vec, name: str, kept: Any) -> Any:
    """Return f' from what the forward pass kept: the value, or for SLOPES f' itself."""
    rule = _TABLE[name].derivative
    return kept if rule is None else rule(v, kept)
