"""Files made to mislead a reader: headers, and bombs of zeros; each refused, quickly and small."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile

import numpy as np
import pytest
from files import LABELS, X, bounded, model_bytes, npy_bytes, npz_bytes

from fastmlp import MLP, History
from fastmlp.cli.files import read_features
from fastmlp.datasets import load_csv, load_idx, load_mnist, load_npz
from fastmlp.initializers import Uniform
from fastmlp.persistence import pack


def rewritten(tmp_path, change) -> bytes:
    """Return a model's file after `change(header)`, or with the text that it returns."""
    with np.load(io.BytesIO(model_bytes(tmp_path, np.random.RandomState(1)))) as archive:
        arrays = dict(archive)
    header = json.loads(arrays["header"].tobytes())
    text = change(header) or json.dumps(header)
    file = io.BytesIO()
    np.savez(file, **arrays | {"header": np.frombuffer(text.encode(), np.uint8)})
    return file.getvalue()


HEADERS = {
    "a word for a number of the schedule": lambda h: h["schedule_memory"].update(scale="x"),
    "infinitely many epochs": lambda h: h["schedule_memory"].update(epoch=float("inf")),
    "a wide type in the random state": lambda h: h["rng"]["state"]["state"].update(
        key={"array": [1], "dtype": "U99999999"}
    ),
    "a number that no float holds": lambda h: h["optimizer"].update(learning_rate=10**400),
    "more steps than are countable": lambda h: h.update(step=2**63),
    "a history of words": lambda h: h.update(history=[["loss"]]),
    "a history that is not there": lambda h: h.update(history=["loss"] * 9),
    "nested for ever": lambda h: "[" * 100_000,
    "millions of objects": lambda h: "[" + "{}," * 2_000_000 + "{}]",
}


@pytest.mark.parametrize("change", HEADERS.values(), ids=HEADERS)
def test_a_crafted_header_is_refused(tmp_path, change):
    path = tmp_path / "net.npz"
    path.write_bytes(rewritten(tmp_path, change))
    with bounded(), pytest.raises(ValueError, match="path: expected a network saved by fastmlp"):
        MLP.load(path, backend="numpy")


def test_a_long_history_loads(tmp_path):
    net = MLP((3, 4, 2), rng=1, backend="numpy")
    net.fit(X, LABELS, epochs=1)
    for numbers in net.history.as_dict().values():
        numbers *= 200_000
    net.save(tmp_path / "net.npz")
    assert MLP.load(tmp_path / "net.npz", backend="numpy").history == net.history


def test_a_header_that_no_array_has_is_named(tmp_path):
    path = tmp_path / "samples.npy"
    path.write_bytes(npy_bytes().replace(b"}", b"("))
    with pytest.raises(ValueError, match=r"array in the .npy format; a damaged header"):
        read_features(str(path), 3)


def test_short_lines_are_lines(tmp_path):
    path = tmp_path / "samples.csv"
    for text, shape in (
        ("1,2,3\n4,5,6\n", (2, 3)),
        ("1,2\n3,4\n5,6\n", (3, 2)),
        ("1\n2\n", (2, 1)),
    ):
        path.write_text(text)
        assert read_features(str(path), shape[1])[0].shape == shape


def _zeros(*shape) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


def _lying_npz(claimed: int) -> bytes:
    """Return an archive of which a member says that it unpacks to less than it does."""
    good = npz_bytes(np.savez_compressed, n_pixels=100_000)
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        size = archive.getinfo("x_train.npy").file_size
    assert good.count(struct.pack("<I", size)) == 2
    return good.replace(struct.pack("<I", size), struct.pack("<I", claimed))


def _deflated_model(n_weights: int) -> bytes:
    """Return a model's file of zeros, compressed, as `save` never does."""
    net = MLP((1, n_weights, 1), rng=0, backend="numpy", init=Uniform(0.0, 0.0))
    header, arrays = pack(net)
    file = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(file, header=text, **arrays)
    return file.getvalue()


BOMBS = {
    "idx.gz of more than it claims": (
        lambda: gzip.compress(_zeros(10) + bytes(1 << 26)), load_idx, "hold 10 bytes, got more",
    ),
    "idx.gz that claims more than gzip can hold": (
        lambda: gzip.compress(_zeros(1 << 31)), load_idx, "more than this file may hold",
    ),
    "idx.gz of as many zeros as it says": (
        lambda: gzip.compress(_zeros(1 << 27) + bytes(1 << 27)), load_idx, "more than this file",
    ),
    "npz of as many zeros as it says": (
        lambda: npz_bytes(np.savez_compressed, n_pixels=1 << 24), load_npz,
        r"x_test.npy claims \d+ bytes",
    ),
    "model of more than it has": (
        lambda: _deflated_model(1 << 24), lambda path: MLP.load(path, backend="numpy"),
        "its members state more bytes than it has",
    ),
    "npz of pixels of as many zeros": (
        lambda: npz_bytes(np.savez_compressed, n_pixels=1 << 24),
        lambda path: load_mnist(path=path), r"x_test.npy claims \d+ bytes",
    ),
    "csv.gz of zeros": (
        lambda: gzip.compress(b"0,0\n" * (1 << 24)), load_csv, "beyond the length allowed",
    ),
    "csv.gz in parts": (
        lambda: gzip.compress(b"0,0\n" * (1 << 24)) + gzip.compress(b"0,0\n"), load_csv,
        "beyond the length allowed",
    ),
    "csv.gz that states less": (
        lambda: gzip.compress(b"0,0\n" * (1 << 24))[:-4] + bytes(4), load_csv,
        "beyond the length allowed",
    ),
    "csv.gz of one line": (
        lambda: gzip.compress(b"0," * (1 << 25)), load_csv, "beyond the length allowed",
    ),
    "samples.gz of zeros": (
        lambda: gzip.compress(b"0,0\n" * (1 << 24)), lambda path: read_features(str(path), 2),
        "beyond the length allowed",
    ),
    "npz of more than it claims": (
        lambda: _lying_npz(1000), load_npz, "x_train.npy",
    ),
    "npz that claims more than it has": (
        lambda: _lying_npz(1 << 30), load_npz, "claims 1073741824 bytes, more than",
    ),
}  # fmt: skip


LARGE = {"npz of as many zeros as it says", "model of more than it has", "samples.gz of zeros"}


@pytest.mark.parametrize(
    ("make", "read", "message"),
    [pytest.param(*bomb, id=name, marks=pytest.mark.slow if name in LARGE else ())
     for name, bomb in BOMBS.items()],
)  # fmt: skip
def test_bombs_are_refused(tmp_path, make, read, message):
    path = tmp_path / "bomb"
    path.write_bytes(make())
    with bounded(), pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("lists", "message"),
    [("loss", "lists by name"), ({"loss": 1.0}, "lists by name"), ({"loss": ["x"]}, "of numbers"),
     ({"loss": [1.0]}, "expected loss, accuracy")],
)  # fmt: skip
def test_a_history_of_anything_else_is_refused(lists, message):
    with pytest.raises(ValueError, match=f"history: .*{message}"):
        History.from_dict(lists)
