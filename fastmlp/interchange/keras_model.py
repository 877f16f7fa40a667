"""Networks out of models of Keras, which is not imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .layers import Layer, NetworkOptions, another, check_hooks, made_by, network_of

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["from_keras"]

_PACKAGES = ("keras", "tf_keras")
_ACTIVATIONS = {
    "linear": "identity", "sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu", "elu": "elu",
    "silu": "silu", "swish": "silu", "softplus": "softplus", "softmax": "softmax",
}  # fmt: skip


def _rescaling(place: str, config: Mapping[str, Any], input_scale: float | None) -> float:
    """Return the divisor that a Rescaling is."""
    scale = config["scale"]
    if config["offset"] != 0 or not isinstance(scale, int | float) or not scale > 0:
        raise ValueError(f"model: {place}: expected one scale above 0 and no offset")
    if input_scale is not None:
        raise ValueError(f"input_scale: expected None, since the model has its own ({place})")
    return 1 / float(scale)


def _keras_activation(place: str, layer: Any, config: Mapping[str, Any]) -> str:
    name, function = config["activation"], layer.activation
    own = getattr(function, "__module__", "").split(".")[0] not in _PACKAGES  # of any name
    if own or not isinstance(name, str) or name not in _ACTIVATIONS:
        if own:
            name = getattr(function, "__qualname__", function)
        raise ValueError(f"model: {place}: expected one of {', '.join(_ACTIVATIONS)}, got {name!r}")
    return _ACTIVATIONS[name]


def _check_call(place: str, layer: Any) -> None:
    """Raise where a layer or model may compute something else than its kind says."""
    call = getattr(type(layer), "call", None)
    if "call" in vars(layer) or getattr(call, "__module__", "").split(".")[0] not in _PACKAGES:
        raise ValueError(f"model: {place}: expected Keras' own call, got one that was replaced")
    check_hooks(place, layer)
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        raise ValueError(f"model: {place}: expected plain weights, got quantized ones or LoRA")


def _check_rank(model: Any) -> None:
    """Raise where Dense goes over the last axis of several, as it does of sequences."""
    shape = getattr(model, "input_shape", None)
    front = [type(layer).__name__ for layer in model.layers]
    front = front[: front.index("Dense")] if "Dense" in front else front
    if isinstance(shape, tuple) and len(shape) != 2 and "Flatten" not in front:
        raise ValueError(
            f"model: expected samples of one dimension, or Flatten in front, got {shape[1:]}"
        )


def _output_told(model: Any) -> str | None:
    """Return what becomes of logits, which the compiled loss says: from_logits is its word."""
    loss: Any = getattr(model, "loss", None) if getattr(model, "compiled", False) else None
    if isinstance(loss, list | tuple) and len(loss) == 1:
        loss = loss[0]
    config = loss.get_config() if hasattr(loss, "get_config") and made_by(loss, *_PACKAGES) else {}
    if not config.get("from_logits"):
        return None
    return {
        "SparseCategoricalCrossentropy": "softmax", "CategoricalCrossentropy": "softmax",
        "BinaryCrossentropy": "sigmoid",
    }.get(type(loss).__name__)  # fmt: skip


def _layers_of_keras(model: Any, input_scale: float | None) -> tuple[list[Layer], float | None]:
    """Return the layers, and the divisor of X."""
    layers: list[Layer] = []
    _check_call(type(model).__name__, model)
    _check_rank(model)
    for layer in model.layers:
        kind, config = type(layer).__name__, layer.get_config()
        place = f"{layer.name} ({kind})"
        ours = made_by(layer, *_PACKAGES)
        if ours:
            _check_call(place, layer)
        in_order = config.get("data_format") != "channels_first"  # Flatten would reorder those
        front = kind in ("InputLayer", "Flatten") and not layers and in_order
        if ours and (kind == "Dropout" or front):
            continue
        if ours and kind == "Rescaling" and not layers:
            input_scale = _rescaling(place, config, input_scale)
        elif ours and kind == "Dense":
            arrays = layer.get_weights()
            if len(arrays) != 1 + bool(config["use_bias"]):
                raise ValueError(f"model: {place}: expected a layer that is built")
            layers.append(Layer(place, *arrays))
            layers[-1].activation = _keras_activation(place, layer, config)
        elif ours and kind == "Activation" and layers and layers[-1].activation == "identity":
            layers[-1].activation = _keras_activation(place, layer, config)
        else:
            raise TypeError(
                f"model: {place}: expected Dense, an Activation after one without, Dropout, or in "
                "front InputLayer, Flatten, Rescaling"
            )
    return layers, input_scale


def _layers_of_arrays(arrays: Sequence[Any]) -> list[Layer]:
    layers: list[Layer] = []
    for i, array in enumerate(arrays):
        ndim = getattr(array, "ndim", None)
        if ndim == 2:
            layers.append(Layer(f"array {i}", array))
        elif ndim == 1 and layers and layers[-1].biases is None:
            layers[-1].biases = array
        else:
            raise ValueError(
                f"model: array {i}: expected a kernel of two dimensions or, after it, its bias of "
                f"one, got {f'shape {array.shape}' if ndim is not None else repr(array)}"
            )
    return layers


def from_keras(
    cls: type[MLP],
    model: Any,
    *,
    activation: str | Sequence[str] | None = None,
    output: str | None = None,
    loss: str | None = None,
    input_scale: float | None = None,
    dtype: Any = None,
    rng: Any = None,
    backend: str = "numba",
    threads: int | None = None,
) -> MLP:
    """Make the network of a Keras model: a Sequential, or the arrays of ``get_weights()``.

    A Sequential may hold Dense, Activation, Dropout (which predictions leave out; here it is
    an argument of `fit`), and in front InputLayer, Flatten and Rescaling, which becomes
    ``input_scale``. A linear output stays linear, unless `output` says otherwise or the model was
    compiled with a cross-entropy ``from_logits=True``: then it is softmax or sigmoid.
    Keras' own gelu and leaky_relu are other functions than fastmlp's.

    Parameters
    ----------
    model : keras.Sequential, or sequence of arrays
        Of each layer a kernel (n_in, n_out), then its bias (n_out,) if it has one.
    activation : str or sequence of str
        Of the hidden layers, where `model` is arrays, by fastmlp's names; else None.
    output, loss, input_scale, dtype, rng, backend, threads
        As for `from_torch`.

    Returns
    -------
    MLP
        With the model's parameters, copied.

    Raises
    ------
    TypeError
        If the model holds another layer, named with its place.
    ValueError
        If a layer has an activation that fastmlp lacks, layers do not fit to each other, a
        parameter is not finite, or an argument is out of range.

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> arrays = [np.eye(3), np.zeros(3), np.ones((3, 1)), np.zeros(1)]
    >>> net = fastmlp.MLP.from_keras(arrays, activation="relu", output="identity",
    ...                              backend="numpy")
    >>> net.predict(np.array([[1.0, 2.0, -3.0]])).tolist()
    [[3.0]]
    """
    if made_by(model, *_PACKAGES):
        if type(model).__name__ != "Sequential":
            raise TypeError(f"model: {type(model).__name__}: {another('get_weights()')}")
        layers, input_scale = _layers_of_keras(model, input_scale)
        if output is None and layers and layers[-1].activation == "identity":
            output = _output_told(model)
    elif isinstance(model, Sequence) and not isinstance(model, str | bytes):
        layers = _layers_of_arrays(model)
    else:
        raise TypeError(
            "model: expected a keras.Sequential, or the arrays of its get_weights(), got "
            + type(model).__name__
        )
    options = NetworkOptions(
        activation=activation, output=output, loss=loss, input_scale=input_scale, dtype=dtype,
        rng=rng, backend=backend, threads=threads,
    )  # fmt: skip
    return network_of(cls, "model", layers, options)
