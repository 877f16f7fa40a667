"""Cells as a model takes them: numbers, and categories as texts, whoever has read the file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..support.extras import require
from ..support.frames import kind_of, values_of
from .layout import is_missing
from .numerals import Marks, number_in

__all__ = ["categories_of", "numbers_of"]

_LARGEST = 1e150  # squares are summed
_WHOLE = re.compile(r"[+-]?\d+")
_MOST_DIGITS = 20  # of what readers take for a whole number
_ALIKE = ("string", "boolean", "integer", "floating")
_BOOLEANS = {"true": "True", "TRUE": "True", "false": "False", "FALSE": "False"}  # of pandas


def _from_number(value: float) -> str:
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.12g}"  # readers of CSV differ in the last digits


def _from_text(text: str) -> str:
    """Return a text of a category; numbers and truth values as if a reader had told them apart."""
    text = text.strip()
    if is_missing(text):
        return ""
    if _WHOLE.fullmatch(text):
        return str(int(text)) if len(text) <= _MOST_DIGITS else text
    number = number_in(text)
    if number is not None and math.isfinite(number):
        return _from_number(number)
    return _BOOLEANS.get(text, text)


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | np.floating):
        return _from_number(float(value))
    return _from_text(str(value))


def categories_of(column: Any) -> np.ndarray:
    """Return a column of categories as texts; "" where one is missing.

    One value has one text, whether a reader of files took it for a text, a number or a truth
    value, which depends on the other rows: 7, 7.0 and "07" are "7", True and "true" are "True".

    Parameters
    ----------
    column : Series or sequence

    Returns
    -------
    ndarray of object

    Examples
    --------
    >>> from fastmlp.tables.cells import categories_of
    >>> categories_of([" Bonn", "true", True, "07", 7.0, "?", None]).tolist()
    ['Bonn', 'True', 'True', '7', '7', '', '']
    """
    pandas = require("pandas", "table")
    values = np.asarray(column, dtype=object)
    present = np.flatnonzero(~pandas.isna(values))
    texts = np.full(len(values), "", object)
    kinds, codes = values[present], np.arange(len(present))
    if pandas.api.types.infer_dtype(kinds) in _ALIKE:  # among others, True would pass for 1
        codes, kinds = pandas.factorize(kinds)
    texts[present] = np.array([_text(kind) for kind in kinds], object)[codes]
    return texts


def numbers_of(
    column: Any,
    blame: Callable[[int, str, str], NoReturn],
    *,
    expected: str = "a number",
    marks: Marks = Marks(),  # noqa: B008 - frozen
) -> np.ndarray:
    """Return a column as floats, NaN where one is missing.

    Parameters
    ----------
    column : Series
    blame : callable
        Raises for a cell that is no finite number, or too large for a variance. It takes the row,
        counted from 0, what was expected, and what is there.
    expected : str
        What a number is called.
    marks : Marks
        How numbers are written.

    Examples
    --------
    >>> import pandas
    >>> from fastmlp.tables.cells import numbers_of
    >>> from fastmlp.tables.numerals import Marks
    >>> numbers_of(pandas.Series(["1,5", "?", "2"]), print, marks=Marks(",")).tolist()
    [1.5, nan, 2.0]
    """
    if kind_of(column.dtype) == "numbers":
        values = np.asarray(values_of(column), np.float64)
    else:
        cells = np.asarray(column, dtype=object)
        missing = require("pandas", "table").isna(cells)
        values = np.full(len(cells), np.nan)
        for row in np.flatnonzero(~missing).tolist():
            cell = str(cells[row])
            if is_missing(cell):
                continue
            number = number_in(cell, marks)
            if number is None:
                blame(row, expected, repr(cell[:40]))
            values[row] = number
    beyond = np.abs(values) > _LARGEST
    if beyond.any():
        worst = int(np.argmax(beyond))
        what = "a finite number" if np.isinf(values[worst]) else f"a number up to {_LARGEST:g}"
        blame(worst, what, str(values[worst]))
    return values
