"""How numbers are written in a table: the marks of decimals and between thousands."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..datasets._header import is_missing

__all__ = ["Marks", "find_marks", "number_in"]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)", re.IGNORECASE)
_THOUSANDS = (".", ",", " ", "\u00a0", "\u202f", "'", "\u2019")
_GROUPED = {
    mark: re.compile(rf"[+-]?[1-9]\d{{0,2}}({re.escape(mark)}\d{{3}})+([.,]\d+)?")
    for mark in _THOUSANDS
}
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_EITHER = {mark: re.compile(rf"[+-]?[1-9]\d{{0,2}}\{mark}\d{{3}}") for mark in ",."}  # as 1,234
_WHOLE = re.compile(r"[+-]?[1-9]\d{0,2}")


@dataclass(frozen=True)
class Marks:
    """The marks in a table's numbers.

    Attributes
    ----------
    decimal : str
    thousands : str or None
    """

    decimal: str = "."
    thousands: str | None = None


def number_in(cell: str, marks: Marks = Marks()) -> float | None:
    """Return the number that a cell holds, None where it holds something else.

    Examples
    --------
    >>> from fastmlp.tables.numerals import Marks, number_in
    >>> number_in("1.5"), number_in("1.234,5", Marks(",", ".")), number_in("12 kg")
    (1.5, 1234.5, None)
    """
    text = cell.strip()
    decimal, thousands = marks.decimal, marks.thousands
    if thousands is not None and thousands in text:
        if not _GROUPED[thousands].fullmatch(text):
            return None
        text = text.replace(thousands, "")
    if decimal != ".":
        if "." in text:
            return None
        text = text.replace(decimal, ".")
    return float(text) if _NUMBER.fullmatch(text) else None


def _decimal_shown(cell: str) -> str | None:
    """Return the decimal mark of a cell, None where it shows none."""
    if "." in cell and _NUMBER.fullmatch(cell):
        return "."
    for thousands, grouped in _GROUPED.items():
        if grouped.fullmatch(cell):
            last = re.sub(r"[\d+-]", "", cell)[-1]
            if last != thousands:
                return last
            if thousands == "," and not _EITHER[","].fullmatch(cell):
                return "."  # more than one of them
            break
    return "," if _COMMA.fullmatch(cell) else None


def _are_thousands(column: Sequence[str], mark: str) -> bool:
    """Tell whether a mark in a column is between thousands: 950 stands beside 1,234."""
    either = [_EITHER[mark].fullmatch(cell) is not None for cell in column]
    rest = {cell for cell, is_either in zip(column, either, strict=True) if not is_either} - {"0"}
    return any(either) and bool(rest) and all(map(_WHOLE.fullmatch, rest))


def _shown_decimals(column: Sequence[str], separator: str) -> Iterator[str | None]:
    """Yield the decimal marks that cells show; where commas separate them, 1,234 shows a point."""
    if _are_thousands(column, "."):
        return  # a point elsewhere says more
    thousands = separator == "," or _are_thousands(column, ",")
    for cell in column:
        yield "." if thousands and _EITHER[","].fullmatch(cell) else _decimal_shown(cell)


def _readable(cells: Iterable[str], marks: Marks) -> int:
    return sum(number_in(cell, marks) is not None for cell in cells)


def find_marks(rows: Sequence[Sequence[str]], separator: str, known: Marks | None = None) -> Marks:
    """Return how the numbers of some rows are written.

    What a comma in 1,234 is depends on the other cells; where commas separate cells, it is between
    thousands.

    Parameters
    ----------
    rows : sequence of list of str
    separator : str
        Between cells.
    known : Marks, optional
        Taken where they read as many cells as those that are found.

    Examples
    --------
    >>> from fastmlp.tables.numerals import find_marks
    >>> find_marks([["1.234,50", "7"]], ";")
    Marks(decimal=',', thousands='.')
    >>> find_marks([["1,234", "7.5"]], ",")
    Marks(decimal='.', thousands=',')
    """
    width = max(map(len, rows))
    columns = [[row[at].strip() for row in rows if at < len(row)] for at in range(width)]
    columns = [[cell for cell in column if not is_missing(cell)] for column in columns]
    shown = Counter(mark for column in columns for mark in _shown_decimals(column, separator))
    # of cells that commas separate, few are numbers with one: those may be lists, as 1,2
    points = shown["."] and (math.inf if separator == "," else shown["."])
    decimal = "," if shown[","] > points else "."
    cells = [cell for column in columns for cell in column]
    found = Marks(decimal, _thousands(cells, decimal))
    if known is not None and _readable(cells, known) >= _readable(cells, found):
        return known
    return found


def _thousands(cells: Sequence[str], decimal: str) -> str | None:
    """Return the mark between thousands, None where there is none."""
    counts = {
        mark: sum(
            mark in cell and number_in(cell, Marks(decimal, mark)) is not None for cell in cells
        )
        for mark in _THOUSANDS
        if mark != decimal
    }
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else None
