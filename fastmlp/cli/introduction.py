"""What commands say of a table: what was taken for what, renamed, left out and filled."""

from __future__ import annotations

from collections import Counter

from ..support.wording import counted
from ..tables import Columns, Table
from ..tables.model import Targets
from .console import Console

__all__ = ["introduce", "note_repeated", "notes"]

_MOST_SHOWN, _MOST_NAMES = 5, 8  # classes and columns in a line


def introduce(table: Table, columns: Columns, targets: Targets) -> str:
    """Return the line that says what was taken for what."""
    said = [counted(len(table.frame), "row")]
    if table.layout is not None and (layout := table.layout.describe()):
        said.append(layout)
    features = [counted(len(columns.numbers), "number")] * bool(columns.numbers)
    if columns.categories:
        kinds = sum(table.frame[name].nunique() for name in columns.categories)
        features.append(
            f"{len(columns.categories)} categor{'y' if len(columns.categories) == 1 else 'ies'} "
            f"({kinds} values)"
        )
    if columns.regression:
        label = f"values from {targets.y.min():g} to {targets.y.max():g}"
    else:
        counts = Counter(targets.y.tolist()).most_common()
        shown = ", ".join(f"{name} {count:,}" for name, count in counts[:_MOST_SHOWN])
        more = ", ..." if len(counts) > _MOST_SHOWN else ""
        label = f"{len(counts)} classes ({shown}{more})"
    return (
        f"{table.path.name}: {', '.join(said)}; features: {', '.join(features)}; "
        f"label {columns.label!r}: {label}"
    )


def note_repeated(table: Table, console: Console, used: list[str]) -> None:
    """Say what columns are called of which the header has the name more than once."""
    for name, others in table.repeated.items():
        if not {name, *others}.isdisjoint(used):
            console.note(f"{len(others) + 1} columns are called {name!r}: the first is {name!r}, "
                         f"the others are {', '.join(map(repr, others))}")  # fmt: skip


def notes(table: Table, columns: Columns, targets: Targets, console: Console) -> None:
    """Say what is renamed, left out and filled."""
    note_repeated(table, console, [columns.label, *columns.features])
    for reason in dict.fromkeys(columns.left_out.values()):
        names = [repr(name) for name, why in columns.left_out.items() if why == reason]
        shown = ", ".join(names[:_MOST_NAMES]) + ", ..." * (len(names) > _MOST_NAMES)
        one = f"column {shown}" if len(names) == 1 else f"{len(names)} columns ({shown})"
        console.note(f"{one} left out: {reason}")
    if missing := len(table.frame) - len(targets.rows):
        console.note(f"{counted(missing, 'row')} without a label left out")
    holes = int(table.frame[columns.features].isna().to_numpy().sum())
    if holes:
        console.note(f"{counted(holes, 'missing value')} in the features: numbers are filled "
                     "with the median, for categories they are one more value")  # fmt: skip
