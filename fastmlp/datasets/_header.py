"""Whether a first line of numbers has the columns' names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["MISSING", "is_missing", "numbers_are_names"]

MISSING = (
    "", "?", "NA", "N/A", "n/a", "#N/A", "#NA", "NaN", "nan", "-nan", "-NaN", "<NA>", "NULL",
    "null", "None", "#N/A N/A", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
)  # fmt: skip
"""What stands for a missing value."""

_YEARS = range(1800, 2201)
_FEWEST, _FEWEST_OVER_WHOLE = 3, 5  # names in a row that are hardly a sample's numbers


def is_missing(cell: str) -> bool:
    """Tell whether a cell stands for a missing value."""
    return cell.strip() in MISSING


def _counts_up(cells: Sequence[str]) -> bool:
    if len(cells) < 2 or not all(re.fullmatch(r"\d{1,9}", cell) for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    return all(b - a == 1 for a, b in pairwise(numbers))


def numbers_are_names(head: list[str], body: list[list[str]], decimal: str = ".") -> bool:
    """Tell whether a first line's numbers are names: 0, 1, 2 ..., years, whole ones over others.

    Parameters
    ----------
    head : list of str
        The first line's cells.
    body : list of list of str
        Those of some lines below.
    decimal : str

    Examples
    --------
    >>> from fastmlp.datasets._header import numbers_are_names
    >>> numbers_are_names(["2019", "2020"], [["0.5", "1.5"]])
    True
    >>> numbers_are_names(["5", "1", "3"], [["4", "1", "2"]])
    False
    """
    cells = [cell for cell in head if not is_missing(cell)]
    if len(cells) < len(head) - 1 or (len(cells) < len(head) and not is_missing(head[0])):
        return False
    if not cells or not all(re.fullmatch(r"\d{1,9}", cell) for cell in cells):
        return False
    numbers = [int(cell) for cell in cells]
    if len(set(numbers)) < len(numbers):
        return False
    under = [[row[at] for row in body if at < len(row)] for at in range(len(head))]
    broken = [any(decimal in cell for cell in column) for column in under]
    if sum(broken) >= 0.8 * len(head) and numbers == sorted(numbers):
        return True
    if not _counts_up(cells):
        return False
    if any(_counts_up([cell for cell in row if cell]) for row in body):
        return False
    if is_missing(head[0]) and numbers[0] == 0 and not any(map(is_missing, under[0])):
        return True  # an index of pandas, and columns without names
    enough = _FEWEST if any(broken) else _FEWEST_OVER_WHOLE
    return len(cells) >= enough and (numbers[0] in (0, 1) or numbers[0] in _YEARS)
