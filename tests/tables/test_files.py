"""Twenty tables as people have them, through train, evaluate, predict and report."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from fastmlp.cli import main
from fastmlp.tables import load_model, read_table

RNG = np.random.default_rng(8)
N = 150
KIND = RNG.integers(0, 3, N)
NUMBERS = RNG.normal(size=(N, 4)) + 3 * np.eye(3, 4)[KIND]
WORDS = np.array(["setosa", "versicolor", "virginica"])[KIND]


def plain() -> pd.DataFrame:
    return pd.DataFrame(NUMBERS.round(3), columns=list("abcd")).assign(label=WORDS)


def text(frame: pd.DataFrame, **settings: object) -> bytes:
    return frame.to_csv(**({"index": False} | settings)).encode()


def holes(frame: pd.DataFrame, marker: object) -> pd.DataFrame:
    frame = frame.astype(object)
    frame.iloc[3:20:4, 1] = marker
    return frame


def mixed() -> pd.DataFrame:
    city = np.array(["Bonn", "Rom", "Paris"])[(KIND + (RNG.random(N) < 0.1)) % 3]
    return plain().assign(city=city, member=RNG.random(N) < 0.5)


def zipped(data: bytes, *names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("table.csv",):
            archive.writestr(name, data)
    return stream.getvalue()


def parquet() -> bytes:
    stream = io.BytesIO()
    frame = mixed().assign(day=pd.date_range("2024", periods=N), c=pd.array(range(N), "Int64") % 7)
    frame.to_parquet(stream, index=False)
    return stream.getvalue()


def twice() -> bytes:
    stream, columns = io.BytesIO(), [[1.5, 2.5], [3.5, 4.5], ["x", "y"]]
    table = pyarrow.Table.from_arrays([pyarrow.array(c) for c in columns], ["a", "a", "label"])
    pyarrow.parquet.write_table(table, stream)
    return stream.getvalue()


SIZES = plain().rename(columns={"a": "größe"}).to_csv(index=False)
SORTED = plain().sort_values("label", kind="stable")
YEARS = plain()[list("abcd")].set_axis([2019, 2020, 2021, 2022], axis=1).assign(label=KIND)

# name, file, options of train, what the lines of train say
TABLES: dict[str, tuple[str, bytes, tuple[str, ...], tuple[str, ...]]] = {
    "words as labels": ("t.csv", text(plain()), (), ("4 numbers; label 'label': 3 classes",)),
    "UCI without header": (
        "t.data", text(plain(), header=False), ("--label", "4"), ("no header", "3 classes"),
    ),
    "blanks": (
        "t.txt", text(plain().assign(label=KIND), header=False, sep=" "), ("--label", "4"),
        ("blanks", "no header"),
    ),
    "pandas' index": (
        "t.csv", text(plain(), index=True), (), ("column 'column 0' left out: it numbers", "4 num"),
    ),
    "pandas' index, shuffled": (
        "t.csv", text(plain().sample(frac=1, random_state=0), index=True), (),
        ("column 'column 0' left out: it numbers",),
    ),
    "an id": ("t.csv", text(plain().assign(id=range(900, 900 + N))), (), ("'id' left out",)),
    "Excel's semicolons": (
        "t.csv", text(plain(), sep=";", decimal=",", encoding="cp1252"), (),
        ("cells between ;", "decimal commas", "4 numbers"),
    ),
    "Excel's first line": ("t.csv", b"sep=;\n" + text(plain(), sep=";"), (), ("4 numbers",)),
    "tabs": ("t.tsv", text(plain(), sep="\t"), (), ("tabs", "4 numbers")),
    "years as header": ("t.csv", text(YEARS), (), (f"{N} rows; features: 4 numbers",)),
    "numbers as header": (
        "t.csv", text(plain().set_axis(range(5), axis=1)), ("--label", "4"), (f"{N} rows;",),
    ),
    "missing values": (
        "t.csv", text(holes(plain(), "?")), (), ("5 missing values", "4 numbers"),
    ),
    "sorted by class": ("t.csv", text(SORTED), (), ("3 classes",)),
    "constant columns": (
        "t.csv", text(plain().assign(one=1, e="x", nothing="")), (),
        ("2 columns ('one', 'e') left out: it is the same", "'nothing' left out: it is empty"),
    ),
    "duplicates": ("t.csv", text(pd.concat([plain(), plain()])), (), ("300 rows",)),
    "categories and dates": (
        "t.csv", text(mixed().assign(day=pd.date_range("2024", periods=N))), (),
        ("2 categories (5 values)", "column 'day' left out: it holds dates"),
    ),
    "names of their own": (
        "t.csv", text(plain().assign(name=[f"n{i}" for i in range(N)])), (), ("'name' left out",),
    ),
    "wide": (
        "t.csv",
        text(pd.DataFrame(RNG.normal(size=(N, 600)).round(2)).add_prefix("x").assign(
            x0=NUMBERS[:, 0], x1=NUMBERS[:, 1], x2=NUMBERS[:, 2], label=KIND)),
        (), ("600 numbers",),
    ),
    "UTF-16": ("t.csv", SIZES.encode("utf-16"), (), ("UTF-16",)),
    "Latin-1": ("t.csv", SIZES.encode("latin-1"), (), ("CP1252",)),
    "UTF-8 with a mark": ("t.csv", b"\xef\xbb\xbf" + text(plain()), (), ("4 numbers",)),
    "gzip": ("t.csv.gz", gzip.compress(text(plain())), (), ("gzip",)),
    "bzip2": ("t.csv.bz2", bz2.compress(text(plain())), (), ("bzip2",)),
    "xz": ("t.csv.xz", lzma.compress(text(plain())), (), ("xz",)),
    "zip": ("t.zip", zipped(text(plain())), (), ("zip",)),
    "Parquet": ("t.parquet", parquet(), (), ("2 categories", "'day' left out: it holds dates")),
    "names that come twice": (
        "t.csv", b"a,a,b,label\n" + text(plain()[["a", "b", "c", "label"]], header=False), (),
        ("2 columns are called 'a': the first is 'a', the others are 'a.1'", "3 numbers"),
    ),
    "a label's name that comes twice": (
        "t.csv", b"a,b,c,a\n" + text(plain()[["a", "b", "c", "label"]], header=False),
        ("--label", "3"), ("2 columns are called 'a'", "label 'a.1': 3 classes"),
    ),
    "labels from 1": ("t.csv", text(plain().assign(label=KIND + 1)), (), ("3 classes (",)),
    "codes as labels": (
        "t.csv", text(plain().assign(label=10_001 + 50_000 * KIND)), (), ("3 classes (",),
    ),
}  # fmt: skip
QUICK = ("words as labels", "UCI without header", "categories and dates")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *argv: str) -> tuple[str, str]:
    assert main(list(argv)) == 0, capsys.readouterr()
    return capsys.readouterr()


def cells(out: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(out)))


def labels_in(path: str, options: tuple[str, ...]) -> list[str]:
    frame = read_table(path, label=options[1] if options else None).frame
    return frame.iloc[:, -1 if options else list(frame.columns).index("label")].astype(str).tolist()


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_goes_through_every_command(here, capsys, kind, monkeypatch):
    name, data, options, said = TABLES[kind]
    Path(name).write_bytes(data)
    out, err = run(capsys, "train", name, *options, "--plot", "none")
    for words in said:
        assert words in out + err
    accuracy = re.fullmatch(r"test accuracy (\d+\.\d\d) %, loss .*", out.splitlines()[-1])[1]
    assert float(accuracy) > (40 if kind == "wide" else 80)
    model = load_model("model.skops")
    expected = labels_in(name, options)
    assert sorted(map(str, model.classes_)) == sorted(set(expected))

    out, err = run(capsys, "evaluate", "model.skops", name)
    assert f"accuracy {accuracy} %" in out
    assert "held out for the test" in err
    assert all(str(label) in out for label in model.classes_)

    rows = cells(run(capsys, "predict", "model.skops", name)[0])
    assert rows[0] == ["label", *(f"p_{label}" for label in model.classes_)]
    assert len(rows) - 1 == len(expected)
    right = np.mean([row[0] == label for row, label in zip(rows[1:], expected, strict=True)])
    assert right > (0.8 if kind == "wide" else 0.9)
    probabilities = np.array([row[1:] for row in rows[1:]], float)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)

    if kind in QUICK:
        run(capsys, "report", "model.skops", name, "-o", "report.html")
        page = Path("report.html").read_text(encoding="utf-8")
        assert f"{accuracy} %" in page
        assert all(str(label) in page for label in model.classes_)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in TABLES if kind not in QUICK])
def test_a_table_has_a_report(here, capsys, kind):
    name, data, options, _ = TABLES[kind]
    Path(name).write_bytes(data)
    run(capsys, "train", name, *options, "--plot", "none", "--epochs", "3")
    run(capsys, "report", "model.skops", name, "-o", "report.html")
    assert "Confusion" in Path("report.html").read_text(encoding="utf-8").title()


def refused(capsys, *argv: str) -> str:
    assert main(list(argv)) == 2
    out, err = capsys.readouterr()
    assert re.fullmatch(r"(fastmlp: [^\n]+\n)+", err), err
    assert out == ""
    return err.splitlines()[-1]


ONE = plain()
BAD: dict[str, tuple[str, bytes, tuple[str, ...], str]] = {
    "one row": ("t.csv", text(ONE[:1]), (), "t.csv: expected at least 2 rows with a label"),
    "no row": ("t.csv", text(ONE[:0]), (), "t.csv: .*a header and no rows"),
    "no label": (
        "t.csv", text(ONE.rename(columns={"label": "kind"})), (),
        "t.csv: --label: expected the name .* the columns are 'a', 'b', 'c', 'd', 'kind'",
    ),
    "another label": ("t.csv", text(ONE), ("--label", "kind"), "--label: .*'label', or a number"),
    "a number too high": ("t.csv", text(ONE), ("--label", "5"), "from 0 to 4, got '5'"),
    "one class": ("t.csv", text(ONE[WORDS == "setosa"]), (), "at least 2 classes, got only setosa"),
    "a word among numbers": (
        "t.csv", text(holes(ONE, "?")).replace(b"?", b"many", 1), (),
        "t.csv: line 5, column 1 .'b'.: expected a number, as most others are, or .* 'many'",
    ),
    "an underscore": (
        "t.csv", text(holes(ONE, "?")).replace(b"?", b"1_000", 1), (), "line 5, column 1 .*'1_000'",
    ),
    "infinity": (
        "t.csv", text(holes(ONE, "?")).replace(b"?", b"inf", 1), (),
        "line 5, column 1 .'b'.: expected a finite number, got inf",
    ),
    "a short row": ("t.csv", text(ONE) + b"1,2,3\n", (), "line 152 should have 5 cells, got 3"),
    "a long row": (
        "t.csv", text(ONE) + b"1,2,3,4,x,6\n", (), "line 152 should have 5 cells, got 6",
    ),
    "a long row without header": (
        "t.csv", b"1,2,x\n4,5,y\n7,8,x\n1,2,x,4\n", ("--label", "2"),
        "line 4 should have 3 cells, got 4",
    ),
    "a label of two columns": (
        "t.csv", b"a,b,a\n" + text(plain()[["a", "b", "label"]], header=False), ("--label", "a"),
        "t.csv: --label: expected a number, as 2 columns are called 'a': 0, 2",
    ),
    "two labels": (
        "t.csv", b"label,b,label\n" + text(plain()[["a", "b", "label"]], header=False), (),
        "t.csv: --label: expected a number, as 2 columns are called 'label': 0, 2",
    ),
    "Label and label": (
        "t.csv", b"label,b,Label\n" + text(plain()[["a", "b", "label"]], header=False), (),
        "t.csv: --label: expected the name or the number .*, as there are 'label', 'Label'",
    ),
    "a Parquet of names that come twice": (
        "t.parquet", twice(), (), r"t.parquet: .*Multiple matches .*\(a\)",
    ),
    "words as values": (
        "t.csv", text(ONE), ("--regression",), "line 2, column 4 .*a number as the label, got '",
    ),
    "the last class not trained": (
        "t.csv", text(SORTED), ("--no-shuffle", "--test-size", "0.5"),
        "t.csv: class virginica: expected rows of every class to train on",
    ),
    "all rows to test on": ("t.csv", text(ONE), ("--test-size", "150"), "fewer than the 150 rows"),
    "nothing but dates": (
        "t.csv",
        text(pd.DataFrame({"day": pd.date_range("2024", periods=9), "label": [0, 1, 2] * 3})),
        (), "at least one column that a network can use .* 'day': it holds dates",
    ),
    "Excel": (
        "t.xlsx", zipped(b"<x/>", "[Content_Types].xml"), (), "an Excel workbook; save the sheet",
    ),
    "two tables": ("t.zip", zipped(b"", "a.txt", "b.txt"), (), "one table .* got 2 files"),
    "an old Excel": ("t.xls", b"\xd0\xcf\x11\xe0" + bytes(600), (), "save the sheet as CSV"),
    "Zstandard": ("t.csv.zst", b"\x28\xb5\x2f\xfd" + bytes(60), (), "Zstandard is not read; gzip"),
    "a web page": ("t.csv", b"<!DOCTYPE html><p>none</p>", (), "looks like a web page"),
    "JSON": ("t.csv", b'{"a": [1, 2]}', (), "looks like JSON"),
    "bytes": ("t.csv", bytes(range(1, 256)) + bytes(9), (), "it is no text"),
    "a damaged Parquet": ("t.parquet", b"PAR1" + bytes(50), (), "cannot be read as Parquet"),
    "a damaged gzip": ("t.csv.gz", gzip.compress(text(ONE))[:90], (), "t.csv.gz: expected"),
    "a bomb": ("t.csv.gz", gzip.compress(b"1,2\n" * 30_000_000, 9), (), "more than 100 times"),
    "--out of another kind": ("t.csv", text(ONE), ("--out", "m.npz"), "--out: .*ends in .skops"),
    "--resume": ("t.csv", text(ONE), ("--resume", "m.npz"), "--resume: not for tables"),
    "--l1": ("t.csv", text(ONE), ("--l1", "0.1"), "--l1: not for tables"),
    "layers that do not fit": (
        "t.csv", text(ONE), ("--layers", "5,9,3"),
        "--layers: expected 4, the features, in front; got 5",
    ),
    "classes that do not fit": (
        "t.csv", text(ONE), ("--layers", "4,9,2"),
        "--layers: expected 3, the classes, at the end; got 2",
    ),
    "a text in every row as label": (
        "t.csv", text(ONE), ("--label", "a", "--no-regression"), "class .*: expected rows of every",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_trained_on_is_one_line(here, capsys, kind):
    name, data, options, message = BAD[kind]
    Path(name).write_bytes(data)
    line = refused(capsys, "train", name, *options, "--plot", "none", "--epochs", "1")
    assert re.search(message, line), line
    assert sorted(path.name for path in here.iterdir()) == [name]
