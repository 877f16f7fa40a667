"""One sample a step with a penalty: the decay of all weights is kept as one number."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

import scipy.sparse
import sklearn.neural_network as theirs
from sklearn.datasets import load_digits

from fastmlp import sklearn as ours
from fastmlp.kernels.run.decayed import SEGMENT, DecayedTraining
from fastmlp.sklearn import _epochs

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SETTINGS = {"solver": "sgd", "batch_size": 1, "momentum": 0.0, "max_iter": 2, "random_state": 0,
            "hidden_layer_sizes": (12, 7), "learning_rate_init": 0.01}  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[: SEGMENT + 100] / 16, y[: SEGMENT + 100]


@pytest.fixture
def taken(monkeypatch):
    """Which kind of training each step was taken by."""
    found = set()

    def note(self, *arguments):
        found.add(type(self).__name__)
        return steps(self, *arguments)

    steps = _epochs.Training.steps
    monkeypatch.setattr(_epochs.Training, "steps", note)
    decayed = DecayedTraining.steps
    monkeypatch.setattr(
        DecayedTraining, "steps",
        lambda self, *arguments: found.add("DecayedTraining") or decayed(self, *arguments),
    )  # fmt: skip
    return found


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"alpha": 1.0, "activation": "tanh"}, {"alpha": 20.0, "activation": "logistic"},
     {"alpha": 90.0}, {"learning_rate": "invscaling"}, {"hidden_layer_sizes": ()},
     {"early_stopping": True, "alpha": 0.1}],
)  # fmt: skip
@pytest.mark.parametrize("weighted", [False, True])
def test_scikit_learns_curve_and_weights(digits, taken, kind, settings, weighted):
    X, y = digits
    weight = None
    if weighted:
        weight = np.random.default_rng(0).uniform(1, 3, len(X))
    settings = {**SETTINGS, **settings}
    a = getattr(theirs, kind)(**settings).fit(X, y, weight)
    b = getattr(ours, kind)(**settings).fit(X, y, weight)
    dense = settings.get("alpha", 0) * settings["learning_rate_init"] > 0.5
    assert taken == {"Training" if dense else "DecayedTraining"}
    np.testing.assert_allclose(b.loss_curve_, a.loss_curve_, rtol=1e-11)
    arrays = zip([*b.coefs_, *b.intercepts_], [*a.coefs_, *a.intercepts_], strict=True)
    for ours_, theirs_ in arrays:
        np.testing.assert_allclose(ours_, theirs_, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("activation", ["gelu", "silu", "elu", "softplus", ["relu", "gelu"]])
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_array, np.float32, np.uint8])
def test_it_is_what_dense_steps_do(digits, monkeypatch, activation, dtype, make):
    X, y = digits
    X = make(np.where(X > 0.5, np.round(X * 16), 0))
    settings = {**SETTINGS, "alpha": 0.5, "activation": activation, "dtype": dtype,
                "learning_rate_init": 1e-3}  # fmt: skip
    a = ours.MLPClassifier(**settings).fit(X, y)
    monkeypatch.setattr(DecayedTraining, "fits", staticmethod(lambda *_: False))
    b = ours.MLPClassifier(**settings).fit(X, y)
    limits = {"rtol": 1e-11} if dtype == "float64" else {"rtol": 3e-5}
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, **limits)
    for u, v in zip(a.coefs_, b.coefs_, strict=True):
        atol = 1e-14 if dtype == "float64" else 1e-5
        np.testing.assert_allclose(u, v, rtol=limits["rtol"] * 100, atol=atol)


def test_where_an_epoch_is_cut_changes_no_bit(digits, monkeypatch):
    X, y = digits
    X, y = np.repeat(X, 5, axis=0), np.repeat(y, 5)
    a = ours.MLPClassifier(**SETTINGS).fit(X, y)
    monkeypatch.setattr(_epochs, "_PIECE_SECONDS", 1e-9)
    cuts = []
    b = ours.MLPClassifier(**SETTINGS)
    steps = _epochs.Epochs._steps
    monkeypatch.setattr(
        _epochs.Epochs, "_steps",
        lambda self, training, order, *rest: cuts.append(len(order))
        or steps(self, training, order, *rest),
    )  # fmt: skip
    b.fit(X, y)
    assert set(cuts[:-1]) >= {SEGMENT}
    assert a.loss_curve_ == b.loss_curve_
    assert all((u == v).all() for u, v in zip(a.coefs_, b.coefs_, strict=True))


def test_weights_of_zero_neither_teach_nor_decay(digits):
    X, y = digits
    weight = np.r_[np.ones(200), np.zeros(len(X) - 200)]
    settings = {**SETTINGS, "shuffle": False, "alpha": 1.0, "max_iter": 1}
    a = ours.MLPRegressor(**settings).fit(X, y, weight)
    b = ours.MLPRegressor(**settings).fit(X[:200], y[:200])
    for u, v in zip(a.coefs_, b.coefs_, strict=True):
        np.testing.assert_allclose(u, v, rtol=1e-12)


def test_the_padding_stays_zero(digits):
    model = ours.MLPClassifier(**{**SETTINGS, "alpha": 1.0}).fit(*digits)
    network = model._network
    for w, flat in zip(
        network.weights, (network.parameters.flat[s:e] for s, e in zip(
            network.parameters.weight_offsets, network.parameters.bias_offsets, strict=True)),
        strict=True,
    ):  # fmt: skip
        assert np.square(flat).sum() == pytest.approx(np.square(w).sum(), rel=1e-12)
        assert np.count_nonzero(flat) == np.count_nonzero(w)
