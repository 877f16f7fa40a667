"""Model files that were altered, damaged or are none: an error that names them."""

from __future__ import annotations

import json
import os
import pickle
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from models import LABELS, X, everything, trained

from fastmlp import (
    MLP,
    Adam,
)
from fastmlp.persistence import saved_with


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "net.npz"
    trained(Adam(0.01)).save(place)
    return place


def assert_refused(path) -> None:
    """Check for a ValueError with the path, without much memory taken."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="path: expected a network saved by fastmlp") as caught:
            MLP.load(path)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)


def rewrite(path, change, save=np.savez) -> None:
    """Apply `change(header, arrays)` to a saved file."""
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(arrays.pop("header").tobytes())
    change(header, arrays)
    with open(path, "wb") as file:
        save(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)


def test_a_rewritten_file_loads(path):
    rewrite(path, lambda header, arrays: None)
    assert MLP.load(path).optimizer == Adam(0.01)


def _put(*keys, value):
    def change(header, arrays):
        for key in keys[:-1]:
            header = header[key]
        header[keys[-1]] = value

    return change


def _drop(*keys):
    def change(header, arrays):
        for key in keys[:-1]:
            header = header[key]
        del header[keys[-1]]

    return change


def _array(name, value):
    return lambda header, arrays: arrays.update({name: value})


HEADERS = {
    "format": _put("format", value="torch"),
    "no format": _drop("format"),
    "version": _put("version", value=2),
    "no version": _drop("version"),
    "no architecture": _drop("architecture"),
    "huge layers": _put("architecture", "layer_sizes", value=[10**9, 10**9]),
    "huge numbers": _put("architecture", "layer_sizes", value=[10**300, 10**300]),
    "many layers": lambda header, arrays: header["architecture"].update(
        layer_sizes=[1] * 10**6, activation="relu"
    ),
    "layers": _put("architecture", "layer_sizes", value=[6, 5, 3]),
    "no layers": _put("architecture", "layer_sizes", value=None),
    "activation": _put("architecture", "activation", value=["relu", "no"]),
    "output": _put("architecture", "output", value="no"),
    "dtype": _put("architecture", "dtype", value="float64"),
    "bias": _put("architecture", "bias", value="yes"),
    "unknown option": _put("architecture", "batch_norm", value=True),
    "optimizer": _put("optimizer", "name", value="adamax"),
    "hyperparameter": _put("optimizer", "beta_1", value=2.0),
    "unknown hyperparameter": _put("optimizer", "amsgrad", value=True),
    "nameless optimizer": _drop("optimizer", "name"),
    "step": _put("step", value=-1),
    "fractional step": _put("step", value=1.5),
    "schedule": _put("schedule", value={"name": "no"}),
    "schedule memory": _put("schedule_memory", value=5),
    "rng kind": _put("rng", "state", "bit_generator", value="os"),
    "rng state": _put("rng", "state", "state", value={"state": -1, "inc": 1}),
    "no rng": _drop("rng"),
    "history": _put("history", value={"loss": 5}),
    "unknown history": _put("history", value={"perplexity": []}),
    "a true version": _put("version", value=True),
    "a version with a point": _put("version", value=1.0),
    "no biases there": _put("architecture", "bias", value=False),
    "no slots wanted": _put("slots", value=0),
    "true slots": _put("slots", value=True),
    "a best that is none": _put("best", value="yes"),
    "a best without arrays": _put("best", value=True),
    "another optimizer": _put("optimizer", value={"name": "SGD", "learning_rate": 0.1}),
    "a step of none": _put("step", value=0),
    "a true step": _put("step", value=True),
    "an unknown field": _put("held_uot", value=None),
    "no slots told": _drop("slots"),
    "no memory": _drop("schedule_memory"),
    "an unknown memory": _put("schedule_memory", "epohc", value=1),
    "a true memory": _put("schedule_memory", "epoch", value=True),
    "a negative scale": _put("schedule_memory", "scale", value=-1.0),
    "a scale that is none": _put("schedule_memory", "scale", value=float("nan")),
    "memory of no schedule": _put("schedule", value=None),
    "held out of nothing": _put("held_out", value={}),
    "held out of another": _put("held_out", value={"kind": "Generator", "state": 5}),
    "versions as a list": _put("saved_with", value=["9.8.7"]),
    "a history twice": lambda header, arrays: header["history"].append("loss"),
    "a history less": lambda header, arrays: header["history"].remove("loss"),
    "a history of numbers": _put("history", value=[1, 2]),
    "an output without accuracy": lambda header, arrays: header["architecture"].update(
        output="identity", loss="squared_error"
    ),
    "a scale of nothing": _put("architecture", "input_scale", value=0),
    "a true scale": _put("architecture", "input_scale", value=True),
    "layers of truth": _put("architecture", "layer_sizes", value=[6, 5, 4, True]),
    "a rate that is none": _put("optimizer", "learning_rate", value=float("nan")),
}
ARRAYS = {
    "no weights": lambda header, arrays: arrays.pop("weights_1"),
    "no biases": lambda header, arrays: arrays.pop("biases_0"),
    "no slots": lambda header, arrays: arrays.pop("slot_1_2"),
    "shape": _array("weights_0", np.zeros((5, 6), "float32")),
    "dimensions": _array("weights_0", np.zeros(30, "float32")),
    "one row": _array("weights_0", np.zeros((1, 5), "float32")),
    "a scalar": _array("biases_1", np.float32(0)),
    "type": _array("weights_0", np.zeros((6, 5))),
    "byte order": _array("weights_0", np.zeros((6, 5), ">f4")),
    "slot": _array("slot_0_0", np.zeros((6, 4), "float32")),
    "objects": _array("weights_0", np.full((6, 5), None)),
    "a weight too many": _array("weights_9", np.zeros((6, 5), "float32")),
    "another name": _array("gradients_0", np.zeros((6, 5), "float32")),
    "a slot too many": _array("slot_2_0", np.zeros((6, 5), "float32")),
    "a best of nothing": _array("best_0", np.zeros((6, 5), "float32")),
    "a loss less": lambda header, arrays: arrays.update(history_0=arrays["history_0"][1:]),
    "a rate more": lambda header, arrays: arrays.update(history_4=np.zeros(9)),
}


@pytest.mark.parametrize("change", [*HEADERS.values(), *ARRAYS.values()], ids=[*HEADERS, *ARRAYS])
def test_what_does_not_fit_is_refused(path, change):
    rewrite(path, change)
    assert_refused(path)


@pytest.mark.parametrize("array", ["weights_1", "biases_0", "slot_1_0"])
def test_numbers_that_are_none_are_loaded_with_a_word(path, array):
    rewrite(path, lambda header, arrays: arrays[array].__setitem__(0, np.inf))
    with pytest.warns(RuntimeWarning, match=r"net.npz: the network has parameters"):
        MLP.load(path)


def test_what_a_header_or_archive_names_twice_is_refused(path):
    with np.load(path) as archive:
        arrays = dict(archive)
    text = arrays.pop("header").tobytes().replace(b'"step"', b'"slots": 0, "step"')
    with open(path, "wb") as file:
        np.savez(file, header=np.frombuffer(text, np.uint8), **arrays)
    with pytest.raises(ValueError, match="names something twice"):
        MLP.load(path)
    trained().save(path)
    with zipfile.ZipFile(path) as archive:
        weights = archive.read("weights_0.npy")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("weights_0.npy", weights)
    with pytest.raises(ValueError, match="holds something twice"):
        MLP.load(path)


@pytest.mark.skipif(os.name != "posix", reason="kinds of files that POSIX has")
@pytest.mark.parametrize("load", [MLP.load, MLP.from_safetensors, saved_with])
def test_what_has_no_end_is_not_read(tmp_path, load):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match="something else than a regular file"):
            load(path)


def test_a_directory_of_millions_is_not_read(tmp_path):
    path = tmp_path / "net.npz"
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        archive.writestr("header.npy", b"")
    entry = path.read_bytes()
    at = entry.index(b"PK\1\2")
    begin, directory, end = entry[:at], entry[at : entry.index(b"PK\5\6")], entry[-22:]
    count, n_bytes = 1 << 18, (1 << 18) * len(directory)
    end = end[:8] + struct.pack("<HHI", 0xFFFF, 0xFFFF, n_bytes) + end[16:]
    path.write_bytes(begin + directory * count + end)
    begun = time.process_time()
    assert_refused(path)
    assert time.process_time() - begun < 1


class _Payload:
    def __reduce__(self):
        return (open, ("payload ran", "w"))


def objects(file) -> None:
    """Write an array of pickled objects that is as long as its header states."""
    content = pickle.dumps(_Payload())
    shape = (-(-len(content) // 8),)
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|O", "fortran_order": False, "shape": shape}
    )
    file.write(content.ljust(8 * shape[0]))


FOREIGN = ("empty", "text", "npy", "npz", "pickle", "zip", "pickled npz", "crafted npz")


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_refused_and_never_unpickled(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    with open(path, "wb") as file:
        if name == "text":
            file.write(b"label,1x1\n5,0\n" * 1000)
        elif name == "npy":
            np.save(file, X)
        elif name == "npz":
            np.savez(file, x_train=X, y_train=LABELS)
        elif name == "pickle":
            pickle.dump(_Payload(), file)
        elif name == "zip":
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("header.npy", "no array")
        elif name == "crafted npz":
            with zipfile.ZipFile(file, "w") as archive, archive.open("header.npy", "w") as member:
                objects(member)
        elif name == "pickled npz":
            np.savez(file, header=np.array([_Payload()]), allow_pickle=True)
    assert_refused(path)
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("kept", [0, 1, 4, 30, 0.3, 0.9, -1, -22, -60])
def test_truncated_files_are_refused(path, kept):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    assert_refused(path)


def test_bombs_are_refused(path):
    def compressed(header, arrays):
        arrays["weights_0"] = np.zeros(10**7, "float32")

    rewrite(path, compressed, np.savez_compressed)
    assert path.stat().st_size < 1e6
    assert_refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("header.npy", "w", force_zip64=True) as file:
            description = {"descr": "|u1", "fortran_order": False, "shape": (10**11,)}
            np.lib.format.write_array_header_1_0(file, description)
        member = archive.filelist[0]  # the directory agrees with the header; the file is empty
        member.file_size = member.compress_size = member.file_size + 10**11
    assert_refused(path)


@pytest.mark.parametrize("shape", [(10**12,), (10**10, 10**10), (2**63, 2), (0,), (-1, -30)])
def test_arrays_that_state_another_size_are_refused(path, shape):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if name == "weights_0.npy":
                with archive.open(name, "w") as file:
                    description = {"descr": "<f4", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, description)
                    file.write(bytes(120))
            else:
                archive.writestr(name, content)
    assert_refused(path)


def test_any_damaged_byte_is_an_error_or_harmless(path):
    rng, whole = np.random.default_rng(0), path.read_bytes()
    wanted, refused = everything(MLP.load(path)), 0
    directory = whole.rindex(b"PK\x01\x02") - 1000  # zip's own entries get half of the damage
    for trial in range(400):
        damaged = bytearray(whole)
        for _ in range(1 + trial % 3):
            at = int(rng.integers(directory if trial % 2 else 0, len(damaged)))
            if trial % 5 == 0:
                del damaged[at : at + int(rng.integers(1, 9))]
            elif trial % 7 == 0:
                damaged[at:at] = rng.bytes(3)
            else:
                damaged[at] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            net = MLP.load(path)
        except (ValueError, OSError):
            refused += 1
        else:
            assert everything(net) == wanted
    assert refused > 200
