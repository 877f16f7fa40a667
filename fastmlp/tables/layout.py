"""How a file of text holds a table: encoding, separator, decimal mark, header."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..datasets._header import MISSING, is_missing, numbers_are_names
from ..support.validation import check_path
from .numerals import Marks, find_marks, number_in
from .packing import kind_of_file, open_plain

__all__ = [
    "LABEL_NAMES",
    "MISSING",
    "Layout",
    "find_layout",
    "first_is_header",
    "is_missing",
    "label_column",
]

LABEL_NAMES = ("label", "class", "target", "y")
"""What the label's column is called where nobody says it, in any case."""

_MOST_LISTED = 8  # names in a message
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_SAMPLE, _MOST_SAMPLE = 1 << 18, 1 << 26  # bytes looked at; more where lines are long
_ROWS = 300  # looked at
_SEPARATORS = (",", ";", "\t", "|")
_BLANKS = r"\s+"


@dataclass(frozen=True)
class Layout:
    r"""How a file of text holds a table.

    Attributes
    ----------
    kind : str
        What packs it; see `fastmlp.tables.packing.kind_of_file`.
    encoding : str
    separator : str
        A character, or the expression ``\s+`` for blanks.
    marks : Marks
        How numbers are written.
    skip : int
        Lines before the table, the header included.
    names : tuple of str
        Of the columns; without a header "column 0", "column 1" ...
    unnamed : tuple of int
        Columns of which the header has no name.
    has_header : bool
    spaces : bool
        Whether there are blanks between a separator and a cell.
    repeated : tuple of (str, tuple of str)
        Names that the header repeats, and what the other columns of each are called.
    """

    kind: str
    encoding: str
    separator: str
    marks: Marks
    skip: int
    names: tuple[str, ...]
    unnamed: tuple[int, ...]
    has_header: bool
    spaces: bool
    repeated: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def describe(self) -> str:
        """Return what is out of the ordinary, in words; "" where nothing is."""
        said = []
        if self.kind != "text":
            said.append(self.kind)
        if self.encoding not in ("utf-8", "utf-8-sig"):
            said.append(self.encoding.upper())
        if self.separator != ",":
            named = {"\t": "tabs", _BLANKS: "blanks"}
            said.append(f"cells between {named.get(self.separator, self.separator)}")
        if self.marks.decimal == ",":
            said.append("decimal commas")
        if self.marks.thousands is not None:
            named = {",": "commas", ".": "points", "'": "apostrophes", "\u2019": "apostrophes"}
            said.append(f"{named.get(self.marks.thousands, 'blanks')} between thousands")
        if not self.has_header:
            said.append("no header")
        return ", ".join(said)


def _encoding(sample: bytes) -> str:
    for bom, name in _BOMS:
        if sample.startswith(bom):
            return name
    if b"\0" in sample:
        halves = [sample[i::2].count(0) for i in (0, 1)]
        if max(halves) < len(sample) // 6 or min(halves) * 10 > max(halves):
            raise ValueError("it is no text: it holds zero bytes")
        return "utf-16-le" if halves[1] > halves[0] else "utf-16-be"
    for name in ("utf-8", "cp1252"):
        try:
            codecs.getincrementaldecoder(name)().decode(sample)
            return name
        except UnicodeDecodeError:
            continue
    return "latin-1"


def _sample(path: Path, kind: str) -> tuple[str, str, bool]:
    """Return a file's beginning, its encoding, and whether that is all of it."""
    with open_plain(path, kind) as stream:
        data, size = stream.read(_SAMPLE), _SAMPLE
        while len(data) == size and size < _MOST_SAMPLE and data.count(b"\n") <= _ROWS:
            data += stream.read(size)
            size *= 2
    encoding = _encoding(data)
    text = codecs.getincrementaldecoder(encoding)("strict").decode(data)
    return text, encoding, len(data) < size


def _rows(text: str, separator: str, whole: bool) -> list[list[str]]:
    """Return the first rows' cells; the last, which the sample may have cut, is left out."""
    if separator == _BLANKS:
        rows = [line.split() for line in text.splitlines()]
    else:
        rows = []
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True
        )
        try:
            for row in reader:
                rows.append(row)
                if len(rows) > _ROWS + 1:
                    break
        except csv.Error:
            pass
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not whole and len(rows) > 1 and len(rows) <= _ROWS:
        rows.pop()
    return rows[: _ROWS + 1]


def _score(rows: list[list[str]]) -> tuple[float, ...]:
    """Return how much rows look like a table: all as wide, of many numbers, of many columns.

    All rows, or all but a few: the header is one, where decimal commas pass for separators.
    """
    widths = [len(row) for row in rows]
    usual = max(set(widths), key=widths.count)
    if usual < 2:
        return (0.0,) * 4
    alike = sum(width == usual for width in widths) / len(widths)
    cells = [cell for row in rows[:50] for cell in row]
    plain = sum(
        number_in(cell) is not None or number_in(cell, Marks(",")) is not None or is_missing(cell)
        for cell in cells
    )
    return (round(alike, 1), float(alike == 1), plain / len(cells), float(usual))


def _separator(text: str, whole: bool) -> str:
    scores = {}
    for separator in (*_SEPARATORS, _BLANKS):
        rows = _rows(text, separator, whole)
        if rows:
            scores[separator] = _score(rows)
    if not scores:
        raise ValueError("it holds only empty lines")
    blanks = scores.pop(_BLANKS)
    best = max(scores, key=lambda separator: scores[separator])
    if scores[best][-1] < 2:
        # blanks are the last choice: words of one cell have them too
        return _BLANKS if blanks[0] >= 1 and blanks[2] > 0.5 else ","
    return best


def first_is_header(
    rows: list[list[str]],
    marks: Marks = Marks(),  # noqa: B008 - frozen
) -> bool:
    """Tell by its cells, and those below, whether the first line has the columns' names.

    Examples
    --------
    >>> from fastmlp.tables.layout import first_is_header
    >>> first_is_header([["height", "kind"], ["1.8", "tall"]])
    True
    >>> first_is_header([["5.1", "setosa"], ["4.9", "setosa"]])
    False
    >>> first_is_header([["2019", "2020"], ["0.5", "1.5"]])
    True
    """
    head, body = [cell.strip() for cell in rows[0]], rows[1:]
    words = [
        at for at, cell in enumerate(head)
        if not is_missing(cell) and number_in(cell, marks) is None
    ]  # fmt: skip
    if not body:
        return len(words) == len(head)
    under = [
        [row[at].strip() for row in body if at < len(row) and not is_missing(row[at])]
        for at in range(len(head))
    ]
    numeric = [
        bool(column)
        and sum(number_in(cell, marks) is not None for cell in column) >= 0.9 * len(column)
        for column in under
    ]
    if any(numeric[at] and head[at] not in under[at] for at in words):
        return True
    if len(words) < len(head) and any(
        numeric[at] for at in range(len(head)) if at not in words and head[at]
    ):
        rest = [cell for at, cell in enumerate(head) if at not in words]
        below = [[row[at] for at in range(len(row)) if at not in words] for row in body]
        return numbers_are_names(rest, below, marks.decimal)
    return not any(head[at] in under[at] for at in words)


def _named(
    head: Sequence[str],
) -> tuple[tuple[str, ...], tuple[int, ...], dict[str, list[str]]]:
    """Return names that are all different, which columns have none, and what repeated ones become.

    Repeated ones become what pandas makes of them.
    """
    names: dict[str, int] = {}  # the number of the last one that was called so
    repeated: dict[str, list[str]] = {}
    unnamed = tuple(at for at, cell in enumerate(head) if not cell.strip())
    for at, cell in enumerate(head):
        name = first = cell.strip() or f"column {at}"
        number = names.get(first, 0)
        while name in names:
            number += 1
            name = f"{first}.{number}"
        names[first] = number
        names.setdefault(name, 0)
        if number:
            repeated.setdefault(first, []).append(name)
    return tuple(names), unnamed, repeated


def find_layout(
    path: Any,
    *,
    header: bool | None = None,
    known: Collection[str] = (),
    marks: Marks | None = None,
) -> Layout:
    """Return how a file of text holds a table.

    Parameters
    ----------
    path : str or os.PathLike
    header : bool, optional
        Whether the first line has the columns' names; by default it is found out.
    known : collection of str
        Names that a header should have: with half of them the first line is one.
    marks : Marks, optional
        How numbers should be written: taken where the file does not show another way.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it holds no table of text.
    """
    path = check_path(path)
    kind = kind_of_file(path)
    text, encoding, whole = _sample(path, kind)
    skip, given = 0, None
    first = text.split("\n", 1)[0].rstrip("\r")
    if re.fullmatch(r'"?sep=.?"?', first):  # a line for Excel
        given, skip = first.strip('"')[4:] or ",", 1
        text = text.split("\n", 1)[1]
    start = text[:200].lstrip().lower()
    for sign, what in (("<", "a web page or XML"), ("{", "JSON"), ("[", "JSON")):
        if start.startswith(sign):
            raise ValueError(f"it looks like {what}")
    separator = given or _separator(text, whole)
    rows = _rows(text, separator, whole)
    if not rows:
        raise ValueError("it holds only empty lines")
    marks = find_marks(rows[1:] or rows, separator, marks)
    if header is None:
        here = sum(cell.strip() in known for cell in rows[0])
        header = bool(known and 2 * here >= len(known)) or first_is_header(rows, marks)
    blank = len(text) - len(text.lstrip("\r\n"))
    lines = text[:blank].count("\n") or text[:blank].count("\r")
    if header:
        names, unnamed, repeated = _named(rows[0])
        lines += 1
    else:
        width = Counter(len(row) for row in rows).most_common(1)[0][0]
        names, unnamed, repeated = tuple(f"column {at}" for at in range(width)), (), {}
    return Layout(
        kind, encoding, separator, marks, skip + lines, names, unnamed, header,
        separator + " " in text, tuple((name, tuple(others)) for name, others in repeated.items()),
    )  # fmt: skip


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(map(repr, names[:_MOST_LISTED])) + more


def label_column(names: list[str], label: str | None, where: str = "") -> str:
    """Return the name of the label's column.

    Parameters
    ----------
    names : list of str
    label : str or None
        Its name or its number, counted from 0; by default the column called label, class, target
        or y.
    where : str
        What the message begins with.

    Raises
    ------
    ValueError
        If there is none, or more than one; the columns are listed.

    Examples
    --------
    >>> from fastmlp.tables.layout import label_column
    >>> label_column(["height", "Class"], None), label_column(["height", "Class"], "0")
    ('Class', 'height')
    """
    if label is not None:
        if label in names:
            return label
        if re.fullmatch(r"-?\d+", label) and -len(names) <= int(label) < len(names):
            return names[int(label)]
        raise ValueError(f"{where}--label: expected one of the columns {_listed(names)}, or a "
                         f"number from 0 to {len(names) - 1}, got {label!r}")  # fmt: skip
    for wanted in LABEL_NAMES:
        found = [name for name in names if name.strip().lower() == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{where}--label: expected the name or the number of the label's "
                             f"column, as there are {_listed(found)}")  # fmt: skip
    raise ValueError(
        f"{where}--label: expected the name or the number of the label's column, as no column is "
        f"called {', '.join(LABEL_NAMES)}; the columns are {_listed(names)}"
    )
