"""The names of the activations of hidden layers; their formulas stand in `fastmlp.reference`."""

from __future__ import annotations

__all__ = ["ACTIVATIONS"]

ACTIVATIONS = (
    "identity",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "softplus",
)
