"""What stands around an estimator in scikit-learn: copies, files, searches, frames, callbacks."""

from __future__ import annotations

import copy
import inspect
import pickle
from functools import cache

import joblib
import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

import sklearn
import sklearn.neural_network as theirs
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastmlp import Adam
from fastmlp.sklearn import LossCurveDisplay, MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
BOTH = [MLPClassifier, MLPRegressor]


# scikit-learn calls back since 1.9
called_back = pytest.mark.skipif(
    not hasattr(MLPClassifier, "set_callbacks"), reason="scikit-learn before 1.9 has no callbacks"
)


@cache
def iris() -> tuple[np.ndarray, np.ndarray]:
    return load_iris(return_X_y=True)


@pytest.mark.parametrize("kind", BOTH)
def test_parameters_begin_with_scikit_learns(kind):
    their = inspect.signature(getattr(theirs, kind.__name__)).parameters
    our = inspect.signature(kind).parameters
    assert list(our)[: len(their)] == list(their)
    for name, parameter in their.items():
        assert our[name].default == parameter.default, name
        assert our[name].kind == parameter.kind, name
    added = list(our.values())[len(their) :]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in added)


@pytest.mark.parametrize("kind", BOTH)
def test_messages_name_the_parameter(kind):
    X, y = iris()
    for name, value in {
        "alpha": -1, "solver": "newton", "activation": "cube", "batch_size": 0, "tol": -1.0,
        "hidden_layer_sizes": 0, "threads": 0, "dtype": "int8", "optimizer": "newton",
        "schedule": 3, "random_state": "x",
    }.items():  # fmt: skip
        with pytest.raises((ValueError, TypeError), match=name):
            kind(**{name: value}).fit(X, y)
    for settings, words in (
        ({"activation": ["relu", "tanh"]}, "activation: expected one name, or 1"),
        ({"activation": ["cube"]}, "activation"),
        ({"solver": "lbfgs", "optimizer": "adam"}, "optimizer: expected None"),
        ({"solver": "lbfgs", "schedule": "onecycle"}, "schedule: expected None"),
        ({"learning_rate": "adaptive", "schedule": "onecycle"}, "schedule: expected None"),
        ({"hidden_layer_sizes": (3, -1)}, "hidden_layer_sizes"),
    ):
        with pytest.raises(ValueError, match=words):
            kind(**settings).fit(X, y)
    with pytest.raises(TypeError, match="validation_data"):
        kind().fit(X, y, validation_data=X)
    with pytest.raises(TypeError, match="callbacks"):
        kind().fit(X, y, callbacks=[3])


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("how", ["pickle", "joblib", "deepcopy", "joblib-mmap"])
def test_copies_predict_and_go_on_alike(kind, how, tmp_path):
    X, y = iris()
    model = kind(random_state=0, max_iter=5).fit(X, y)
    if how == "pickle":
        other = pickle.loads(pickle.dumps(model))
    elif how == "deepcopy":
        other = copy.deepcopy(model)
    else:
        joblib.dump(model, tmp_path / "model")
        other = joblib.load(tmp_path / "model", mmap_mode="r" if "mmap" in how else None)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    model.partial_fit(X, y)
    other.partial_fit(X, y)
    for a, b in zip(model.coefs_, other.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


def plain(value) -> bool:
    if isinstance(value, dict):
        return all(plain(v) for v in value.values())
    if isinstance(value, list | tuple):
        return all(plain(v) for v in value)
    if isinstance(value, np.ndarray):
        return type(value) is np.ndarray and value.base is None
    return value is None or isinstance(value, int | float | str | np.generic)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_the_state_is_plain(solver):
    X, y = iris()
    model = MLPClassifier(random_state=0, max_iter=3, solver=solver).fit(X, y)
    model.predict(X[:1])
    state = model.__getstate__()
    assert [k for k, v in state.items() if not plain(v)] == ["_label_binarizer"]
    assert all(w.flags.c_contiguous for w in state["coefs_"])
    assert type(model.coefs_) is list
    assert {type(a) for a in [*model.coefs_, *model.intercepts_]} == {np.ndarray}


def test_what_is_written_into_coefs_takes_effect():
    X, y = iris()
    model = MLPRegressor(random_state=0, max_iter=3).fit(X, y)
    model.predict(X[:1])
    for array in model.coefs_:
        array[...] = 0
    np.testing.assert_allclose(model.predict(X), model.intercepts_[-1][0])
    model.intercepts_[-1] = np.array([7.0])
    assert model.predict(X[:1]) == [7.0]
    model.intercepts_ = [np.zeros(100), np.array([8.0])]
    assert model.predict(X[:1]) == [8.0]
    model.intercepts_[-1][0] = 9.0
    assert model.predict(X) == pytest.approx(9.0)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_searches_in_parallel_find_the_same(backend):
    X, y = iris()
    model = make_pipeline(StandardScaler(), MLPClassifier(max_iter=5, random_state=0))
    grid = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__hidden_layer_sizes": [5, (4, 3)]}
    alone = GridSearchCV(model, grid, cv=2).fit(X, y)
    with joblib.parallel_config(backend, n_jobs=2):
        search = GridSearchCV(model, grid, cv=2).fit(X, y)
        scores = cross_validate(model, X, y, cv=2)["test_score"]
    for key in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(search.cv_results_[key], alone.cv_results_[key])
    np.testing.assert_array_equal(scores, cross_validate(model, X, y, cv=2)["test_score"])


def test_clone_keeps_every_parameter():
    rng = np.random.default_rng(0)
    model = MLPClassifier(activation=["relu", "gelu"], hidden_layer_sizes=(3, 4), random_state=rng)
    other = clone(model)
    assert other.get_params()["activation"] == ["relu", "gelu"]
    assert not hasattr(other, "coefs_")
    assert "gelu" in model._repr_html_()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library):
    frames = pytest.importorskip(library)
    X, y = iris()
    if library == "polars" and not hasattr(frames.DataFrame, "__dataframe__"):
        pytest.importorskip("sklearn", minversion="1.9")  # before, it asks polars for this alone
    names = [f"column {i}" for i in range(4)]
    X = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    labels = frames.Series(np.array(["a", "b", "c"])[y])
    model = MLPClassifier(random_state=0, max_iter=30).fit(X, labels)
    assert list(model.feature_names_in_) == names
    assert set(model.predict(X)) <= {"a", "b", "c"}
    with pytest.warns(UserWarning, match="feature names"):
        model.predict(X.to_numpy()[:1])
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X[names[::-1]])


@pytest.mark.parametrize("kind", BOTH)
def test_the_short_way_of_predict_checks_too(kind):
    X, y = iris()
    model = kind(random_state=0, max_iter=3).fit(X, y)
    expected = model.predict(X)
    for rows in (X[:1], X[:1].astype(np.float32), X[:4], X[:5], X[:1].tolist(),
                 np.asfortranarray(X[:3]), X[:6][::2], X[:1].astype(object),
                 np.ma.array(X[:1])):  # fmt: skip
        want = expected[: len(rows)] if rows is not X[:6][::2] else expected[:6:2]
        if len(rows) == 3 and not np.asarray(rows).flags.f_contiguous:
            want = expected[:6:2]
        np.testing.assert_allclose(model.predict(rows), want, rtol=1e-5)
    for wrong in (np.nan, np.inf, -np.inf):
        for n in (1, 2, 20):
            rows = X[:n].copy()
            rows[-1, -1] = wrong
            with pytest.raises(ValueError, match=r"NaN|infinity"):
                model.predict(rows)
            with pytest.raises(ValueError, match=r"NaN|infinity"):
                model.predict(rows.astype(np.float32))
    with pytest.raises(ValueError, match="expecting 4 features"):
        model.predict(X[:1, :3])
    with pytest.raises(ValueError, match="Reshape your data"):
        model.predict(X[0])
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        model.predict(X[:0])
    with pytest.raises(NotFittedError):
        kind().predict(X[:1])
    largest = np.full((1, 4), np.finfo(np.float64).max)
    assert model.predict(largest).shape == (1,)


def test_metadata_goes_its_way():
    X, y = iris()
    weight = np.random.default_rng(0).uniform(0, 2, len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        model = MLPClassifier(max_iter=4, random_state=0).set_fit_request(
            sample_weight=True, validation_data=True
        )
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, model)
        pipeline.fit(X, y, sample_weight=weight, validation_data=(X, y))
    scaled = StandardScaler().fit_transform(X)
    alone = MLPClassifier(max_iter=4, random_state=0).fit(scaled, y, weight)
    assert pipeline[-1].loss_curve_ == alone.loss_curve_
    assert len(pipeline[-1].validation_loss_curve_) == 4


class Recorder:
    """A callback of scikit-learn's protocol that ends the third epoch."""

    def __init__(self):
        self.seen = []

    def setup(self, estimator, context):
        self.seen.append(("setup", context.task_name, context.max_subtasks))

    def on_fit_task_begin(self, estimator, context):
        self.seen.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        if context.task_name == "epoch":
            assert fitted_estimator is not estimator
            assert fitted_estimator.score(X, y, **metadata) == estimator.score(X, y, **metadata)
        self.seen.append(("end", context.task_name, context.task_id))
        return context.task_name == "epoch" and context.task_id == 2

    def teardown(self, estimator, context):
        self.seen.append(("teardown", context.task_name, context.max_subtasks))


@called_back
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scikit_learns_callbacks(solver):
    X, y = iris()
    recorder = Recorder()
    model = MLPClassifier(random_state=0, max_iter=10, solver=solver).set_callbacks(recorder)
    model.fit(X, y, sample_weight=np.ones(len(y)))
    epochs = [(what, "epoch", i) for i in range(3) for what in ("begin", "end")]
    assert recorder.seen == [
        ("setup", "fit", 10), ("begin", "fit", 0), *epochs, ("end", "fit", 0),
        ("teardown", "fit", 10),
    ]  # fmt: skip
    assert model.n_iter_ == 3


@called_back
def test_a_scoring_monitor_sees_every_epoch_of_a_search():
    from sklearn.callback import ScoringMonitor

    X, y = iris()
    monitor = ScoringMonitor(scoring="accuracy")
    model = MLPClassifier(random_state=0, max_iter=4).set_callbacks(monitor)
    model.fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == 4
    assert rows[-1]["accuracy"] == model.score(X, y)


@called_back
@pytest.mark.parametrize("place", ["alone", "pipeline", "search"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scikit_learns_progress_bar_counts_to_the_end(place, solver, capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar, ScoringMonitor

    X, y = iris()
    monitor = ScoringMonitor(scoring="accuracy")
    model = MLPClassifier(random_state=0, max_iter=3, solver=solver, alpha=0.1)
    model.set_callbacks(monitor)
    if place == "pipeline":
        whole = make_pipeline(StandardScaler(), model)
    elif place == "search":
        whole = GridSearchCV(model, {"alpha": [0.1, 1.0]}, cv=2)
    else:
        whole = model.set_callbacks(monitor, ProgressBar())
    if place != "alone":  # a bar belongs to what is outermost
        whole.set_callbacks(ProgressBar(max_propagation_depth=None))
    whole.fit(X, y)
    shown = capsys.readouterr().out
    assert "MLPClassifier - fit" in shown
    assert "100%" in shown
    rows = monitor.get_logs().data
    fits = {"alone": 1, "pipeline": 1, "search": 5}[place]
    assert len([row for row in rows if row["task_name"] == "epoch"]) == 3 * fits


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("settings", "trusted"),
    [({}, []), ({"solver": "lbfgs"}, []), ({"dropout": 0.2, "schedule": "onecycle"}, []),
     ({"optimizer": Adam(0.01)}, ["fastmlp.optimizers.Adam"])],
)  # fmt: skip
def test_skops_needs_to_trust_the_class_alone(kind, settings, trusted):
    io = pytest.importorskip("skops.io")
    X, y = iris()
    model = kind(random_state=0, max_iter=5, **settings).fit(X, y)
    dumped = io.dumps(make_pipeline(StandardScaler(), model))
    types = [*trusted, f"{kind.__module__}.{kind.__name__}"]
    assert io.get_untrusted_types(data=dumped) == types
    other = io.loads(dumped, trusted=types)[-1]
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    if "solver" not in settings:
        model.partial_fit(X, y)
        other.partial_fit(X, y)
        for a, b in zip(model.coefs_, other.coefs_, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_display_draws_what_was_learned():
    plt = pytest.importorskip("matplotlib.pyplot")
    X, y = iris()
    model = MLPClassifier(max_iter=6, random_state=0, early_stopping=True).fit(X, y)
    display = LossCurveDisplay.from_estimator(make_pipeline(StandardScaler(), model), name="iris")
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), model.loss_curve_)
    np.testing.assert_array_equal(display.lines_[1].get_ydata(), model.validation_loss_curve_)
    assert display.ax_.get_legend_handles_labels()[1][0] == "iris"
    axes = plt.figure().subplots()
    assert LossCurveDisplay.from_estimator(model, ax=axes, linestyle=":").ax_ is axes
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(MLPClassifier())
    plt.close("all")
