"""The callbacks of `MLP.fit` in the estimators' fit, and functions of the estimator."""

from __future__ import annotations

import csv

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

import fastmlp
from fastmlp.callbacks import Callback, CSVLogger, ModelCheckpoint, ProgressBar, TerminateOnNaN
from fastmlp.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300] / 16, y[:300], X[300:400] / 16, y[300:400]


class Recorder(Callback):
    """Notes every call."""

    def __init__(self, stop_at=("", -1)):
        self.calls, self.stop_at = [], stop_at

    def __getattribute__(self, name):
        if name.startswith("on_") or name == "close":
            return lambda *arguments: self._note(name, *arguments)
        return super().__getattribute__(name)

    def _note(self, name, *arguments):
        self.calls.append((name, *arguments))
        if (name, *arguments[:1]) == self.stop_at:
            self.net.stop_training = True

    @property
    def names(self):
        return [name for name, *_ in self.calls]


def test_hooks_are_called_as_mlp_fit_calls_them(digits):
    X, y, *validation = digits
    ours, theirs = Recorder(), Recorder()
    model = MLPClassifier((8,), max_iter=2, random_state=0, batch_size=300)
    model.fit(X, y, validation_data=validation, callbacks=[ours])
    net = fastmlp.MLP((64, 8, 10), rng=0)
    net.fit(X, y, epochs=2, batch_size=300, validation_data=validation, callbacks=[theirs])
    assert ours.names == theirs.names
    assert ours.params == theirs.params
    ends = [[call[2] for call in r.calls if call[0] == "on_epoch_end"] for r in (ours, theirs)]
    assert [list(logs) for logs in ends[0]] == [list(logs) for logs in ends[1]]
    assert [logs["loss"] for logs in ends[0]] == model.loss_curve_
    assert [logs["val_loss"] for logs in ends[0]] == model.validation_loss_curve_
    assert ends[0][-1]["val_accuracy"] == model.score(*validation)
    assert ours.net.history.val_loss == model.validation_loss_curve_


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_network_that_callbacks_see_is_the_estimators(digits, solver, dtype):
    X, y = digits[:2]

    class Compare(Callback):
        seen = 0

        def on_epoch_end(self, epoch, logs):
            np.testing.assert_array_equal(self.net.weights[0], model.coefs_[0])
            losses.append(self.net.evaluate(X, y)["loss"])
            assert logs["loss"] == model.loss_
            if solver == "lbfgs":  # all samples at the present parameters
                assert logs["accuracy"] == self.net.evaluate(X, y)["accuracy"]
            np.testing.assert_array_equal(self.net.predict_proba(X), model.predict_proba(X))

    losses = []
    model = MLPClassifier((8,), max_iter=4, random_state=0, solver=solver, dtype=dtype, alpha=0)
    model.fit(X, y, callbacks=Compare())
    assert len(losses) == 4
    assert losses == sorted(losses, reverse=True)
    if solver == "lbfgs":
        np.testing.assert_allclose(losses, model.loss_curve_, rtol=1e-5)


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_early_stopping_puts_the_best_back(digits, solver):
    X, y, *validation = digits
    stopping = fastmlp.EarlyStopping(patience=3)
    model = MLPClassifier(
        (32,), solver=solver, learning_rate_init=0.5, alpha=0, random_state=0, tol=1e-9
    ).fit(X, y, validation_data=validation, callbacks=[stopping])
    curve = model.validation_loss_curve_
    assert model.n_iter_ == len(curve) < 200
    assert stopping.best_epoch == int(np.argmin(curve)) == len(curve) - 4
    p = model.predict_proba(validation[0])[np.arange(100), validation[1]]
    assert -np.log(p).mean() == pytest.approx(min(curve), rel=1e-6)


def test_what_is_watched_has_to_be_there(digits, tmp_path):
    X, y = digits[:2]
    model = MLPClassifier(max_iter=2)
    for callback in (fastmlp.EarlyStopping(), ModelCheckpoint(tmp_path / "{val_loss}.npz")):
        with pytest.raises(ValueError, match="val_loss"):
            model.fit(X, y, callbacks=[callback])
        assert not hasattr(model, "coefs_")
        model.set_params(early_stopping=True).fit(X, y, callbacks=[callback])
        model = MLPClassifier(max_iter=2)
    X, y = load_diabetes(return_X_y=True)
    r2 = fastmlp.EarlyStopping("val_r2", patience=2)
    model = MLPRegressor(early_stopping=True, random_state=0, max_iter=3).fit(X, y, callbacks=[r2])
    assert r2.best == max(model.validation_scores_)
    with pytest.raises(ValueError, match="learning_rate"):
        MLPRegressor(solver="lbfgs").fit(
            X, y, callbacks=[fastmlp.EarlyStopping("learning_rate", mode="min")]
        )


def test_a_checkpoint_is_a_network_that_predicts_alike(digits, tmp_path):
    X, y = digits[:2]
    saver = ModelCheckpoint(tmp_path / "net-{epoch}.npz")
    for settings in ({}, {"solver": "sgd"}, {"solver": "sgd", "momentum": 1.0},
                     {"schedule": "onecycle"}, {"solver": "lbfgs"}):  # fmt: skip
        model = MLPClassifier((8,), max_iter=3, random_state=0, **settings)
        model.fit(X, y, callbacks=[saver])
        assert len(saver.saved) == 3
        net = fastmlp.MLP.load(saver.saved[-1])
        np.testing.assert_array_equal(net.predict_proba(X), model.predict_proba(X))
        assert net.history.loss == model.loss_curve_
        net.fit(X, y, epochs=1)
    X, y = load_breast_cancer(return_X_y=True)
    model = MLPClassifier((8,), max_iter=2, random_state=0).fit(X, y, callbacks=[saver])
    net = fastmlp.MLP.load(saver.saved[-1])
    np.testing.assert_array_equal(net.predict_proba(X)[:, 0], model.predict_proba(X)[:, 1])


def test_a_table_of_the_epochs(digits, tmp_path):
    X, y = digits[:2]
    model = MLPClassifier(max_iter=3, random_state=0, early_stopping=True)
    model.fit(X, y, callbacks=[CSVLogger(tmp_path / "run.csv")])
    with open(tmp_path / "run.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == model.loss_curve_
    assert [float(row["val_accuracy"]) for row in rows] == model.validation_scores_
    assert {float(row["learning_rate"]) for row in rows} == {0.001}


@pytest.mark.parametrize(
    ("where", "epochs"), [(("on_train_begin", {}), 0), (("on_epoch_begin", 2), 2),
                          (("on_epoch_end", 2), 3), (("on_batch_group_end", 1), 1)]
)  # fmt: skip
def test_any_hook_may_end_training(digits, where, epochs):
    X, y = digits[:2]
    recorder = Recorder(stop_at=where)
    model = MLPClassifier((8,), random_state=0, batch_size=30).fit(X, y, callbacks=[recorder])
    assert model.n_iter_ == len(model.loss_curve_) == epochs
    assert recorder.names[-2:] == ["on_train_end", "close"]
    if where[0] == "on_batch_group_end":
        assert model.t_ == 30


def test_callbacks_are_closed_after_an_error_too(digits):
    X, y = digits[:2]
    recorder = Recorder()

    def fail(model):
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        MLPClassifier((8,), random_state=0).fit(X, y, callbacks=[recorder, fail])
    assert recorder.names[-1] == "close"
    assert "on_train_end" not in recorder.names


def test_a_loss_that_is_not_finite_ends_at_once_and_is_an_error():
    X, y = load_diabetes(return_X_y=True)
    recorder = Recorder()
    model = MLPRegressor(solver="sgd", learning_rate_init=1e6, random_state=0)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="non-finite"):
        model.fit(X * 1e6, y, callbacks=[recorder, TerminateOnNaN()])
    assert recorder.names.count("on_epoch_end") < 5


def test_callbacks_change_no_bit(digits):
    X, y = digits[:2]
    for settings in ({}, {"dropout": 0.5}, {"solver": "lbfgs"}):
        a = MLPClassifier((8,), max_iter=4, random_state=0, **settings).fit(X, y)
        b = MLPClassifier((8,), max_iter=4, random_state=0, progress=True, **settings)
        b.fit(X, y, callbacks=[Recorder(), lambda model: None])
        assert a.loss_curve_ == b.loss_curve_
        assert all((u == v).all() for u, v in zip(a.coefs_, b.coefs_, strict=True))


@pytest.mark.parametrize("wrong", [3, "csv", [3], [Recorder], "abc", {"a": 1}])
def test_what_is_no_callback_is_named(digits, wrong):
    model = MLPClassifier()
    with pytest.raises(TypeError, match="callbacks: expected"):
        model.fit(*digits[:2], callbacks=wrong)
    assert not hasattr(model, "coefs_")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_one_bar_is_shown(digits, solver, capsys):
    X, y = digits[:2]
    for settings, callbacks in (({"progress": True}, []), ({}, [ProgressBar()]),
                                ({"progress": True}, [ProgressBar()])):  # fmt: skip
        MLPClassifier((4,), max_iter=3, random_state=0, solver=solver, **settings).fit(
            X, y, callbacks=callbacks
        )
        shown = capsys.readouterr()
        assert "epoch 3/3: 100%" in shown.err
        assert shown.err.count("\n") == 1
        assert shown.out == ""


def test_lbfgs_looks_at_validation_data(digits):
    X, y, *validation = digits
    model = MLPClassifier((8,), max_iter=5, random_state=0, solver="lbfgs")
    model.fit(X.astype(np.float32), y, validation_data=validation)
    assert len(model.validation_loss_curve_) == len(model.loss_curve_) == 5
    p = model.predict_proba(validation[0])[np.arange(100), validation[1]]
    assert -np.log(p).mean() == pytest.approx(model.validation_loss_curve_[-1], rel=1e-5)
