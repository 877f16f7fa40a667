"""What there is beyond scikit-learn's classes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.9")

from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.utils.class_weight import compute_sample_weight

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.optimizers import OPTIMIZERS
from fastmlp.schedules import SCHEDULES
from fastmlp.sklearn import MLPClassifier, MLPRegressor

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
