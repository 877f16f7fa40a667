"""What all ways in and out share: signatures, what is no model, no path, or no whole file."""

from __future__ import annotations

import inspect
import os
import pydoc
from pathlib import Path

import numpy as np
import pytest
from exchange import X, layers_of, make

from fastmlp import MLP


def test_methods_show_the_signature_and_docstring_of_their_functions():
    path = {"to_onnx", "to_safetensors", "from_safetensors", "save", "load"}
    for name in (*path, "from_sklearn", "from_torch", "from_keras"):
        method = getattr(make() if name.startswith(("to", "save")) else MLP, name)
        first = {"from_sklearn": "estimator"}.get(name, "path" if name in path else "model")
        assert next(iter(inspect.signature(method).parameters)) == first
        assert "Parameters\n" in inspect.getdoc(method)
        assert f"{name}(" in pydoc.plain(pydoc.render_doc(MLP))


@pytest.mark.parametrize("path", [5, b"net", ""])
def test_what_is_no_path_is_named(path):
    for call in (make().to_onnx, make().to_safetensors, MLP.from_safetensors):
        with pytest.raises((TypeError, ValueError), match="path: expected"):
            call(path)


@pytest.mark.parametrize("method", ["to_onnx", "to_safetensors"])
def test_a_file_that_cannot_be_finished_leaves_the_older_one(tmp_path, monkeypatch, method):
    path = tmp_path / "net"
    getattr(make(), method)(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        getattr(make(bias=False), method)(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net"]


# arrays, in the layout of PyTorch and of Keras


def test_a_state_dict_of_arrays():
    net = make(activation="silu", dtype="float64")
    again = MLP.from_torch(layers_of(net), activation="silu", output="softmax", backend="numpy")
    np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
    names = ["input", "hidden", "last"]  # not the alphabet's order
    state = {}
    for name, W, b in zip(names, net.weights, net.biases, strict=True):
        state |= {f"{name}.weight": W.T, f"{name}.bias": b}
    again = MLP.from_torch(state, activation="silu", output="identity", backend="numpy")
    np.testing.assert_allclose(again.predict_proba(X), net_logits(net), rtol=1e-13)


def net_logits(net):
    return net.forward(X)[-2] @ net.weights[-1] + net.biases[-1]


def test_a_layer_without_biases_gets_zeros():
    state = {"0.weight": np.eye(6), "0.bias": np.ones(6), "2.weight": np.ones((2, 6))}
    options = {"activation": "relu", "output": "identity", "backend": "numpy"}
    net = MLP.from_torch(state, **options)
    assert [b.tolist() for b in net.biases] == [[1] * 6, [0] * 2]
    del state["0.bias"]
    assert MLP.from_torch(state, **options).biases == []


def test_arrays_of_keras():
    net = make(activation=("relu", "elu"), output="sigmoid")
    arrays = [a for pair in zip(net.weights, net.biases, strict=True) for a in pair]
    options = {"activation": ["relu", "elu"], "output": "sigmoid", "backend": "numpy"}
    again = MLP.from_keras(arrays, **options)
    assert again.architecture == net.architecture
    np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
    again = MLP.from_keras(list(net.weights), dtype="float64", input_scale=2.0, **options)
    assert again.biases == []
    assert (again.dtype, again.architecture.input_scale) == (np.float64, 2.0)


SOFTMAX = {"output": "softmax"}
WRONG_MODELS = {
    "no model": ("from_torch", 3, {}, "model: expected a torch.nn.Sequential, or a state dict"),
    "a list": ("from_torch", [np.eye(3)], {}, "model: expected a torch.nn.Sequential"),
    "a word": ("from_torch", {"0.weight": "w"}, {}, "0.weight: expected the two dimensions"),
    "a tensor alone": ("from_torch", {"weight": 3}, {}, "names that end in .weight|two dimensions"),
    "half floats of keras": ("from_keras", [np.ones(3)], {}, "array 0: expected a kernel"),
    "two biases": ("from_keras", [np.eye(3), np.ones(3), np.ones(3)], {}, "array 2: expected a"),
    "no arrays": ("from_keras", [], {}, "model: expected at least one layer"),
    "words": ("from_keras", ["a"], {}, "array 0: expected a kernel"),
    "one word": ("from_keras", "abc", {}, "model: expected a keras.Sequential"),
    "a file": ("from_keras", Path("model.keras"), {}, "model: expected a keras.Sequential"),
    "objects": ("from_keras", [np.eye(3, dtype=object)], {}, "array 0: expected an array of floa"),
    "no output": ("from_keras", [np.eye(3)], {}, "output: expected softmax, sigmoid or identity"),
    "one output": ("from_torch", {"0.weight": np.ones((1, 3))}, {}, "output: expected softmax, s"),
    "an output": ("from_keras", [np.eye(3)], {"output": "relu"}, "output: expected one of"),
    "a loss": (
        "from_keras",
        [np.eye(3)],
        {"loss": "poisson", **SOFTMAX},
        "loss with output 'softmax'",
    ),
    "a name": (
        "from_keras",
        [np.eye(3)] * 2,
        {"activation": "cube", **SOFTMAX},
        "activation: expected one",
    ),
    "a dtype": (
        "from_keras",
        [np.eye(3)],
        {"dtype": "float16", **SOFTMAX},
        "dtype: expected float32 or",
    ),
    "a backend": (
        "from_keras",
        [np.eye(3)],
        {"backend": "torch", **SOFTMAX},
        "backend: expected one of",
    ),
}


@pytest.mark.parametrize(
    ("method", "model", "options", "message"), WRONG_MODELS.values(), ids=WRONG_MODELS
)
def test_wrong_models_are_refused(method, model, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        getattr(MLP, method)(model, **options)
