"""Models of tables: what they learn, say of other tables, and are to other programs."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn import datasets
from sklearn.metrics import r2_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastmlp
from fastmlp.cli import main
from fastmlp.sklearn import MLPClassifier as OurClassifier
from fastmlp.tables import (
    describe,
    find_layout,
    load_model,
    read_table,
    save_model,
    train_model,
)
from fastmlp.tables.model import features_of
from fastmlp.tables.parts import divide

RNG = np.random.default_rng(4)
N = 240
HEIGHT, WEIGHT = RNG.normal(170, 10, N).round(1), RNG.normal(70, 8, N).round(1)
CITY = np.array(["Bonn", "Rom", "Paris"])[RNG.integers(0, 3, N)]
TALL = np.where(HEIGHT + 10 * (CITY == "Rom") > 172, "yes", "no")
PEOPLE = pd.DataFrame({"height": HEIGHT, "weight": WEIGHT, "city": CITY, "tall": TALL})
QUIET = ("--plot", "none", "--quiet")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PEOPLE.to_csv("people.csv", index=False)
    return tmp_path


@pytest.fixture
def model(here, capsys):
    assert main(["train", "people.csv", "--label", "tall", *QUIET]) == 0
    capsys.readouterr()
    return load_model("model.skops")


def predicted(capsys, name: str, model: str = "model.skops") -> list[list[str]]:
    assert main(["predict", model, name]) == 0, capsys.readouterr().err
    return list(csv.reader(io.StringIO(capsys.readouterr().out)))


def refused(capsys, *argv: str) -> str:
    assert main(list(argv)) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_columns_are_found_by_name(model, capsys):
    expected = predicted(capsys, "people.csv")
    PEOPLE[["tall", "city", "weight", "height"]].to_csv("turned.csv", index=False)
    PEOPLE.drop(columns="tall").assign(more=1).to_csv("new.csv", sep=";", index=True)
    for name in ("turned.csv", "new.csv"):
        assert predicted(capsys, name) == expected
    PEOPLE.drop(columns="weight").to_csv("less.csv", index=False)
    line = refused(capsys, "predict", "model.skops", "less.csv")
    assert "less.csv: expected the columns" in line
    assert "none called 'weight'; the columns are 'height', 'city', 'tall'" in line


def test_one_row_is_scaled_as_training_was(model, capsys):
    expected = predicted(capsys, "people.csv")
    for row in (0, 17):
        PEOPLE[row : row + 1].to_csv("one.csv", index=False)
        label, *probabilities = predicted(capsys, "one.csv")[1]
        assert label == expected[row + 1][0]
        wanted = [float(p) for p in expected[row + 1][1:]]
        np.testing.assert_allclose([float(p) for p in probabilities], wanted, rtol=1e-4)


def test_unknown_categories_are_zeros_and_holes_are_filled(model, capsys):
    rows = PEOPLE[:3].astype(object)
    rows.loc[0, "city"], rows.loc[1, "weight"], rows.loc[2, "height"] = "Oslo", "", "NA"
    rows.to_csv("new.csv", index=False)
    assert len(predicted(capsys, "new.csv")) == 4
    columns = model[0]
    with pytest.warns(UserWarning, match="column 'city': 1 of 1 rows have a value that the model"):
        encoded = columns.transform(PEOPLE[:1].assign(city="Oslo"))
    encoded = encoded.toarray() if hasattr(encoded, "toarray") else encoded
    np.testing.assert_array_equal(encoded[0, 2:], 0)
    training = divide(TALL, classes=True).training
    filled = PEOPLE[:1].assign(weight=np.nan)
    median = PEOPLE[:1].assign(weight=np.median(WEIGHT[training]))
    np.testing.assert_allclose(model.predict_proba(filled), model.predict_proba(median))
    scaler = columns.named_transformers_["numbers"][-1]
    np.testing.assert_allclose(scaler.mean_[0], HEIGHT[training].mean())


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_unknown_categories_are_told(model, capsys, command):
    PEOPLE.assign(city=np.where(np.arange(N) < 7, "Oslo", CITY)).to_csv("new.csv", index=False)
    assert main([command, "model.skops", "new.csv"]) == 0
    assert capsys.readouterr().err == (
        "fastmlp: column 'city': 7 of 240 rows have a value that the model was not trained on, "
        "as 'Oslo': it counts as none\n"
    )
    assert main([command, "model.skops", "people.csv"]) == 0
    assert "not trained on" not in capsys.readouterr().err


def test_numbers_too_large_for_a_variance_are_named(here, capsys):
    PEOPLE.assign(weight=WEIGHT * 1e300).to_csv("large.csv", index=False)
    line = refused(capsys, "train", "large.csv", "--label", "tall")
    assert "large.csv: line 2, column 1 ('weight'): expected a number up to 1e+150, got " in line


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_command_line_takes_models_made_in_python(here, capsys, solver):
    table = read_table("people.csv")
    columns = describe(table, 3)
    assert columns == describe(table, "tall") == describe(table, -1)
    frame = features_of(table, columns.numbers, columns.categories)
    estimator = OurClassifier((5,), solver=solver, max_iter=200, tol=0.01, random_state=0)
    model = train_model(estimator, columns, (frame, TALL))
    save_model(model, "own.skops")
    assert [row[0] for row in predicted(capsys, "people.csv", "own.skops")[1:]] == (
        model.predict(frame).tolist()
    )
    assert main(["evaluate", "own.skops", "people.csv"]) == 0
    assert f"samples  {N}" in capsys.readouterr().out
    assert main(["report", "own.skops", "people.csv", "-o", "own.html"]) == 0
    assert Path("own.html").stat().st_size > 1000


def test_layout_and_columns_name_what_they_are_given(here):
    assert find_layout("people.csv") == find_layout(here / "people.csv")
    for path in (3, None):
        with pytest.raises(TypeError, match=r"path: expected a str or os.PathLike, got"):
            find_layout(path)
    with pytest.raises(TypeError, match=r"table: expected a Table, .*, got DataFrame"):
        describe(PEOPLE, "tall")


@pytest.mark.parametrize("values", [False, True])
def test_a_loss_that_is_no_number_any_more_is_told_as_such(here, capsys, values):
    label = ("--label", "weight", "--regression") if values else ("--label", "tall")
    options = ("--optimizer", "sgd", "--learning-rate", "1e30", *QUIET)
    assert main(["train", "people.csv", *label, *options]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"fastmlp: error: training diverged: the loss is (nan|inf) in epoch 1; try "
                        r"a smaller --learning-rate \(it was 1e\+30\)", line), line  # fmt: skip
    assert not Path("model.skops").exists()


def test_a_seed_beyond_those_of_tables_is_refused_before_training(here, capsys):
    line = refused(capsys, "train", "people.csv", "--label", "tall", "--seed", str(2**32))
    assert "--seed: expected at most 4294967295 for a table, got 4294967296" in line


def test_columns_of_other_names_are_listed(model, capsys):
    PEOPLE.rename(columns=str.upper).to_csv("upper.csv", index=False)
    line = refused(capsys, "predict", "model.skops", "upper.csv")
    assert f"the columns are {', '.join(repr(name.upper()) for name in PEOPLE.columns)}" in line


def test_columns_of_one_name_are_numbered(here):
    Path("t.csv").write_text("a,a,,a.1,a,column 2\n1,2,3,4,5,x\n")
    layout = find_layout("t.csv")
    assert layout.names == ("a", "a.1", "column 2", "a.1.1", "a.2", "column 2.1")
    assert dict(layout.repeated)["a"] == ("a.1", "a.2")


@pytest.mark.parametrize("size", ["1.0", "2.5", "0", "-3", "1e1", "nan", ""])
def test_a_share_of_rows_to_test_on_is_below_1(here, capsys, size):
    line = refused(capsys, "train", "people.csv", "--label", "tall", "--test-size", size)
    assert "--test-size: expected a share below 1, or a whole number of rows, got" in line


def test_a_bad_cell_is_named_by_its_line(model, capsys):
    lines = Path("people.csv").read_text().splitlines()
    lines[4] = "tall enough,70,Rom,yes"
    Path("bad.csv").write_text("\n".join([*lines[:3], "", *lines[3:]]) + "\n")
    line = refused(capsys, "predict", "model.skops", "bad.csv")
    assert "bad.csv: line 6, column 0 ('height'): expected a number, got 'tall enough'" in line
    lines[4] = "170,70,Rom,perhaps"
    Path("bad.csv").write_text("\n".join(lines) + "\n")
    line = refused(capsys, "evaluate", "model.skops", "bad.csv")
    assert "line 5, column 3 ('tall'): expected one of the classes no, yes, got 'perhaps'" in line


def test_a_bad_cell_of_a_column_without_name_is_in_the_column_that_label_counts(here, capsys):
    lines = [
        f"{height},{weight},{tall}"
        for height, weight, tall in zip(HEIGHT, WEIGHT, TALL, strict=True)
    ]
    Path("bad.csv").write_text("\n".join([*lines, "170,heavy,yes"]))
    line = refused(capsys, "train", "bad.csv", "--label", "2")
    assert f"bad.csv: line {N + 1}, 'column 1': expected a number, as most others are" in line


def test_evaluate_counts_all_rows_of_another_table(model, capsys):
    PEOPLE.sample(frac=1, random_state=0).to_csv("new.csv", index=False)
    assert main(["evaluate", "model.skops", "new.csv"]) == 0
    out, err = capsys.readouterr()
    assert f"samples  {N}" in out
    assert err == ""
    share = (model.predict(PEOPLE) == TALL).mean()
    assert f"accuracy {100 * share:.2f} %" in out
    PEOPLE.drop(columns="tall").to_csv("new.csv", index=False)
    assert "the label's column 'tall', got none" in refused(
        capsys, "evaluate", "model.skops", "new.csv"
    )


@pytest.mark.parametrize("at", [0, 2, 4])
def test_without_header_the_label_may_be_missing(here, capsys, at):
    X, y = datasets.load_iris(return_X_y=True)
    frame = pd.DataFrame(X.round(1) + 0.01)
    frame.insert(at, "label", y)
    frame.to_csv("all.csv", index=False, header=False)
    frame.drop(columns="label").to_csv("new.csv", index=False, header=False)
    assert main(["train", "all.csv", "--label", str(at), *QUIET]) == 0
    capsys.readouterr()
    expected = predicted(capsys, "all.csv")
    assert len(expected) == 151
    assert predicted(capsys, "new.csv") == expected


def test_labels_are_written_as_they_were(here, capsys):
    for written in (["01", "02"], ["1.0", "2.0"], ["None", "Some"], ["True", "False"], ["7", "9"]):
        y = np.array(written)[(TALL == "yes").astype(int)]
        PEOPLE.assign(tall=y).to_csv("t.csv", index=False)
        assert main(["train", "t.csv", "--label", "tall", "--epochs", "30", *QUIET]) == 0
        capsys.readouterr()
        rows = predicted(capsys, "t.csv")[1:]
        assert {row[0] for row in rows} == set(written)
        assert np.mean([row[0] == label for row, label in zip(rows, y, strict=True)]) > 0.8


def test_rows_without_a_label_are_left_out(here, capsys):
    PEOPLE.assign(tall=np.where(np.arange(N) % 20 == 3, "", TALL)).to_csv("t.csv", index=False)
    assert main(["train", "t.csv", "--label", "tall", "--epochs", "2", "--plot", "none"]) == 0
    assert "12 rows without a label left out" in capsys.readouterr().err
    assert len(predicted(capsys, "t.csv")) == N + 1


def test_values(here, capsys):
    y = 50_000 + 800 * HEIGHT + np.where(CITY == "Rom", 9000, 0)
    PEOPLE.drop(columns="tall").assign(income=y).to_csv("t.csv", index=False)
    arguments = ["--label", "income", "--json", "run.json", "--plot", "none"]
    assert main(["train", "t.csv", *arguments]) == 0
    out = capsys.readouterr().out
    assert "label 'income': values from" in out  # found out
    r2 = float(re.search(r"test R2 (\d\.\d+), RMSE", out)[1])
    assert r2 > 0.9
    assert json.loads(Path("run.json").read_text())["test"]["r2"] == pytest.approx(r2, abs=1e-4)
    assert main(["evaluate", "model.skops", "t.csv"]) == 0
    assert f"R2       {r2:.3f}"[:-1] in capsys.readouterr().out
    rows = predicted(capsys, "t.csv")
    assert rows[0] == ["income"]
    values = np.array([float(row[0]) for row in rows[1:]])
    assert r2_score(y, values) > 0.9
    np.testing.assert_allclose(load_model("model.skops").predict(PEOPLE), values, rtol=1e-9)
    assert main(["report", "model.skops", "t.csv", "-o", "r.html"]) == 0
    assert "income" in Path("r.html").read_text(encoding="utf-8")
    capsys.readouterr()
    y = (TALL == "yes").astype(int)
    PEOPLE.assign(tall=y).to_csv("t.csv", index=False)
    assert main(["train", "t.csv", "--label", "tall", "--regression", "--plot", "none"]) == 0
    assert "values from 0 to 1" in capsys.readouterr().out


def test_the_last_rows_are_tested_without_shuffling(here, capsys):
    t = np.arange(N)
    frame = pd.DataFrame({"t": t, "x": np.sin(t / 5), "y": np.sin((t + 3) / 5)})
    frame.to_csv("t.csv", index=False)
    arguments = ["--no-shuffle", "--test-size", "60", "--validation-split", "0.1"]
    assert main(["train", "t.csv", "--label", "y", *arguments, "--plot", "none"]) == 0
    out = capsys.readouterr().out
    assert "of 162 rows, 18 for validation, 60 for the test" in out
    parts = divide(t, classes=False, test_size=60, validation_size=0.1, shuffle=False)
    assert parts.training.tolist() == list(range(162))
    assert parts.validation.tolist() == list(range(162, 180))
    assert parts.test.tolist() == list(range(180, 240))
    assert main(["evaluate", "model.skops", "t.csv"]) == 0
    assert "samples  60" in capsys.readouterr().out


def test_options_reach_the_estimator(here, capsys):
    assert main([
        "train", "people.csv", "--label", "3", "--layers", "5,7,6,2", "--epochs", "4",
        "--seed", "3", "--batch-size", "full", "--optimizer", "sgd", "--learning-rate", "0.2",
        "--activation", "tanh",
        "--schedule", "constant", "--dropout", "0.1", "--dtype", "float64", "--threads", "1",
        "--class-weight", "balanced", "--out", "m.skops", "--plot", "loss.png",
    ]) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert "5-7-6-2, tanh, sgd(0.2), constant, float64, seed 3: 4 epochs of 176 rows" in out
    assert "written: m.skops, loss.png" in out
    estimator = load_model("m.skops")[-1]
    assert estimator.batch_size == 176
    assert estimator.n_iter_ == 4
    assert estimator.class_weight == "balanced"
    assert [w.shape for w in estimator.coefs_] == [(5, 7), (7, 6), (6, 1)]
    assert refused(capsys, "evaluate", "m.skops", "people.csv", "--input-scale", "2")
    assert refused(capsys, "evaluate", "m.skops", "people.csv", "--backend", "numpy")
    assert "DATA: expected a table" in refused(capsys, "evaluate", "m.skops")
    assert "--label: for tables, mnist is none" in refused(capsys, "train", "--label", "x")


@pytest.mark.parametrize("what", ["classes", "values"])
def test_a_precision_reaches_the_estimator(here, capsys, what):
    line = ["train", "people.csv", "--label", "3", "--epochs", "1", "--plot", "none"]
    if what == "values":
        PEOPLE.assign(tall=(TALL == "yes").astype(int)).to_csv("t.csv", index=False)
        line = ["train", "t.csv", "--label", "tall", "--regression", *line[4:]]
    assert main([*line, "--precision", "medium"]) == 0
    estimator = load_model("model.skops")[-1]
    assert (estimator.precision, estimator.dtype) == ("medium", "float32")
    lower = ["--precision", "medium", "--dtype", "float64"]
    assert "precision: expected highest" in refused(capsys, *line, *lower)


def test_an_interrupted_run_is_saved(here, capsys, monkeypatch):
    from fastmlp.cli import table

    class Stop(table._Recorder):
        def on_epoch_end(self, epoch, logs):
            if epoch == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(table, "_Recorder", Stop)
    assert main(["train", "people.csv", "--label", "tall", *QUIET]) == 130
    assert "saved to model.skops" in capsys.readouterr().err
    assert load_model("model.skops")[-1].n_iter_ == 3


def test_other_programs_open_the_model(model):
    untrusted = skops.io.get_untrusted_types(file="model.skops")
    again = skops.io.load("model.skops", trusted=untrusted)
    assert {type(part).__module__.split(".")[0] for part in (again, again[0])} == {"sklearn"}
    own = [name for name in untrusted if name.startswith("fastmlp.tables.")]
    assert own == [f"fastmlp.tables.preparation.{kind}Reader" for kind in ("Category", "Number")]
    frame = PEOPLE[["city", "weight", "height"]]
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(PEOPLE))
    assert again.table_["label"] == "tall"


def test_skl2onnx_converts_the_model(here, model):
    skl2onnx, ort = pytest.importorskip("skl2onnx"), pytest.importorskip("onnxruntime")
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    fastmlp.interchange.register_skl2onnx()
    types = [(name, FloatTensorType([None, 1])) for name in ("height", "weight")]
    types.append(("city", StringTensorType([None, 1])))
    converted = skl2onnx.to_onnx(model, initial_types=types, options={id(model): {"zipmap": False}})
    session = ort.InferenceSession(converted.SerializeToString())
    given = {name: PEOPLE[[name]].to_numpy("float32") for name in ("height", "weight")}
    given["city"] = PEOPLE[["city"]].to_numpy(object)
    labels, probabilities = session.run(None, given)
    np.testing.assert_allclose(probabilities, model.predict_proba(PEOPLE), atol=1e-4)
    assert (labels == model.predict(PEOPLE)).mean() > 0.99


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
def test_a_damaged_model_is_one_line(here, capsys, content):
    Path("m.skops").write_bytes(content)
    assert "m.skops" in refused(capsys, "predict", "m.skops", "people.csv")
    with pytest.raises(ValueError, match=r"m\.skops: expected a table's model"):
        load_model("m.skops")


def test_nothing_foreign_is_loaded(here, capsys):
    class Other(StandardScaler):
        pass

    Other.__module__ = "somewhere"
    pipeline = make_pipeline(Other(), MLPClassifier())
    Path("m.skops").write_bytes(skops.io.dumps(pipeline))
    assert "somewhere.Other" in refused(capsys, "predict", "m.skops", "people.csv")
    Path("n.skops").write_bytes(skops.io.dumps(make_pipeline(StandardScaler())))
    with pytest.raises(ValueError, match=r"n\.skops: expected a table's model"):
        load_model("n.skops")


def test_a_network_of_names_reads_tables_by_name(here, capsys):
    frame = PEOPLE[["height", "weight"]] / 100
    y = (TALL == "yes").astype(int)
    net = fastmlp.MLP((2, 8, 2), activation="relu", rng=0)
    net.fit(frame, y, epochs=30, optimizer="adam")
    net.class_names = ["no", "yes, tall"]
    net.save("net.npz")
    turned = frame[["weight", "height"]].assign(label=np.array(net.class_names)[y])
    turned.to_csv("t.csv", index=False)
    rows = predicted(capsys, "t.csv", "net.npz")
    assert rows[0] == ["label", "p_no", "p_yes, tall"]
    expected = np.array(net.class_names)[net.predict(frame)]
    assert [row[0] for row in rows[1:]] == expected.tolist()
    assert main(["evaluate", "net.npz", "t.csv"]) == 0
    out = capsys.readouterr().out
    assert f"accuracy {100 * net.evaluate(frame, y)['accuracy']:.2f} %" in out
    assert "yes, tall" in out
    frame[["weight"]].to_csv("t.csv", index=False)
    assert "none called 'height'" in refused(capsys, "predict", "net.npz", "t.csv")
