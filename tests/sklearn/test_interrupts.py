"""Ctrl-C in an estimator's fit: wherever it comes, what is there fits together and works on."""

from __future__ import annotations

import signal
import warnings

import numpy as np
import pytest
from presses import everywhere, pressed

pytest.importorskip("sklearn")

from fastmlp.callbacks import Callback
from fastmlp.sklearn import MLPClassifier, MLPRegressor, _epochs

pytestmark = pytest.mark.usefixtures("ctrl_c_is_heard")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4))
LABELS = (X[:, 0] > 0).astype(int)
OWN = ("sklearn/_lbfgs.py", "sklearn/_base.py", "sklearn/_stochastic.py", "sklearn/_epochs.py")


class Watch(Callback):
    """Keeps the parameters of every step."""

    def on_train_begin(self, logs):
        self.steps, self.interrupted, self.ended = [flat(self.net)], False, False

    def on_batch_group_end(self, step, logs):
        self.steps.append(flat(self.net))

    def on_train_end(self, logs):
        self.interrupted, self.ended = self.net.history.interrupted, True


def flat(model) -> np.ndarray:
    weights = getattr(model, "weights", None) or model.coefs_
    biases = getattr(model, "biases", None) or model.intercepts_
    return np.concatenate([a.ravel() for a in (*weights, *biases)])


def make(**settings) -> MLPClassifier:
    return MLPClassifier(
        (5,), random_state=0, max_iter=3, n_iter_no_change=50,
        **{"solver": "lbfgs", "batch_size": 16 if "solver" in settings else "auto", **settings},
    )  # fmt: skip


def fit(model, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return model.fit(X, LABELS, **options)


@pytest.fixture(autouse=True)
def _step_by_step(monkeypatch):
    monkeypatch.setattr(_epochs, "_PIECE_SECONDS", 1e-9)


SETTINGS = {
    "lbfgs": {}, "lbfgs in float32": {"dtype": "float32"}, "adam": {"solver": "adam"},
    "early stopping": {"solver": "adam", "early_stopping": True},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "every"),
    [("lbfgs", 31), ("adam", 53)]
    + [pytest.param(name, 1, marks=pytest.mark.slow) for name in SETTINGS],
)
def test_wherever_it_comes_the_estimator_is_as_after_whole_steps(name, every, count):
    settings = SETTINGS[name]
    watch = Watch()
    expected = flat(fit(make(**settings), callbacks=[watch]))
    steps, places = watch.steps, 0
    model, held = make(**settings, warm_start=False), {"validation_data": (X[:9], LABELS[:9])}

    def work():
        for attribute in list(vars(model)):
            if attribute.endswith("_") or attribute in ("_network", "_solver_state"):
                delattr(model, attribute)
        fit(model, **held)

    for _ in everywhere(work, OWN, every):
        places += 1
        if not hasattr(model, "coefs_"):
            continue
        curve = getattr(model, "loss_curve_", [])
        assert model.n_iter_ == len(curve)
        assert len(getattr(model, "validation_scores_", None) or curve) == len(curve)
        assert len(model.validation_loss_curve_ or []) == len(curve)
        taken = model.n_iter_
        if "solver" in settings:
            taken = model.__dict__.get("_solver_state", {"step": 0})["step"]
        if not model.early_stopping:
            assert np.array_equal(flat(model), steps[taken])
        model.predict(X)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert places > 10
    assert np.array_equal(flat(fit(model)), expected)
    count("places of Ctrl-C", places)


class Press(Callback):
    def __init__(self, times: int) -> None:
        self.times = times

    def on_epoch_end(self, epoch, logs):
        if epoch == 1:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lbfgs_ends_as_scikit_learns_and_callbacks_hear_of_it(dtype):
    model, watch = make(dtype=dtype), Watch()
    with pytest.raises(KeyboardInterrupt):
        fit(model, callbacks=[watch, Press(1)])
    assert watch.ended
    assert watch.interrupted
    assert model.n_iter_ == len(model.loss_curve_) == 2
    assert np.array_equal(flat(model), watch.steps[-1])


@pytest.mark.parametrize("times", [1, 2, 10])
@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_presses_at_any_distance_leave_whole_steps(solver, times, count):
    """In a regression that takes long enough for them."""
    rows = RNG.normal(size=(400, 30))
    y = np.sin(rows[:, 0])
    settings = {
        "hidden_layer_sizes": (20,), "random_state": 0, "solver": solver, "tol": 0.0,
        "n_iter_no_change": 10**6, "max_fun": 10**6,
    }  # fmt: skip
    chance = np.random.default_rng(times)
    trials = 4
    for _ in range(trials):
        model = MLPRegressor(max_iter=10**6, **settings)
        gaps = [chance.uniform(0.0, 0.05), *chance.uniform(0.0005, 0.01, times - 1)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            assert pressed(lambda model=model: model.fit(rows, y), gaps) or solver == "adam"
        if not getattr(model, "n_iter_", 0):
            continue
        assert model.n_iter_ == len(model.loss_curve_)
        if solver == "lbfgs":
            twin = MLPRegressor(max_iter=model.n_iter_, **settings)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                twin.fit(rows, y)
            assert twin.loss_curve_ == model.loss_curve_
            assert np.array_equal(flat(twin), flat(model))
        assert np.isfinite(model.predict(rows)).all()
    count("moments of Ctrl-C", trials * times)
