"""Networks of fitted estimators, scikit-learn's and ours."""

from __future__ import annotations

import numpy as np
import pytest
from exchange import LIBRARIES, TARGETS, X, fitted
from sklearn import neural_network
from sklearn.preprocessing import StandardScaler

from fastmlp import MLP, Adam

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("kind", [kind for kind in TARGETS if kind != "one class"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_network_of_an_estimator_predicts_the_same(library, kind):
    model = fitted(library, kind, activation="tanh")
    net = MLP.from_sklearn(model, backend="numpy")
    assert net.dtype == np.float64
    found, a = net.predict_proba(X), net.architecture
    if kind == "counts":
        assert a.loss == "poisson"
        np.testing.assert_allclose(np.exp(found[:, 0]), model.predict(X), rtol=1e-12)
    elif a.output == "identity":
        np.testing.assert_allclose(found.squeeze(), model.predict(X), rtol=1e-12, atol=1e-12)
    else:
        wanted = model.predict_proba(X)
        found = np.hstack([1 - found, found]) if a.n_out == 1 else found
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
        number = net.predict(X)[:, 0] if a.n_out == 1 else net.predict(X)
        labels = number if "labels" in kind else model.classes_[number]
        assert labels.tolist() == model.predict(X).tolist()
        assert len(np.unique(labels)) > 1
    y = TARGETS[kind][1]
    y = np.searchsorted(model.classes_, y) if hasattr(model, "classes_") and y.ndim == 1 else y
    before = net.evaluate(X, y)["loss"]
    net.fit(X, y, epochs=30, batch_size=None, optimizer=Adam(0.003))
    assert net.evaluate(X, y)["loss"] < before
    assert (model.coefs_[0] != net.weights[0]).any()  # its own arrays are copies


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_every_activation_of_scikit_learn(activation):
    model = fitted("sklearn", "words", activation=activation, rows=X.astype("float32"))
    net = MLP.from_sklearn(model, backend="numpy")
    rows = X.astype(model.coefs_[0].dtype)
    np.testing.assert_allclose(net.predict_proba(rows), model.predict_proba(rows), atol=1e-6)
    assert net.dtype == model.coefs_[0].dtype


def test_estimators_that_cannot_be_read_are_refused():
    with pytest.raises(ValueError, match="estimator: expected a fitted one, got MLPClassifier"):
        MLP.from_sklearn(neural_network.MLPClassifier())
    with pytest.raises(TypeError, match="estimator: expected a fitted MLPClassifier or MLPRegress"):
        MLP.from_sklearn(StandardScaler())
    model = fitted("sklearn", "words")
    model.coefs_[1][0, 0] = np.inf
    with pytest.raises(ValueError, match="estimator: layer 1: expected finite numbers"):
        MLP.from_sklearn(model)


class Shifted(neural_network.MLPRegressor):
    def predict(self, X):
        return super().predict(X) + 1


class MLPClassifier:  # a namesake
    coefs_ = intercepts_ = ()


CHANGES = {
    "fewer biases": (lambda m: m.intercepts_.pop(), "expected coefs_ and intercepts_ of 3 layers"),
    "another output": (
        lambda m: setattr(m, "out_activation_", "cube"), "expected out_activation_ to be one",
    ),
    "another activation": (lambda m: setattr(m, "activation", "cube"), "activation: expected one"),
    "a patched method": (
        lambda m: setattr(m, "predict_proba", lambda X: X), "own predict_proba, got one that",
    ),
    "words": (
        lambda m: m.coefs_.__setitem__(0, m.coefs_[0].astype(str)), "layer 0: expected an array of",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_estimators_that_were_changed_are_refused(library, change, message):
    model = fitted(library, "words")
    before = MLP.from_sklearn(model).architecture
    change(model)
    if library == "fastmlp" and message.startswith("activation"):  # what was fitted counts
        assert MLP.from_sklearn(model).architecture == before
        return
    with pytest.raises((TypeError, ValueError), match=message):
        MLP.from_sklearn(model)


def test_estimators_that_compute_something_else_are_refused():
    model = Shifted(max_iter=1).fit(X, X[:, 0])
    with pytest.raises(TypeError, match="own predict, got one that Shifted has replaced"):
        MLP.from_sklearn(model)
    with pytest.raises(TypeError, match="expected a fitted MLPClassifier or MLPRegressor, got MLP"):
        MLP.from_sklearn(MLPClassifier())
