"""The network as nodes of ONNX, whoever collects them.

Only operators that runtimes have in float32 and float64 alike: of Elu, LeakyRelu and Softplus
onnxruntime has no float64, so they are put together from others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ..reference.activations import GELU_CUBIC, GELU_SCALE, LEAKY_SLOPE

__all__ = ["Nodes", "add_network"]


class Nodes(Protocol):
    """Whoever collects nodes."""

    dtype: np.dtype

    def add(self, operator: str, *inputs: str, result: str = "", **attributes: object) -> str:
        """Add a node and return the name of its output, which is `result` if given."""
        ...

    def constant(self, value: np.ndarray, name: str = "") -> str:
        """Add an array and return its name."""
        ...


def _number(nodes: Nodes, value: float) -> str:
    return nodes.constant(np.array(value, nodes.dtype))


def _leaky_relu(nodes: Nodes, z: str) -> str:
    return nodes.add("Max", z, nodes.add("Mul", z, _number(nodes, LEAKY_SLOPE)))


def _elu(nodes: Nodes, z: str) -> str:
    below = nodes.add("Exp", nodes.add("Min", z, _number(nodes, 0)))
    return nodes.add("Add", nodes.add("Relu", z), nodes.add("Sub", below, _number(nodes, 1)))


def _gelu(nodes: Nodes, z: str) -> str:
    square = nodes.add("Mul", nodes.add("Mul", z, z), _number(nodes, GELU_CUBIC))
    factor = nodes.add("Add", square, _number(nodes, 1))
    u = nodes.add("Mul", nodes.add("Mul", z, _number(nodes, 2 * GELU_SCALE)), factor)
    return nodes.add("Mul", z, nodes.add("Sigmoid", u))


def _silu(nodes: Nodes, z: str) -> str:
    # z Sigmoid(z) is what onnxruntime 1.18 fuses into an operator that it lacks in float64
    below = nodes.add("Add", nodes.add("Exp", nodes.add("Neg", z)), _number(nodes, 1))
    return nodes.add("Div", z, below)


def _softplus(nodes: Nodes, z: str) -> str:
    small = nodes.add("Exp", nodes.add("Neg", nodes.add("Abs", z)))
    rest = nodes.add("Log", nodes.add("Add", small, _number(nodes, 1)))
    return nodes.add("Add", nodes.add("Relu", z), rest)


_ACTIVATIONS: dict[str, Callable[[Nodes, str], str]] = {
    "identity": lambda nodes, z: z,
    "sigmoid": lambda nodes, z: nodes.add("Sigmoid", z),
    "tanh": lambda nodes, z: nodes.add("Tanh", z),
    "relu": lambda nodes, z: nodes.add("Relu", z),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "gelu": _gelu,
    "silu": _silu,
    "softplus": _softplus,
    "softmax": lambda nodes, z: nodes.add("Softmax", z, axis=1),
    "exp": lambda nodes, z: nodes.add("Exp", z),
}


def add_network(
    nodes: Nodes,
    x: str,
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    activations: Sequence[str],
) -> str:
    """Add the layers and return the name of the last one's activations.

    Parameters
    ----------
    nodes : Nodes
    x : str
        The input's name, (n, n_in) in the nodes' dtype.
    weights, biases : sequences of ndarray
        No biases, or one array per layer.
    activations : sequence of str
        One per layer, the output's last: those of hidden layers, softmax, or exp.

    Raises
    ------
    ValueError
        If one has no form in ONNX.
    """
    for name in activations:
        if name not in _ACTIVATIONS:
            raise ValueError(
                f"activation: expected one that has a form in ONNX, got {name!r}; exported are "
                f"{', '.join(sorted(_ACTIVATIONS))}"
            )
    for i, (W, name) in enumerate(zip(weights, activations, strict=True)):
        operands = [x, nodes.constant(W.astype(nodes.dtype), f"weights_{i}")]
        if biases:
            operands.append(nodes.constant(biases[i].astype(nodes.dtype), f"biases_{i}"))
        x = _ACTIVATIONS[name](nodes, nodes.add("Gemm", *operands))
    return x
