"""One answer from Python and from the command line, whatever pandas makes of a file."""

from __future__ import annotations

import csv
import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars
import pytest
import sklearn
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import fastmlp
from fastmlp.cli import main
from fastmlp.sklearn import MLPClassifier, MLPRegressor
from fastmlp.tables import Columns, load_model, read_table, save_model, train_model
from fastmlp.tables.cells import categories_of

RNG = np.random.default_rng(11)
N = 200


def people() -> pd.DataFrame:
    """Return all kinds of columns; "code" is of words and numbers, and so a category."""
    frame = pd.DataFrame({
        "height": RNG.normal(170, 10, N).round(1), "age": RNG.integers(20, 60, N),
        "city": np.array(["Bonn", "Rom", "Paris"])[RNG.integers(0, 3, N)],
        "member": RNG.random(N) < 0.5, "lower": np.array(["true", "false"])[RNG.integers(0, 2, N)],
        "code": np.array(["007", "8", "9.0", "0.35", "x1"])[RNG.integers(0, 5, N)],
        "day": pd.date_range("2024", periods=N).strftime("%Y-%m-%d"),
    })  # fmt: skip
    frame["tall"] = np.where(frame["height"] + 9 * frame["member"] > 174, "yes", "no")
    frame = frame.astype(object)
    for at, name in enumerate(("height", "city", "lower")):
        frame.loc[at::13, name] = ["", "NA", "?"][at]
    return frame


PEOPLE = people()
CHANGES = {
    "as it was": {},
    "one row": {"rows": slice(5, 6)},
    "no words among the codes": {"rows": PEOPLE["code"] != "x1"},
    "codes that are whole": {"rows": PEOPLE["code"].isin(["007", "8", "9.0"])},
    "codes, some missing": {
        "rows": PEOPLE["code"] != "x1", "code": PEOPLE["code"].where(RNG.random(N) < 0.7, "")
    },
    "no category missing": {"city": "Rom", "lower": "true"},
    "all categories missing": {"city": "NULL", "member": "", "lower": "#N/A N/A", "code": "?"},
    "truth values missing": {"member": PEOPLE["member"].where(RNG.random(N) < 0.7, "NaN")},
    "numbers missing": {"age": "?", "height": PEOPLE["height"].where(RNG.random(N) < 0.5, "?")},
    "truth values as numbers": {"age": True},
    "new categories": {"city": "Oslo", "code": "77"},
    "blanks": {"city": " Rom "},
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    PEOPLE.to_csv(folder / "people.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        arguments = ["--label", "tall", "--epochs", "20", "--plot", "none", "--quiet"]
        assert main(["train", "people.csv", *arguments]) == 0
    return folder / "model.skops"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answers(capsys, model: Path, name: str) -> tuple[list[str], np.ndarray, list[str]]:
    """Return what the command line says: labels, probabilities, notes."""
    assert main(["predict", str(model), name]) == 0, capsys.readouterr().err
    out, err = capsys.readouterr()
    rows = list(csv.reader(io.StringIO(out)))[1:]
    notes = [line.removeprefix("fastmlp: ") for line in err.splitlines()]
    return [row[0] for row in rows], np.array([row[1:] for row in rows], float), notes


@pytest.mark.parametrize("change", CHANGES)
def test_python_answers_as_the_command_line(trained, here, capsys, change):
    columns = dict(CHANGES[change])
    rows = columns.pop("rows", slice(None))
    PEOPLE.assign(**columns)[rows].to_csv("u.csv", index=False)
    labels, probabilities, notes = answers(capsys, trained, "u.csv")
    model = load_model(trained)
    assert set(model.table_["categories"]) == {"city", "member", "lower", "code"}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = model.predict_proba(pd.read_csv("u.csv"))
    np.testing.assert_array_equal(found.astype("float32"), probabilities.astype("float32"))
    assert [str(warning.message) for warning in told] == notes
    new = "a value that the model was not trained on, as"
    wanted = [f"{new} 'Oslo'", f"{new} '77'"] if change == "new categories" else []
    unknown = [line for line in notes if "as ''" not in line]
    assert len(unknown) == len(wanted)
    assert all(text in line for text, line in zip(wanted, unknown, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert model.predict(pd.read_csv("u.csv")).tolist() == labels


def test_frames_of_other_kinds_are_read_alike(trained, here):
    PEOPLE.to_csv("u.csv", index=False)
    model, frame = load_model(trained), pd.read_csv("u.csv")
    expected = model.predict_proba(frame)
    others = {
        "objects": PEOPLE,
        "texts": pd.read_csv("u.csv", dtype=str),
        "own types": frame.convert_dtypes(),
        "categorical": frame.astype({"city": "category", "code": "category"}),
        "polars": polars.read_csv("u.csv", infer_schema_length=None),
    }
    if sklearn.__version__.startswith("1.7."):  # it finds columns by name in pandas' frames alone
        del others["polars"]
    for kind, other in others.items():
        np.testing.assert_array_equal(model.predict_proba(other), expected, err_msg=kind)


def test_a_word_among_numbers_is_named(trained):
    frame = PEOPLE.assign(height=PEOPLE["height"].where(PEOPLE.index != 3, "tall"))
    with pytest.raises(
        ValueError, match="X: row 3, column 'height': expected a number, got 'tall'"
    ):
        load_model(trained).predict(frame)


def test_the_parts_have_names(trained):
    names = load_model(trained)[0].get_feature_names_out().tolist()
    assert names[:3] == ["numbers__height", "numbers__age", "categories__city_"]
    assert {"categories__member_True", "categories__lower_True", "categories__code_7"} < set(names)


def early(model) -> Pipeline:
    """Return the model as early versions made it, from categories as texts."""
    known = model.table_
    frame = PEOPLE[known["numbers"]].apply(pd.to_numeric, errors="coerce")
    for name in known["categories"]:
        frame[name] = categories_of(PEOPLE[name])
    fill = SimpleImputer(strategy="median", keep_empty_features=True)
    columns = ColumnTransformer([
        ("numbers", Pipeline([("fill", fill), ("scale", StandardScaler())]), known["numbers"]),
        ("categories", OneHotEncoder(handle_unknown="ignore"), known["categories"]),
    ]).fit(frame)  # fmt: skip
    encoder = columns.named_transformers_["categories"]
    encoder.categories_[-1][encoder.categories_[-1] == "7"] = "007"  # texts stayed as written
    fill, scale = columns.named_transformers_["numbers"]
    new = model[0].named_transformers_["numbers"]
    fill.statistics_, scale.mean_, scale.scale_ = new[1].statistics_, new[2].mean_, new[2].scale_
    result = Pipeline([("columns", columns), ("network", model[-1])])
    result.table_ = known
    return result


def test_early_models_read_as_new_ones_do(trained, here, capsys):
    PEOPLE.to_csv("u.csv", index=False)
    model = load_model(trained)
    save_model(early(model), "early.skops")
    expected = answers(capsys, trained, "u.csv")
    found = answers(capsys, Path("early.skops"), "u.csv")
    assert (found[0], found[2]) == (expected[0], [])
    np.testing.assert_array_equal(found[1], expected[1])
    frame, again = pd.read_csv("u.csv"), load_model("early.skops")
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))
    assert str(again[0].transformers) == str(model[0].transformers)
    save_model(again, "new.skops")
    untrusted = skops.io.get_untrusted_types(file="new.skops")
    assert "fastmlp.tables.preparation.CategoryReader" in untrusted


def test_onnx_answers_too(trained, here):
    skl2onnx, ort = pytest.importorskip("skl2onnx"), pytest.importorskip("onnxruntime")
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    fastmlp.interchange.register_skl2onnx()
    PEOPLE.to_csv("u.csv", index=False)
    model, frame = load_model(trained), pd.read_csv("u.csv")
    texts = StringTensorType([None, 1])
    types = [("height", FloatTensorType([None, 1])), ("age", FloatTensorType([None, 1]))]
    types += [(name, texts) for name in model.table_["categories"]]
    options = {id(model): {"zipmap": False}}
    converted = skl2onnx.to_onnx(model, initial_types=types, options=options)
    given = {name: frame[[name]].to_numpy("float32") for name in ("height", "age")}
    given |= {name: categories_of(frame[name])[:, None] for name in model.table_["categories"]}
    _, probabilities = ort.InferenceSession(converted.SerializeToString()).run(None, given)
    np.testing.assert_allclose(probabilities, model.predict_proba(frame), atol=1e-4)
    types[2] = ("city", Int64TensorType([None, 1]))
    types[3:] = [(name, Int64TensorType([None, 1])) for name, _ in types[3:]]
    with pytest.raises(ValueError, match="expected StringTensorType for categories, got Int64"):
        skl2onnx.to_onnx(model, initial_types=types, options=options)


def test_texts_of_categories():
    cells = ["1e3", "-0", "1_0", "12345678901234567890123", "inf", "Yes", "tRue", np.int8(3), 2.5]
    assert categories_of(cells).tolist() == [
        "1000", "0", "1_0", "12345678901234567890123", "inf", "Yes", "tRue", "3", "2.5",
    ]  # fmt: skip
    assert categories_of([True, 1, 1.0, "x"]).tolist() == ["True", "1", "1", "x"]
    assert categories_of([]).tolist() == []
    assert categories_of([0.1 + 0.2, "0.3", float("inf")]).tolist() == ["0.3", "0.3", "inf"]


CLASSES = Columns("tall", False, ["height"], ["city"])
VALUES = Columns("tall", True, ["height"])
FRAME = PEOPLE[["height", "city"]]
Y = PEOPLE["tall"].to_numpy(str)
ESTIMATOR = MLPClassifier((3,), max_iter=1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3, CLASSES, (FRAME, Y)), TypeError, "estimator: expected an MLPClassifier .*got int"),
        ((MLPRegressor(), CLASSES, (FRAME, Y)), ValueError, "estimator: .*'tall' holds classes"),
        ((ESTIMATOR, VALUES, (FRAME, Y)), ValueError, "estimator: expected an MLPRegressor"),
        ((ESTIMATOR, "tall", (FRAME, Y)), TypeError, "columns: expected Columns, .*got str"),
        ((ESTIMATOR, Columns("y", False), (FRAME, Y)), ValueError, "columns: expected numbers or"),
        (
            (ESTIMATOR, Columns("y", False, "tall"), (FRAME, Y)),
            TypeError, "columns: expected a list of names as numbers, got 'tall'",
        ),
        ((ESTIMATOR, CLASSES, FRAME), TypeError, r"training: expected \(frame, labels\), got Data"),
        ((ESTIMATOR, CLASSES, (FRAME,)), TypeError, r"training: expected \(frame, .* of 1"),
        ((ESTIMATOR, CLASSES, ([[1]], Y)), TypeError, r"training: expected \(frame, labels\)"),
        (
            (ESTIMATOR, CLASSES, (FRAME[["height"]], Y)), ValueError,
            "training: expected the columns 'height', 'city', got none called 'city'",
        ),
        ((ESTIMATOR, CLASSES, (FRAME, Y[:9])), ValueError, "training: expected 200 labels, .*9"),
        ((ESTIMATOR, CLASSES, (FRAME, Y), FRAME), TypeError, "validation: expected .frame, labels"),
    ],
)  # fmt: skip
def test_train_model_names_what_it_cannot_take(arguments, error, message):
    with pytest.raises(error, match=message):
        train_model(*arguments)
    assert not hasattr(ESTIMATOR, "coefs_")


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_what_is_read_can_be_trained_on(here):
    PEOPLE.to_csv("u.csv", index=False)
    labels = PEOPLE["tall"].tolist()
    frames = read_table("u.csv").frame, pd.read_csv("u.csv")
    a, b = (train_model(MLPClassifier((3,), max_iter=2, random_state=0), CLASSES, (frame, labels))
            for frame in frames)  # fmt: skip
    np.testing.assert_array_equal(a.predict_proba(frames[1]), b.predict_proba(frames[0]))
