"""Good files of every kind that fastmlp reads, and the bounds that its readers keep."""

from __future__ import annotations

import gzip
import io
import signal
from contextlib import contextmanager

import numpy as np
import pytest

from fastmlp import MLP, Adam, CosineDecay, EarlyStopping, ModelCheckpoint
from fastmlp.cli.files import read_features
from fastmlp.datasets import load_csv, load_idx, load_mnist, load_npz

__all__ = [
    "LABELS", "NAMES", "SECONDS", "X", "bounded", "good_files", "model_bytes", "npy_bytes",
    "npz_bytes",
]  # fmt: skip

SECONDS, MEGABYTES = 1.0, 500
X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
LABELS = np.arange(12) % 2


def model_bytes(tmp_path, rng) -> bytes:
    net = MLP((3, 4, 2), rng=rng, backend="numpy")
    saver = ModelCheckpoint(tmp_path / "model")
    net.fit(
        X, LABELS, epochs=3, optimizer=Adam(0.5), schedule=CosineDecay(epochs=9), metrics=["f1"],
        early_stopping=EarlyStopping("val_accuracy"), validation_split=0.25, callbacks=[saver],
    )  # fmt: skip
    return (tmp_path / "model").read_bytes()


def safetensors_bytes(tmp_path) -> bytes:
    pytest.importorskip("safetensors")
    MLP((3, 4, 2), rng=1, backend="numpy").to_safetensors(tmp_path / "tensors")
    return (tmp_path / "tensors").read_bytes()


def idx_bytes() -> bytes:
    return bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + bytes(range(24))


def npz_bytes(save, dtype="uint8", n_pixels=20) -> bytes:
    file = io.BytesIO()
    images = (np.arange(3 * n_pixels) % 256).reshape(3, n_pixels // 4, 4).astype(dtype)
    save(file, x_train=images, y_train=np.arange(3), x_test=images[:2], y_test=np.arange(2.0))
    return file.getvalue()


def npy_bytes() -> bytes:
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
        "model": (model_bytes(tmp_path, 1), model),
        "model, legacy stream": (model_bytes(tmp_path, np.random.RandomState(1)), model),
        "idx": (idx_bytes(), load_idx),
        "idx.gz": (gzip.compress(idx_bytes(), mtime=0), load_idx),
        "csv": (PLAIN, load_csv),
        "csv with a header": (HEADED, load_csv),
        "csv.gz": (gzip.compress(HEADED, mtime=0), load_csv),
        "npz": (npz_bytes(np.savez), load_npz),
        "npz of pixels": (npz_bytes(np.savez, "float64", 784), lambda path: load_mnist(path=path)),
        "npz deflated": (npz_bytes(np.savez_compressed), load_npz),
        "npy": (npy_bytes(), lambda path: read_features(str(path), 3)),
        "samples": (b"1,2,3\n4,5,6\n", lambda path: read_features(str(path), 3)),
        "safetensors": (
            safetensors_bytes(tmp_path),
            lambda path: MLP.from_safetensors(path, backend="numpy"),
        ),
    }


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
