"""Networks out of models of scikit-learn, PyTorch and Keras, none of which is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..reference.activations import LEAKY_SLOPE
from .layers import Layer, network_of

__all__ = ["from_keras", "from_sklearn", "from_torch", "layers_of_state"]

_SKLEARN_OUTPUTS = {
    "softmax": "softmax", "logistic": "sigmoid", "identity": "identity", "exp": "identity",
}  # fmt: skip
_TORCH = {
    "Sigmoid": "sigmoid", "Tanh": "tanh", "ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu",
    "GELU": "gelu", "SiLU": "silu", "Softplus": "softplus", "Softmax": "softmax",
    "LogSoftmax": "softmax",
}  # fmt: skip
_TORCH_PARAMETERS: dict[str, dict[str, object]] = {  # those of fastmlp's activations
    "LeakyReLU": {"negative_slope": LEAKY_SLOPE},
    "ELU": {"alpha": 1.0},
    "GELU": {"approximate": "tanh"},
    "Softplus": {"beta": 1.0, "threshold": 20.0},
}
_KERAS = {
    "linear": "identity", "sigmoid": "sigmoid", "tanh": "tanh", "relu": "relu", "elu": "elu",
    "silu": "silu", "swish": "silu", "softplus": "softplus", "softmax": "softmax",
}  # fmt: skip
_NUMBERED = re.compile(r"(.*?)((?:(?:^|\.)\d{1,9})+)")  # "0", "2", "model.0.1"
_ANOTHER = (
    "expected a Sequential; a model of another kind comes in as {} with activation= naming the "
    "hidden layers' activations"
)


def _of(thing: Any, *packages: str) -> bool:
    return type(thing).__module__.split(".")[0] in packages


# scikit-learn


def from_sklearn(cls: Any, estimator: Any, **options: Any) -> Any:
    """Make the network of an estimator; see `Interchange.from_sklearn`."""
    names = {base.__name__ for base in type(estimator).__mro__}
    if not names & {"MLPClassifier", "MLPRegressor"}:
        raise TypeError(
            "estimator: expected a fitted MLPClassifier or MLPRegressor, got "
            f"{type(estimator).__name__}"
        )
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"estimator: expected a fitted one, got {estimator!r} before fit")
    coefs, intercepts = estimator.coefs_, estimator.intercepts_
    named = estimator.activation
    hidden = [named] * (len(coefs) - 1) if isinstance(named, str) else list(named)
    activations = [
        "sigmoid" if name == "logistic" else name
        for name in (*hidden, _SKLEARN_OUTPUTS[estimator.out_activation_])
    ]
    layers = [
        Layer(f"layer {i}", *parts)
        for i, parts in enumerate(zip(coefs, intercepts, activations, strict=True))
    ]
    regressor = "MLPRegressor" in names
    return network_of(
        cls, "estimator", layers, output=activations[-1],
        loss=estimator.loss if regressor else None, **options,
    )  # fmt: skip


# PyTorch


def _leaves(module: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the modules of nested Sequentials in their order, and again what occurs again."""
    if type(module).__name__ == "Sequential" and _of(module, "torch"):
        children: Mapping[str, Any] = vars(module)["_modules"]  # children() leaves repeats out
        for name, child in children.items():
            yield from _leaves(child, f"{place}.{name}" if place else name)
    else:
        yield place, module


def _check_module(place: str, module: Any) -> None:
    """Raise ValueError where a module computes something else than its namesake here."""
    for name, value in _TORCH_PARAMETERS.get(type(module).__name__, {}).items():
        if getattr(module, name) != value:
            raise ValueError(
                f"model: {place}: expected {name}={value!r}, which is fastmlp's, got "
                f"{getattr(module, name)!r}"
            )
    if getattr(module, "dim", 1) not in (1, -1, None):
        raise ValueError(f"model: {place}: expected dim=1, got {module.dim!r}")
    if module._forward_hooks or module._forward_pre_hooks:
        raise ValueError(f"model: {place}: expected no hooks, which may change what it returns")


def _layers_of_modules(model: Any) -> list[Layer]:
    layers: list[Layer] = []
    for place, module in _leaves(model):
        kind = type(module).__name__
        where = f"{place} ({kind})" if place else kind
        if not type(module).__module__.startswith("torch.nn.modules."):
            raise TypeError(f"model: {where}: " + _ANOTHER.format("its state_dict()"))
        _check_module(where, module)
        whole = (getattr(module, "start_dim", None), getattr(module, "end_dim", None)) == (1, -1)
        if kind in ("Dropout", "Identity") or (kind == "Flatten" and whole and not layers):
            continue
        if kind == "Linear":
            layers.append(Layer(where, module.weight.T, module.bias, "identity"))
        elif kind not in _TORCH:
            known = ", ".join(["Linear", *_TORCH, "Identity", "Dropout", "Flatten in front"])
            raise TypeError(f"model: {where}: expected one of {known}")
        elif not layers or layers[-1].activation != "identity":
            raise TypeError(f"model: {where}: expected an activation only after a Linear")
        else:
            layers[-1].activation = _TORCH[kind]
    return layers


def layers_of_state(argument: str, state: Mapping[str, Any]) -> list[Layer]:
    """Return the layers of a state dict, by number where it is a Sequential's."""
    found: dict[str, Layer] = {}
    for name in state:
        stem, _, kind = str(name).rpartition(".")
        if kind not in ("weight", "bias") or (kind == "bias" and f"{stem}.weight" not in state):
            raise ValueError(
                f"{argument}: expected names that end in .weight, or .bias beside one, got {name!r}"
            )
        if kind == "weight":
            value = state[name]
            if getattr(value, "ndim", 0) != 2:
                raise ValueError(
                    f"{argument}: {name}: expected the two dimensions of a Linear's weight, got "
                    f"{getattr(value, 'shape', value)!r}"
                )
            found[stem] = Layer(str(name), value.T, state.get(f"{stem}.bias"))
    numbered = [_NUMBERED.fullmatch(stem) for stem in found]
    matches = [match for match in numbered if match]
    if len(matches) == len(found) and len({match[1] for match in matches}) == 1:
        places = [[int(part) for part in match[2].split(".") if part] for match in matches]
        return [found[stem] for _, stem in sorted(zip(places, found, strict=True))]
    return list(found.values())


def from_torch(cls: Any, model: Any, **options: Any) -> Any:
    """Make the network of a model; see `Interchange.from_torch`."""
    if isinstance(model, Mapping):
        layers = layers_of_state("model", model)
    elif _of(model, "torch") or hasattr(model, "state_dict"):
        layers = _layers_of_modules(model)
    else:
        raise TypeError(
            "model: expected a torch.nn.Sequential, or a state dict, got " + type(model).__name__
        )
    return network_of(cls, "model", layers, **options)


# Keras


def _rescaling(place: str, config: Mapping[str, Any], options: dict[str, Any]) -> float:
    """Return the divisor that a Rescaling is."""
    scale = config["scale"]
    if config["offset"] != 0 or not isinstance(scale, int | float) or not scale > 0:
        raise ValueError(f"model: {place}: expected one scale above 0 and no offset")
    if options.get("input_scale") is not None:
        raise ValueError(f"input_scale: expected None, since the model has its own ({place})")
    return 1 / float(scale)


def _keras_activation(place: str, config: Mapping[str, Any]) -> str:
    name = config["activation"]
    if not isinstance(name, str) or name not in _KERAS:
        raise ValueError(f"model: {place}: expected one of {', '.join(_KERAS)}, got {name!r}")
    return _KERAS[name]


def _layers_of_keras(model: Any, options: dict[str, Any]) -> list[Layer]:
    layers: list[Layer] = []
    for layer in model.layers:
        kind, config = type(layer).__name__, layer.get_config()
        place = f"{layer.name} ({kind})"
        ours = _of(layer, "keras", "tf_keras")
        in_order = config.get("data_format") != "channels_first"  # Flatten would reorder those
        front = kind in ("InputLayer", "Flatten") and not layers and in_order
        if ours and (kind == "Dropout" or front):
            continue
        if ours and kind == "Rescaling" and not layers:
            options["input_scale"] = _rescaling(place, config, options)
        elif ours and kind == "Dense":
            arrays = layer.get_weights()
            if len(arrays) != 1 + bool(config["use_bias"]):
                raise ValueError(f"model: {place}: expected a layer that is built")
            layers.append(Layer(place, *arrays))
            layers[-1].activation = _keras_activation(place, config)
        elif ours and kind == "Activation" and layers and layers[-1].activation == "identity":
            layers[-1].activation = _keras_activation(place, config)
        else:
            raise TypeError(
                f"model: {place}: expected Dense, an Activation after one without, Dropout, or in "
                "front InputLayer, Flatten, Rescaling"
            )
    return layers


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


def from_keras(cls: Any, model: Any, **options: Any) -> Any:
    """Make the network of a model; see `Interchange.from_keras`."""
    if _of(model, "keras", "tf_keras"):
        if type(model).__name__ != "Sequential":
            raise TypeError(f"model: {type(model).__name__}: {_ANOTHER.format('get_weights()')}")
        layers = _layers_of_keras(model, options)
    elif isinstance(model, Sequence) and not isinstance(model, str | bytes):
        layers = _layers_of_arrays(model)
    else:
        raise TypeError(
            "model: expected a keras.Sequential, or the arrays of its get_weights(), got "
            + type(model).__name__
        )
    return network_of(cls, "model", layers, **options)
