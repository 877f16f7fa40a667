"""skl2onnx's converters of the estimators of `fastmlp.sklearn`, and of what reads tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from skl2onnx.common.utils_classifier import get_label_classes

from ..sklearn import MLPClassifier, MLPRegressor
from ..tables.preparation import CategoryReader, NumberReader
from .graph import add_network

__all__ = ["register"]

_OUTPUTS = {"logistic": "sigmoid"}
_OPTIONS = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "output_class_labels": [False, True],
}


class _Container:
    """The nodes of one operator, in skl2onnx's keeping."""

    def __init__(self, scope: Any, container: Any, dtype: np.dtype) -> None:
        self.scope, self.container, self.dtype = scope, container, dtype

    def add(self, operator: str, *inputs: str, result: str = "", **attributes: object) -> str:
        name = result or self.scope.get_unique_variable_name(operator.lower())
        node = self.scope.get_unique_operator_name(operator)
        self.container.add_node(operator, list(inputs), [name], name=node, **attributes)
        return name

    def constant(self, value: np.ndarray, name: str = "") -> str:
        name = self.scope.get_unique_variable_name(name or "constant")
        tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
        self.container.initializers.append(tensor)
        return name


def _is_double(operator: Any) -> bool:
    return isinstance(operator.inputs[0].type, DoubleTensorType)


def _is_multilabel(model: Any) -> bool:
    return model.n_outputs_ > 1 and model.out_activation_ != "softmax"


def _classes(scope: Any, model: Any) -> np.ndarray:
    """Return the labels' names as ONNX has them: strings or integers."""
    classes = np.asarray(get_label_classes(scope, model))
    return classes.astype(object if classes.dtype.kind in "OUS" else np.int64)


def _shapes_of_classifier(operator: Any) -> None:
    model, rows = operator.raw_operator, operator.inputs[0].get_first_dimension()
    number = DoubleTensorType if _is_double(operator) else FloatTensorType
    strings = _classes(operator.scope_inst, model).dtype == object
    label = StringTensorType if strings and not _is_multilabel(model) else Int64TensorType
    several = [model.n_outputs_] if _is_multilabel(model) else []
    operator.outputs[0].set_type(label([rows, *several]))
    operator.outputs[1].set_type(number([rows, max(model.n_outputs_, 2)]))


def _shapes_of_regressor(operator: Any) -> None:
    rows = operator.inputs[0].get_first_dimension()
    number = DoubleTensorType if _is_double(operator) else FloatTensorType
    operator.outputs[0].set_type(number([rows, operator.raw_operator.n_outputs_]))


def _outputs(scope: Any, operator: Any, container: Any) -> tuple[_Container, str]:
    """Add the network of an estimator and return what comes out of it."""
    model, double = operator.raw_operator, _is_double(operator)
    nodes = _Container(scope, container, np.dtype(np.float64 if double else np.float32))
    x = operator.inputs[0].full_name
    if not isinstance(operator.inputs[0].type, DoubleTensorType | FloatTensorType):
        x = nodes.add("Cast", x, to=TensorProto.FLOAT)
    hidden = model._activations(len(model.coefs_) - 1)
    last = _OUTPUTS.get(model.out_activation_, model.out_activation_)
    return nodes, add_network(nodes, x, model.coefs_, model.intercepts_, [*hidden, last])


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    label, probabilities = (output.full_name for output in operator.outputs)
    nodes, p = _outputs(scope, operator, container)
    if _is_multilabel(model):
        above = nodes.add("Greater", p, nodes.constant(np.array(0.5, nodes.dtype)))
        nodes.add("Cast", above, to=TensorProto.INT64, result=label)
    if model.n_outputs_ > 1:
        nodes.add("Identity", p, result=probabilities)
    else:
        below = nodes.add("Sub", nodes.constant(np.array(1, nodes.dtype)), p)
        nodes.add("Concat", below, p, axis=1, result=probabilities)
    if not _is_multilabel(model):
        classes = _classes(scope, model)
        classes = classes.repeat(2) if len(classes) == 1 else classes  # both columns are its
        number = nodes.add("ArgMax", probabilities, axis=1, keepdims=0)
        nodes.add("Gather", nodes.constant(classes, "classes"), number, result=label)


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    nodes, values = _outputs(scope, operator, container)
    nodes.add("Identity", values, result=operator.outputs[0].full_name)


def _shapes_of_numbers(operator: Any) -> None:
    number = DoubleTensorType if _is_double(operator) else FloatTensorType
    operator.outputs[0].set_type(number(operator.inputs[0].type.shape))


def _convert_numbers(scope: Any, operator: Any, container: Any) -> None:
    dtype = np.dtype(np.float64 if _is_double(operator) else np.float32)
    to = TensorProto.DOUBLE if _is_double(operator) else TensorProto.FLOAT
    x, result = operator.inputs[0].full_name, operator.outputs[0].full_name
    _Container(scope, container, dtype).add("Cast", x, result=result, to=to)


def _shapes_of_categories(operator: Any) -> None:
    if not isinstance(operator.inputs[0].type, StringTensorType):
        raise ValueError(
            "initial_types: expected StringTensorType for categories, got "
            f"{type(operator.inputs[0].type).__name__}"
        )
    operator.outputs[0].set_type(StringTensorType(operator.inputs[0].type.shape))


def _convert_categories(scope: Any, operator: Any, container: Any) -> None:
    x, result = operator.inputs[0].full_name, operator.outputs[0].full_name
    _Container(scope, container, np.dtype(np.float32)).add("Identity", x, result=result)


def register() -> None:
    """Teach skl2onnx both estimators and readers; see `fastmlp.interchange.register_skl2onnx`."""
    for reader, shapes, convert in (
        (NumberReader, _shapes_of_numbers, _convert_numbers),
        (CategoryReader, _shapes_of_categories, _convert_categories),
    ):
        update_registered_converter(reader, f"Fastmlp{reader.__name__}", shapes, convert)
    update_registered_converter(
        MLPClassifier, "FastmlpMLPClassifier", _shapes_of_classifier, _convert_classifier,
        options=_OPTIONS,
    )  # fmt: skip
    update_registered_converter(
        MLPRegressor, "FastmlpMLPRegressor", _shapes_of_regressor, _convert_regressor
    )
