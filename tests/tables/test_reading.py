"""What is read of a table: its header, and cells as they are written."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastmlp.tables import read_table
from fastmlp.tables.layout import first_is_header


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([["0", "1", "2", "3", "4"], *[["7", "1", "9", "2", "5"]] * 5], True),
        ([["0", "1", "2", "3", "4"], *[["1", "2", "3", "4", "5"]] * 5], False),
        ([["0", "1", "2"], *[["7", "1", "9"]] * 5], False),
        ([["5", "1", "3"], *[["4", "1", "2"]] * 5], False),
        ([["", "0", "1"], ["0", "1.5", "x"], ["1", "2.5", "y"]], True),
        ([["label", "0", "1", "2"], ["a", "1.5", "2.5", "1"], ["b", "2.5", "3.5", "2"]], True),
        ([["p", "x", "s"], ["e", "x", "s"], ["p", "y", "s"]], False),
        ([["kind", "cap", "odor"], ["e", "x", "s"], ["p", "y", "s"]], True),
        ([["39", "State", "<=50K"], ["50", "Self", "<=50K"], ["38", "Private", ">50K"]], False),
        ([["?", "1.5"], ["2", "2.5"]], False),
        ([["name", "age"]], True),
        ([["1", "2"]], False),
    ],
)
def test_a_header_is_told_from_samples(rows, expected):
    assert first_is_header(rows) == expected


def test_a_column_of_numbers_first_and_texts_later_keeps_its_texts(tmp_path):
    codes = ["007"] * 300_000 + ["x"] * 300_000
    pd.DataFrame({"code": codes, "n": 1}).to_csv(tmp_path / "t.csv", index=False)
    assert set(read_table(tmp_path / "t.csv").frame["code"]) == {"007", "x"}


@pytest.mark.parametrize(
    ("first", "later"), [("x", "007"), ("007", "x"), ("1.234,5", "2.345,5"), ("True", "False")]
)
def test_labels_stay_as_they_are_written(tmp_path, first, later):
    count = 300_000 if "x" in (first, later) else 150
    labels = [first] * count + [later] * count
    pd.DataFrame({"n": np.arange(2 * count) * 0.5, "label": labels}).to_csv(
        tmp_path / "t.csv", index=False, sep=";", decimal=","
    )
    assert set(read_table(tmp_path / "t.csv", label="label").frame["label"]) == {first, later}
