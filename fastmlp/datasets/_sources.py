"""Both sets from whatever a path holds: IDX folder, CSV folder, NPZ archive, single CSV."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..support.validation import check_path
from ._checks import HIGHEST_LABEL, whole_labels
from ._csv import load_csv
from ._files import naming, open_binary
from ._idx import load_idx
from ._npz import load_npz
from ._sets import MNIST, check_sets
from ._split import train_test_split

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CSV_NAMES = ("mnist_train.csv", "mnist_test.csv")

_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")


def read_sets(path: str | os.PathLike[str]) -> MNIST:
    """Read both sets from a path, unscaled; `load_mnist` documents what it may be.

    The number of columns and of classes is free here: MNIST's relatives read as well.
    """
    source = check_path(path)
    if source.is_dir():
        return _read_folder(source)
    expected = "a folder of IDX or CSV files, an .npz archive or a CSV file"
    with naming(source, expected), open_binary(source) as (stream, _):
        magic = stream.read(4)
        if magic[:2] == b"\0\0":
            raise ValueError("got what looks like a single IDX file")
    return load_npz(source) if magic in _ZIP_MAGICS else _split_csv(source)


def find_idx_files(folder: Path) -> list[Path]:
    """Return the four IDX files in the order of `IDX_NAMES`, or [] if there is none of them.

    A name may have a dot before `idx` and may end in `.gz`.
    """
    found = [_first_existing(folder, name, name.replace("-idx", ".idx")) for name in IDX_NAMES]
    return _all_or_none(folder, IDX_NAMES, found)


def _read_folder(folder: Path) -> MNIST:
    if idx_files := find_idx_files(folder):
        x_train, x_test = (_images(idx_files[at]) for at in (0, 2))
        y_train, y_test = (_labels(idx_files[at]) for at in (1, 3))
        sets = MNIST(x_train, y_train, x_test, y_test)
    else:
        found = [_first_existing(folder, name) for name in CSV_NAMES]
        csv_files = _all_or_none(folder, CSV_NAMES, found)
        if not csv_files:
            raise ValueError(
                f"{folder}: expected a folder with {', '.join(IDX_NAMES)} (or with .gz), or with "
                f"{' and '.join(CSV_NAMES)}; got none of them"
            )
        sets = MNIST(*load_csv(csv_files[0]), *load_csv(csv_files[1]))
    with naming(folder, "a training and a test set that fit each other"):
        check_sets(sets)
    return sets


def _first_existing(folder: Path, *names: str) -> Path | None:
    candidates = [folder / (name + suffix) for name in names for suffix in ("", ".gz")]
    return next((file for file in candidates if file.is_file()), None)


def _all_or_none(folder: Path, names: tuple[str, ...], found: list[Path | None]) -> list[Path]:
    present = [file for file in found if file is not None]
    if present and len(present) < len(names):
        missing = [name for name, file in zip(names, found, strict=True) if file is None]
        raise ValueError(
            f"{folder}: expected {', '.join(names)} (or with .gz); {', '.join(missing)} missing"
        )
    return present


def _images(file: Path) -> NDArray[Any]:
    images = load_idx(file)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"{file}: expected images of shape (n, 28, 28) as uint8, got shape {images.shape} "
            f"as {images.dtype}"
        )
    return images.reshape(len(images), images.shape[1] * images.shape[2])


def _labels(file: Path) -> NDArray[np.int64]:
    return whole_labels(load_idx(file), str(file), HIGHEST_LABEL)


def _split_csv(file: Path) -> MNIST:
    X, y = load_csv(file)
    if len(X) < 2:
        raise ValueError(f"{file}: expected at least 2 rows to split, got {len(X)}")
    # One part in seven is the test set of MNIST's own 70,000 images.
    n_test = max(1, len(X) // 7)
    train, test = np.split(np.arange(len(X)), [len(X) - n_test])
    if _is_sorted(y):  # the last part would be of the last classes alone
        train, test, *_ = train_test_split(np.arange(len(X)), y, test_size=n_test, rng=0)
        train, test = np.sort(train), np.sort(test)
    return MNIST(X[train], y[train], X[test], y[test])


def _is_sorted(y: NDArray[np.int64]) -> bool:
    """Tell whether classes come one after the other, as out of a folder for each."""
    n_classes, runs = len(np.unique(y)), 1 + np.count_nonzero(np.diff(y))
    return bool(n_classes > 1 and runs <= 2 * n_classes and len(y) >= 5 * n_classes)
