"""What is learned: scikit-learn's losses, epoch by epoch, from the same random numbers."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

import scipy.sparse
import sklearn.neural_network as theirs
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import ThreadpoolController, threadpool_limits

import fastmlp
from fastmlp import MLP
from fastmlp import sklearn as ours
from fastmlp.sklearn._epochs import Targets, reported
from fastmlp.sklearn._lbfgs import Objective
from fastmlp.sklearn._network import Network
from fastmlp.sklearn._one_blas_thread import one_blas_thread

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


@cache
def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == "labels":
        return datasets.make_multilabel_classification(n_samples=150, random_state=0)
    if name == "counts":
        rng = np.random.default_rng(0)
        X = rng.normal(size=(200, 4))
        return X, rng.poisson(np.exp(X[:, 0] / 2)).astype(float)
    if name == "outputs":
        return datasets.make_regression(150, 8, n_targets=3, random_state=0)
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return X[:500], y[:500]


CURVES = [
    ("digits", {}),
    ("digits", {"early_stopping": True, "activation": "tanh", "batch_size": 37}),
    ("digits", {"solver": "sgd", "batch_size": 64, "weighted": True}),
    ("breast_cancer", {}),  # unscaled: probabilities of 0 and 1
    ("breast_cancer", {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "momentum": 0.5}),
    ("breast_cancer", {"solver": "sgd", "nesterovs_momentum": False, "shuffle": False,
                       "weighted": True, "early_stopping": True}),
    ("breast_cancer", {"solver": "sgd", "learning_rate": "invscaling", "activation": "logistic",
                       "momentum": 0}),
    ("diabetes", {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3, "alpha": 1.0}),
    ("diabetes", {"solver": "sgd", "learning_rate_init": 1e-4, "batch_size": 1, "max_iter": 3}),
    ("diabetes", {"early_stopping": True, "hidden_layer_sizes": (20, 10), "weighted": True}),
    ("outputs", {"batch_size": 40}),
    ("counts", {"loss": "poisson", "weighted": True}),
    ("labels", {"activation": "identity"}),
    ("iris", {"solver": "sgd", "momentum": 1.0, "learning_rate_init": 1e-4, "batch_size": 600}),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Got `batch_size`")
@pytest.mark.parametrize(("name", "settings"), CURVES, ids=[f"{n}-{i}" for i, (n, _) in
                                                              enumerate(CURVES)])  # fmt: skip
def test_the_curves_are_scikit_learns(name, settings):
    X, y = data(name)
    settings = {"random_state": 5, "max_iter": 15, **settings}
    weight = None
    if settings.pop("weighted", False):
        weight = np.random.default_rng(1).uniform(0.1, 3, len(X))
    kind = "MLPRegressor" if name in ("diabetes", "outputs", "counts") else "MLPClassifier"
    a = getattr(theirs, kind)(**settings).fit(X, y, weight)
    b = getattr(ours, kind)(**settings).fit(X, y, weight)
    np.testing.assert_allclose(b.loss_curve_, a.loss_curve_, rtol=1e-8)
    np.testing.assert_equal(b.validation_scores_ is None, a.validation_scores_ is None)
    if a.validation_scores_ is not None:
        np.testing.assert_allclose(b.validation_scores_, a.validation_scores_, rtol=1e-8)
        assert b.best_validation_score_ == pytest.approx(a.best_validation_score_, rel=1e-8)
    np.testing.assert_allclose(b.predict(X), a.predict(X), rtol=1e-6)
    for attribute in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_"):
        assert getattr(b, attribute) == getattr(a, attribute), attribute
    assert b._no_improvement_count == a._no_improvement_count


@pytest.mark.parametrize("solver", ["sgd", "adam"])  # the minimum that lbfgs seeks is nowhere
@pytest.mark.parametrize("name", ["iris", "breast_cancer", "labels", "diabetes"])
def test_a_few_weights_may_be_negative(name, solver):
    X, y = data(name)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    weight = np.where(np.arange(len(X)) % 7 == 0, -0.5, 1.5)
    kind = "MLPRegressor" if name == "diabetes" else "MLPClassifier"
    settings = {"solver": solver, "max_iter": 10, "random_state": 0}
    a, b = (getattr(m, kind)(**settings).fit(X, y, weight) for m in (theirs, ours))
    np.testing.assert_allclose(b.loss_curve_, a.loss_curve_, rtol=1e-8)
    for coefs, wanted in zip(b.coefs_, a.coefs_, strict=True):
        np.testing.assert_allclose(coefs, wanted, rtol=1e-5, atol=1e-6)


def test_sparse_labels_come_back_sparse():
    X, y = data("labels")
    a, b = (
        m.MLPClassifier(max_iter=5, random_state=0).fit(X, scipy.sparse.csr_array(y)).predict(X)
        for m in (theirs, ours)
    )
    assert type(a) is type(b)
    np.testing.assert_array_equal(b.toarray(), a.toarray())


def test_float32_follows_too():
    X, y = data("digits")
    X = X.astype(np.float32)
    a = theirs.MLPClassifier(max_iter=10, random_state=0).fit(X, y)
    b = ours.MLPClassifier(max_iter=10, random_state=0).fit(X, y)
    np.testing.assert_allclose(b.loss_curve_, a.loss_curve_, rtol=1e-4)
    assert {w.dtype.name for w in [*b.coefs_, *b.intercepts_]} == {"float32"}
    assert b.predict_proba(X).dtype == np.float32


@pytest.mark.parametrize("name", ["iris", "labels", "counts"])
def test_lbfgs_reaches_scikit_learns_minimum(name):
    X, y = data(name)
    settings = {"solver": "lbfgs", "random_state": 1, "max_iter": 500, "alpha": 0.5, "tol": 1e-5,
                "activation": "tanh", "hidden_layer_sizes": (4,)}  # fmt: skip
    kind = "MLPClassifier" if name in ("iris", "labels") else "MLPRegressor"
    if name == "counts":
        settings["loss"] = "poisson"
    a = getattr(theirs, kind)(**settings).fit(X, y)
    b = getattr(ours, kind)(**settings).fit(X, y)
    assert b.loss_ == pytest.approx(a.loss_, rel=0.02)
    assert b.loss_curve_[-1] == pytest.approx(b.loss_, rel=1e-9)
    assert len(b.loss_curve_) == b.n_iter_
    assert max(np.diff(b.loss_curve_)) <= 1e-9


@pytest.mark.parametrize(
    ("output", "loss"), [("softmax", "log_loss"), ("sigmoid", "log_loss"),
                         ("identity", "squared_error"), ("identity", "poisson")]
)  # fmt: skip
@pytest.mark.parametrize("sparse", [False, True])
def test_the_gradient_is_that_of_the_loss(output, loss, sparse):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 5)) * (rng.random((30, 5)) < 0.7)
    weight = rng.uniform(0.5, 2, 30)
    y = rng.integers(0, 3, 30) if output == "softmax" else rng.integers(0, 2, (30, 3)).astype(float)
    name = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}.get(output, loss)
    network = Network(
        [rng.normal(size=(5, 4)), rng.normal(size=(4, 3))],
        [rng.normal(size=4), rng.normal(size=3)], ["tanh"], output, name, None,
    )  # fmt: skip
    data = scipy.sparse.csr_array(X) if sparse else X
    objective = Objective(network, data, Targets(y, loss), weight, alpha=0.3)
    start = objective.start()
    gradient = objective.gradient(start).copy()
    step = 1e-6
    for i in rng.choice(start.size, 12, replace=False):
        moved = np.repeat(start[None], 2, axis=0)
        moved[0, i] += step
        moved[1, i] -= step
        slope = (objective.value(moved[0]) - objective.value(moved[1])) / (2 * step)
        assert slope == pytest.approx(gradient[i], rel=1e-5, abs=1e-8)
    # nothing is left of the others, whichever is asked for first
    np.testing.assert_array_equal(objective.gradient(start), gradient)


# where scikit-learn's own behaviour is a known defect


def test_lbfgs_of_several_outputs_has_a_loss_that_fits_its_gradient():
    X, y = data("outputs")
    settings = {"solver": "lbfgs", "random_state": 1, "max_iter": 500, "alpha": 0.5, "tol": 1e-5,
                "activation": "identity", "hidden_layer_sizes": (8,)}  # fmt: skip
    model = ours.MLPRegressor(**settings).fit(X, y / 100)
    penalty = 0.5 / 2 * sum((w**2).sum() for w in model.coefs_) / len(X)
    mean = ((model.predict(X) - y / 100) ** 2).mean() / 2
    assert model.loss_ == pytest.approx(mean + penalty, rel=1e-9)
    their = theirs.MLPRegressor(**settings).fit(X, y / 100)
    assert model.score(X, y / 100) > their.score(X, y / 100)


def test_n_iter_counts_the_passes_of_partial_fit():
    X, y = data("iris")
    model = ours.MLPClassifier(random_state=0)
    for _ in range(3):
        model.partial_fit(X, y, classes=[0, 1, 2])
    assert (model.n_iter_, model.t_, len(model.loss_curve_)) == (3, 450, 3)
    model.set_params(max_iter=2).fit(X, y)
    model.partial_fit(X, y)
    assert (model.n_iter_, model.t_) == (3, 450)


def test_a_warm_start_that_finds_nothing_better_keeps_the_best():
    X, y = data("digits")
    settings = {"early_stopping": True, "warm_start": True, "random_state": 0, "max_iter": 15}
    model = ours.MLPClassifier(**settings).fit(X, y)
    best, before = model.best_validation_score_, [w.copy() for w in model.coefs_]
    model.set_params(learning_rate_init=10.0, max_iter=3).fit(X, y)  # only does harm
    assert model.best_validation_score_ == best
    assert all((a == b).all() for a, b in zip(before, model.coefs_, strict=True))


def test_a_warm_start_may_change_the_solver_and_what_stops_it():
    X, y = data("iris")
    model = ours.MLPClassifier(warm_start=True, solver="lbfgs", max_iter=5, random_state=0)
    model.fit(X, y)
    losses = [model.loss_]
    for settings in ({"solver": "adam"}, {"early_stopping": True}, {"early_stopping": False}):
        model.set_params(**settings).fit(X, y)
        losses.append(model.loss_)
        assert (model.validation_scores_ is None) == (model.best_loss_ is not None)
    assert max(losses) < 1.5 * losses[0]


def test_a_batch_without_weight_teaches_nothing():
    X, y = data("iris")
    weight = np.r_[np.zeros(50), np.ones(100)]
    settings = {"shuffle": False, "batch_size": 50, "solver": "sgd", "momentum": 0, "alpha": 0}
    all_of_it = ours.MLPClassifier(random_state=0, max_iter=4, **settings).fit(X, y, weight)
    part = ours.MLPClassifier(random_state=0, max_iter=4, **settings)
    part.partial_fit(X[50:], y[50:], classes=[0, 1, 2])
    for _ in range(3):
        part.partial_fit(X[50:], y[50:])
    for a, b in zip(all_of_it.coefs_, part.coefs_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


# the rest of the rules


def test_partial_fit_goes_on_as_scikit_learns_does():
    X, y = data("digits")
    a, b = theirs.MLPClassifier(random_state=0), ours.MLPClassifier(random_state=0)
    for start in (0, 100, 200, 300):
        part = slice(start, start + 100)
        a.partial_fit(X[part], y[part], classes=range(10))
        b.partial_fit(X[part], y[part], classes=range(10))
    np.testing.assert_allclose(b.loss_curve_, a.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("make", [scipy.sparse.csr_array, scipy.sparse.csc_matrix])
@pytest.mark.parametrize(
    "settings",
    [{}, {"batch_size": 500}, {"solver": "lbfgs"}, {"early_stopping": True},
     {"batch_size": 1, "solver": "sgd", "momentum": 0, "alpha": 0, "max_iter": 2}],
)  # fmt: skip
def test_sparse_data_stay_sparse(make, settings, monkeypatch):
    X, y = data("digits")
    X = np.where(X > 12, X, 0)
    dense = ours.MLPClassifier(random_state=0, **{"max_iter": 5, **settings}).fit(X, y)
    S = make(X)
    for name in ("toarray", "todense", "__array__"):
        monkeypatch.setattr(type(S), name, lambda *_, **__: pytest.fail("made dense"), False)
        monkeypatch.setattr(
            type(S.tocsr()), name, lambda *_, **__: pytest.fail("made dense"), False
        )
    sparse = ours.MLPClassifier(random_state=0, **{"max_iter": 5, **settings}).fit(S, y)
    np.testing.assert_allclose(sparse.loss_curve_, dense.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(
        sparse.predict_proba(S), dense.predict_proba(X), rtol=1e-6, atol=1e-12
    )


def test_duplicate_entries_and_disorder_of_a_sparse_matrix():
    S = scipy.sparse.csr_matrix(
        (np.array([1.0, 2.0, 4.0, 1.0]), np.array([2, 0, 0, 1]), np.array([0, 3, 4])), shape=(2, 3)
    )
    before = [a.copy() for a in (S.data, S.indices, S.indptr)]
    a = ours.MLPRegressor(max_iter=3, random_state=0).fit(S, [1.0, 2.0])
    b = ours.MLPRegressor(max_iter=3, random_state=0).fit(S.toarray(), [1.0, 2.0])
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(a.predict(S), b.predict(S.toarray()), rtol=1e-12)
    for array, was in zip((S.data, S.indices, S.indptr), before, strict=True):
        np.testing.assert_array_equal(array, was)


def test_the_threads_change_no_bit():
    X, y = data("digits")
    runs = [
        ours.MLPClassifier((64, 32), max_iter=3, random_state=0, threads=threads).fit(X, y)
        for threads in (1, 2, 3)
    ]
    for other in runs[1:]:
        assert other.loss_curve_ == runs[0].loss_curve_
        assert all((a == b).all() for a, b in zip(other.coefs_, runs[0].coefs_, strict=True))


def test_interrupting_keeps_what_was_learned(monkeypatch):
    X, y = data("iris")

    def interrupt(model):
        if model.n_iter_ == 3:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted"):
        model = ours.MLPClassifier(random_state=0).fit(X, y, callbacks=[interrupt])
    assert model.n_iter_ == 3
    assert model.predict(X).shape == (150,)


def test_max_iter_warns():
    X, y = data("iris")
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        ours.MLPClassifier(max_iter=2).fit(X, y)
    with pytest.warns(UserWarning, match="clipped"):
        ours.MLPClassifier(max_iter=2, batch_size=151).fit(X, y)


def test_the_package_does_not_load_what_it_may_not_need():
    assert "sklearn" not in fastmlp.__all__


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_single_steps_are_for_stochastic_solvers(kind):
    estimator = getattr(ours, kind)
    assert hasattr(estimator(solver="sgd"), "partial_fit")
    assert not hasattr(estimator(solver="lbfgs"), "partial_fit")
    assert not hasattr(theirs.MLPClassifier(solver="lbfgs"), "partial_fit")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_confident_mistake_costs_what_it_costs_in_rounded_probabilities(dtype, weighted):
    """-log(1 - p) of a rounded p, and no more than -log(eps): at any logit."""
    z = np.repeat(np.linspace(-60, 60, 241), 2)
    y = np.tile([0.0, 1.0], 241)[:, None].astype(dtype)
    weight = np.linspace(-1, 3, 482).round(2) if weighted else None
    order = np.random.default_rng(0).permutation(482)
    exact = np.logaddexp(0, np.where(y[:, 0] == 0, z, -z)) * (1.0 if weight is None else weight)
    net = MLP((3, 4, 1), output="sigmoid", dtype=dtype)
    network = SimpleNamespace(parameters=net._parameters)
    losses = reported(exact[order], weight, Targets(y, "log_loss"), order, network)
    eps = np.finfo(dtype).eps
    p = 1 / (1 + np.exp(-z).astype(dtype))
    q = np.where(y[:, 0] == 0, 1 - p, 1 / (1 + np.exp(-z)))
    expected = -np.log(np.clip(q.astype(np.float64), float(eps), 1 - float(eps)))
    expected *= 1.0 if weight is None else weight
    rtol = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(losses, expected[order], rtol=rtol, atol=5e-12)


def test_lbfgs_keeps_blas_to_one_thread_while_any_fit_runs():
    def threads() -> set[int]:
        blas = ThreadpoolController().select(user_api="blas").info()
        return {library["num_threads"] for library in blas}

    X, y = data("counts")
    seen = []
    with threadpool_limits(2, user_api="blas"):
        model = ours.MLPRegressor(
            hidden_layer_sizes=(4,), solver="lbfgs", max_iter=3, random_state=0
        )
        model.fit(X, y, callbacks=[lambda _: seen.append(threads())])
        assert seen == [{1}] * 3
        assert threads() == {2}
        first, second = one_blas_thread(), one_blas_thread()  # as fits in two threads may overlap
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == {2}
