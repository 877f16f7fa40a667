"""What is set after `fit`, and what may not pass for numbers."""

from __future__ import annotations

import copy
import pickle

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from sklearn import neural_network as theirs

import fastmlp
from fastmlp import sklearn as ours

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(5)
X = RNG.normal(size=(120, 4))
CLASSES = (X[:, 0] * X[:, 1] > 0).astype(int)
VALUES = np.clip(X[:, 0] + 0.3 * X[:, 1], -2, 2)


def reloaded(model):
    return pickle.loads(pickle.dumps(model))


COPIES = pytest.mark.parametrize("again", [reloaded, copy.deepcopy], ids=["pickle", "deepcopy"])


@COPIES
@pytest.mark.parametrize(
    ("kind", "y", "setting"),
    [
        (ours.MLPClassifier, CLASSES, {"activation": "tanh"}),
        (ours.MLPRegressor, VALUES, {"activation": "logistic"}),
        (ours.MLPRegressor, VALUES, {"loss": "poisson"}),
        (ours.MLPRegressor, VALUES, {"hidden_layer_sizes": (3, 3)}),
        (ours.MLPClassifier, CLASSES, {"hidden_layer_sizes": (3, 3), "activation": ["tanh"] * 2}),
    ],
)
def test_what_predicts_is_what_was_fitted(kind, y, setting, again):
    model = kind(hidden_layer_sizes=(7,), max_iter=5, tol=0, random_state=0).fit(X, y)
    before = model.predict(X)
    model.set_params(**setting)
    np.testing.assert_array_equal(model.predict(X), before)
    np.testing.assert_array_equal(again(model).predict(X), before)
    np.testing.assert_array_equal(again(again(model)).predict(X), before)


@pytest.mark.parametrize("how", ["warm start", "partial_fit"])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_training_goes_on_with_the_activation_asked_for(how, solver):
    if how == "partial_fit" and solver == "lbfgs":
        return
    seen = []
    for kind in (theirs.MLPClassifier, ours.MLPClassifier):
        model = kind((7,), solver=solver, max_iter=4, random_state=0, warm_start=True)
        for activation in ("relu", "tanh", "logistic"):
            model.set_params(activation=activation)
            if how == "partial_fit":
                model.partial_fit(X, CLASSES, classes=[0, 1])
            else:
                model.fit(X, CLASSES)
        seen.append([model.loss_, *model.predict_proba(X)[:, 1]])
        seen.append([model.loss_, *reloaded(model).predict_proba(X)[:, 1]])
    for other in seen[1:]:
        np.testing.assert_allclose(other, seen[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"hidden_layer_sizes": (8,)}, r"hidden_layer_sizes: expected \[7\].*got \[8\]"),
        ({"hidden_layer_sizes": (7, 7)}, r"hidden_layer_sizes: expected \[7\]"),
        ({"loss": "poisson"}, "out_activation_: expected 'exp'.*got 'identity'"),
    ],
)
def test_a_network_that_cannot_go_on_is_named(setting, message):
    model = ours.MLPRegressor(hidden_layer_sizes=(7,), max_iter=3, warm_start=True, random_state=0)
    model.fit(X, VALUES)
    before = model.predict(X)
    model.set_params(**setting)
    for train in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=message):
            train(X, np.abs(VALUES))
    np.testing.assert_array_equal(model.predict(X), before)


@pytest.mark.parametrize("out", ["logistic", "tanh", "relu", "identity", "softmax"])
def test_the_output_can_be_set(out):
    seen = []
    for kind in (theirs.MLPRegressor, ours.MLPRegressor):
        model = kind(hidden_layer_sizes=(7,), max_iter=5, random_state=0).fit(X, VALUES)
        model.out_activation_ = out
        seen += [model.predict(X), reloaded(model).predict(X)]
    for other in seen[1:]:
        np.testing.assert_allclose(other, seen[0], rtol=1e-7)


def test_a_bounded_regressor_trains_on_and_another_output_does_not():
    y = (VALUES > 0).astype(float)
    model = ours.MLPRegressor(
        hidden_layer_sizes=(7,), max_iter=60, warm_start=True, random_state=0,
        learning_rate_init=0.05, early_stopping=True,
    ).fit(X, y)  # fmt: skip
    model.out_activation_ = "logistic"
    model.set_params(early_stopping=False).fit(X, y)
    assert model.out_activation_ == "logistic"
    assert 0 <= model.predict(X).min() <= model.predict(X).max() <= 1
    assert model.score(X, y) > 0.8
    assert model.loss_ == pytest.approx(((model.predict(X) - y) ** 2).mean() / 2, abs=0.05)
    model.out_activation_ = "tanh"
    with pytest.raises(ValueError, match=r"out_activation_: expected 'identity'.*got 'tanh'"):
        model.fit(X, y)
    model.out_activation_ = "cosine"
    with pytest.raises(ValueError, match=r"out_activation_: expected one of .*got 'cosine'"):
        model.predict(X)


def test_the_rate_is_read_and_set_where_programs_look_for_it():
    model = ours.MLPClassifier((7,), solver="sgd", momentum=0, random_state=0)
    with pytest.raises(AttributeError, match="no optimizer before fit"):
        _ = model._optimizer
    model.partial_fit(X, CLASSES, classes=[0, 1])
    assert model._optimizer.learning_rate == 0.001
    model._optimizer.learning_rate = 0.0
    before = model.coefs_[0].copy()
    model.partial_fit(X, CLASSES)
    np.testing.assert_array_equal(model.coefs_[0], before)
    model._optimizer.learning_rate = 0.5
    model.partial_fit(X, CLASSES)
    assert model.learning_rate_ == 0.5
    assert not (model.coefs_[0] == before).all()
    model.set_params(learning_rate_init=0.25).partial_fit(X, CLASSES)
    assert model._optimizer.learning_rate == 0.25


def test_another_solver_does_not_go_on_with_what_the_old_one_remembers():
    first = ours.MLPClassifier((7,), random_state=0, nesterovs_momentum=False)
    for _ in range(3):
        first.partial_fit(X, CLASSES, classes=[0, 1])
    ends = []
    for momentum in (0.0, 0.9):
        model = reloaded(first).set_params(solver="sgd", momentum=momentum, learning_rate_init=0.1)
        model.partial_fit(X, CLASSES)  # one step, the first of sgd: there is no velocity yet
        assert model.learning_rate_ == 0.1
        ends.append(model.coefs_)
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_converted_models_are_what_was_fitted():
    model = ours.MLPClassifier((7,), max_iter=5, tol=0, random_state=0)
    frame = pd.DataFrame(X, columns=list("abcd"))
    model.fit(frame, np.array(["no", "yes"])[CLASSES]).set_params(activation="tanh")
    net = fastmlp.MLP.from_sklearn(model)
    np.testing.assert_allclose(net.predict_proba(X)[:, 0], model.predict_proba(frame)[:, 1])
    assert net.feature_names == ("a", "b", "c", "d")
    assert net.class_names == ("no", "yes")
    model.out_activation_ = "tanh"
    with pytest.raises(ValueError, match="out_activation_"):
        fastmlp.MLP.from_sklearn(model)


DAYS = pd.date_range("2024-03-01", periods=len(X))
WRONG = {
    "dates in a frame": (pd.DataFrame({"a": X[:, 0], "day": DAYS}), "X: .*dates in column 'day'"),
    "texts in a frame": (
        pd.DataFrame({"a": X[:, 0], "n": X[:, 1].astype(str)}).astype({"n": "string"}),
        "X: .*texts in column 'n'",
    ),
    "dates": (DAYS.to_numpy()[:, None], r"X: .*dates \(dtype datetime64"),
    "durations": ((DAYS - DAYS[0]).to_numpy()[:, None], r"X: .*dates \(dtype timedelta64"),
    "texts": (X.astype(str), r"X: .*texts \(dtype <U"),
    "lists of texts": (X.astype(str).tolist(), r"X: .*texts \(dtype <U"),
}


@pytest.mark.parametrize("name", WRONG)
def test_dates_and_texts_are_no_features(name):
    data, message = WRONG[name]
    for model in (ours.MLPClassifier(max_iter=2), ours.MLPRegressor(max_iter=2)):
        with pytest.raises(TypeError, match=message):
            model.fit(data, CLASSES)
        width = data.shape[1] if hasattr(data, "shape") else len(data[0])
        model.fit(X[:, :width], CLASSES)
        with pytest.raises(TypeError, match=message):
            model.predict(data)


@pytest.mark.parametrize(
    "y",
    [DAYS, DAYS.to_series(), X[:, 0].astype(str), pd.Series(X[:, 0].astype(str), dtype="string")],
    ids=["dates", "series of dates", "texts", "series of texts"],
)
def test_dates_and_texts_are_no_values(y):
    with pytest.raises(TypeError, match=r"y: expected real numbers, got (dates|texts)"):
        ours.MLPRegressor(max_iter=2).fit(X, y)


def test_frames_of_dask_are_read_as_those_of_pandas():
    frame = pd.DataFrame(X, columns=list("abcd"))
    lazy = dd.from_pandas(frame, npartitions=3)
    y = dd.from_pandas(pd.Series(CLASSES), npartitions=3)
    expected = ours.MLPClassifier((5,), max_iter=2, random_state=0).fit(frame, CLASSES)
    model = ours.MLPClassifier((5,), max_iter=2, random_state=0).fit(lazy, y)
    assert list(model.feature_names_in_) == list("abcd")
    np.testing.assert_array_equal(model.predict_proba(lazy), expected.predict_proba(frame))
    assert model.score(lazy, y) == expected.score(frame, CLASSES)
    for wrong, message in ((["d", "c", "b", "a"], "same order"), (["a", "b"], "now missing")):
        for call in (model.predict, lambda data: model.partial_fit(data, CLASSES)):
            with pytest.raises(ValueError, match=message):
                call(lazy[wrong])
    with pytest.raises(TypeError, match=r"X: .*texts in column 'b'"):
        model.fit(lazy.assign(b="x"), y)


def test_texts_are_classes_still():
    model = ours.MLPClassifier(max_iter=2).fit(X, np.array(["no", "yes"])[CLASSES])
    assert set(model.predict(X)) <= {"no", "yes"}
