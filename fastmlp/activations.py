"""The names of the activations of hidden layers; their formulas stand in `fastmlp.reference`."""

from __future__ import annotations

__all__ = ["ACTIVATIONS", "ZERO_AT"]

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

# Where f(z) is 0, for those whose f(0) is not: the padding of a layer is put there.
ZERO_AT = {"sigmoid": -1e30, "softplus": -1e30}
