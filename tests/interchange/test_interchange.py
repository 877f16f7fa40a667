"""Other libraries compute with our networks, and ours with theirs, what the origin computes."""

from __future__ import annotations

import inspect
import json
import os
import pydoc
import re
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors
import safetensors.numpy
import skl2onnx
from sklearn import neural_network
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp.sklearn
from fastmlp import MLP, Adam
from fastmlp.activations import ACTIVATIONS
from fastmlp.interchange import graph, onnx_file, register_skl2onnx
from fastmlp.losses import OUTPUTS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)) * 3
SEED = int(os.environ.get("FASTMLP_TEST_SEED") or 0)
WITHIN = {"float32": 1e-6, "float64": 1e-13}  # of probabilities; relative to the largest value


def make(**options) -> MLP:
    options = {"rng": 1, "backend": "numpy", **options}
    net = MLP((6, 5, 4, 3), **options)
    rng = np.random.default_rng(2)
    for b in net.biases:
        b[:] = rng.normal(size=b.shape)
    return net


def run(model, **inputs) -> dict[str, np.ndarray]:
    """Return what onnxruntime makes of a model or a file of it, by name."""
    model = model if isinstance(model, str | bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def assert_close(got, wanted, dtype="float32"):
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    scale = max(1.0, np.abs(wanted).max(initial=0))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=WITHIN[str(dtype)] * scale)


def test_methods_show_the_signature_and_docstring_of_their_functions():
    path = {"to_onnx", "to_safetensors", "from_safetensors", "save", "load"}
    for name in (*path, "from_sklearn", "from_torch", "from_keras"):
        method = getattr(make() if name.startswith(("to", "save")) else MLP, name)
        first = {"from_sklearn": "estimator"}.get(name, "path" if name in path else "model")
        assert next(iter(inspect.signature(method).parameters)) == first
        assert "Parameters\n" in inspect.getdoc(method)
        assert f"{name}(" in pydoc.plain(pydoc.render_doc(MLP))


# ONNX


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


# safetensors


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
def test_safetensors_come_back_as_they_were(tmp_path, dtype, bias):
    net = make(activation=("elu", "tanh"), dtype=dtype, output="sigmoid", loss="huber", bias=bias,
               input_scale=7.5)  # fmt: skip
    net.to_safetensors(tmp_path / "net.safetensors")
    assert os.listdir(tmp_path) == ["net.safetensors"]
    again = MLP.from_safetensors(tmp_path / "net.safetensors", backend="numpy", threads=1, rng=3)
    assert again.architecture == net.architecture
    assert (again.backend, again.threads) == ("numpy", 1)
    for ours, theirs in zip(
        [*again.weights, *again.biases], [*net.weights, *net.biases], strict=True
    ):
        assert ours.tobytes() == theirs.tobytes()
    np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
    again.fit(X, np.eye(3)[RNG.integers(0, 3, 40)], epochs=2, optimizer=Adam())


def test_safetensors_have_the_names_and_shapes_of_a_sequential(tmp_path):
    net = make()
    net.to_safetensors(tmp_path / "net")
    found = safetensors.numpy.load_file(tmp_path / "net")
    assert {name: array.shape for name, array in found.items()} == {
        "0.weight": (5, 6), "0.bias": (5,), "2.weight": (4, 5), "2.bias": (4,),
        "4.weight": (3, 4), "4.bias": (3,),
    }  # fmt: skip
    np.testing.assert_array_equal(found["2.weight"], net.weights[1].T)
    with safetensors.safe_open(tmp_path / "net", "np") as file:
        assert file.metadata()["format"] == "pt"


def test_safetensors_of_a_network_that_diverged_are_not_written(tmp_path):
    net = make()
    net.biases[1][2] = np.nan
    with pytest.raises(ValueError, match=r"biases\[1\]: expected finite numbers"):
        net.to_safetensors(tmp_path / "net")
    assert os.listdir(tmp_path) == []


def layers_of(net) -> dict[str, np.ndarray]:
    state = {f"{2 * i}.weight": np.ascontiguousarray(W.T) for i, W in enumerate(net.weights)}
    return state | {f"{2 * i}.bias": np.ascontiguousarray(b) for i, b in enumerate(net.biases)}


def test_a_foreign_state_dict_loads_by_the_names_given(tmp_path):
    net = MLP((6, *[6] * 6, 3), activation="gelu", rng=0, backend="numpy")
    state = {f"net.{name}": array for name, array in layers_of(net).items()}
    path = tmp_path / "net"
    safetensors.numpy.save_file(state, path)
    assert list(safetensors.numpy.load_file(path)).index("net.10.weight") < 4  # in text's order
    again = MLP.from_safetensors(path, activation="gelu", output="softmax", backend="numpy")
    np.testing.assert_array_equal(again.predict_proba(X), net.predict_proba(X))
    with pytest.raises(ValueError, match="activation: expected the names of the hidden"):
        MLP.from_safetensors(path)
    with pytest.raises(ValueError, match="output: expected softmax, sigmoid or identity, since"):
        MLP.from_safetensors(path, activation="gelu")
    with pytest.raises(ValueError, match="activation: expected one name, or 6"):
        MLP.from_safetensors(path, activation=["relu"] * 5, output="softmax")


FOREIGN = {
    "a convolution": ({"0.weight": np.zeros((2, 3, 3, 3))}, "expected the two dimensions"),
    "a norm": ({"0.weight": np.eye(3), "1.weight": np.ones(3)}, "expected the two dimensions"),
    "statistics": ({"0.weight": np.eye(3), "1.running_mean": np.ones(3)}, "running_mean"),
    "a bias alone": ({"0.weight": np.eye(3), "1.bias": np.ones(3)}, "1.bias"),
    "no chain": ({"0.weight": np.eye(3), "2.weight": np.eye(4)}, "2.weight: expected 3 inputs"),
    "a wrong bias": ({"0.weight": np.eye(3), "0.bias": np.ones(4)}, "expected 3 biases, got 4"),
    "integers": ({"0.weight": np.eye(3, dtype=int)}, "expected F16, F32, F64, got I64"),
    "not finite": ({"0.weight": np.full((3, 3), np.inf)}, "0.weight: expected finite numbers"),
    "nothing": ({}, "at least one layer"),
    "empty": ({"0.weight": np.zeros((0, 3))}, "expected 2 dimensions, got shape"),
}


@pytest.mark.parametrize(("state", "message"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file_that_is_no_perceptron_is_refused(tmp_path, state, message):
    safetensors.numpy.save_file(state, tmp_path / "net")
    with pytest.raises(ValueError, match=message) as caught:
        MLP.from_safetensors(tmp_path / "net", activation="relu")
    assert str(caught.value).startswith("path: ")


def test_a_large_file_that_is_no_perceptron_is_not_read(tmp_path):
    path = tmp_path / "net"
    tensors = {"0.weight": np.zeros((8000, 1000)), "1.weight": np.zeros(3)}
    safetensors.numpy.save_file(tensors, path)
    del tensors
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"1.weight: expected the two dimensions.*got \(3,\)"):
        MLP.from_safetensors(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2_000_000


def test_what_a_file_says_is_not_said_again(tmp_path):
    make().to_safetensors(tmp_path / "net")
    for options in ({"activation": "relu"}, {"dtype": "float32"}, {"input_scale": 2.0}):
        with pytest.raises(ValueError, match=f"{next(iter(options))}: expected None for a file of"):
            MLP.from_safetensors(tmp_path / "net", **options)


def test_files_that_are_not_there_are_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        MLP.from_safetensors(tmp_path / "net")
    with pytest.raises(OSError, match="net"):
        make().to_safetensors(tmp_path / "folder" / "net")
    with pytest.raises(OSError, match="net"):
        make().to_onnx(tmp_path / "folder" / "net")
    with pytest.raises(IsADirectoryError):
        MLP.from_safetensors(tmp_path)


def rewritten(path, change) -> bytes:
    """Return a file with another header, the numbers as they were."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    told = json.loads(header["__metadata__"]["fastmlp"])
    text = change(header, told)
    header["__metadata__"]["fastmlp"] = text or json.dumps(told)
    header = json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


HEADERS = {
    "another version": lambda h, t: t.update(version=2),
    "a true version": lambda h, t: t.update(version=True),
    "a version with a point": lambda h, t: t.update(version=1.0),
    "no JSON": lambda h, t: "{",
    "no architecture": lambda h, t: t.pop("architecture") and None,
    "nested for ever": lambda h, t: "[" * 100_000,
    "another size": lambda h, t: t["architecture"].update(layer_sizes=[6, 5, 4, 2]),
    "a size that no memory holds": lambda h, t: t["architecture"].update(
        layer_sizes=[2**40, 2**40, 4, 3]
    ),
    "too many layers": lambda h, t: t["architecture"].update(layer_sizes=[1] * 100_000),
    "another dtype": lambda h, t: t["architecture"].update(dtype="float64"),
    "no biases": lambda h, t: t["architecture"].update(bias=False),
    "an unknown activation": lambda h, t: t["architecture"].update(activation=["relu", "cube"]),
    "an unknown argument": lambda h, t: t["architecture"].update(backend="numba"),
    "a scale that no float holds": lambda h, t: t["architecture"].update(input_scale=10**400),
    "a tensor's shape": lambda h, t: h["0.weight"].update(shape=[6, 5]),
    "a tensor's name": lambda h, t: h.update({"6.weight": h.pop("0.weight")}),
    "a tensor's place": lambda h, t: h["0.weight"].update(data_offsets=[0, 2**62]),
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_a_file_with_another_header_is_refused(tmp_path, change):
    path = tmp_path / "net"
    make().to_safetensors(path)
    good = rewritten(path, lambda h, t: None)
    path.write_bytes(good)
    MLP.from_safetensors(path, backend="numpy")
    path.write_bytes(rewritten(path, change))
    with pytest.raises(ValueError, match="path: expected a network in safetensors, but"):
        MLP.from_safetensors(path, backend="numpy")


def test_a_file_with_a_number_that_is_none_is_refused(tmp_path):
    path = tmp_path / "net"
    net = make()
    net.to_safetensors(path)
    largest = net.weights[0].max().tobytes()
    assert path.read_bytes().count(largest) == 1
    path.write_bytes(path.read_bytes().replace(largest, np.float32("nan").tobytes()))
    with pytest.raises(ValueError, match=r"cannot be read as one: 0.weight: expected finite numb"):
        MLP.from_safetensors(path)


def test_damaged_safetensors_load_or_are_refused(tmp_path):
    path = tmp_path / "net"
    make(activation="relu").to_safetensors(path)
    good, rng, refused = path.read_bytes(), np.random.default_rng(SEED), 0
    header = 8 + struct.unpack("<Q", good[:8])[0]
    for number in range(600):
        data = bytearray(good)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(data) if rng.random() < 0.3 else header))
            kind = rng.integers(5)
            if kind == 0:
                data[at] ^= 1 << int(rng.integers(8))
            elif kind == 1:
                data[at : at + 8] = rng.bytes(int(rng.integers(1, 9)))
            elif kind == 2:
                del data[at : at + int(rng.integers(1, 50))]
            elif kind == 3:
                data[at:at] = data[at : at + int(rng.integers(1, 50))]
            else:
                digits = str(int(rng.integers(0, 2**62)) >> int(rng.integers(63))).encode()
                data[at : at + len(digits)] = digits
            data = data or bytearray(b"\0")
        path.write_bytes(data)
        try:
            net = MLP.from_safetensors(path, backend="numpy")
            assert np.isfinite(np.concatenate([w.ravel() for w in net.weights])).all()
            assert net.predict_proba(np.ones((2, net.layer_sizes[0]))).shape[0] == 2
        except (ValueError, TypeError):
            refused += 1
        except BaseException as error:
            raise AssertionError(f"FASTMLP_TEST_SEED={SEED}, file {number}") from error
    assert 300 < refused < 600


# scikit-learn

LABELS = RNG.integers(0, 3, 40)
WORDS = np.array(["cat", "dog", "bird"])[LABELS]
SEVERAL = (RNG.random((40, 3)) > 0.5).astype(int)
PAIRS = SEVERAL[:, :2]
VALUES = np.stack([np.sin(X[:, 0]), X[:, 1] * X[:, 2]], 1)
COUNTS = RNG.poisson(2.0, 40).astype(float)
TARGETS = {
    "two classes": ("MLPClassifier", WORDS == "cat", {}),
    "two words": ("MLPClassifier", np.where(LABELS == 1, "yes", "no"), {}),
    "words": ("MLPClassifier", WORDS, {}),
    "numbers": ("MLPClassifier", 5 - 2 * LABELS, {}),
    "floats": ("MLPClassifier", LABELS * 2.0, {}),
    "one class": ("MLPClassifier", np.full(40, "cat"), {}),
    "several labels": ("MLPClassifier", SEVERAL, {}),
    "two labels": ("MLPClassifier", PAIRS, {}),
    "values": ("MLPRegressor", VALUES, {}),
    "one value": ("MLPRegressor", VALUES[:, 1], {}),
    "counts": ("MLPRegressor", COUNTS, {"loss": "poisson"}),
}
LIBRARIES = {"sklearn": neural_network, "fastmlp": fastmlp.sklearn}


def fitted(library, kind, *, rows=X, **options):
    name, y, more = TARGETS[kind]
    options = {"hidden_layer_sizes": (7, 5), "max_iter": 30, "random_state": 0, **more, **options}
    model = getattr(LIBRARIES[library], name)(**options)
    model.set_params(solver="sgd" if kind == "counts" else "lbfgs")
    return model.fit(rows, y)


pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("kind", [kind for kind in TARGETS if kind != "one class"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_network_of_an_estimator_predicts_the_same(library, kind):
    model = fitted(library, kind, activation="tanh")
    net = MLP.from_sklearn(model, backend="numpy")
    assert net.dtype == np.float64
    found, a = net.predict_proba(X), net.architecture
    if kind == "counts":
        assert a.loss == "poisson"
        np.testing.assert_allclose(np.exp(found[:, 0]), model.predict(X), rtol=1e-12)
    elif a.output == "identity":
        np.testing.assert_allclose(found.squeeze(), model.predict(X), rtol=1e-12, atol=1e-12)
    else:
        wanted = model.predict_proba(X)
        found = np.hstack([1 - found, found]) if a.n_out == 1 else found
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
        number = net.predict(X)[:, 0] if a.n_out == 1 else net.predict(X)
        labels = number if "labels" in kind else model.classes_[number]
        assert labels.tolist() == model.predict(X).tolist()
        assert len(np.unique(labels)) > 1
    y = TARGETS[kind][1]
    y = np.searchsorted(model.classes_, y) if hasattr(model, "classes_") and y.ndim == 1 else y
    before = net.evaluate(X, y)["loss"]
    net.fit(X, y, epochs=30, batch_size=None, optimizer=Adam(0.003))
    assert net.evaluate(X, y)["loss"] < before
    assert (model.coefs_[0] != net.weights[0]).any()  # its own arrays are copies


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_every_activation_of_scikit_learn(activation):
    model = fitted("sklearn", "words", activation=activation, rows=X.astype("float32"))
    net = MLP.from_sklearn(model, backend="numpy")
    rows = X.astype(model.coefs_[0].dtype)
    np.testing.assert_allclose(net.predict_proba(rows), model.predict_proba(rows), atol=1e-6)
    assert net.dtype == model.coefs_[0].dtype


def test_estimators_that_cannot_be_read_are_refused():
    with pytest.raises(ValueError, match="estimator: expected a fitted one, got MLPClassifier"):
        MLP.from_sklearn(neural_network.MLPClassifier())
    with pytest.raises(TypeError, match="estimator: expected a fitted MLPClassifier or MLPRegress"):
        MLP.from_sklearn(StandardScaler())
    model = fitted("sklearn", "words")
    model.coefs_[1][0, 0] = np.inf
    with pytest.raises(ValueError, match="estimator: layer 1: expected finite numbers"):
        MLP.from_sklearn(model)


class Shifted(neural_network.MLPRegressor):
    def predict(self, X):
        return super().predict(X) + 1


class MLPClassifier:  # a namesake
    coefs_ = intercepts_ = ()


CHANGES = {
    "fewer biases": (lambda m: m.intercepts_.pop(), "expected coefs_ and intercepts_ of 3 layers"),
    "another output": (lambda m: setattr(m, "out_activation_", "cube"), "out_activation_: expect"),
    "another activation": (lambda m: setattr(m, "activation", "cube"), "activation: expected one"),
    "a patched method": (
        lambda m: setattr(m, "predict_proba", lambda X: X), "own predict_proba, got one that",
    ),
    "words": (
        lambda m: m.coefs_.__setitem__(0, m.coefs_[0].astype(str)), "layer 0: expected an array of",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_estimators_that_were_changed_are_refused(library, change, message):
    model = fitted(library, "words")
    change(model)
    with pytest.raises((TypeError, ValueError), match=message):
        MLP.from_sklearn(model)


def test_estimators_that_compute_something_else_are_refused():
    model = Shifted(max_iter=1).fit(X, X[:, 0])
    with pytest.raises(TypeError, match="own predict, got one that Shifted has replaced"):
        MLP.from_sklearn(model)
    with pytest.raises(TypeError, match="expected a fitted MLPClassifier or MLPRegressor, got MLP"):
        MLP.from_sklearn(MLPClassifier())


# skl2onnx


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in ("words", "values") else pytest.mark.slow)
     for kind in TARGETS],
)  # fmt: skip
def test_skl2onnx_converts_a_pipeline_with_an_estimator(kind, dtype):
    register_skl2onnx()
    rows = X.astype(dtype)
    model = make_pipeline(StandardScaler(), fitted("fastmlp", kind))
    y = TARGETS[kind][1]
    model.fit(rows, y)
    classifier = hasattr(model, "predict_proba")
    options = {"options": {"zipmap": False}} if classifier else {}
    found = run(skl2onnx.to_onnx(model, rows[:1], **options), X=rows)
    within = {"rtol": 0, "atol": 1e-5 if dtype == np.float32 else 1e-12}
    if not classifier:
        wanted = model.predict(rows)
        assert found["variable"].shape == (40, 1 if wanted.ndim == 1 else 2)
        within["rtol"] = within["atol"]
        np.testing.assert_allclose(found["variable"].reshape(wanted.shape), wanted, **within)
        return
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(rows), **within)
    assert found["probabilities"].dtype == dtype
    assert found["label"].tolist() == model.predict(rows).tolist()
    assert found["label"].shape == y.shape


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "logistic", ["relu", "gelu"]])
def test_skl2onnx_converts_every_activation(activation):
    register_skl2onnx()
    model = fitted("fastmlp", "words", activation=activation)
    rows = X.astype("float32")
    found = run(skl2onnx.to_onnx(model, rows[:1], options={"zipmap": False}), X=rows)
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(rows), atol=1e-5)


def test_skl2onnx_options_and_older_opsets():
    register_skl2onnx()
    register_skl2onnx()
    model, rows = fitted("fastmlp", "words"), X.astype("float32")
    found = run(skl2onnx.to_onnx(model, rows[:1], target_opset=12), X=rows)
    assert set(found["output_probability"][0]) == {"cat", "dog", "bird"}
    found = run(skl2onnx.to_onnx(model, rows[:1], options={"nocl": True, "zipmap": False}), X=rows)
    assert found["label"].tolist() == np.searchsorted(model.classes_, model.predict(rows)).tolist()
    integers = np.arange(12, dtype=np.int64).reshape(2, 6)
    found = run(skl2onnx.to_onnx(model, integers[:1], options={"zipmap": False}), X=integers)
    np.testing.assert_allclose(
        found["probabilities"], model.predict_proba(integers), rtol=0, atol=1e-5
    )


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


# the README


def test_the_programs_of_the_readme_run(tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    section = re.search(r"^## In and out$(.*?)^## ", text, re.S | re.M)[1]
    programs = re.findall(r"```python\n(.*?)```", section, re.S)
    monkeypatch.chdir(tmp_path)
    assert programs
    for program in programs:
        exec(program, {})
