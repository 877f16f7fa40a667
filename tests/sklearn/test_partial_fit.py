"""Streams of a few samples: what one call prepared is kept for the next, to the same bits."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from fastmlp.kernels.run.training import Training
from fastmlp.sklearn import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(3)
X = RNG.normal(size=(120, 6))
VALUES = RNG.normal(size=(120, 2))
CLASSES = RNG.integers(0, 3, 120)
KINDS = {"values": (MLPRegressor, VALUES, {}), "classes": (MLPClassifier, CLASSES, [0, 1, 2])}
# numbers of samples, and what is set before the call
CALLS = [
    (1, {}), (1, {}), (1, {"alpha": 0.1}), (3, {}), (3, {"learning_rate_init": 0.05}), (1, {}),
    (1, {"batch_size": 1}), (3, {"batch_size": 1}), (3, {"threads": 2}), (3, {"dropout": 0.5}),
    (70, {"dropout": 0.0}), (70, {}), (2, {"activation": "tanh"}), (2, {}),
]  # fmt: skip


def first_call(kind, settings):
    model_of, y, classes = KINDS[kind]
    model = model_of(hidden_layer_sizes=(9,), random_state=0, **settings)
    return model, y, {"classes": classes} if kind == "classes" else {}


def parameters(model):
    return [*model.coefs_, *model.intercepts_, np.array(model.loss_)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "settings",
    [{}, {"solver": "sgd"}, {"solver": "sgd", "momentum": 0.0}, {"shuffle": False}],
    ids=["adam", "momentum", "sgd", "in order"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_leaves_the_bits_of_what_is_made_anew(kind, settings, dtype):
    kept, y, options = first_call(kind, settings)
    anew, _, _ = first_call(kind, settings)
    done = 0
    for count, setting in CALLS:
        rows = slice(done % 40, done % 40 + count)
        x = X[rows].astype("float64" if done == 1 else dtype)
        if count == 70:
            x = x * (x > 1)  # mostly zero: lists are made
        weight = np.linspace(0.5, 2, count) if done % 3 == 0 else None
        for model in (kept, anew):
            model.set_params(**setting)
            model.partial_fit(x, y[rows], sample_weight=weight, **options)
        anew._network.kept = None
        for a, b in zip(parameters(kept), parameters(anew), strict=True):
            np.testing.assert_array_equal(a, b)
        options, done = {}, done + count


@pytest.mark.parametrize("kind", KINDS)
def test_rows_one_by_one_are_prepared_once(kind, monkeypatch):
    made = []
    begin = Training.__init__

    def counted(self, *arguments, **options):
        made.append(self)
        begin(self, *arguments, **options)

    monkeypatch.setattr(Training, "__init__", counted)
    model, y, options = first_call(kind, {})
    for i in range(5):
        model.partial_fit(X[i : i + 1], y[i : i + 1], **options)
        options = {}
    assert len(made) == 1
    model.partial_fit(scipy.sparse.csr_matrix(X[:1]), y[:1])
    assert len(made) == 2


def test_samples_are_let_go_of():
    model, y, _ = first_call("values", {})
    x, targets = X[:2].copy(), y[:2].copy()
    weight = np.ones(2)
    alive = [weakref.ref(a) for a in (x, targets, weight)]
    model.partial_fit(x, targets, sample_weight=weight)
    del x, targets, weight
    gc.collect()
    assert [ref() for ref in alive] == [None] * 3
    with pytest.warns(ConvergenceWarning):
        model.set_params(max_iter=1).fit(X, y)
    assert model._network.kept is None  # all of a fit's memory is given back


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (([[np.nan] * 6], [[0.0, 1.0]]), "Input X contains NaN"),
        ((X[:1], [[np.inf, 1.0]]), "Input y contains infinity"),
        ((X[:1, :5], VALUES[:1]), "X has 5 features"),
        ((X[:2], VALUES[:1]), "inconsistent numbers of samples"),
        ((X[:0], VALUES[:0]), "0 sample"),
    ],
)
def test_bad_rows_are_refused_after_good_ones(bad, message):
    model, y, _ = first_call("values", {})
    for i in range(2):
        model.partial_fit(X[i : i + 1], y[i : i + 1])
    before = [a.copy() for a in parameters(model)]
    with pytest.raises(ValueError, match=message):
        model.partial_fit(*(np.asarray(a) for a in bad))
    for a, b in zip(parameters(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "labels", [[3], [-1], [2.5], ["a"], [[0, 1, 0]]], ids=["new", "below", "between", "text", "2-D"]
)
def test_unknown_labels_are_refused_after_known_ones(labels):
    model, y, options = first_call("classes", {})
    model.partial_fit(X[:1], y[:1], **options).partial_fit(X[1:2], y[1:2])
    with pytest.raises(ValueError):
        model.partial_fit(X[:1], np.array(labels))
