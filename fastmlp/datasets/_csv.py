"""Labelled rows of numbers in CSV text."""

import csv
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ..support.validation import check_path
from ._checks import HIGHEST_LABEL, whole_labels
from ._files import Unpacking, naming, open_unpacked
from ._header import is_missing, numbers_are_names

MAX_TEXT = 2 << 30
"""The most characters read from one file; MNIST as CSV has 110 million."""

FREE_TEXT, TEXT_RATIO = 8 << 20, 100
"""A gzip file may unpack to so many characters, or to so many times its length if that is more:
MNIST has 8 for a byte, a bomb 1,000."""

_MAX_LINE = 1 << 24
_LOOKED_AT = 50  # lines below the first, to tell whether it has numbers for names
_BLOCK = 1 << 22  # characters parsed at a time: a row of MNIST has about 1,800

_MAGIC_BYTES = 8
_OTHERS = {
    b"\xff\xfe": "it is UTF-16; save it as UTF-8",
    b"\xfe\xff": "it is UTF-16; save it as UTF-8",
    b"BZh": "bzip2 is not read here, gzip is",
    b"\xfd7zXZ": "xz is not read here, gzip is",
    b"\x28\xb5\x2f\xfd": "Zstandard is not read here, gzip is",
    b"PK\x03\x04": "zip is not read here, gzip is",
    b"PAR1": "Parquet is not read here, CSV is",
}

_Line = tuple[int, str]
_Block = list[_Line]


def load_csv(path: str | os.PathLike[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    r"""Read samples and their labels from a CSV file, plain or gzip.

    A first line with anything but numbers in it is a header, and its column `label` (in any
    case) holds the labels, wherever it stands. Without a header, and under one of numbers alone
    (0, 1, 2 ... or years, as pandas writes them), the labels are the first column. Empty lines
    are skipped.

    Parameters
    ----------
    path : str or os.PathLike
        The file: UTF-8 text with commas between the cells. Gzip is recognised by its first
        bytes, not by the name.

    Returns
    -------
    X : ndarray, shape (n, n_columns - 1)
        uint8 if every value is a whole number from 0 to 255, otherwise float64.
    y : ndarray, shape (n,), int64
        The labels.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If `path` is not a path.
    ValueError
        If the file is damaged or no text, has no rows, a header without `label`, rows of
        different lengths, cells that are not finite numbers, labels that are not whole
        numbers from 0 to 65535, lines of more than 16 million or a whole of more than two
        thousand million characters, or gzip that unpacks to 100 times its size and 8 million.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "digits.csv")
    ...     _ = file.write_text("pixel0,label,pixel1\n0,7,255\n128,1,0\n")
    ...     X, y = load_csv(file)
    >>> X
    array([[  0, 255],
           [128,   0]], dtype=uint8)
    >>> y
    array([7, 1])
    """
    file = check_path(path)
    with naming(file, "CSV rows of a label and numbers"), _lines(file) as lines:
        number, header, lines = _header(lines)
        label_column, width = 0, len(header)
        if not all(_is_number(cell) for cell in header):
            label_column = _label_column(header)
        if width < 2:
            raise ValueError(f"line {number} should have at least 2 cells, got {width}")
        X, y = _parse(lines, label_column, width)
        return X, whole_labels(y, "labels", HIGHEST_LABEL)


def load_features(path: Path, n_in: int, name: str) -> NDArray[Any]:
    """Read samples of `n_in` numbers; a header, and a column of labels, are left out.

    Labels are in a column `label` or, where there is one column more, in the first. A message
    calls the file `name` too.
    """
    with naming(path, f"{name} as CSV rows of {n_in} numbers, with or without a label"):
        with _lines(path) as lines:
            _, header, lines = _header(lines)
            names = [cell.strip().lower() for cell in header]
            if "label" not in names and len(header) == n_in:
                return _parse(lines, None, n_in)[0]
            if "label" not in names and len(header) != n_in + 1:
                raise ValueError(f"the first line has {len(header)} cells")
        if "label" not in names and not all(map(_is_number, header)):
            raise ValueError(f"the first line has {len(header)} cells, none of them 'label'")
    return load_csv(path)[0]


@contextmanager
def _lines(file: Path) -> Iterator[Iterator[_Line]]:
    """Open a file for `numbered_lines`; say what it is where it is not UTF-8."""
    with open_unpacked(file) as (stream, _):
        magic = stream.read(_MAGIC_BYTES)
    for start, what in _OTHERS.items():
        if magic.startswith(start):
            raise ValueError(what)
    with (
        open_unpacked(file) as (stream, _),
        io.TextIOWrapper(stream, encoding="utf-8-sig") as text,
    ):
        try:
            yield numbered_lines(text, file)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"it is no utf-8 text (byte {error.object[error.start]:#x}), Latin-1 perhaps; save "
                "it as UTF-8"
            ) from None


def _header(lines: Iterator[_Line]) -> tuple[int, list[str], Iterator[_Line]]:
    """Return number and cells of the first line, and the lines with samples."""
    first = next(lines, None)
    if first is None:
        raise ValueError("got only empty lines")
    cells = _cells(first[1])
    if first[1].lower().startswith("sep="):
        raise ValueError("its first line 'sep=' is for Excel; expected a header or a sample")
    if all(_is_number(cell) for cell in cells):
        below = list(islice(lines, _LOOKED_AT))
        lines = chain(below, lines)
        if not numbers_are_names(cells, [_cells(line) for _, line in below]):
            lines = chain([first], lines)
    return first[0], cells, lines


def numbered_lines(text: TextIO, file: Path) -> Iterator[_Line]:
    """Yield the number and text of each line of a file that is not blank, within the bounds."""
    most = min(MAX_TEXT, max(FREE_TEXT, TEXT_RATIO * file.stat().st_size))
    unpacking = Unpacking(file, most)
    total = number = 0
    while line := text.readline(_MAX_LINE):
        number += 1
        total += len(line)
        if len(line) == _MAX_LINE:
            raise ValueError(f"line {number} goes beyond the length allowed for a line")
        unpacking.check(total)
        if line.strip():
            yield number, line


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]))
    except csv.Error as error:
        raise ValueError(f"a line is no CSV ({error})") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # as Python's numbers may have it


def _label_column(header: list[str]) -> int:
    columns = [at for at, cell in enumerate(header) if cell.strip().lower() == "label"]
    if len(columns) != 1:
        got = ", ".join(repr(cell[:20]) for cell in header[:4])
        hint = ""
        for separator, name in ((";", "';'"), ("\t", "tabs"), ("|", "'|'")):
            if any(separator in cell for cell in header):
                hint = f"; cells seem to be separated by {name} instead of commas"
        raise ValueError(
            f"the first line should be numbers only, or a header with one column 'label'; "
            f"got {len(columns)} of them in {got}{', ...' if len(header) > 4 else ''}{hint}"
        )
    return columns[0]


def _parse(
    lines: Iterator[_Line], label_column: int | None, width: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    pixels, labels = [], [np.zeros(0)]
    for block in _blocks(lines):
        table = _table(block, width)
        if label_column is not None:
            labels.append(table[:, label_column].astype(np.float64))
            table = np.delete(table, label_column, axis=1)
        pixels.append(_smallest(table))
    if not pixels:
        raise ValueError("got a header and no rows")
    return np.concatenate(pixels), np.concatenate(labels)


def _blocks(lines: Iterator[_Line]) -> Iterator[_Block]:
    block: _Block = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line[1])
        if size >= _BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def _table(block: _Block, width: int) -> NDArray[Any]:
    """Parse a block as uint8, which takes a tenth of the time, or else as float64."""
    rows = [line for _, line in block]
    error: ValueError | None = None
    for dtype in (np.uint8, np.float64):
        try:
            with warnings.catch_warnings():
                # Some versions of numpy round "1.5" to the integer 1 and only warn of it.
                warnings.simplefilter("error")
                table: NDArray[Any] = np.loadtxt(
                    rows, dtype=dtype, delimiter=",", comments=None, quotechar='"', ndmin=2
                )
        except (ValueError, Warning) as raised:
            error = ValueError(str(raised))
            continue
        if table.shape == (len(block), width) and np.isfinite(table).all():
            return table
        break
    raise _blame(block, width) or error or ValueError("the rows cannot be told apart")


def _blame(block: _Block, width: int) -> ValueError | None:
    """Find the first line at fault: numpy counts rows from 0 or 1 as it goes, and per block."""
    for number, line in block:
        cells = _cells(line)
        if len(cells) != width:
            return ValueError(f"line {number} should have {width} cells, got {len(cells)}")
        for column, cell in enumerate(cells):
            if not _is_number(cell) or not np.isfinite(float(cell)):
                missing = " (a missing value)" if is_missing(cell) else ""
                return ValueError(
                    f"line {number}, column {column} should be a finite number, got "
                    f"{cell[:40]!r}{missing}"
                )
    return None


def _smallest(table: NDArray[Any]) -> NDArray[Any]:
    if table.dtype == np.uint8:
        return table
    fits = (table >= 0) & (table <= 255) & (np.trunc(table) == table)
    return table.astype(np.uint8) if fits.all() else table
