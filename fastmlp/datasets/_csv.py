"""Labelled rows of numbers in CSV text."""

import csv
import io
import os
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ..support.validation import check_path
from ._checks import HIGHEST_LABEL, whole_labels
from ._files import naming, open_unpacked

MAX_TEXT = 2 << 30
"""The most characters read from one file; MNIST as CSV has 110 million."""

FREE_TEXT, TEXT_RATIO = 8 << 20, 100
"""A gzip file may unpack to so many characters, or to so many times its length if that is more:
MNIST has 8 for a byte, a bomb 1,000."""

_MAX_LINE = 1 << 24
_BLOCK = 1 << 22  # characters parsed at a time: a row of MNIST has about 1,800

_Line = tuple[int, str]
_Block = list[_Line]


def load_csv(path: str | os.PathLike[str]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    r"""Read samples and their labels from a CSV file, plain or gzip.

    A first line with anything but numbers in it is a header, and its column `label` (in any
    case) holds the labels, wherever it stands. Without a header the labels are the first
    column. Empty lines are skipped.

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
    with (
        naming(file, "CSV rows of a label and numbers"),
        open_unpacked(file) as (stream, _),
        io.TextIOWrapper(stream, encoding="utf-8-sig") as text,
    ):
        lines = numbered_lines(text, file)
        first = next(lines, None)
        if first is None:
            raise ValueError("got only empty lines")
        header = _cells(first[1])
        label_column, width = 0, len(header)
        if all(_is_number(cell) for cell in header):
            lines = chain([first], lines)
        else:
            label_column = _label_column(header)
        if width < 2:
            raise ValueError(f"line {first[0]} should have at least 2 cells, got {width}")
        X, y = _parse(lines, label_column, width)
        return X, whole_labels(y, "labels", HIGHEST_LABEL)


def numbered_lines(text: TextIO, file: Path) -> Iterator[_Line]:
    """Yield the number and text of each line of a file that is not blank, within the bounds."""
    most = min(MAX_TEXT, max(FREE_TEXT, TEXT_RATIO * file.stat().st_size))
    total = number = 0
    while line := text.readline(_MAX_LINE):
        number += 1
        total += len(line)
        if len(line) == _MAX_LINE or total > most:
            raise ValueError(f"line {number} goes beyond the length allowed for a line or file")
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
    return True


def _label_column(header: list[str]) -> int:
    columns = [at for at, cell in enumerate(header) if cell.strip().lower() == "label"]
    if len(columns) != 1:
        got = ", ".join(repr(cell[:20]) for cell in header[:4])
        raise ValueError(
            f"the first line should be numbers only, or a header with one column 'label'; "
            f"got {len(columns)} of them in {got}{', ...' if len(header) > 4 else ''}"
        )
    return columns[0]


def _parse(
    lines: Iterator[_Line], label_column: int, width: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    pixels, labels = [], []
    for block in _blocks(lines):
        table = _table(block, width)
        labels.append(table[:, label_column].astype(np.float64))
        pixels.append(_smallest(np.delete(table, label_column, axis=1)))
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
        for column, cell in enumerate(cells, start=1):
            if not _is_number(cell) or not np.isfinite(float(cell)):
                return ValueError(
                    f"line {number}, column {column} should be a finite number, got {cell[:40]!r}"
                )
    return None


def _smallest(table: NDArray[Any]) -> NDArray[Any]:
    if table.dtype == np.uint8:
        return table
    fits = (table >= 0) & (table <= 255) & (np.trunc(table) == table)
    return table.astype(np.uint8) if fits.all() else table
