"""ONNX files: ONNX Runtime computes what the network does."""

from __future__ import annotations

import json
import os

import numpy as np
import onnx
import pytest
from exchange import RNG, X, make, run

from fastmlp import MLP
from fastmlp.activations import ACTIVATIONS
from fastmlp.interchange import graph, onnx_file
from fastmlp.losses import OUTPUTS

WITHIN = {"float32": 1e-6, "float64": 1e-13}  # of probabilities; relative to the largest value


def assert_close(got, wanted, dtype="float32"):
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    scale = max(1.0, np.abs(wanted).max(initial=0))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=WITHIN[str(dtype)] * scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_onnx_predicts_what_the_network_does(activation, output, dtype):
    net = make(activation=activation, output=output, dtype=dtype)
    rows = X.astype(dtype)
    model = net.to_onnx()
    found = run(model, X=rows)
    assert list(found) == ["values" if output == "identity" else "probabilities"]
    assert_close(*found.values(), net.predict_proba(rows), dtype)
    assert np.ptp(net.predict_proba(rows), axis=0).min() > 1e-3  # it is no constant


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_onnx_predicts_what_the_compiled_network_does(activation):
    for output in OUTPUTS:
        net = make(activation=activation, output=output, backend="numba")
        (found,) = run(net.to_onnx(), X=X.astype("float32")).values()
        assert_close(found, net.predict_proba(X.astype("float32")))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_onnx_stays_finite_where_logits_are_large(activation):
    net = make(activation=activation, output="sigmoid")
    rows = np.array([[1e4] * 6, [-1e4] * 6, [88] * 6, [-90] * 6], np.float32)
    assert_close(run(net.to_onnx(), X=rows)["probabilities"], net.predict_proba(rows))


@pytest.mark.parametrize("n", [0, 1, 7, 300])
def test_onnx_takes_any_number_of_rows(n):
    net, rows = make(activation="relu"), np.ones((n, 6), np.float32)
    found = run(net.to_onnx(), X=rows)["probabilities"]
    assert_close(found, net.predict_proba(rows))
    batch = net.to_onnx().graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.dim_param == "batch"


def test_onnx_divides_by_the_input_scale():
    net = make(activation=("tanh", "gelu"), input_scale=255.0)
    pixels = RNG.integers(0, 256, (50, 6), dtype=np.uint8)
    wanted = net.predict_proba(pixels)
    assert_close(run(net.to_onnx(), X=pixels.astype("float32"))["probabilities"], wanted)
    assert_close(run(net.to_onnx(input_dtype="uint8"), X=pixels)["probabilities"], wanted)
    assert np.abs(make(input_scale=1.0).predict_proba(pixels) - wanted).max() > 0.01


@pytest.mark.parametrize(
    "dtype", ["float16", "float64", "int8", "int16", "int64", "uint16", "bool"]
)
def test_onnx_takes_input_of_other_types(dtype):
    net = make(activation="relu", bias=False)
    rows = X.astype(dtype)
    wanted = net.predict_proba(rows)
    assert_close(run(net.to_onnx(input_dtype=dtype), X=rows)["probabilities"], wanted)


def test_onnx_has_no_biases_where_the_network_has_none():
    net = MLP((6, 4, 3), bias=False, rng=1, backend="numpy")
    model = net.to_onnx()
    assert [array.name for array in model.graph.initializer] == ["weights_0", "weights_1"]
    assert_close(run(model, X=X.astype("float32"))["probabilities"], net.predict_proba(X))


def test_onnx_of_a_single_layer_and_of_poisson():
    net = MLP((6, 2), output="identity", loss="poisson", rng=1, backend="numpy")
    model = net.to_onnx()
    assert_close(run(model, X=X.astype("float32"))["values"], net.predict_proba(X))
    assert model.graph.output[0].doc_string == "logarithms of rates"


def test_onnx_names_the_classes():
    net, rows = MLP((6, 3), rng=1, backend="numpy"), X.astype("float32")
    for names in (["cat", "dog", "bird"], np.array([7, -1, 3]), range(3)):
        model = net.to_onnx(class_names=names)
        found = run(model, X=rows)
        assert list(found) == ["probabilities", "label"]
        wanted = np.asarray(names)[net.predict(rows)]
        assert found["label"].tolist() == wanted.tolist()
        assert len(set(wanted.tolist())) > 1
        told = {p.key: json.loads(p.value) for p in model.metadata_props}
        assert told["class_names"] == [n if isinstance(n, str) else int(n) for n in names]


def test_onnx_names_the_two_classes_of_one_output():
    net = MLP((6, 4, 1), output="sigmoid", activation="relu", rng=1, backend="numpy")
    found = run(net.to_onnx(class_names=["no", "yes"]), X=X.astype("float32"))
    assert found["label"].tolist() == np.array(["no", "yes"])[net.predict(X)[:, 0]].tolist()
    assert set(found["label"]) == {"no", "yes"}
    net.weights[-1][:] = net.biases[-1][:] = 0  # one half is not more than one half
    found = run(net.to_onnx(class_names=["no", "yes"]), X=X.astype("float32"))
    assert set(found["label"]) == {"no"}


def test_onnx_is_written_whole_and_checked(tmp_path, monkeypatch):
    net, path = make(), tmp_path / "net.onnx"
    assert net.to_onnx(path) is None
    assert os.listdir(tmp_path) == ["net.onnx"]
    assert_close(run(str(path), X=X.astype("float32"))["probabilities"], net.predict_proba(X))
    model = onnx.load(path)
    assert model == net.to_onnx()
    assert model.opset_import[0].version == 13
    before = path.read_bytes()

    def refuse(*_, **__):
        raise RuntimeError("refused")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(RuntimeError, match="refused"):
        make(bias=False).to_onnx(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.onnx"]


WRONG_FOR_ONNX = {
    "complex": ({"input_dtype": "complex64"}, "input_dtype: expected a dtype of real numbers"),
    "text": ({"input_dtype": str}, "input_dtype: expected a dtype of real numbers"),
    "no dtype": ({"input_dtype": "pixel"}, "input_dtype: expected a dtype of real numbers"),
    "two names": ({"class_names": ["a", "b"]}, "class_names: expected 3 names, got 2"),
    "no names": ({"class_names": []}, "class_names: expected 3 names, got 0"),
    "a string": ({"class_names": "abc"}, "class_names: expected a sequence of names"),
    "a number": ({"class_names": 3}, "class_names: expected a sequence of names"),
    "mixed": ({"class_names": ["a", 1, 2]}, "class_names: expected strings only, or integers"),
    "floats": ({"class_names": [0.0, 1.0, 2.0]}, "class_names: expected strings only, or"),
    "long": ({"class_names": [0, 1, 2**63]}, "class_names: expected integers of 64 bits"),
}


@pytest.mark.parametrize(("options", "message"), WRONG_FOR_ONNX.values(), ids=WRONG_FOR_ONNX)
def test_onnx_refuses_wrong_arguments(tmp_path, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make().to_onnx(tmp_path / "net.onnx", **options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_onnx_has_no_names_where_there_are_no_exclusive_classes(output):
    with pytest.raises(ValueError, match="class_names: expected None for"):
        make(output=output).to_onnx(class_names=["a", "b", "c"])


def test_an_activation_without_a_form_in_onnx_is_refused(tmp_path, monkeypatch):
    monkeypatch.delitem(graph._ACTIVATIONS, "gelu")
    message = "activation: expected one that has a form in ONNX, got 'gelu'; exported are elu, "
    with pytest.raises(ValueError, match=message):
        make(activation=["relu", "gelu"]).to_onnx(tmp_path / "net.onnx")
    assert os.listdir(tmp_path) == []
    make(activation="relu").to_onnx(tmp_path / "net.onnx")


def test_a_network_too_large_for_onnx_is_refused(monkeypatch, tmp_path):
    assert onnx_file.MOST_BYTES < 2**31
    net = make()
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 4 * net.n_parameters)
    net.to_onnx(tmp_path / "net.onnx")
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 4 * net.n_parameters - 1)
    with pytest.raises(ValueError, match="expected a network of at most"):
        net.to_onnx(tmp_path / "other.onnx")
    assert os.listdir(tmp_path) == ["net.onnx"]
