"""Safetensors: whole round trips, other libraries' files, damaged ones."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from exchange import RNG, X, layers_of, make

from fastmlp import MLP, Adam

SEED = int(os.environ.get("FASTMLP_TEST_SEED") or 0)


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
