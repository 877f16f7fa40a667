"""Data frames: names and order of columns, missing values and what is no number."""

from __future__ import annotations

import pickle

import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pytest

import fastmlp

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)
NAMES = ("height", "width", "depth")
KINDS = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "dask": lambda columns: dd.from_pandas(pd.DataFrame(columns), npartitions=2),
}
FRAMES = pytest.mark.parametrize("frame", KINDS.values(), ids=KINDS)


def net(**settings):
    return fastmlp.MLP((3, 4, 2), rng=0, backend="numpy", **settings)


def named(frame, order=(0, 1, 2), rows=slice(None)):
    return frame({NAMES[i]: X[rows, i] for i in order})


@FRAMES
def test_columns_are_put_into_the_order_of_training(frame, tmp_path):
    trained = net()
    assert trained.feature_names is None
    trained.fit(named(frame), Y, epochs=20, optimizer="adam")
    assert trained.feature_names == NAMES
    trained.save(tmp_path / "net.npz")
    for one in (
        trained,
        fastmlp.MLP.load(tmp_path / "net.npz"),
        pickle.loads(pickle.dumps(trained)),
    ):
        one.backend = "numpy"
        expected = one.predict_proba(X)
        other = named(frame, (2, 0, 1))
        np.testing.assert_array_equal(one.predict_proba(named(frame)), expected)
        np.testing.assert_array_equal(one.predict_proba(other), expected)
        np.testing.assert_array_equal(one.forward(other)[-1], expected)
        assert one.evaluate(other, Y) == one.evaluate(X, Y)
        assert one.loss_and_gradients(other, Y)[0] == one.loss_and_gradients(X, Y)[0]


@FRAMES
def test_training_goes_on_in_that_order(frame):
    ends = []
    for second in (named(frame), named(frame, (1, 2, 0)), X):
        one = net()
        one.fit(named(frame), Y, epochs=2, validation_data=(named(frame, (2, 1, 0)), Y))
        one.fit(second, Y, epochs=2)
        ends.append((one.weights[0].copy(), one.history.loss))
    for weights, losses in ends[1:]:
        np.testing.assert_array_equal(weights, ends[0][0])
        assert losses == ends[0][1]


@FRAMES
def test_validation_data_are_put_into_the_order_of_the_first_fit(frame):
    seen = []
    for validation in (named(frame), named(frame, (2, 1, 0))):
        first, second = slice(30), slice(30, None)
        chunks = [
            (named(frame, rows=first), Y[first]), (named(frame, (1, 0, 2), second), Y[second])
        ]  # fmt: skip
        a, b = net(), net()
        a.fit(named(frame), Y, epochs=2, validation_data=(validation, Y))
        b.fit(chunks, epochs=2, validation_data=(validation, Y))
        assert a.feature_names == b.feature_names == NAMES
        seen.append((a.history.val_loss, b.history.val_loss, b.weights[0].copy()))
    assert seen[0][:2] == seen[1][:2]
    whole = net()
    whole.fit([(X[:30], Y[:30]), (X[30:], Y[30:])], epochs=2)
    np.testing.assert_array_equal(whole.weights[0], seen[0][2])
    assert whole.feature_names is None


@FRAMES
def test_many_networks_go_by_names_too(frame):
    nets = [net(), net()]
    nets[0].fit(named(frame), Y, epochs=1)
    nets[1].fit(named(frame, (2, 1, 0)), Y, epochs=1)
    assert nets[1].feature_names == NAMES[::-1]
    expected = nets[1].evaluate(X[:, ::-1], Y)["loss"]
    histories = fastmlp.fit_many(
        nets, named(frame), Y, epochs=1, optimizer=fastmlp.SGD(0.0), batch_size=None
    )
    assert histories[1].loss[0] == pytest.approx(expected, rel=1e-5)


@FRAMES
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("height", "width"), "'depth' missing"),
        (("height", "width", "depth", "age"), "'age' new"),
        (("height", "width", "age"), "'depth' missing and 'age' new"),
    ],
)
def test_other_columns_are_named(frame, columns, message):
    one = net()
    one.fit(named(frame), Y, epochs=1)
    before = one.weights[0].copy()
    other = frame({name: X[:, i % 3] for i, name in enumerate(columns)})
    for ask in (one.predict, lambda f: one.evaluate(f, Y), lambda f: one.fit(f, Y, epochs=1)):
        with pytest.raises(ValueError, match=f"X: expected the columns .* got {message}"):
            ask(other)
    with pytest.raises(ValueError, match="validation_data: X: expected the columns"):
        one.fit(named(frame), Y, validation_data=(other, Y))
    np.testing.assert_array_equal(one.weights[0], before)


def test_a_column_twice_and_columns_without_names():
    one = net()
    one.fit(named(pd.DataFrame), Y, epochs=1)
    twice = pd.DataFrame(X, columns=["height", "width", "width"])
    with pytest.raises(ValueError, match="X: expected every column once, got several of 'width'"):
        one.predict(twice)
    np.testing.assert_array_equal(one.predict(pd.DataFrame(X)), one.predict(X))
    other = net()
    other.fit(pd.DataFrame(X), Y, epochs=1)
    assert other.feature_names is None


def test_a_fit_that_fails_remembers_no_names():
    one = net()
    with pytest.raises(ValueError, match="batch_size"):
        one.fit(named(pd.DataFrame), Y, batch_size=0)
    with pytest.raises(ValueError, match="y: "):
        one.fit(named(pd.DataFrame), Y[:5])
    assert one.feature_names is None


HOLES = X.copy()
HOLES[7, 1] = np.nan
WITH_HOLES = {
    "NaN": pd.DataFrame(HOLES, columns=NAMES),
    "float32": pd.DataFrame(HOLES, columns=NAMES, dtype="float32"),
    "objects": pd.DataFrame(HOLES, columns=NAMES).astype(object),
    "objects with None": pd.DataFrame(HOLES, columns=NAMES).astype(object).replace(np.nan, None),
    "Float64": pd.DataFrame(HOLES, columns=NAMES).astype("Float64"),
    "one Int64": pd.DataFrame(X, columns=NAMES).assign(
        width=pd.Series([1] * 7 + [None] + [1] * 52, dtype="Int64")
    ),
    "one boolean": pd.DataFrame(X, columns=NAMES).assign(
        width=pd.Series([True] * 7 + [None] + [False] * 52, dtype="boolean")
    ),
    "categories of whole numbers": pd.DataFrame(
        {"height": 1, "width": pd.Categorical([1] * 7 + [None] + [2] * 52), "depth": 3}
    ),
    "arrow": pd.DataFrame(HOLES, columns=NAMES).convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.DataFrame(HOLES, schema=list(NAMES)).fill_nan(None),
    "polars, whole numbers": pl.DataFrame(
        {"height": X[:, 0], "width": [1] * 7 + [None] + [2] * 52, "depth": X[:, 2]}
    ),
}


@pytest.mark.parametrize("kind", WITH_HOLES)
def test_a_missing_value_is_said_to_be_missing(kind):
    with pytest.raises(ValueError, match=r"X: .* in row 7, column 'width' \(a missing value\)"):
        net().fit(WITH_HOLES[kind], Y)


def test_a_missing_value_of_an_array_and_of_labels():
    with pytest.raises(ValueError, match=r"X: .* in row 7, column 1 \(a missing value\)"):
        net().fit(HOLES, Y)
    with pytest.raises(ValueError, match=r"X: .* in row 7, column 1 \(a missing value\)"):
        net().fit([[None if np.isnan(x) else x for x in row] for row in HOLES], Y)
    for labels in (
        pd.Series(Y, dtype="Int64").mask(np.arange(60) == 4),
        [*Y[:4].tolist(), None, *Y[5:].tolist()],
        pl.Series(Y).set(pl.Series(np.arange(60) == 4), None),
    ):
        with pytest.raises(ValueError, match=r"y: .* in row 4 \(a missing value\)"):
            net().fit(X, labels)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.date_range("2024", periods=60), "X: .*dates in column 'width'"),
        (pd.Series(["red"] * 60, dtype="string"), "X: .*texts in column 'width'"),
        (pd.Series(["1.5"] * 60, dtype=object), "X: .*'1.5' .str. in row 0, column 'width'"),
        (pd.Categorical(["a", "b"] * 30), "X: .*texts in column 'width'"),
        (pd.Series([1.5, "x"] * 30, dtype=object), "X: .*'x' .str. in row 1, column 'width'"),
        (pd.Series([{}] * 60), "X: .*'{}' .dict. in row 0, column 'width'"),
    ],
)
def test_a_column_of_something_else_is_named(column, message):
    with pytest.raises(TypeError, match=message):
        net().fit(pd.DataFrame(X, columns=NAMES).assign(width=column), Y)


def test_a_column_of_something_else_is_named_in_polars_and_in_arrays():
    frame = named(pl.DataFrame)
    for column, what in (
        (pl.Series("width", ["red"] * 60), "texts"),
        (pl.Series("width", pd.date_range("2024", periods=60)), "dates"),
    ):
        with pytest.raises(TypeError, match=f"X: .*{what} in column 'width'"):
            net().fit(frame.with_columns(column), Y)
    with pytest.raises(TypeError, match=r"X: .*'b' .str. in row 1, column 0"):
        net().fit(np.array([[1, 2, 3], ["b", 2, 3]], object), [0, 1])
    with pytest.raises(TypeError, match=r"y: .*'yes' .str. in row 0"):
        net().fit(X, np.array(["yes", "no"] * 30, object))


def test_types_of_numbers_are_read_as_they_are():
    expected = net().predict_proba(np.round(X, 1))
    plain = pd.DataFrame(np.round(X, 1), columns=NAMES)
    for frame in (plain, plain.astype("Float64"), plain.convert_dtypes(dtype_backend="pyarrow"),
                  plain.astype(object), plain.astype("category"),
                  plain.astype({"width": "category"})):  # fmt: skip
        np.testing.assert_array_equal(net().predict_proba(frame), expected)
    labels = pd.Series(Y)
    for y in (labels, labels.astype("Int64"), labels.astype("int64[pyarrow]"),
              labels.to_frame(), pl.Series(Y)):  # fmt: skip
        assert net().evaluate(X, y) == net().evaluate(X, Y)


@pytest.mark.parametrize(
    ("output", "n_out", "count"), [("softmax", 3, 3), ("sigmoid", 1, 2), ("identity", 2, 2)]
)
def test_names_of_classes_travel(tmp_path, output, n_out, count):
    one = fastmlp.MLP((3, n_out), output=output, rng=0)
    assert one.class_names is None
    one.class_names = ["größe", "b", "c"][:count]
    one.save(tmp_path / "net.npz")
    again = fastmlp.MLP.load(tmp_path / "net.npz")
    assert again.class_names == one.class_names == ("größe", "b", "c")[:count]
    for wrong in (["a"] * (count + 1), "ab"):
        with pytest.raises((ValueError, TypeError), match="class_names: expected"):
            one.class_names = wrong
    one.class_names = None
    assert one.class_names is None


def test_names_in_a_damaged_file_are_an_error(tmp_path):
    one = net()
    one.fit(named(pd.DataFrame), Y, epochs=1)
    one.save(tmp_path / "net.npz")
    arrays = dict(np.load(tmp_path / "net.npz"))
    for text in (b'["a", "b"]', b"[1, 2, 3]", b"nothing"):
        arrays["feature_names"] = np.frombuffer(text, np.uint8)
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(ValueError, match="path: expected a network"):
            fastmlp.MLP.load(tmp_path / "bad.npz")
