"""A network as an ONNX model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..support.atomic import replacing
from ..support.extras import require
from ..support.validation import as_list
from .graph import add_network

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["to_onnx"]

OPSET, IR_VERSION = 13, 7  # of 2020: all that the operators need, and old runtimes read it
MOST_BYTES = 2**31 - 2**20  # protobuf's limit, and room for the graph
_INPUT_TYPES = {np.dtype(code) for code in ("e", "f", "d", *"bhilq", *"BHILQ", "?")}


class _Graph:
    """The nodes and arrays of a model of its own."""

    def __init__(self, onnx: Any, dtype: np.dtype) -> None:
        self.onnx, self.dtype = onnx, dtype
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []

    def add(self, operator: str, *inputs: str, result: str = "", **attributes: object) -> str:
        name = result or f"{operator.lower()}_{len(self.nodes)}"
        node = self.onnx.helper.make_node(operator, inputs, [name], name=name, **attributes)
        self.nodes.append(node)
        return name

    def constant(self, value: np.ndarray, name: str = "") -> str:
        name = name or f"constant_{len(self.arrays)}"
        self.arrays.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def _check_input_dtype(dtype: Any) -> np.dtype:
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"input_dtype: expected a dtype of real numbers, got {dtype!r}") from None
    if found not in _INPUT_TYPES:
        raise ValueError(f"input_dtype: expected a dtype of real numbers, got {dtype!r}")
    return found


def _check_class_names(names: Any, output: str, n_out: int) -> list[str] | list[int]:
    if output == "identity" or (output == "sigmoid" and n_out > 1):
        raise ValueError(
            f"class_names: expected None for {output} outputs, {n_out} of them, since they are no "
            f"exclusive classes; got {names!r}"
        )
    listed = as_list("class_names", names, "names")
    plain = [name.item() if isinstance(name, np.generic) else name for name in listed]
    if not any(all(type(name) is kind for name in plain) for kind in (str, int)):
        raise TypeError(f"class_names: expected strings only, or integers, got {names!r}")
    n_classes = 2 if output == "sigmoid" else n_out
    if len(plain) != n_classes:
        raise ValueError(f"class_names: expected {n_classes} names, got {len(plain)}")
    if type(plain[0]) is int and not all(-(2**63) <= name < 2**63 for name in plain):
        raise ValueError(f"class_names: expected integers of 64 bits, got {names!r}")
    return plain


def _add_label(graph: _Graph, probabilities: str, names: list[str] | list[int]) -> None:
    """Add what `predict` makes of the outputs, by name."""
    values = np.array(names, object if isinstance(names[0], str) else np.int64)
    number = graph.add("ArgMax", probabilities, axis=1, keepdims=0)
    graph.add("Gather", graph.constant(values, "class_names"), number, result="label")


def _add_label_of_one(graph: _Graph, probability: str, names: list[str] | list[int]) -> None:
    """Add the same for one sigmoid output."""
    below = graph.add("Sub", graph.constant(np.array(1, graph.dtype)), probability)
    _add_label(graph, graph.add("Concat", below, probability, axis=1), names)


def _model(net: MLP, input_dtype: np.dtype, names: list[str] | list[int] | None) -> Any:
    onnx = require("onnx", "export")
    helper, a = onnx.helper, net.architecture
    graph = _Graph(onnx, net.dtype)
    number, own = (helper.np_dtype_to_tensor_dtype(d) for d in (input_dtype, net.dtype))
    x = "X" if number == own else graph.add("Cast", "X", to=own)
    if a.input_scale is not None:
        x = graph.add("Div", x, graph.constant(np.array(a.input_scale, net.dtype), "input_scale"))
    last = add_network(graph, x, net.weights, net.biases, [*a.activations, a.output])
    result = "values" if a.output == "identity" else "probabilities"
    graph.add("Identity", last, result=result)
    outputs = [helper.make_tensor_value_info(result, own, ["batch", a.n_out])]
    if a.loss == "poisson":
        outputs[0].doc_string = "logarithms of rates"
    if names is not None:
        add_label = _add_label if a.output == "softmax" else _add_label_of_one
        add_label(graph, result, names)
        kind = onnx.TensorProto.STRING if isinstance(names[0], str) else onnx.TensorProto.INT64
        outputs.append(helper.make_tensor_value_info("label", kind, ["batch"]))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, "fastmlp", [helper.make_tensor_value_info("X", number, ["batch", a.n_in])],
            outputs, graph.arrays,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="fastmlp", producer_version=__version__,
    )  # fmt: skip
    told = {"architecture": json.dumps(a.config())}
    if names is not None:
        told["class_names"] = json.dumps(names)
    helper.set_model_props(model, told)
    onnx.checker.check_model(model, full_check=True)
    return model


def to_onnx(
    net: MLP,
    path: str | Path | None = None,
    *,
    input_dtype: Any = None,
    class_names: Sequence[Any] | None = None,
) -> Any:
    """Write the network as ONNX, or return it; needs the ``export`` extra.

    The graph (opset 13) has one input, ``X`` of shape (batch, n_in), any number of rows; it
    divides by ``input_scale`` itself. Its first output is what `predict_proba` returns, in
    the network's dtype: ``probabilities`` or, for the output identity, ``values`` (under the
    loss poisson logarithms of rates, as here). ONNX has no files of 2 GiB and more.

    Parameters
    ----------
    path : str or Path, optional
        A file, written whole or not at all.
    input_dtype : dtype, optional
        The type of ``X``, by default the network's own; "uint8" takes pixels as they are.
    class_names : sequence of str or of int, optional
        A name for each class, two for one sigmoid output. The graph then has a second
        output, ``label`` (batch,): the name of the class that `predict` returns. The names
        are also in the model's metadata, as JSON.

    Returns
    -------
    onnx.ModelProto or None
        The model where there is no path.

    Raises
    ------
    ImportError
        If onnx is missing.
    OSError
        If the file cannot be written; an older file of that name stays as it was.
    TypeError, ValueError
        If an argument does not fit the network, the network is too large, or an activation
        has no form in ONNX.

    Examples
    --------
    >>> import fastmlp
    >>> net = fastmlp.MLP((4, 8, 2), rng=0, backend="numpy")
    >>> [output.name for output in net.to_onnx().graph.output]
    ['probabilities']
    >>> [output.name for output in net.to_onnx(class_names=["cat", "dog"]).graph.output]
    ['probabilities', 'label']
    """
    a = net.architecture
    dtype = net.dtype if input_dtype is None else _check_input_dtype(input_dtype)
    names = None if class_names is None else _check_class_names(class_names, a.output, a.n_out)
    size = a.n_parameters * net.dtype.itemsize
    if size > MOST_BYTES:
        raise ValueError(
            f"to_onnx: expected a network of at most {MOST_BYTES:,} bytes, as ONNX's files can "
            f"hold, got {size:,}; to_safetensors has no such limit"
        )
    model = _model(net, dtype, names)
    if path is None:
        return model
    with replacing(path) as name, open(name, "wb") as file:
        file.write(model.SerializeToString())
    return None
