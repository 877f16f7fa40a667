"""The published experiments: their figures, their parts, and rules that can fail."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fastmlp import MLP, SGD, recipes
from fastmlp.datasets import load_mnist
from fastmlp.recipes import (
    RECIPES,
    Settings,
    _frameworks,
    _sigmoid,
    dnn_keras,
    dnn_sgd,
    dnn_torch,
    from_scratch,
    numpy_ann,
    reproduce,
    simple_nn,
)
from fastmlp.recipes._base import Result, judge


def test_the_recipes_are_those_of_the_contract_in_its_order():
    assert list(RECIPES) == [
        "numpy-ann", "from-scratch", "simple-nn", "dnn-sgd", "dnn-torch", "dnn-keras",
    ]  # fmt: skip
    assert RECIPES["from-scratch"].published == {"train_accuracy": 0.8722, "test_accuracy": 0.8565}
    assert RECIPES["simple-nn"].published["test_accuracy"] == 0.9671
    assert RECIPES["dnn-torch"].published == RECIPES["dnn-keras"].published == {}


@pytest.mark.slow
def test_numpy_ann_gives_the_published_digits():
    (result,) = reproduce(["numpy-ann"], progress=False)
    assert result.measured["test_accuracy"] == 0.8669
    for name in ("training_costs", "validation_costs"):
        assert len(result.published[name]) == 10
        np.testing.assert_allclose(result.measured[name], result.published[name], rtol=1e-12)
    assert result.ok


@pytest.mark.parametrize("backend", ["numba", pytest.param("numpy", marks=pytest.mark.slow)])
def test_numpy_ann_gives_the_first_published_digits(backend):
    (result,) = reproduce(["numpy-ann"], backend=backend, epochs=2, progress=False)
    for name in ("training_costs", "validation_costs"):
        np.testing.assert_allclose(result.measured[name], result.published[name][:1], rtol=1e-12)
    assert not result.ok
    assert result.note == "shortened: not judged"


@pytest.mark.parametrize(("index", "factor"), [(0, 1 + 2e-12), (9, 1 - 2e-12), (4, float("nan"))])
@pytest.mark.parametrize("name", ["training_costs", "validation_costs"])
def test_numpy_ann_sees_one_cost_that_is_off(name, index, factor):
    published = numpy_ann.PUBLISHED
    costs = {key: list(published[key]) for key in ("training_costs", "validation_costs")}
    assert numpy_ann.largest_difference(costs, published) == 0
    costs[name][index] *= factor
    assert not numpy_ann.largest_difference(costs, published) <= numpy_ann.TOLERANCE
    costs[name].pop()
    assert numpy_ann.largest_difference(costs, published) == float("inf")


def test_the_printed_cost_is_the_binary_form_over_all_classes():
    a = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    expected = -(np.log([0.7, 0.8, 0.9]).sum() + np.log([0.7, 0.7, 0.4]).sum()) / 2
    assert numpy_ann.printed_cost(a, np.array([0, 2])) == pytest.approx(expected, rel=1e-15)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras' own
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "dnn-torch" else pytest.mark.slow)
     for name in RECIPES],
)  # fmt: skip
def test_a_short_run_has_figures_and_is_never_ok(name):
    (result,) = reproduce([name], backend="numpy", epochs=2, samples=300, progress=False)
    assert result.name == name
    assert result.seconds > 0
    assert not result.ok
    assert 0 < result.measured["test_accuracy"] < 1
    shown = result.as_dict()
    assert list(shown) == ["name", "published", "measured", "seconds", "ok"]
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert set(result.published) <= set(shown["measured"])


@pytest.mark.parametrize(
    ("module", "epochs"),
    [
        (simple_nn, 1), pytest.param(from_scratch, 3, marks=pytest.mark.slow),
        pytest.param(dnn_sgd, 1, marks=pytest.mark.slow),
        pytest.param(_sigmoid, 1, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_too_little_training_falls_short(module, epochs, monkeypatch):
    monkeypatch.setattr(module, "EPOCHS", epochs)
    names = ["dnn-torch", "dnn-keras"] if module is _sigmoid else [module.RECIPE.name]
    monkeypatch.setattr(_frameworks, "FRAMEWORKS", dict.fromkeys(("pytorch", "keras"), no_one))
    for result in reproduce(names, progress=False):
        assert not result.ok
        assert result.note != "shortened: not judged"


@pytest.mark.slow
def test_dnn_sgd_trains_as_published():
    (result,) = reproduce(["dnn-sgd"], progress=False)
    assert result.ok
    assert len(result.measured["test_accuracies"]) == 10
    assert 0.92 < result.measured["test_accuracy"] < 0.95


@pytest.mark.slow
def test_from_scratch_takes_one_result_of_each_seed():
    settings = Settings("numpy", seed=3, epochs=1, samples=100, progress=False)
    both = from_scratch.run(settings, seeds=2).measured
    assert len(both["test_accuracies"]) == 2
    assert both["test_accuracy"] == pytest.approx(np.mean(both["test_accuracies"]))
    assert both["test_accuracy_range"] == sorted(both["test_accuracies"])
    later = from_scratch.run(
        Settings("numpy", seed=4, epochs=1, samples=100, progress=False), seeds=1
    ).measured
    assert later["test_accuracies"] == both["test_accuracies"][1:]
    with pytest.raises(ValueError, match="seeds"):
        from_scratch.run(settings, seeds=0)


def test_initial_weights_have_the_published_spread():
    n_in, n_out = 784, 200
    rng = np.random.default_rng(0)
    uniform = simple_nn.Scaled(simple_nn.variance, normal=False)
    half = 0.5 * np.sqrt(6 / (n_in + n_out))
    drawn = uniform.draw(rng, (n_in, n_out), n_in, n_out)
    assert half * 0.999 < drawn.max() <= half
    assert -half <= drawn.min() < -half * 0.999
    normal = dnn_sgd.Scaled(dnn_sgd.variance, normal=True)
    assert normal.draw(rng, (n_in, n_out), n_in, n_out).std() == pytest.approx(
        np.sqrt(1 / n_out), rel=0.01
    )
    linear = dnn_torch.EXPERIMENT.init.draw(rng, (n_in, n_out), n_in, n_out)
    assert np.abs(linear).max() == pytest.approx(1 / np.sqrt(n_in), rel=1e-3)
    assert dnn_torch.EXPERIMENT.init.biases


def no_one(task):
    return None


def ours_as_a_framework(rate=1.0, loss=1.0):
    """Return a framework that is our reference, with a rate and a loss that may be off."""

    def run(task):
        net = MLP(_sigmoid.LAYERS, output="sigmoid", backend="numpy", rng=0)
        net.weights, net.biases = task.weights, task.biases
        history = net.fit(
            task.X, task.Y, epochs=1, batch_size=task.batch_size, shuffle=False,
            optimizer=SGD(rate * task.learning_rate / 10), progress=False,
        )  # fmt: skip
        return _frameworks.Outcome(
            "1", [*net.weights, *net.biases], loss * history.loss[0] / 10, 1.0
        )

    return run


@pytest.mark.parametrize(
    "experiment",
    [dnn_torch.EXPERIMENT, pytest.param(dnn_keras.EXPERIMENT, marks=pytest.mark.slow)],
)
def test_a_framework_that_does_otherwise_is_noticed(experiment, monkeypatch):
    data = load_mnist("uint8")
    settings = Settings(progress=False)
    name = experiment.frameworks[0]

    def agrees(framework):
        monkeypatch.setitem(_frameworks.FRAMEWORKS, name, framework)
        agree, report = experiment.compare(settings, data, 500)
        assert report[name]["samples"] == 500
        return agree

    assert agrees(ours_as_a_framework())
    assert not agrees(ours_as_a_framework(rate=1.001))
    assert not agrees(ours_as_a_framework(loss=1.001))
    assert not agrees(ours_as_a_framework(loss=float("nan")))


def test_frameworks_that_are_missing_are_said_to_be(monkeypatch):
    monkeypatch.setattr(_frameworks, "FRAMEWORKS", dict.fromkeys(("pytorch", "keras"), no_one))
    agree, report = dnn_keras.EXPERIMENT.compare(
        Settings("numpy", progress=False), load_mnist("uint8"), 10
    )
    assert agree
    assert report == {"keras": "not installed", "pytorch": "not installed"}


def test_pytorch_ends_with_our_parameters():
    pytest.importorskip("torch")
    for experiment in (dnn_torch.EXPERIMENT, dnn_keras.EXPERIMENT):
        net = experiment.network(Settings())
        task = _frameworks.Task(
            net.weights, net.biases, np.eye(20, 784, dtype=np.float32),
            np.eye(20, 10, dtype=np.float32), experiment.batch_size, 0.5,
        )  # fmt: skip
        theirs = _frameworks.run_torch(task)
        ours = ours_as_a_framework()(task)
        for a, b in zip(ours.parameters, theirs.parameters, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        assert theirs.loss == pytest.approx(ours.loss, rel=1e-5)


def test_reproduce_checks_all_names_before_it_runs_any(monkeypatch):
    ran = []
    monkeypatch.setitem(recipes.RECIPES, "dnn-sgd", recipes.Recipe("dnn-sgd", "", ran.append))
    with pytest.raises(ValueError, match=r"names: expected some of numpy-ann.*got 'nothing'"):
        reproduce(["dnn-sgd", "nothing"])
    with pytest.raises(TypeError, match="names"):
        reproduce("dnn-sgd")
    with pytest.raises(ValueError, match="backend"):
        reproduce(["dnn-sgd"], backend="gpu")
    with pytest.raises(ValueError, match="epochs"):
        reproduce(["dnn-sgd"], epochs=0)
    assert not ran


def test_figures_that_are_no_numbers_become_null():
    result = Result("x", {}, {"a": float("nan"), "b": [np.float32(0.5), np.inf]}, 1.0, False, "r")
    assert result.as_dict()["measured"] == {"a": None, "b": [0.5, None], "judged": "r"}


def test_only_a_whole_run_is_judged():
    figures = ("x", {}, {}, 1.0)
    assert judge(Settings(), *figures, passed=True, rule="r") == Result(*figures, True, "r")
    assert not judge(Settings(), *figures, passed=False, rule="r").ok
    for part in (Settings(epochs=1), Settings(samples=10**6)):
        assert not judge(part, *figures, passed=True, rule="r").ok
