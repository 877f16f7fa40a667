"""What the columns of a table are: label, numbers, categories, and what no network can use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..support.frames import kind_of
from .cells import numbers_of
from .numerals import number_in
from .reading import Table

__all__ = ["Columns", "as_numbers", "as_texts", "describe"]

_INDEX_NAMES = ("index", "id", "row", "row_id", "rowid", "rownames", "no", "no.", "nr")
_DATES = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})"
    r"|\d{1,2}[ -][A-Za-z]{3,9}\.?,?[ -]\d{2,4}|[A-Za-z]{3,9}\.? \d{1,2}, \d{4})"
    r"([T ,]+\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp][Mm])?( ?Z| ?UTC| ?[+-]\d{2}:?\d{2})?)?"
    r"|\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?"
)
_FEW = 20  # so many texts or numbers are kinds of something
_MOST_CATEGORIES = 1000
_LOOKED_AT = 1000  # texts, for what they are


@dataclass
class Columns:
    """What the columns of a table are.

    Attributes
    ----------
    label : str
    regression : bool
        Whether the label holds values, not classes.
    numbers, categories : list of str
        The features.
    left_out : dict
        Why other columns are none, by name.
    """

    label: str
    regression: bool
    numbers: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def features(self) -> list[str]:
        """All features, numbers first."""
        return [*self.numbers, *self.categories]


def as_texts(series: Any) -> Any:
    """Return a column as texts; "" where one is missing."""
    missing = series.isna().to_numpy()
    texts = series.astype(object).to_numpy().copy()
    if not all(isinstance(text, str) for text in texts[~missing][:_LOOKED_AT]):
        texts = np.array([str(text) for text in texts], object)
    texts = np.array([text.strip() for text in map(str, texts)], object)
    texts[missing] = ""
    return texts


def as_numbers(table: Table, name: str, expected: str = "a number") -> np.ndarray:
    """Return a column as floats, NaN where one is missing.

    Raises
    ------
    ValueError
        If a cell is no finite number, or too large for a variance; its line and column are named.
    """
    return numbers_of(
        table.frame[name], lambda row, what, got: table.blame(row, name, what, got),
        expected=expected, marks=table.marks,
    )  # fmt: skip


def _is_index(series: Any, name: str, first: bool, unnamed: bool) -> bool:
    """Tell whether a column counts the rows: whole numbers, all different."""
    called = name.strip().lower() in _INDEX_NAMES or name.startswith("Unnamed: 0")
    if not (called or (first and unnamed)) or len(series) < 2:
        return False
    if kind_of(series.dtype) != "numbers" or series.isna().any():
        return False
    values = series.to_numpy(dtype=np.float64)
    return bool((values == np.trunc(values)).all()) and len(np.unique(values)) == len(values)


def _counts_rows(series: Any) -> bool:
    """Tell whether a column without a header is 0, 1, 2 ... or 1, 2, 3 ..."""
    if kind_of(series.dtype) != "numbers" or len(series) < 3 or series.isna().any():
        return False
    values = series.to_numpy(dtype=np.float64)
    return values[0] in (0, 1) and bool((np.diff(values) == 1).all())


def _texts_are(table: Table, name: str, present: Any) -> str:
    """Return "" where texts are categories, else why they are not used."""
    texts = present.astype(str).str.strip()
    kinds = texts.unique()
    if len(kinds) <= 1:
        return "it is the same in every row"
    looked = texts.iloc[:_LOOKED_AT]
    numeric = [number_in(text, table.marks) is not None for text in looked]
    several = len({text for text, is_number in zip(looked, numeric, strict=True) if is_number})
    if several > _FEW and sum(numeric) >= 0.9 * len(numeric) and not all(numeric):
        row = table.frame.index.get_indexer(looked.index[[numeric.index(False)]])[0]
        table.blame(
            int(row),
            name,
            "a number, as most others are, or nothing",
            repr(looked.iloc[numeric.index(False)]),
        )
    sample = kinds[:_LOOKED_AT]
    if sum(_DATES.fullmatch(text) is not None for text in sample) >= 0.95 * len(sample):
        return "it holds dates or times"
    if len(kinds) > _MOST_CATEGORIES or len(kinds) > max(_FEW, len(texts) // 2):
        return f"it holds {len(kinds):,} different texts"
    return ""


def _is_regression(table: Table, label: str, wanted: bool | None) -> bool:
    """Tell whether a label holds values: asked for, or numbers that are hardly classes."""
    if wanted is not None:
        return wanted
    texts = table.frame[label].dropna().astype(str)
    kinds = list(texts.unique())
    if len(kinds) <= _FEW:
        return False
    numbers = [number_in(text, table.marks) for text in kinds]
    if any(number is None for number in numbers):
        return False
    broken = any(number != int(number) for number in numbers if number is not None)
    return broken or (len(kinds) > 2.5 * _FEW and len(kinds) > len(texts) / 10)


def describe(
    table: Table, label: str | int | None = None, *, regression: bool | None = None
) -> Columns:
    r"""Return what the columns of a table are.

    Parameters
    ----------
    table : Table
    label : str or int, optional
        The label's column, by name or number.
    regression : bool, optional
        Whether the label holds values; by default it does where it has many different numbers.

    Raises
    ------
    ValueError
        If there is no label or no feature, or a column of numbers has a cell that is none.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastmlp.tables import describe, read_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "people.csv")
    ...     _ = file.write_text("id,height,city,label\n7,1.8,Bonn,a\n9,1.6,Rom,b\n")
    ...     found = describe(read_table(file))
    >>> found.numbers, found.categories, found.left_out
    (['height'], ['city'], {'id': 'it numbers the rows'})
    """
    if not isinstance(table, Table):
        raise TypeError(
            f"table: expected a Table, as read_table returns one, got {type(table).__name__}"
        )
    names = list(table.frame.columns)
    chosen = table.label_column(None if label is None else str(label))
    found = Columns(chosen, _is_regression(table, chosen, regression))
    headless = table.layout is not None and not table.layout.has_header
    for at, name in enumerate(names):
        if name == chosen:
            continue
        reason, is_text = _unusable(
            table, name, first=at == 0, unnamed=name in table.unnamed, headless=headless
        )
        if reason:
            found.left_out[name] = reason
        elif is_text:
            found.categories.append(name)
        else:
            found.numbers.append(name)
    if not found.features:
        said = "; ".join(f"{name!r}: {reason}" for name, reason in found.left_out.items())
        raise ValueError(
            f"{table.path}: expected at least one column that a network can use beside the label "
            f"{chosen!r}" + (f"; {said}" if said else "")
        )
    return found


def _unusable(
    table: Table, name: str, *, first: bool, unnamed: bool, headless: bool
) -> tuple[str, bool]:
    """Return why a column is no feature, "" where it is one, and whether it holds texts."""
    series = table.frame[name]
    present = series.dropna()
    if present.empty:
        return "it is empty", False
    if _is_index(series, name, first, unnamed) or (headless and first and _counts_rows(series)):
        return "it numbers the rows", False
    kind = kind_of(series.dtype)
    if kind == "dates":
        return "it holds dates or times", False
    boolean = "bool" in str(series.dtype)
    if kind == "numbers" and not boolean:
        values = present.to_numpy(dtype=np.float64)
        if np.isinf(values).any():
            as_numbers(table, name)  # says where
        same = bool((values == values[0]).all()) and len(present) == len(series)
        return "it is the same in every row" if same and len(series) > 1 else "", False
    if kind == "objects" and not all(
        isinstance(value, str | bool | int | float) for value in present.iloc[:_LOOKED_AT]
    ):
        if all(type(value).__name__ == "Decimal" for value in present.iloc[:_LOOKED_AT]):
            return "", False
        return f"it holds values of type {type(present.iloc[0]).__name__}", False
    return _texts_are(table, name, present), True
