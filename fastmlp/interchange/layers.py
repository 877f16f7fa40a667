"""A network made of another library's layers, however they came."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..architecture import Architecture
from ..initializers import Zeros
from ..support.validation import check_choice, check_finite

if TYPE_CHECKING:
    from ..network import MLP

__all__ = [
    "Layer",
    "NetworkOptions",
    "another",
    "check_hooks",
    "made_by",
    "make_network",
    "network_of",
]

_OUTPUTS = ("softmax", "sigmoid", "identity")


@dataclass
class Layer:
    """One layer of another library's model.

    Attributes
    ----------
    place : str
        What errors call it.
    weights : array, (n_in, n_out)
    biases : array, (n_out,), or None
    activation : str or None
        What follows it, one of fastmlp's or softmax; None where the model has not said yet.
    """

    place: str
    weights: Any
    biases: Any = None
    activation: str | None = None


@dataclass(frozen=True)
class NetworkOptions:
    """What is said of a network beside the layers it is made of; see `MLP.from_torch`."""

    activation: Any = None
    output: str | None = None
    loss: str | None = None
    input_scale: float | None = None
    dtype: Any = None
    rng: Any = None
    backend: str = "numba"
    threads: int | None = None


def made_by(thing: Any, *packages: str) -> bool:
    """Tell whether an object's class comes from one of these packages, without importing them."""
    return type(thing).__module__.split(".")[0] in packages


def check_hooks(place: str, module: Any) -> None:
    """Raise ValueError where hooks may change what a module of PyTorch returns."""
    base: Any = sys.modules.get("torch.nn.modules.module")
    kinds = ("forward_hooks", "forward_pre_hooks")
    if any(getattr(module, f"_{kind}", None) for kind in kinds):
        raise ValueError(f"model: {place}: expected no hooks, which may change what it returns")
    if any(getattr(base, f"_global_{kind}", None) for kind in kinds):
        raise ValueError("model: expected no global hooks, which may change what modules return")


def another(arrays: str) -> str:
    """Return how a model that is no Sequential comes in, for errors."""
    return (
        f"expected a Sequential; a model of another kind comes in as {arrays} with activation= "
        "naming the hidden layers' activations"
    )


def _array(place: str, value: Any, ndim: int) -> np.ndarray:
    """Return an array of finite floats, of which a tensor of PyTorch may be the source."""
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = value.float() if str(value.dtype) == "torch.bfloat16" else value
            value = value.numpy()
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{place}: expected an array of floats ({error})") from None
    if array.dtype.kind != "f":
        raise TypeError(f"{place}: expected an array of floats, got dtype {array.dtype}")
    if array.ndim != ndim or 0 in array.shape:
        raise ValueError(f"{place}: expected {ndim} dimensions, got shape {array.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        if array.dtype.itemsize > 8:
            array = array.astype(np.float64)
        check_finite(place, array.reshape(len(array), -1))
    return array


def _checked(argument: str, layers: Sequence[Layer]) -> list[Layer]:
    """Return layers of arrays that fit to each other."""
    if not layers:
        raise ValueError(f"{argument}: expected at least one layer with weights, got none")
    checked: list[Layer] = []
    for layer in layers:
        place = f"{argument}: {layer.place}"
        W = _array(place, layer.weights, 2)
        b = None if layer.biases is None else _array(f"{place}: bias", layer.biases, 1)
        if b is not None and len(b) != W.shape[1]:
            raise ValueError(f"{place}: expected {W.shape[1]} biases, got {len(b)}")
        if checked and W.shape[0] != checked[-1].weights.shape[1]:
            raise ValueError(
                f"{place}: expected {checked[-1].weights.shape[1]} inputs, as many as the layer "
                f"before has outputs, got {W.shape[0]}"
            )
        checked.append(Layer(layer.place, W, b, layer.activation))
    return checked


def _hidden(argument: str, layers: Sequence[Layer], activation: Any) -> Any:
    """Return the activations of the hidden layers."""
    if any(layer.activation is None for layer in layers):  # arrays, which say nothing of it
        if activation is None and len(layers) > 1:
            raise ValueError(
                "activation: expected the names of the hidden layers' activations, which arrays do "
                "not hold, got None"
            )
        return "sigmoid" if activation is None else activation
    if activation is not None:
        raise ValueError(
            f"activation: expected None, since {argument} names its own, got {activation!r}"
        )
    for layer in layers[:-1]:
        if layer.activation == "softmax":
            raise TypeError(
                f"{argument}: {layer.place}: expected another activation, softmax ends a model"
            )
    return [layer.activation for layer in layers[:-1]]


def _output(argument: str, last: Layer, output: str | None) -> str:
    named = last.activation
    if output is not None:
        check_choice("output", output, _OUTPUTS)
    if named is None and output is None:
        raise ValueError(
            f"output: expected softmax, sigmoid or identity, since arrays as {argument} do not say "
            "what becomes of the last layer's, got None"
        )
    if named in (None, "identity"):
        return output or "identity"
    if named not in _OUTPUTS:
        raise TypeError(
            f"{argument}: {last.place}: expected softmax, sigmoid or no activation at the end, "
            f"got {named}"
        )
    if output not in (None, named):
        raise ValueError(f"output: expected {named}, with which {argument} ends, got {output!r}")
    return str(named)


def make_network(
    cls: type[MLP],
    architecture: Architecture,
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    *,
    rng: Any,
    backend: str,
    threads: int | None,
) -> MLP:
    """Return a network of `cls` with these parameters, which fit the architecture."""
    net = cls(
        **architecture.config(), init=Zeros(), rng=rng, backend=backend, threads=threads,
    )  # fmt: skip
    net._parameters.assign(weights, biases)
    return net


def network_of(
    cls: type[MLP], argument: str, layers: Sequence[Layer], options: NetworkOptions
) -> MLP:
    """Return a network of `cls` that computes what these layers do.

    Raises
    ------
    TypeError, ValueError
        Where a layer, named with its place in `argument`, is none that fits.
    """
    layers = _checked(argument, layers)
    arrays = [layer.weights for layer in layers]
    dtype = options.dtype
    if dtype is None:
        dtype = "float64" if np.result_type(*arrays).itemsize > 4 else "float32"
    biased = [layer.biases is not None for layer in layers]
    architecture = Architecture(
        [int(layers[0].weights.shape[0]), *(int(W.shape[1]) for W in arrays)],
        activation=_hidden(argument, layers, options.activation),
        output=_output(argument, layers[-1], options.output), loss=options.loss, bias=any(biased),
        input_scale=options.input_scale, dtype=dtype,
    )  # fmt: skip
    biases = [
        np.zeros(layer.weights.shape[1]) if layer.biases is None else layer.biases
        for layer in layers
    ]
    return make_network(
        cls, architecture, arrays, biases if any(biased) else [], rng=options.rng,
        backend=options.backend, threads=options.threads,
    )  # fmt: skip
