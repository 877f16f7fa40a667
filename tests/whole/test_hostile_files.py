"""Files that nobody vouches for load right or are refused, quickly and in little memory.

Thousands of damaged and crafted files, made from good ones with a seed, and from those damaged
ones that have led a reader where no other did. ``FASTMLP_FULL_TESTS=1`` makes more than 20,000,
``FASTMLP_TEST_SEED`` others.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import struct
import sys
import time
import warnings
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest

import fastmlp
from fastmlp import MLP, Adam, CosineDecay, EarlyStopping, History, ModelCheckpoint
from fastmlp.cli.files import read_features
from fastmlp.datasets import load_csv, load_idx, load_mnist, load_npz
from fastmlp.initializers import Uniform
from fastmlp.persistence import pack

FULL = bool(os.environ.get("FASTMLP_FULL_TESTS"))
SEED = int(os.environ.get("FASTMLP_TEST_SEED") or 0)
EACH = 1800 if FULL else 180  # of every good file below
SECONDS, MEGABYTES = 1.0, 500
X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
LABELS = np.arange(12) % 2


# good files


def _model(tmp_path, rng) -> bytes:
    net = MLP((3, 4, 2), rng=rng, backend="numpy")
    saver = ModelCheckpoint(tmp_path / "model")
    net.fit(
        X, LABELS, epochs=3, optimizer=Adam(0.5), schedule=CosineDecay(epochs=9), metrics=["f1"],
        early_stopping=EarlyStopping("val_accuracy"), validation_split=0.25, callbacks=[saver],
    )  # fmt: skip
    return (tmp_path / "model").read_bytes()


def _safetensors(tmp_path) -> bytes:
    pytest.importorskip("safetensors")
    MLP((3, 4, 2), rng=1, backend="numpy").to_safetensors(tmp_path / "tensors")
    return (tmp_path / "tensors").read_bytes()


def _idx() -> bytes:
    return bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + bytes(range(24))


def _npz(save, dtype="uint8", n_pixels=20) -> bytes:
    file = io.BytesIO()
    images = (np.arange(3 * n_pixels) % 256).reshape(3, n_pixels // 4, 4).astype(dtype)
    save(file, x_train=images, y_train=np.arange(3), x_test=images[:2], y_test=np.arange(2.0))
    return file.getvalue()


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, X)
    return file.getvalue()


PLAIN = b"7,0,255\n1,128,0\n3,4,5\n"
HEADED = b'pixel0,label,"pixel1"\r\n0.5,7,-1e3\r\n\r\n128,1,2\r\n3,2,1\r\n'


NAMES = (
    "model", "model, legacy stream", "idx", "idx.gz", "csv", "csv with a header", "csv.gz", "npz",
    "npz of pixels", "npz deflated", "npy", "samples", "safetensors",
)  # fmt: skip


def good_files(tmp_path) -> dict[str, tuple]:
    """Return good files by name: the bytes, and what reads them."""
    model = lambda path: MLP.load(path, backend="numpy")  # noqa: E731
    return {
        "model": (_model(tmp_path, 1), model),
        "model, legacy stream": (_model(tmp_path, np.random.RandomState(1)), model),
        "idx": (_idx(), load_idx),
        "idx.gz": (gzip.compress(_idx(), mtime=0), load_idx),
        "csv": (PLAIN, load_csv),
        "csv with a header": (HEADED, load_csv),
        "csv.gz": (gzip.compress(HEADED, mtime=0), load_csv),
        "npz": (_npz(np.savez), load_npz),
        "npz of pixels": (_npz(np.savez, "float64", 784), lambda path: load_mnist(path=path)),
        "npz deflated": (_npz(np.savez_compressed), load_npz),
        "npy": (_npy(), lambda path: read_features(str(path), 3)),
        "samples": (b"1,2,3\n4,5,6\n", lambda path: read_features(str(path), 3)),
        "safetensors": (
            _safetensors(tmp_path),
            lambda path: MLP.from_safetensors(path, backend="numpy"),
        ),
    }


# what happens to them

EDGES = (0, 1, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
WORDS = (
    b"", b"\0", b"nan", b"inf", b"-1", b"1e999", b"9" * 400, b"\xff\xfe", b"PK\x03\x04",
    b"PK\x05\x06", b"\x1f\x8b\x08", b"\x93NUMPY\x01\x00", b"|O", b"<f8", b"(0,)", b"(-1,)",
    b"label", b"\n", b",", b"[[[[[[[[", b"{", b"'" * 40, b"\x00" * 64, b"True", b'"',
)  # fmt: skip
VALUES = (
    None, True, -1, 0, 1, 3, 2**31, 2**64, 10**300, 10**400, 1.5, float("nan"), float("inf"), "",
    "numpy", "x" * 1000, [], [[]], [0] * 1000, {}, {"array": [1], "dtype": "U9999999"},
    {"name": "Adam"},
)  # fmt: skip


def scratch(data: bytes, rng, others: list[bytes]) -> bytes:
    """Return the bytes with one thing wrong, whatever they mean."""
    n = len(data)
    at = int(rng.integers(n + 1))
    size = int(rng.choice([1, 1, 2, 4, 8, 16, 64]))
    kind = rng.integers(9)
    if kind == 0 and at < n:
        return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + rng.bytes(size) + data[at + size :]
    if kind == 2:
        order = "<>"[int(rng.integers(2))]
        code, width = (("B", 1), ("H", 2), ("I", 4), ("Q", 8))[int(rng.integers(4))]
        edge = EDGES[int(rng.integers(len(EDGES)))] % 256**width
        return data[:at] + struct.pack(order + code, edge) + data[at + width :]
    if kind == 3:
        return data[:at]
    if kind == 4:
        return data[:at] + data[at + size :]
    if kind == 5:
        return data[:at] + data[at : at + size] * int(rng.integers(2, 50)) + data[at:]
    if kind == 6:
        word = WORDS[int(rng.integers(len(WORDS)))]
        return data[:at] + word + data[at + len(word) * int(rng.integers(2)) :]
    if kind == 7:
        other = others[int(rng.integers(len(others)))]
        return data[:at] + other[int(rng.integers(len(other))) :]
    return data[at:]


def craft(value, rng):
    """Return nested JSON with a leaf or a branch replaced, left out or added."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[int(rng.integers(len(value)))]
        changed = dict(value)
        if rng.random() < 0.1:
            del changed[key]
        elif rng.random() < 0.1:
            changed["another"] = VALUES[int(rng.integers(len(VALUES)))]
        else:
            changed[key] = craft(value[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = int(rng.integers(len(value)))
        return [*value[:at], craft(value[at], rng), *value[at + 1 :]]
    return VALUES[int(rng.integers(len(VALUES)))]


def repacked(data: bytes, rng, others: list[bytes]) -> bytes:
    """Return an archive of which a member is wrong, under a checksum that is right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = list(members)[int(rng.integers(len(members)))]
    if "header.npy" in members and rng.random() < 0.6:
        changed = json.loads(members["header.npy"][128:])
        for _ in range(int(rng.integers(1, 3))):
            changed = craft(changed, rng)
        file = io.BytesIO()
        np.save(file, np.frombuffer(json.dumps(changed).encode(), np.uint8))
        members["header.npy"] = file.getvalue()
    elif rng.random() < 0.1:
        del members[name]
    else:
        members[name] = scratch(members[name], rng, others)
    file = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if rng.random() < 0.3 else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", kind) as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    return file.getvalue()


def damaged(data: bytes, rng, others: list[bytes]) -> bytes:
    """Return a file made of a good one, one to three things wrong."""
    for _ in range(int(rng.integers(1, 4))):
        try:
            if data[:2] == b"PK" and rng.random() < 0.6:
                data = repacked(data, rng, others)
                continue
            if data[:2] == b"\x1f\x8b" and rng.random() < 0.6:
                data = gzip.compress(scratch(gzip.decompress(data), rng, others), mtime=0)
                continue
        except Exception:  # it is damaged already
            pass
        data = scratch(data, rng, others)
    return data


class TooSlow(BaseException):
    """Not an error that any reader may catch."""


@contextmanager
def bounded():
    """Let no reader take half a gigabyte more than there is, or go on for ever."""
    resource = pytest.importorskip("resource")

    def stop(*_):
        raise TooSlow

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, stop)
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    room = pages * resource.getpagesize() + (MEGABYTES << 20)
    resource.setrlimit(resource.RLIMIT_AS, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)


def use(thing) -> None:
    """Do with what was loaded what its user would: a network predicts, and trains on."""
    if isinstance(thing, MLP):
        a = thing.architecture
        assert thing.predict_proba(np.ones((2, a.n_in))).shape == (2, a.n_out)
        assert isinstance(thing.history, History)
        if (a.n_in, a.n_out, a.output) == (3, 2, "softmax"):
            thing.fit(X, LABELS, epochs=1, on_divergence="ignore", schedule=thing._schedule)
    else:
        for part in thing if isinstance(thing, tuple) else (thing,):
            assert isinstance(part, np.ndarray | bool)


READERS = (os.path.dirname(fastmlp.__file__), zipfile.__file__, gzip.__file__)


def traced(read, path) -> tuple:
    """Return what was read, or the error, and the lines of the readers that were run."""
    lines = set()

    def within(frame, event, _):
        if event == "line":
            lines.add((frame.f_code, frame.f_lineno))
        return within

    def enter(frame, event, _):
        return within if frame.f_code.co_filename.startswith(READERS) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        return read(path), lines
    except Exception as error:
        return error, lines
    finally:
        sys.settrace(before)


def documented(error: Exception, path) -> bool:
    """Tell whether an error is one that the readers' docstrings list, and names the file."""
    named = str(path) in str(error) or getattr(error, "filename", None) == str(path)
    return type(error) is ValueError and named


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is bounded on Linux")
@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_load_or_are_refused(tmp_path, name, count):
    files = good_files(tmp_path)
    good, read = files[name]
    others = [data for data, _ in files.values()]
    rng = np.random.default_rng([SEED, list(files).index(name)])
    path, refused = tmp_path / "file", 0
    assert set(files) == set(NAMES)
    path.write_bytes(good)
    use(read(path))
    seeds, reached = [good], traced(read, path)[1]
    with bounded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(EACH):
            data = damaged(seeds[int(rng.integers(len(seeds)))], rng, others)
            path.write_bytes(data)
            told = f"FASTMLP_TEST_SEED={SEED}, file {number} of {name}"
            begun = time.process_time()
            signal.setitimer(signal.ITIMER_REAL, 60 * SECONDS)
            try:
                loaded, lines = traced(read, path)
                if isinstance(loaded, Exception):
                    assert documented(loaded, path), f"{type(loaded).__name__}: {loaded}"
                    refused += 1
                else:
                    use(loaded)
            except BaseException as error:
                raise AssertionError(f"{told}: {type(error).__name__}: {error}") from error
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert time.process_time() - begun < SECONDS, told
            if not lines <= reached:
                reached |= lines
                seeds.append(data)
    assert refused > EACH / 3
    assert len(seeds) > 2
    count("damaged files", EACH, 1800)


def content(thing) -> list:
    """Return all that was in a file."""
    if isinstance(thing, MLP):
        header, arrays = pack(thing)
        thing = (json.dumps(header), *(item for pair in arrays.items() for item in pair))
    parts = thing if isinstance(thing, tuple) else (thing,)
    return [(p.dtype, p.shape, p.tobytes()) if isinstance(p, np.ndarray) else p for p in parts]


@pytest.mark.parametrize("name", ["model", "idx.gz", "npz", "npz deflated"])
def test_no_flipped_bit_goes_unseen(tmp_path, name, count):
    """What has a checksum is refused, or is of the very same content."""
    good, read = good_files(tmp_path)[name]
    path = tmp_path / "file"
    path.write_bytes(good)
    wanted, refused, bits = content(read(path)), 0, 8 * len(good)
    flips = min(2000 if FULL else 200, bits)
    for place in np.random.default_rng(SEED).choice(bits, flips, replace=False):
        data = bytearray(good)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        loaded = traced(read, path)[0]
        if isinstance(loaded, Exception):
            assert documented(loaded, path), f"bit {place}: {type(loaded).__name__}: {loaded}"
            refused += 1
        else:
            assert content(loaded) == wanted, f"bit {place}"
    assert refused > flips / 5
    count("flipped bits", flips, min(2000, bits))


# what has been found, and what would be


def rewritten(tmp_path, change) -> bytes:
    """Return a model's file after `change(header)`, or with the text that it returns."""
    with np.load(io.BytesIO(_model(tmp_path, np.random.RandomState(1)))) as archive:
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
    path.write_bytes(_npy().replace(b"}", b"("))
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
    good = _npz(np.savez_compressed, n_pixels=100_000)
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
        lambda: _npz(np.savez_compressed, n_pixels=1 << 24), load_npz, r"x_test.npy claims \d+ b",
    ),
    "model of more than it has": (
        lambda: _deflated_model(1 << 24), lambda path: MLP.load(path, backend="numpy"),
        "its members state more bytes than it has",
    ),
    "npz of pixels of as many zeros": (
        lambda: _npz(np.savez_compressed, n_pixels=1 << 24),
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
