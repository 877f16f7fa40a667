"""What a network is, apart from its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from .activations import ACTIVATIONS
from .losses import DEFAULT_LOSS, OUTPUTS
from .support.validation import check_bool, check_choice, check_integer, check_number

__all__ = ["PRECISIONS", "Architecture", "check_precision"]

_MOST_WEIGHTS = 1 << 48  # of a layer: what processors can address
PRECISIONS = ("highest", "high", "medium")


@dataclass(frozen=True, init=False)
class Architecture:
    """Sizes, activations, output and loss of a network: what both backends work from.

    Parameters
    ----------
    layer_sizes : sequence of int
        Inputs, hidden layers, outputs; at least two, each at least 1.
    activation : str or sequence of str, default "sigmoid"
        The hidden layers' activation, one name or one per hidden layer.
    output : {"softmax", "sigmoid", "identity"}, default "softmax"
        What the last layer's logits become.
    loss : str, optional
        A loss that goes with the output; by default the output's own.
    bias : bool, default True
        Whether layers have biases.
    input_scale : float, optional
        A divisor of the input, greater than 0.
    dtype : {"float32", "float64"}, default "float32"
        The type of parameters and arithmetic.
    precision : {"highest", "high", "medium"}, default "highest"
        How products of wide layers are computed in steps of training; see `MLP`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of that kind; nothing is coerced but integers and floats.

    Examples
    --------
    >>> from fastmlp.architecture import Architecture
    >>> Architecture((784, 128, 10), activation="relu").activations
    ('relu',)
    """

    layer_sizes: tuple[int, ...]
    activations: tuple[str, ...]
    output: str
    loss: str
    bias: bool
    input_scale: float | None
    dtype: str
    precision: str

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: str | Sequence[str] = "sigmoid",
        output: str = "softmax",
        loss: str | None = None,
        bias: bool = True,
        input_scale: float | None = None,
        dtype: Any = "float32",
        precision: str = "highest",
    ) -> None:
        sizes = _check_sizes(layer_sizes)
        check_choice("output", output, tuple(OUTPUTS))
        if loss is None:
            loss = DEFAULT_LOSS[output]
        check_choice(f"loss with output {output!r}", loss, OUTPUTS[output])
        check_bool("bias", bias)
        if input_scale is not None:
            input_scale = check_number("input_scale", input_scale, above=0.0)
        fields = {
            "layer_sizes": sizes,
            "activations": _check_activations(activation, len(sizes) - 2),
            "output": output,
            "loss": loss,
            "bias": bool(bias),
            "input_scale": input_scale,
            "dtype": _check_dtype(dtype),
        }
        fields["precision"] = check_precision(precision, str(fields["dtype"]))
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def n_layers(self) -> int:
        """How many layers have weights."""
        return len(self.layer_sizes) - 1

    @property
    def n_in(self) -> int:
        """Features of a sample."""
        return self.layer_sizes[0]

    @property
    def n_out(self) -> int:
        """Outputs of the network."""
        return self.layer_sizes[-1]

    @property
    def n_classes(self) -> int:
        """How many names classes, labels or outputs have: two for one sigmoid output."""
        return self.n_out + (self.n_out == 1 and self.output == "sigmoid")

    @property
    def layers(self) -> list[tuple[int, int]]:
        """The (n_in, n_out) of every layer of weights."""
        return list(zip(self.layer_sizes[:-1], self.layer_sizes[1:], strict=True))

    @property
    def n_parameters(self) -> int:
        """How many weights and biases there are."""
        return sum(n_in * n_out + self.bias * n_out for n_in, n_out in self.layers)

    def described(self) -> str:
        """Return the arguments as one would type them; a precision where it is not the highest."""
        names = f"activation={self.activations}, output={self.output!r}, loss={self.loss!r}"
        precision = "" if self.precision == "highest" else f", precision={self.precision!r}"
        return f"{self.layer_sizes}, {names}, dtype={self.dtype!r}{precision}"

    def config(self) -> dict[str, Any]:
        """Return the arguments that make this architecture again, as they are saved."""
        config = asdict(self)
        config["activation"] = config.pop("activations")
        if self.precision == "highest":  # older versions know no other, and read these files
            del config["precision"]
        return config


def _check_sizes(layer_sizes: Any) -> tuple[int, ...]:
    listed = isinstance(layer_sizes, Sequence) or np.ndim(layer_sizes) == 1
    if isinstance(layer_sizes, str) or not listed:
        raise TypeError(f"layer_sizes: expected a sequence of integers, got {layer_sizes!r}")
    sizes = tuple(check_integer("layer_sizes", size, low=1) for size in layer_sizes)
    if len(sizes) < 2:
        raise ValueError(f"layer_sizes: expected at least inputs and outputs, got {layer_sizes!r}")
    if any(a * b > _MOST_WEIGHTS for a, b in pairwise(sizes)):
        raise ValueError(f"layer_sizes: expected at most 2^48 weights a layer, got {layer_sizes!r}")
    return sizes


def _check_activations(activation: Any, n_hidden: int) -> tuple[str, ...]:
    if isinstance(activation, str):
        return (check_choice("activation", activation, ACTIVATIONS),) * n_hidden
    if not isinstance(activation, Sequence):
        raise TypeError(f"activation: expected a name or a sequence of names, got {activation!r}")
    names = tuple(check_choice("activation", name, ACTIVATIONS) for name in activation)
    if len(names) != n_hidden:
        raise ValueError(
            f"activation: expected one name, or {n_hidden} for the hidden layers, got {len(names)}"
        )
    return names


def check_precision(precision: Any, dtype: str) -> str:
    """Return a precision that a dtype can have: all of float32, the highest of float64."""
    check_choice("precision", precision, PRECISIONS)
    if precision != "highest" and dtype == "float64":
        raise ValueError(
            f"precision: expected highest with dtype float64, got {precision!r}; dtype float32 "
            "has lower ones"
        )
    return str(precision)


def _check_dtype(dtype: Any) -> str:
    try:
        name = "None" if dtype is None else np.dtype(dtype).name  # NumPy takes None for float64
    except TypeError:
        name = repr(dtype)
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype: expected float32 or float64, got {dtype!r}")
    return name
