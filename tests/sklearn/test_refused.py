"""Calls of fit that cannot be served: they are refused by name, and change nothing."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn.neural_network as theirs

from fastmlp import sklearn as ours

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).normal(size=(60, 3))
VALUES = {n: np.column_stack([X[:, 0] * (i + 1) for i in range(n)]) for n in (2, 3)}
VALUES[1] = X[:, 0]
LABELS = {"one": (X[:, 0] > 0).astype(int), "two": (X[:, :2] > 0).astype(int)}


def state_of(model):
    return {name: value for name, value in vars(model).items() if name not in model.get_params()}


def assert_refused(model, call, message, kind=ValueError):
    before, predicted = state_of(model), model.predict(X)
    with pytest.raises(kind, match=message):
        call(model)
    after = state_of(model)
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] is not after[name]] == []
    np.testing.assert_array_equal(model.predict(X), predicted)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_training_goes_on_with_as_many_outputs(solver, first, then):
    """Another number of values per sample would be read from beyond the rows."""
    model = ours.MLPRegressor(hidden_layer_sizes=(4,), solver=solver, max_iter=3, random_state=0)
    model.fit(X, VALUES[first])
    has = f"outputs, {first}, got y of shape"
    if solver != "lbfgs":
        assert_refused(model, lambda m: m.partial_fit(X, VALUES[then]), f"y: .*{has}")
    model.warm_start = True
    assert_refused(model, lambda m: m.fit(X, VALUES[then]), f"y: .*{has}")
    held_out = (X, VALUES[then])
    for warm in (True, False):
        model.warm_start = warm
        assert_refused(
            model,
            lambda m: m.fit(X, VALUES[first], validation_data=held_out),
            f"validation_data: .*{has}",
        )


@pytest.mark.parametrize("wrong", [["1"] * 60, np.full(60, np.datetime64("2024-05-01"))])
def test_weights_are_numbers(wrong):
    for kind, y in ((ours.MLPRegressor, VALUES[1]), (ours.MLPClassifier, LABELS["one"])):
        model = kind(hidden_layer_sizes=(4,), max_iter=3, random_state=0).fit(X, y)
        said = "sample_weight: expected real numbers, got (texts|dates)"
        assert_refused(model, lambda m, y=y: m.fit(X, y, wrong), said, TypeError)
        assert_refused(
            model, lambda m, y=y: m.fit(X, y, validation_data=(X, y, wrong)),
            f"validation_data: {said}", TypeError,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("weights", "kind", "said"),
    [
        ({"a": -1}, ValueError, r"class_weight\['a'\]: expected a number at least 0"),
        ({"a": np.nan}, ValueError, r"class_weight\['a'\]: expected a finite number, got nan"),
        ({"a": 1e31}, ValueError, r"class_weight\['a'\]: expected a number at most 1e\+30"),
        ({"a": "2"}, TypeError, r"class_weight\['a'\]: expected a number, got '2'"),
        ({"a": 0, "b": 0}, ValueError, "class_weight: expected at least one sample"),
    ],
)
def test_weights_of_classes_are_numbers(weights, kind, said):
    labels = np.array(["a", "b"])[LABELS["one"]]
    model = ours.MLPClassifier(hidden_layer_sizes=(4,), max_iter=3, random_state=0).fit(X, labels)
    model.class_weight = weights
    assert_refused(model, lambda m: m.fit(X, labels), said, kind)
    with pytest.raises(ValueError, match=r"class_weight\[1\]: expected a number at least 0"):
        ours.MLPClassifier(class_weight=[{0: 1, 1: 2}, {1: -1}]).fit(X, LABELS["two"])


def test_a_stream_may_bring_samples_that_count_for_nothing():
    model = ours.MLPClassifier((4,), class_weight={0: 0, 1: 2}, random_state=0)
    before = model.partial_fit(X, LABELS["one"] * 0, classes=[0, 1]).coefs_[0].copy()
    assert model.loss_ == 0
    assert (model.partial_fit(X, LABELS["one"]).coefs_[0] != before).any()


def test_threads_are_counted():
    model = ours.MLPClassifier(hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    model.fit(X, LABELS["one"]).set_params(threads=True)
    assert_refused(
        model, lambda m: m.fit(X, LABELS["one"]), "threads: expected an integer, got T", TypeError
    )


def test_a_missing_category_is_no_number():
    """Of categories of whole numbers, pandas makes it -2^63."""
    whole = pd.DataFrame({"stars": pd.Categorical([1, 5, 3, 3] * 15), "votes": [1, 2, 3, 4] * 15})
    holes = whole.assign(stars=pd.Categorical([1, 5, None, 3] * 15))
    model = ours.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, random_state=0)
    plain = model.fit(whole.astype(int), VALUES[1]).predict(whole.astype(int))
    np.testing.assert_array_equal(model.fit(whole, VALUES[1]).predict(whole), plain)
    for call, name in (
        (lambda m: m.fit(holes, VALUES[1]), "X"), (lambda m: m.predict(holes), "X"),
        (lambda m: m.fit(whole, holes), "y"),
        (lambda m: m.fit(whole, VALUES[1], validation_data=(holes, VALUES[1])), "X"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"Input {name} contains NaN"):
            call(model)
    np.testing.assert_array_equal(model.predict(whole), plain)


def test_a_refused_first_partial_fit_leaves_no_classes():
    labels = np.array(["a", "b", "c"])[np.arange(60) % 3]
    model = ours.MLPClassifier(hidden_layer_sizes=(4,), random_state=0)
    for X_, y, classes, said in (
        (X, labels, ["a", "b"], "classes not in"), (X * np.nan, labels, ["a"], "contains NaN"),
        (X[:5], labels, ["a", "b", "c"], "inconsistent"), (X, [[1], [2, 3]], ["a"], "sequence"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            model.partial_fit(X_, y, classes=classes)
        assert state_of(model) == {}
    model.partial_fit(X, labels, classes=["a", "b", "c"])
    assert model.classes_.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("asked", [False, True])
def test_numbers_beyond_float32_are_named(asked):
    """In a network of that dtype: because it was asked for, or since X was when it was fitted."""
    model = ours.MLPRegressor(
        hidden_layer_sizes=(4,), max_iter=3, random_state=0, dtype="float32" if asked else None
    )
    model.fit(X.astype("float32"), VALUES[1])
    large = X.copy()
    large[7, 2] = 1e300
    message = r"X: expected numbers that float32 can hold, got 1e\+300 in row 7, column 2$"
    for call in (
        lambda m: m.predict(large),
        lambda m: m.score(large, VALUES[1]),
        lambda m: m.partial_fit(large, VALUES[1]),
    ):
        assert_refused(model, call, f"^{message}")
    held_out = large, VALUES[1]
    data = X.astype("float32"), VALUES[1]
    assert_refused(
        model, lambda m: m.fit(*data, validation_data=held_out), f"^validation_data: {message}"
    )
    frame, small = (pd.DataFrame(data, columns=["a", "b", "c"]) for data in (large, data[0]))
    model.fit(small, VALUES[1])
    with pytest.raises(ValueError, match=r"in row 7, column 'c'$"):
        model.predict(frame)
    targets = VALUES[1] * np.where(np.arange(60) == 5, 1e300, 1)
    model.warm_start = True
    with pytest.raises(ValueError, match=r"^y: expected numbers that float32 .* in row 5, "):
        model.fit(small, targets)


def test_several_labels_and_one_label_are_not_mixed():
    model = ours.MLPClassifier((4,), max_iter=3, random_state=0).fit(X, LABELS["two"])
    message = "y: expected a row of 0 and 1 per sample"
    assert_refused(model, lambda m: m.partial_fit(X, LABELS["one"]), message)
    held_out = (X, LABELS["one"])
    assert_refused(model, lambda m: m.fit(X, LABELS["two"], validation_data=held_out), message)
    model.warm_start = True
    assert_refused(model, lambda m: m.fit(X, LABELS["one"]), message)


FAILING = {
    "columns of validation_data": (
        {}, {"validation_data": (X[:, :2], LABELS["one"])}, "^validation_data: X has 2",
    ),
    "labels of validation_data": (
        {}, {"validation_data": (X, LABELS["one"] + 5)}, "^validation_data: .* classes not in",
    ),
    "class_weight": ({"class_weight": {7: 1.0}}, {}, "class_weight"),
    "too little is left": (
        {"early_stopping": True, "validation_fraction": 0.999}, {}, "train set will be empty",
    ),
    "activation": ({"activation": ["x"]}, {}, "activation: expected one of"),
    "precision": ({"precision": "high"}, {}, "precision"),
    "schedule": (
        {"schedule": "cosinedecay", "learning_rate": "adaptive", "solver": "sgd"}, {}, "schedule",
    ),
    "sample_weight": ({}, {"sample_weight": [1.0]}, "sample_weight"),
}  # fmt: skip


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("name", FAILING)
def test_a_fit_that_fails_changes_nothing(name, warm):
    settings, arguments, message = FAILING[name]
    model = ours.MLPClassifier((4,), max_iter=3, warm_start=warm, random_state=0)
    model.fit(X, LABELS["one"]).set_params(**settings)
    assert_refused(model, lambda m: m.fit(X, LABELS["one"], **arguments), message)


def test_partial_fit_says_what_begins_anew():
    model = ours.MLPClassifier((4,), max_iter=3, random_state=0).fit(X, LABELS["one"])
    model.set_params(hidden_layer_sizes=(5,))
    assert_refused(model, lambda m: m.partial_fit(X, LABELS["one"]), "got .5.; fit begins anew")
    model.set_params(warm_start=True)
    assert_refused(model, lambda m: m.fit(X, LABELS["one"]), "; warm_start=False begins anew")


@pytest.mark.parametrize("sizes", [(5.5,), ((5,),), ("a",), (5, True), True, np.array(5)])
def test_sizes_are_whole_numbers(sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes: expected whole numbers, got"):
        ours.MLPClassifier(sizes).fit(X, LABELS["one"])


def test_values_are_dense_and_counts_not_negative():
    with pytest.raises(TypeError, match="y: expected a dense array, got a csr_array"):
        ours.MLPRegressor().fit(X, scipy.sparse.csr_array(VALUES[2]))
    for solver in ("adam", "sgd", "lbfgs"):
        with pytest.raises(ValueError, match="y: expected values of at least 0 for poisson, got -"):
            ours.MLPRegressor("poisson", solver=solver).fit(X, VALUES[1])


def test_the_warning_of_a_batch_larger_than_the_data_is_that_of_scikit_learn():
    seen = []
    for kind in (theirs.MLPClassifier, ours.MLPClassifier):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            kind((4,), batch_size=1000, max_iter=2).fit(X, LABELS["one"])
        seen.append([(w.category, str(w.message)) for w in caught])
    assert seen[0] == seen[1]


def test_categories_that_are_numbers_are_numbers():
    frame = pd.DataFrame(X, columns=list("abc")).assign(b=pd.Categorical(X[:, 1].round() * 2))
    seen = []
    for kind in (theirs.MLPRegressor, ours.MLPRegressor):
        model = kind(hidden_layer_sizes=(4,), max_iter=9, tol=10, random_state=0)
        seen.append(model.fit(frame, VALUES[1]).predict(frame))
    np.testing.assert_allclose(*seen, rtol=1e-6)
    with pytest.raises(TypeError, match=r"X: .*texts in column 'b' \(dtype category\)"):
        ours.MLPRegressor().fit(frame.assign(b=pd.Categorical(["x"] * len(X))), VALUES[1])


@pytest.mark.parametrize("again", ["fit", "partial_fit"])
def test_training_goes_on_in_the_dtype_asked_for(again):
    model = ours.MLPClassifier((4,), max_iter=3, warm_start=True, random_state=0)
    double = model.fit(X, LABELS["one"]).coefs_[0].copy()
    model.set_params(dtype="float32", max_iter=1, learning_rate_init=1e-9)
    getattr(model, again)(X, LABELS["one"])
    assert {a.dtype for a in (*model.coefs_, *model.intercepts_)} == {np.dtype("float32")}
    assert model.predict_proba(X).dtype == np.float32
    np.testing.assert_allclose(model.coefs_[0], double, atol=1e-6)
