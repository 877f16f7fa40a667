"""The files that commands read, and a look at those that they will write."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import MNIST, load_idx, load_mnist
from ..datasets._csv import load_features
from ..datasets._files import naming, open_unpacked
from ..datasets._npz import read_arrays
from ..datasets._sources import read_sets
from ..network import MLP
from ..support.atomic import check_target, is_stream, replacing
from ..support.extras import require
from ..support.validation import check_finite
from ..tables.packing import kind_of_file, open_plain
from .console import Console

__all__ = [
    "are_pixels", "check_outputs", "check_picture", "data_source", "divided", "is_table",
    "is_table_model", "looks_like_pixels", "mnist_layout", "read_data", "read_features",
    "read_named", "read_test", "write_json",
]  # fmt: skip

_NPY_MAGIC = b"\x93NUMPY"
_MAX_LINE = 1 << 24
N_PIXELS = 784


def data_source(args: Namespace) -> str:
    """Return what DATA or --data names, ``mnist`` by default."""
    if args.data is not None and args.data_option is not None:
        raise ValueError(f"--data: expected DATA once, got {args.data!r} before it")
    source: str | None = args.data if args.data_option is None else args.data_option
    return "mnist" if source is None else source


def is_table(source: str, *, asked: bool = False) -> bool:
    """Tell whether DATA is a table: a file of text or Parquet, unless MNIST lies in it.

    Parameters
    ----------
    source : str
    asked : bool
        Whether options for tables say that MNIST's layouts are not meant.

    Raises
    ------
    OSError, ValueError
        If there is no such file, or it is of a kind that is not read.
    """
    path = Path(source)
    if source == "mnist" or path.is_dir():
        return False
    with naming(path, "a table, an .npz archive or a folder"):
        kind = kind_of_file(path)
    return kind not in ("npz", "idx") and (asked or not mnist_layout(path))


def mnist_layout(path: Path) -> bool:
    """Tell whether a CSV has MNIST's columns: 784 pixels, and a label by name or in front."""
    with naming(path, "a table as CSV"):
        if (kind := kind_of_file(path)) not in ("text", "gzip"):
            return False
        with open_plain(path, kind) as stream:
            line = stream.readline(_MAX_LINE)
    cells = [cell.strip().strip('"').lower() for cell in line.decode("latin-1").split(",")]
    if len(cells) != N_PIXELS + 1:
        return False
    return cells.count("label") == 1 or all(map(_is_number, cells))


def read_data(source: str, console: Console | None = None) -> MNIST:
    """Return the training and test set of ``mnist`` or of a path, values as they are stored.

    Raises
    ------
    OSError, ValueError
        If there is nothing to read, or not what a training and a test set are made of.
    """
    if source == "mnist":
        return load_mnist("uint8")
    data = read_sets(source)
    if console is not None:
        if Path(source).is_file() and mnist_layout(Path(source)):
            console.note(
                f"{source}: taken for images as MNIST's, {N_PIXELS} pixels and a label; a seventh "
                "is for the test"
            )
        _note_gaps(data, console)
    return data


def _note_gaps(data: MNIST, console: Console) -> None:
    labels = np.unique(np.concatenate([data.y_train, data.y_test]))
    empty = int(labels.max()) + 1 - len(labels)
    if empty:
        console.note(
            f"labels go to {labels.max():,}, and {empty:,} numbers below are no sample's label: "
            "they get outputs too"
        )


def read_test(source: str, output: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the test set of ``mnist`` or of a path, for a network with that output.

    Of exclusive classes a whole data set is read. Independent labels and values may also come
    as an .npz archive of x_test and y_test alone, y_test of any numbers.

    Raises
    ------
    OSError, ValueError
        If there is nothing to read, or not what a test set is made of.
    """
    if output == "softmax" or not zipfile.is_zipfile(source):
        data = read_data(source)
        return data.x_test, data.y_test
    with naming(Path(source), "an .npz archive with x_test and y_test"):
        arrays = read_arrays(Path(source), ("x_test", "y_test"))
        X, y = arrays["x_test"], arrays["y_test"]
        if X.ndim < 2:
            raise ValueError(f"x_test should have shape (n, n_features), got {X.shape}")
        return X.reshape(len(X), -1), y


def looks_like_pixels(X: np.ndarray) -> bool:
    """Tell whether a data set is of pixels: whole numbers up to 255 that reach above 127."""
    return X.dtype == np.uint8 and bool(X.max(initial=0) > 127)


def are_pixels(source: str, X: np.ndarray) -> bool:
    """Tell whether samples are images by where they come from: bytes of IDX, .npz or MNIST."""
    path = Path(source)
    stored = source == "mnist" or path.is_dir() or kind_of_file(path) in ("npz", "idx")
    return X.dtype == np.uint8 and (stored or mnist_layout(path))


def is_table_model(path: str) -> bool:
    """Tell whether a file is a table's model: an archive as skops writes it."""
    return zipfile.is_zipfile(path) and "schema.json" in zipfile.ZipFile(path).namelist()


def read_named(source: str, net: MLP, *, labels: bool = False) -> tuple[Any, Any]:
    """Return the samples of a table for a network that knows its features by name.

    Parameters
    ----------
    source : str
    net : MLP
    labels : bool
        Whether labels are wanted too; they are in the column called label, class, target or y.

    Raises
    ------
    ImportError
        If pandas is not installed.
    OSError, ValueError
        If there is nothing to read, or a column is missing.
    """
    from ..tables import read_table
    from ..tables.model import features_of, targets_of

    names = list(net.feature_names or ())
    table = read_table(source, known=names)
    found = list(table.frame.columns)
    if missing := [name for name in names if name not in found]:
        raise ValueError(
            f"{source}: expected the columns that the network was trained on, got none called "
            f"{', '.join(map(repr, missing[:8]))}"
        )
    X = features_of(table, names, []).to_numpy()
    check_finite(source, X, names)
    if not labels:
        return X, None
    values = net.architecture.output == "identity"
    targets = targets_of(table, table.label_column(None), regression=values)
    y = targets.y
    if net.class_names is not None and not values:
        places = {name: i for i, name in enumerate(net.class_names)}
        if unknown := [label for label in y if str(label) not in places]:
            raise ValueError(f"{source}: expected labels among {', '.join(places)}, got "
                             f"{str(unknown[0])!r}")  # fmt: skip
        y = np.array([places[str(label)] for label in y])
    return X[targets.rows], y


def read_features(path: str, n_in: int) -> tuple[np.ndarray, bool]:
    """Return the samples of a CSV, .npy or IDX file, and whether they are images.

    A CSV may have a header and, named `label` or else first, a column of labels, which is left
    out.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is none of these, damaged, or has another number of features than `n_in`.
    """
    file = Path(path)
    with naming(file, "samples as CSV, .npy or IDX"), open_unpacked(file) as (stream, _):
        line = stream.readline(_MAX_LINE)
    magic = line[: len(_NPY_MAGIC)]
    images = magic[:2] == b"\0\0"
    if images:
        X = load_idx(file)
    elif magic == _NPY_MAGIC:
        with naming(file, "an array in the .npy format"):
            X = _mapped(file)
    else:
        X = load_features(file, n_in, "INPUT")
    if X.ndim < 2 or X.dtype.kind not in "biuf":
        raise ValueError(
            f"{file}: expected samples of {n_in} numbers, got shape {X.shape} of {X.dtype}"
        )
    if X.ndim > 2:
        X = X.reshape(len(X), -1)
    if X.shape[1] != n_in:
        raise ValueError(f"{file}: expected samples of {n_in} features, got {X.shape[1]}")
    return X, images


def _mapped(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        raise
    except Exception as error:  # of tokenize and others, from the text of a damaged header
        raise ValueError(f"a damaged header ({error})") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def check_outputs(*, read: Sequence[str] = (), **paths: str | None) -> None:
    """Raise unless every path can become a file: asked before the work, not after it.

    Parameters
    ----------
    read : sequence of str
        Files that the command reads, which nothing may take the place of.
    **paths : str or None
        Paths by the option that they come from.

    Raises
    ------
    OSError, ValueError
        If a folder is missing or cannot be written, something else than a file has that name, or
        two options name the same file, or one that is read.
    """
    seen: dict[Path, str] = {}
    for option, given in paths.items():
        if given is None:
            continue
        path = Path(given)
        if not given:
            raise ValueError(f"--{option}: expected the name of a file, got {given!r}")
        try:
            check_target(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error).removeprefix("path: ")
            raise ValueError(f"--{option}: {given!r}: {reason}") from None
        if is_stream(path):
            continue
        path = Path(os.path.realpath(path))
        if not path.parent.is_dir():
            raise ValueError(f"--{option}: there is no folder {str(path.parent)!r}")
        try:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise ValueError(
                f"--{option}: nothing can be written into {str(path.parent)!r} ({error.strerror})"
            ) from None
        if path in seen:
            raise ValueError(f"--{option}: expected another file than --{seen[path]}")
        for name in read:
            if path.exists() and os.path.exists(name) and path.samefile(name):
                raise ValueError(f"--{option}: expected another file than {name}, which is read")
        seen[path] = option


def check_picture(path: str) -> None:
    """Raise unless matplotlib is installed and can draw into a file of that ending.

    Raises
    ------
    ImportError
        Naming the extra that brings matplotlib.
    ValueError
        If the ending names no format of pictures.
    """
    canvas = require("matplotlib.figure", "plot").Figure().canvas
    known = sorted(canvas.get_supported_filetypes())
    if Path(path).suffix.lower().lstrip(".") not in known:
        raise ValueError(f"--plot: expected a name that ends in one of {', '.join(known)}")


def divided(X: Any, scale: float, dtype: np.dtype) -> np.ndarray:
    """Return ``X / scale`` in `dtype`."""
    return np.asarray(X / scale, dtype)


def write_json(path: str, value: Any) -> None:
    """Write strict JSON, null for what is no number, whole or not at all."""
    from ..recipes._base import plain

    text = json.dumps(plain(value), indent=2, allow_nan=False) + "\n"
    with replacing(path) as name:
        Path(name).write_text(text, encoding="utf-8")
