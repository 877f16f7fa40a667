"""Networks out of models of PyTorch, which is not imported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..reference.activations import LEAKY_SLOPE
from .layers import Layer, NetworkOptions, another, check_hooks, made_by, network_of

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["from_torch", "layers_of_state"]

_ACTIVATIONS = {
    "Sigmoid": "sigmoid", "Tanh": "tanh", "ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu",
    "GELU": "gelu", "SiLU": "silu", "Softplus": "softplus", "Softmax": "softmax",
    "LogSoftmax": "softmax",
}  # fmt: skip
_PARAMETERS: dict[str, dict[str, object]] = {  # those of fastmlp's activations
    "LeakyReLU": {"negative_slope": LEAKY_SLOPE},
    "ELU": {"alpha": 1.0},
    "GELU": {"approximate": "tanh"},
    "Softplus": {"beta": 1.0, "threshold": 20.0},
}
_NUMBERED = re.compile(r"(.*?)((?:(?:^|\.)\d{1,9})+)")  # "0", "2", "model.0.1"


def _leaves(module: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the modules of nested Sequentials in their order, and again what occurs again."""
    if type(module).__name__ == "Sequential" and made_by(module, "torch"):
        _check_forward(f"{place} (Sequential)" if place else "Sequential", module)
        children: Mapping[str, Any] = vars(module)["_modules"]  # children() leaves repeats out
        for name, child in children.items():
            yield from _leaves(child, f"{place}.{name}" if place else name)
    else:
        yield place, module


def _check_forward(place: str, module: Any) -> None:
    """Raise ValueError where a module may return something else than its class does."""
    own = getattr(type(module).forward, "__module__", None) or ""
    if "forward" in vars(module) or not own.startswith("torch.nn.modules."):
        raise ValueError(f"model: {place}: expected PyTorch's own forward, got one of its own")
    check_hooks(place, module)


def _check_module(place: str, module: Any) -> None:
    """Raise ValueError where a module computes something else than its namesake here."""
    for name, value in _PARAMETERS.get(type(module).__name__, {}).items():
        if getattr(module, name) != value:
            raise ValueError(
                f"model: {place}: expected {name}={value!r}, which is fastmlp's, got "
                f"{getattr(module, name)!r}"
            )
    if getattr(module, "dim", 1) not in (1, -1, None):
        raise ValueError(f"model: {place}: expected dim=1, got {module.dim!r}")
    if type(module).__name__ == "Dropout" and module.training and module.p:
        raise ValueError(
            f"model: {place}: expected a model whose predictions leave nothing out, as after "
            "model.eval(), got one in training mode"
        )
    _check_forward(place, module)


def _layers_of_modules(model: Any) -> list[Layer]:
    layers: list[Layer] = []
    seen: dict[int, str] = {}
    for place, module in _leaves(model):
        kind = type(module).__name__
        where = f"{place} ({kind})" if place else kind
        if not type(module).__module__.startswith("torch.nn.modules."):
            raise TypeError(f"model: {where}: " + another("its state_dict()"))
        _check_module(where, module)
        whole = (getattr(module, "start_dim", None), getattr(module, "end_dim", None)) == (1, -1)
        if kind in ("Dropout", "Identity") or (kind == "Flatten" and whole and not layers):
            continue
        if kind == "Linear":
            for name in ("weight", "bias"):
                other = seen.setdefault(id(getattr(module, name)), where)
                if getattr(module, name) is not None and other != where:
                    raise ValueError(
                        f"model: {where}: expected a {name} of its own, got that of {other}, from "
                        "which it would part in training"
                    )
            layers.append(Layer(where, module.weight.T, module.bias, "identity"))
        elif kind not in _ACTIVATIONS:
            known = ", ".join(["Linear", *_ACTIVATIONS, "Identity", "Dropout", "Flatten in front"])
            raise TypeError(f"model: {where}: expected one of {known}")
        elif not layers or layers[-1].activation != "identity":
            raise TypeError(f"model: {where}: expected an activation only after a Linear")
        else:
            layers[-1].activation = _ACTIVATIONS[kind]
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


def from_torch(
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
    """Make the network of a PyTorch model: a Sequential, or the state dict of a perceptron.

    A Sequential, nested or not, may hold Linear, Sigmoid, Tanh, ReLU, LeakyReLU, ELU, SiLU,
    Softplus, GELU (``approximate="tanh"``), each with the default parameters, Identity and
    Dropout (which predictions leave out after ``model.eval()``; here it is an argument of
    `fit`), Flatten in front, and at the end Sigmoid, Softmax or LogSoftmax. A layer without
    biases among layers with them gets zeros.

    Parameters
    ----------
    model : torch.nn.Sequential, or mapping of str to tensor or array
        A state dict's names end in ``.weight`` (n_out, n_in) and ``.bias``; layers come in
        the mapping's order or, where names are the numbers of a Sequential, in theirs.
    activation : str or sequence of str
        Of a state dict's hidden layers, which it does not name; for a Sequential None.
    output : {"softmax", "sigmoid", "identity"}, optional
        What becomes of the last layer's outputs. By default what the model says: a linear
        output stays linear. A state dict does not say, so there it is asked for.
    loss : str, optional
        As for `MLP`.
    input_scale : float, optional
        A divisor of X, if the model takes X divided by it.
    dtype : {"float32", "float64"}, optional
        By default the model's; of shorter types float32.
    rng, backend, threads
        As for `MLP`.

    Returns
    -------
    MLP
        With the model's parameters, copied.

    Raises
    ------
    TypeError
        If the model holds another module, named with its place.
    ValueError
        If a module has other parameters than fastmlp's activations, shares its weights, has
        hooks or a patched ``forward``, drops out in training mode, layers do not fit to
        each other, a parameter is not finite, or an argument is out of range.

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> state = {"0.weight": np.eye(3), "0.bias": np.zeros(3), "2.weight": np.ones((2, 3)),
    ...          "2.bias": np.zeros(2)}
    >>> net = fastmlp.MLP.from_torch(state, activation="relu", output="identity",
    ...                              backend="numpy")
    >>> net.predict(np.array([[1.0, 2.0, -3.0]])).tolist()
    [[3.0, 3.0]]
    """
    if isinstance(model, Mapping):
        layers = layers_of_state("model", model)
    elif made_by(model, "torch") or hasattr(model, "state_dict"):
        layers = _layers_of_modules(model)
    else:
        raise TypeError(
            "model: expected a torch.nn.Sequential, or a state dict, got " + type(model).__name__
        )
    options = NetworkOptions(
        activation=activation, output=output, loss=loss, input_scale=input_scale, dtype=dtype,
        rng=rng, backend=backend, threads=threads,
    )  # fmt: skip
    return network_of(cls, "model", layers, options)
