"""Tables out of files: CSV of any layout, and Parquet, into data frames of pandas."""

from __future__ import annotations

import csv
import io
import itertools
import warnings
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..datasets._files import naming
from ..support.extras import require
from ..support.validation import check_path
from .layout import MISSING, Layout, find_layout, label_column
from .numerals import Marks, number_in
from .packing import kind_of_file, open_plain

__all__ = ["Table", "read_table"]

_FIRST_ROWS = 100  # that tell what a column of labels is
_CLASS_MISSING = tuple(text for text in MISSING if text != "None")  # a class may be "None"


@dataclass
class Table:
    """A table that was read, and where its rows stand in the file.

    Attributes
    ----------
    frame : pandas.DataFrame
        All columns; texts where they are not all numbers.
    path : Path
    layout : Layout or None
        None for Parquet.
    """

    frame: Any
    path: Path
    layout: Layout | None

    def label_column(self, label: str | None) -> str:
        """Return the name of the label's column, as `layout.label_column` finds it.

        Raises
        ------
        ValueError
            If there is none, more than one, or a name that the header has more than once.
        """
        names = list(self.frame.columns)
        found = label_column(names, label, f"{self.path}: ")
        alike = [found, *self.repeated.get(found, ())]
        if len(alike) > 1 and (label is None or label == found):
            places = ", ".join(str(names.index(name)) for name in alike)
            raise ValueError(
                f"{self.path}: --label: expected a number, as {len(alike)} columns are called "
                f"{found!r}: {places}"
            )
        return found

    @property
    def marks(self) -> Marks:
        """How numbers are written in the file."""
        return Marks() if self.layout is None else self.layout.marks

    @property
    def repeated(self) -> dict[str, tuple[str, ...]]:
        """What other columns of the same name are called, by the name that the header repeats."""
        return {} if self.layout is None else dict(self.layout.repeated)

    @property
    def unnamed(self) -> list[str]:
        """The columns that the header has no name for."""
        if self.layout is None:
            return []
        return [self.layout.names[at] for at in self.layout.unnamed]

    def blame(self, row: int, column: str, expected: str, got: object) -> NoReturn:
        """Raise ValueError that names a cell by its line in the file.

        Rows and columns are counted from 0, as ``--label`` does, lines from 1.
        """
        where = f"row {row}" if self.layout is None else f"line {_line_of(self, row)}"
        at = list(self.frame.columns).index(column)
        # without a name of its own it is called by its number
        called = repr(column) if column == f"column {at}" else f"column {at} ({column!r})"
        raise ValueError(f"{self.path}: {where}, {called}: expected {expected}, got {got}")


def _reader(path: Path, layout: Layout, text: io.TextIOWrapper) -> Iterator[tuple[int, list[str]]]:
    """Yield the line in which each row that is not blank begins, and its cells."""
    for _ in range(layout.skip):
        text.readline()
    before = layout.skip
    if len(layout.separator) > 1:
        for number, line in enumerate(text, start=before + 1):
            if line.strip():
                yield number, line.split()
        return
    reader = csv.reader(text, delimiter=layout.separator, skipinitialspace=True)
    begin = before + 1
    for row in reader:
        if row:
            yield begin, row
        begin = before + reader.line_num + 1


def _line_of(table: Table, row: int) -> int:
    layout = table.layout
    assert layout is not None
    with (
        open_plain(table.path, layout.kind) as stream,
        io.TextIOWrapper(stream, layout.encoding, errors="replace", newline="") as text,
    ):
        rows = _reader(table.path, layout, text)
        return next(itertools.islice(rows, row, None), (0, []))[0]


def _check_widths(path: Path, layout: Layout) -> None:
    """Raise ValueError for the first row that is not as wide as the header, or as most rows."""
    width = len(layout.names)
    with (
        open_plain(path, layout.kind) as stream,
        io.TextIOWrapper(stream, layout.encoding, errors="replace", newline="") as text,
    ):
        for line, row in _reader(path, layout, text):
            if len(row) != width:
                raise ValueError(f"line {line} should have {width} cells, got {len(row)}")


def _frame(path: Path, layout: Layout, settings: dict[str, Any]) -> Any:
    read_csv, encoding = require("pandas", "table").read_csv, layout.encoding
    if layout.kind == "text":  # by its name, which takes a fifth less time than an open file
        return read_csv(path, encoding=encoding, compression=None, **settings)
    with open_plain(path, layout.kind) as stream:
        return read_csv(stream, encoding=encoding, **settings)


def _first_are_texts(path: Path, layout: Layout, settings: dict[str, Any]) -> bool:
    """Tell whether a column is of texts from its first rows on, which no reader takes for numbers.

    One that has numbers further down stays as it is written too: pandas says that it is mixed.
    """
    cells = _frame(path, layout, settings | {"nrows": _FIRST_ROWS}).iloc[:, 0].dropna()
    words = [cell for cell in cells if cell.strip().lower() not in ("true", "false")]
    return bool(words) and not any(_is_number(cell) for cell in words)


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", ".").replace("_", "x"))
    except ValueError:
        return False
    return True


def _read_text(path: Path, layout: Layout, texts: Collection[str], whole: Collection[str]) -> Any:
    pandas = require("pandas", "table")
    names = list(layout.names)
    missing = {name: list(_CLASS_MISSING if name in whole else MISSING) for name in names}
    settings: dict[str, Any] = {
        "sep": layout.separator, "decimal": layout.marks.decimal,
        "header": None, "names": names, "skiprows": layout.skip, "index_col": False,
        "dtype": {name: str for name in [*texts, *whole] if name in names},
        "na_values": missing, "keep_default_na": False, "skipinitialspace": layout.spaces,
        "engine": "c",
    }  # fmt: skip
    try:
        with warnings.catch_warnings():
            # pandas cuts rows that are too long, and only warns of it
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            # a column that is of numbers in one part of the file and of texts in another
            warnings.simplefilter("error", pandas.errors.DtypeWarning)
            for name in [name for name in whole if name not in texts]:
                # to ask for texts costs 6 % of the time for a table of 23 columns
                if _first_are_texts(path, layout, settings | {"usecols": [name]}):
                    del settings["dtype"][name]
            try:
                frame = _frame(path, layout, settings)
            except pandas.errors.DtypeWarning:  # whole columns at a time take 2.5 times as long
                frame = _frame(path, layout, settings | {"low_memory": False})
            if any(frame[name].dtype.kind in "biuf" for name in whole):  # such as 1.000.000
                as_written = settings["dtype"] | dict.fromkeys(whole, str)
                frame = _frame(path, layout, settings | {"dtype": as_written})
    except UnicodeDecodeError:
        if layout.encoding != "utf-8":
            raise
        # the first byte that is no UTF-8 stands beyond the sample
        return _read_text(path, replace(layout, encoding="cp1252"), texts, whole)
    except pandas.errors.EmptyDataError:
        raise ValueError("it has a header and no rows") from None
    except (pandas.errors.ParserError, pandas.errors.ParserWarning) as error:
        _check_widths(path, layout)
        raise ValueError(str(error)) from None
    if frame.empty:
        raise ValueError("it has a header and no rows")
    if frame[names[-1]].isna().any():  # a row that is too short ends so
        _check_widths(path, layout)
    if layout.marks.thousands is not None:
        _read_grouped(frame, [name for name in names if name not in (*texts, *whole)], layout.marks)
    return frame


def _read_grouped(frame: Any, names: list[str], marks: Marks) -> None:
    """Turn columns of texts into floats where every cell is a number.

    pandas takes marks between thousands away wherever they stand: 12.03.2020 would be 12032020.
    """
    for name in names:
        if frame[name].dtype.kind != "O":
            continue
        present = frame[name].notna().to_numpy()
        cells = frame[name].to_numpy(object)[present]
        numbers = []
        for cell in cells:
            number = number_in(cell, marks) if isinstance(cell, str) else None
            if number is None:
                break
            numbers.append(number)
        if numbers and len(numbers) == len(cells):
            values = np.full(len(frame), np.nan)
            values[present] = numbers
            frame[name] = values


def read_table(
    path: Any,
    *,
    header: bool | None = None,
    known: Collection[str] = (),
    texts: Collection[str] = (),
    label: str | None = None,
    marks: Marks | None = None,
) -> Table:
    r"""Read a table from CSV text or a Parquet file.

    Separator, marks in numbers, encoding, compression and header are found out. Cells that are
    empty or hold ``?``, ``NA``, ``NaN``, ``null`` and the like are missing.

    Parameters
    ----------
    path : str or os.PathLike
    header : bool, optional
        Whether the first line has the columns' names; by default it is found out.
    known : collection of str
        Names that a header should have.
    texts : collection of str
        Columns that stay as they are written.
    label : str, optional
        The column of labels, as `label_column` finds it: stays as it is written, and "None" is a
        text there.
    marks : Marks, optional
        How numbers should be written: taken where the file does not show another way.

    Returns
    -------
    Table

    Raises
    ------
    ImportError
        If pandas is not installed.
    OSError
        If the file cannot be read.
    ValueError
        If it holds no table; the message names the file, and the line where there is one.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastmlp.tables import read_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "people.csv")
    ...     _ = file.write_text("height;city\n1,8;Bonn\n1,6;?\n")
    ...     table = read_table(file)
    >>> table.frame["height"].tolist(), table.layout.describe()
    ([1.8, 1.6], 'cells between ;, decimal commas')
    """
    require("pandas", "table")
    file, whole = check_path(path), []
    with naming(file, "a table as CSV or Parquet"):
        kind = kind_of_file(file)
        if kind in ("npz", "idx"):
            raise ValueError(f"it is an {kind.upper()} file")
        if kind == "parquet":
            return Table(_read_parquet(file), file, None)
        layout = find_layout(file, header=header, known=known, marks=marks)
        with suppress(ValueError):  # of a table without labels
            whole.append(label_column(list(layout.names), label))
        return Table(_read_text(file, layout, texts, whole), file, layout)


def _read_parquet(path: Path) -> Any:
    pandas, arrow = require("pandas", "table"), require("pyarrow.lib", "table")
    try:
        frame = pandas.read_parquet(path, engine="pyarrow")
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"it cannot be read as Parquet ({error})") from None
    if frame.empty:
        raise ValueError("it has no rows")
    frame.columns = [str(name) for name in frame.columns]
    return frame.reset_index(drop=True)
