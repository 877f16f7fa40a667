"""What there is beyond scikit-learn's classes."""

from __future__ import annotations

import pickle
from functools import cache

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.utils.class_weight import compute_sample_weight

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.optimizers import OPTIMIZERS
from fastmlp.schedules import SCHEDULES
from fastmlp.sklearn import MLPClassifier, MLPRegressor
from fastmlp.sklearn._network import draw

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16, y[:400]


@cache
def cancer() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_breast_cancer(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def test_class_weight_is_a_sample_weight():
    X, y = cancer()
    factors = compute_sample_weight("balanced", y)
    a = MLPClassifier(max_iter=5, random_state=0, class_weight="balanced").fit(X, y)
    b = MLPClassifier(max_iter=5, random_state=0).fit(X, y, factors)
    assert a.loss_curve_ == b.loss_curve_
    weight = np.linspace(0.5, 2, len(y))
    c = MLPClassifier(max_iter=5, random_state=0, class_weight={0: 3, 1: 1}).fit(X, y, weight)
    d = MLPClassifier(max_iter=5, random_state=0).fit(X, y, weight * np.where(y == 0, 3, 1))
    assert c.loss_curve_ == d.loss_curve_
    with pytest.raises(ValueError, match="class_weight"):
        MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1])


def test_dtype_decides_and_small_integers_are_read_as_they_are():
    X, y = digits()
    whole = (X * 16).astype(np.uint8)
    model = MLPClassifier(dtype="float32", max_iter=5, random_state=0).fit(whole, y)
    other = MLPClassifier(max_iter=5, random_state=0).fit(whole.astype(np.float32), y)
    assert model.loss_curve_ == other.loss_curve_
    assert {w.dtype.name for w in model.coefs_} == {"float32"}
    double = MLPClassifier(dtype=np.float64, max_iter=5, random_state=0).fit(
        X.astype(np.float32), y
    )
    assert {w.dtype.name for w in double.coefs_} == {"float64"}
    lbfgs = MLPClassifier(solver="lbfgs", max_iter=5, random_state=0).fit(X.astype(np.float32), y)
    assert {w.dtype.name for w in lbfgs.coefs_} == {"float32"}


def test_every_activation_and_one_per_layer():
    X, y = digits()
    for name in ACTIVATIONS:
        model = MLPClassifier(activation=name, max_iter=8, random_state=0).fit(X, y)
        assert model.loss_curve_[-1] < model.loss_curve_[0], name
    a = MLPClassifier((8, 6), activation="tanh", max_iter=3, random_state=0).fit(X, y)
    b = MLPClassifier((8, 6), activation=["tanh", "tanh"], max_iter=3, random_state=0).fit(X, y)
    c = MLPClassifier((8, 6), activation=["tanh", "relu"], max_iter=3, random_state=0).fit(X, y)
    assert a.loss_curve_ == b.loss_curve_ != c.loss_curve_
    hidden = np.maximum(np.tanh(X @ c.coefs_[0] + c.intercepts_[0]) @ c.coefs_[1]
                        + c.intercepts_[1], 0)  # fmt: skip
    logits = hidden @ c.coefs_[2] + c.intercepts_[2]
    np.testing.assert_array_equal(c.predict(X), logits.argmax(axis=1))


def test_every_optimizer_and_schedule():
    X, y = digits()
    for name in OPTIMIZERS:
        model = MLPClassifier(optimizer=name, max_iter=6, random_state=0).fit(X, y)
        assert model.loss_curve_[-1] < model.loss_curve_[0], name
    for name in SCHEDULES:
        model = MLPClassifier(schedule=name, max_iter=6, random_state=0).fit(X, y)
        assert model.loss_curve_[-1] < model.loss_curve_[0], name
    step = fastmlp.StepDecay(0.5, every=2)
    model = MLPClassifier(solver="sgd", schedule=step, max_iter=5, random_state=0).fit(X, y)
    assert model.learning_rate_ == 0.001 * 0.25
    plain = MLPClassifier(optimizer=fastmlp.SGD(0.05), max_iter=4, random_state=0).fit(X, y)
    same = MLPClassifier(
        solver="sgd", momentum=0, learning_rate_init=0.05, max_iter=4, random_state=0
    ).fit(X, y)
    assert plain.loss_curve_ == same.loss_curve_


def test_generators_as_random_state():
    X, y = digits()
    runs = [
        MLPClassifier(random_state=np.random.default_rng(seed), max_iter=4, **settings).fit(X, y)
        for seed, settings in ((3, {}), (3, {}), (4, {}), (3, {"early_stopping": True}))
    ]
    assert runs[0].loss_curve_ == runs[1].loss_curve_ != runs[2].loss_curve_
    assert len(runs[3].validation_scores_) == 4


def test_validation_data_are_watched():
    X, y = cancer()
    given = (X[400:], y[400:])
    model = MLPClassifier(max_iter=6, random_state=0).fit(X[:400], y[:400], validation_data=given)
    assert len(model.validation_loss_curve_) == 6
    assert model.validation_scores_ is None
    p = model.predict_proba(given[0])[np.arange(len(given[1])), given[1]]
    assert model.validation_loss_curve_[-1] == pytest.approx(-np.log(p).mean(), rel=1e-6)
    stopped = MLPClassifier(
        early_stopping=True, n_iter_no_change=3, learning_rate_init=0.05, random_state=0
    ).fit(X[:400], y[:400], validation_data=given)
    assert stopped.n_iter_ < 200
    assert stopped.t_ == 400 * stopped.n_iter_  # nothing was held out
    assert stopped.score(*given) == stopped.best_validation_score_


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "poisson"])
def test_losses_of_the_regressor(loss):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = np.exp(X[:, 0] / 2)
    model = MLPRegressor(loss, max_iter=60, learning_rate_init=0.01, random_state=0, alpha=0)
    model.fit(X, y, validation_data=(X, y))
    r = model.predict(X) - y
    value = {
        "squared_error": r**2 / 2,
        "absolute_error": np.abs(r),
        "huber": np.where(np.abs(r) <= 1, r**2 / 2, np.abs(r) - 0.5),
        "poisson": y * np.log(y / model.predict(X)) - y + model.predict(X),
    }[loss]
    assert model.validation_loss_curve_[-1] == pytest.approx(value.mean(), rel=1e-9)
    assert model.score(X, y) > 0.9


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("dropout", [0.3, [0.5, 0.0]])
def test_dropout_leaves_out_what_mlp_fit_does(solver, dropout):
    X, y = digits()
    model = MLPClassifier(
        (16, 8), solver=solver, batch_size=32, alpha=0, momentum=0, shuffle=False, max_iter=3,
        random_state=0, dropout=dropout, dtype="float64",
        optimizer=fastmlp.Adam(0.001) if solver == "adam" else None,
    ).fit(X, y)  # fmt: skip
    optimizer = fastmlp.Adam(0.001) if solver == "adam" else fastmlp.SGD(0.001)
    for backend in ("numpy", "numba"):
        net = fastmlp.MLP((64, 16, 8, 10), activation="relu", dtype="float64", backend=backend)
        net._rng = np.random.RandomState(0)
        net.weights, net.biases = draw(net._rng, net.layer_sizes, ["relu"] * 2, np.dtype("float64"))
        history = net.fit(
            X, y, epochs=3, batch_size=32, optimizer=optimizer, shuffle=False, dropout=dropout
        )
        np.testing.assert_allclose(model.loss_curve_, history.loss, rtol=1e-12)
        for a, b in zip(model.coefs_, net.weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(model.predict_proba(X), net.predict_proba(X), rtol=1e-9)


def test_dropout_is_off_by_default_and_no_thread_changes_a_bit():
    X, y = digits()
    settings = {"hidden_layer_sizes": (64, 32), "max_iter": 3, "random_state": 0}
    off, zero, some = (
        MLPClassifier(dropout=rate, **settings).fit(X, y) for rate in (0.0, [0.0, 0.0], 0.5)
    )
    assert off.loss_curve_ == zero.loss_curve_ != some.loss_curve_
    assert off.loss_curve_ == MLPClassifier(**settings).fit(X, y).loss_curve_
    for threads in (1, 2, 3):
        other = MLPClassifier(dropout=0.5, threads=threads, **settings).fit(X, y)
        assert other.loss_curve_ == some.loss_curve_
        assert all((a == b).all() for a, b in zip(other.coefs_, some.coefs_, strict=True))
    np.testing.assert_array_equal(some.predict_proba(X), some.predict_proba(X))
    same = MLPClassifier(**settings).fit(X, y)
    for ours, theirs in ((same.coefs_, some.coefs_), (same.intercepts_, some.intercepts_)):
        for a, b in zip(ours, theirs, strict=True):
            a[...] = b
    np.testing.assert_array_equal(same.predict_proba(X), some.predict_proba(X))


def test_dropout_goes_on_in_partial_fit():
    X, y = digits()
    a, b = (MLPClassifier(random_state=0, dropout=0.5) for _ in range(2))
    for _ in range(3):
        a.partial_fit(X, y, classes=range(10))
    b.partial_fit(X, y, classes=range(10))
    b = pickle.loads(pickle.dumps(b))
    for _ in range(2):
        b.partial_fit(X, y)
    assert a.loss_curve_ == b.loss_curve_


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_dropout_out_of_range_is_named_and_changes_nothing(kind):
    X, y = digits()
    model = kind(random_state=0, max_iter=2).fit(X, y)
    before = [w.copy() for w in model.coefs_]
    for settings, words in (
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": "half"}, "dropout"),
        ({"dropout": [0.5, 0.5]}, "dropout: expected one rate, or 1"),
        ({"dropout": [1.5]}, "dropout"),
        ({"dropout": 0.5, "solver": "lbfgs"}, "dropout: expected 0 with solver='lbfgs'"),
        ({"dropout": 0.5, "hidden_layer_sizes": ()}, "dropout: expected 0 without hidden"),
    ):
        with pytest.raises(ValueError, match=words):
            clone(model).set_params(**settings).fit(X, y)
        with pytest.raises(ValueError, match=words):
            model.set_params(**settings).fit(X, y)
        model.set_params(dropout=0.0, solver="adam", hidden_layer_sizes=(100,))
        assert all((a == b).all() for a, b in zip(before, model.coefs_, strict=True))


def test_callbacks_see_the_estimator_and_may_stop(capsys):
    X, y = digits()
    losses = []

    def watch(model):
        losses.append(model.loss_)
        return len(losses) == 3

    model = MLPClassifier(random_state=0).fit(X, y, callbacks=[watch])
    assert losses == model.loss_curve_
    assert model.n_iter_ == 3


def test_progress_is_a_bar_on_standard_error(capsys):
    X, y = digits()
    MLPClassifier(max_iter=3, progress=True, random_state=0).fit(X, y)
    shown = capsys.readouterr()
    assert "3/3" in shown.err
    assert shown.out == ""
    MLPClassifier(max_iter=3, verbose=True, solver="lbfgs", random_state=0).fit(X, y)
    assert "Iteration 3, loss" in capsys.readouterr().out
