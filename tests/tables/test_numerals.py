"""How numbers are written: decimal marks, marks between thousands, and what only looks alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fastmlp.cli import main
from fastmlp.tables import describe, read_table
from fastmlp.tables.numerals import Marks, find_marks, number_in

ENGLISH, GERMAN = Marks(".", ","), Marks(",", ".")
N = 60
VALUES = np.random.default_rng(0).uniform(-9e6, 9e6, N).round(2)
SMALL = np.arange(N) * 37 % 1400  # with and without a mark between thousands


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(values: np.ndarray, marks: Marks, digits: int = 2) -> list[str]:
    signs = {",": marks.thousands or "", ".": marks.decimal}
    return ["".join(signs.get(sign, sign) for sign in f"{value:,.{digits}f}") for value in values]


def test_numbers_in_cells():
    assert number_in("-1.5e3") == -1500
    assert number_in("1,5", Marks(",")) == 1.5
    assert number_in(" 7 ") == 7
    assert number_in("-1,234,567.5", ENGLISH) == -1234567.5
    assert number_in("1.234", GERMAN) == 1234
    for text in ("1_000", "12 kg", "", "1,5", "0x1", "nan", "1.2.3"):
        assert number_in(text) is None
    for text in ("12.03.2020", "10.0.0.1", "1.5", "0.123", "1.2345", "1.234,5,6"):
        assert number_in(text, GERMAN) is None
    for text in ("1,2", "1,2345", "12,34,567", "1.234,5"):
        assert number_in(text, ENGLISH) is None
    assert number_in("1.5", Marks(",")) is None


@pytest.mark.parametrize(
    ("column", "separator", "expected"),
    [
        (["1.5", "2"], ",", Marks()),
        (["1,5", "2"], ";", Marks(",")),
        (["1,5", "2"], ",", Marks(",")),
        (["1,234.50", "7.25"], ";", ENGLISH),
        (["1,234,567"], "\t", ENGLISH),
        (["1,234", "950"], ";", ENGLISH),
        (["1,234", "0"], ";", Marks(",")),
        (["1,234"], ";", Marks(",")),
        (["1,234"], ",", ENGLISH),
        (["1.234,50", "7,25"], ";", GERMAN),
        (["1 234,50", "7,25"], ";", Marks(",", " ")),
        (["1\u202f234,50", "7,25"], "\t", Marks(",", "\u202f")),
        (["1'234.50", "7.25"], ",", Marks(".", "'")),
        (["1.234", "0.5"], ";", Marks()),
        (["12.03.2020"], ";", Marks()),
    ],
)
def test_marks_are_found(column, separator, expected):
    assert find_marks([[cell] for cell in column], separator) == expected


def test_known_marks_are_taken_where_a_file_shows_no_others():
    assert find_marks([["1.234"]], ";", GERMAN) == GERMAN
    assert find_marks([["1.234"], ["0.5"]], ";", GERMAN) == Marks()
    assert find_marks([["1,234"]], ",", Marks(",")) == Marks(",")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    "marks", [ENGLISH, GERMAN, Marks(",", " "), Marks(".", "'"), Marks(",", "\u00a0"), Marks(",")]
)
def test_a_table_is_read_as_it_was_written(here, separator, marks):
    frame = pd.DataFrame({
        "sum": written(VALUES, marks), "n": written(SMALL, marks, 0), "small": SMALL,
        "day": [f"{1 + i % 28:02}.03.2020" for i in range(N)],
        "address": [f"10.0.{i % 7}.{i % 3}" for i in range(N)],
        "label": ["a", "b"] * (N // 2),
    })  # fmt: skip
    frame.loc[3, "sum"] = "?"
    frame.to_csv("t.csv", sep=separator, index=False)
    table = read_table("t.csv")
    assert table.layout.marks == marks
    expected = VALUES.copy()
    expected[3] = np.nan
    np.testing.assert_array_equal(table.frame["sum"], expected)
    np.testing.assert_array_equal(table.frame["n"], SMALL)
    assert table.frame["day"].tolist() == frame["day"].tolist()
    found = describe(table)
    assert found.numbers == ["sum", "n", "small"]
    assert found.categories == ["address"]
    assert found.left_out == {"day": "it holds dates or times"}


@pytest.mark.parametrize("marks", [ENGLISH, GERMAN])
def test_values_between_thousands_are_predicted_in_their_own_size(here, capsys, marks):
    x = np.linspace(1000, 90000, N)
    rows = zip(written(x, marks), written(2 * x, marks), strict=True)
    Path("t.csv").write_text("x;price\n" + "".join(f"{a};{b}\n" for a, b in rows))
    options = ("--label", "price", "--plot", "none", "--epochs", "1")
    assert main(["train", "t.csv", *options]) == 0
    said = capsys.readouterr().out
    assert f"{'commas' if marks is ENGLISH else 'points'} between thousands" in said
    assert "values from 2000 to 180000" in said
    answers = []
    # the last shows not by itself what its mark is
    for text in ("x\n1234\n", "x,y\n1234.00,.5\n", f"x;y\n{written([1234], marks, 0)[0]};\n"):
        Path("new.csv").write_text(text)
        assert main(["predict", "model.skops", "new.csv"]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1] == answers[2]
