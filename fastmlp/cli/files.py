"""The files that commands read, and a look at those that they will write."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import MNIST, load_csv, load_idx, load_mnist
from ..datasets._csv import numbered_lines
from ..datasets._files import naming, open_unpacked
from ..datasets._npz import read_arrays
from ..datasets._sources import read_sets
from ..support.atomic import replacing
from ..support.extras import require

__all__ = [
    "check_outputs", "check_picture", "data_source", "divided", "looks_like_pixels", "read_data",
    "read_features", "read_test", "write_json",
]  # fmt: skip

_NPY_MAGIC = b"\x93NUMPY"
_MAX_LINE = 1 << 24


def data_source(args: Namespace) -> str:
    """Return what DATA or --data names, ``mnist`` by default."""
    if args.data is not None and args.data_option is not None:
        raise ValueError(f"--data: expected DATA once, got {args.data!r} before it")
    source: str | None = args.data if args.data_option is None else args.data_option
    return "mnist" if source is None else source


def read_data(source: str) -> MNIST:
    """Return the training and test set of ``mnist`` or of a path, values as they are stored.

    Raises
    ------
    OSError, ValueError
        If there is nothing to read, or not what a training and a test set are made of.
    """
    return load_mnist("uint8") if source == "mnist" else read_sets(source)


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
        X = _csv_features(file, line, n_in)
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


def _csv_features(file: Path, first_line: bytes, n_in: int) -> np.ndarray:
    with naming(file, f"CSV rows of {n_in} numbers, with or without a label"):
        cells = first_line.decode("utf-8-sig").strip().split(",")
        names = [cell.strip().strip('"').lower() for cell in cells]
        if "label" in names or len(cells) == n_in + 1:
            return load_csv(file)[0]
        if len(cells) != n_in:
            raise ValueError(f"the first line has {len(cells)} cells")
        with (
            open_unpacked(file) as (stream, _),
            io.TextIOWrapper(stream, encoding="utf-8-sig") as text,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # of a file without rows, which is said below
            X = np.loadtxt(
                (line for _, line in numbered_lines(text, file)), delimiter=",", comments=None,
                quotechar='"', ndmin=2, skiprows=0 if all(map(_is_number, cells)) else 1,
            )  # fmt: skip
        if X.size == 0:
            raise ValueError("there are no rows")
        return X


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().strip('"'))
    except ValueError:
        return False
    return True


def check_outputs(**paths: str | None) -> None:
    """Raise unless every path can become a file: asked before the work, not after it.

    Parameters
    ----------
    **paths : str or None
        Paths by the option that they come from.

    Raises
    ------
    OSError, ValueError
        If a folder is missing or cannot be written, something else than a file has that name, or
        two options name the same file.
    """
    seen: dict[Path, str] = {}
    for option, given in paths.items():
        if given is None:
            continue
        path = Path(given)
        if not given or (path.exists() and not path.is_file()):
            raise ValueError(f"--{option}: expected the name of a file, got {given!r}")
        if not path.parent.is_dir():
            raise ValueError(f"--{option}: there is no folder {str(path.parent)!r}")
        try:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise ValueError(
                f"--{option}: nothing can be written into {str(path.parent)!r} ({error.strerror})"
            ) from None
        resolved = path.resolve()
        if resolved in seen:
            raise ValueError(f"--{option}: expected another file than --{seen[resolved]}")
        seen[resolved] = option


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
