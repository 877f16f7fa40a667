"""MLP: its arguments, parameters, and what it answers."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from fits import BACKENDS, parameters, same

from fastmlp import MLP, Adam
from fastmlp.activations import ACTIVATIONS
from fastmlp.initializers import Normal
from fastmlp.losses import OUTPUTS
from fastmlp.optimizers import Optimizer
from fastmlp.persistence import attached
from fastmlp.verification import TOLERANCE, difference

PAIRS = [(output, loss) for output, losses in OUTPUTS.items() for loss in losses]


# the constructor

WRONG = [
    ("layer_sizes", [], ValueError),
    ("layer_sizes", (5,), ValueError),
    ("layer_sizes", (5, 0, 2), ValueError),
    ("layer_sizes", (5, -1), ValueError),
    ("layer_sizes", (5.0, 2), TypeError),
    ("layer_sizes", (True, 2), TypeError),
    ("layer_sizes", "52", TypeError),
    ("layer_sizes", np.array(5), TypeError),
    ("layer_sizes", 5, TypeError),
    ("layer_sizes", None, TypeError),
    ("activation", "Relu", ValueError),
    ("activation", ("relu",), ValueError),
    ("activation", ("relu", "tanh", "relu"), ValueError),
    ("activation", ("relu", "nothing"), ValueError),
    ("activation", ("relu", None), TypeError),
    ("activation", None, TypeError),
    ("output", "linear", ValueError),
    ("output", None, TypeError),
    ("loss", "poisson", ValueError),
    ("loss", "mse", ValueError),
    ("loss", 3, TypeError),
    ("bias", 1, TypeError),
    ("bias", None, TypeError),
    ("init", "xavier", ValueError),
    ("init", 0.1, TypeError),
    ("init", Normal, TypeError),
    ("input_scale", 0, ValueError),
    ("input_scale", -1.0, ValueError),
    ("input_scale", float("nan"), ValueError),
    ("input_scale", float("inf"), ValueError),
    ("input_scale", 10**400, ValueError),
    ("input_scale", "255", TypeError),
    ("input_scale", True, TypeError),
    ("dtype", "float16", ValueError),
    ("dtype", "int32", ValueError),
    ("dtype", None, ValueError),
    ("dtype", "nothing", ValueError),
    ("layer_sizes", (10**30, 2), ValueError),
    ("layer_sizes", (2, 10**10, 10**10, 2), ValueError),
    ("rng", -1, ValueError),
    ("rng", "seed", TypeError),
    ("rng", 1.5, TypeError),
    ("rng", True, TypeError),
    ("backend", "torch", ValueError),
    ("backend", None, TypeError),
    ("threads", 0, ValueError),
    ("threads", -2, ValueError),
    ("threads", 1.0, TypeError),
]


@pytest.mark.parametrize(("name", "value", "error"), WRONG)
def test_a_wrong_argument_is_named_and_nothing_is_drawn(name, value, error):
    rng = np.random.default_rng(3)
    before = copy.deepcopy(rng.bit_generator.state)
    arguments = {"layer_sizes": (5, 4, 3, 2), "rng": rng, name: value}
    with pytest.raises(error, match=name):
        MLP(arguments.pop("layer_sizes"), **arguments)
    assert rng.bit_generator.state == before


def test_messages_say_what_else_is_welcome():
    with pytest.raises(TypeError, match="rng: expected an integer, a Generator or a RandomState"):
        MLP((2, 2), rng="seed")
    net = MLP((2, 2), rng=0)
    with pytest.raises(ValueError, match="backend: expected one of numba, numpy, got 'cuda'"):
        net.backend = "cuda"
    net.predict(np.eye(2))


def test_arguments_other_than_the_sizes_go_by_name():
    with pytest.raises(TypeError):
        MLP((3, 2), "relu")
    with pytest.raises(TypeError, match="momentum"):
        MLP((3, 2), momentum=0.9)


def test_defaults_and_attributes():
    net = MLP(np.array([5, 4, 3]), rng=0)
    assert net.layer_sizes == (5, 4, 3)
    assert all(type(size) is int for size in net.layer_sizes)
    assert net.dtype == np.float32
    assert net.n_parameters == 5 * 4 + 4 + 4 * 3 + 3
    assert [w.shape for w in net.weights] == [(5, 4), (4, 3)]
    assert [b.shape for b in net.biases] == [(4,), (3,)]
    assert "(5, 4, 3)" in repr(net)
    assert MLP((5, 3), bias=False).biases == []
    assert MLP((5, 3), dtype=np.float64).weights[0].dtype == np.float64


@pytest.mark.parametrize(("output", "losses"), OUTPUTS.items())
def test_each_output_has_its_default_loss(output, losses):
    assert MLP((3, 2), output=output).architecture.loss == losses[0]


# parameters as live views


def test_assigning_into_a_view_takes_effect(backend):
    net = MLP((3, 4, 2), output="identity", rng=0, backend=backend, dtype="float64")
    X = np.ones((1, 3))
    before = net.forward(X)[-1]
    net.biases[-1][1] += 0.5
    np.testing.assert_allclose(net.forward(X)[-1] - before, [[0, 0.5]], atol=1e-15)
    net.weights[-1][...] = 0
    np.testing.assert_array_equal(net.forward(X)[-1], [net.biases[-1]])
    net.biases[-1] = [7, 8]
    np.testing.assert_array_equal(net.predict(X), [[7, 8]])
    net.weights[0] *= 2  # an item of a list, taken, doubled and put back
    net.weights = [np.ones((3, 4)), np.ones((4, 2), int)]
    net.biases = [np.zeros(4), np.zeros(2)]
    wanted = 4 / (1 + np.exp(-3.0))
    np.testing.assert_allclose(net.predict(X), [[wanted, wanted]], rtol=1e-14)


def test_views_stay_the_network_s_own_after_training(backend):
    net = MLP((3, 4, 2), rng=0, backend=backend)
    w = net.weights[0]
    before = w.copy()
    net.fit(np.eye(3), [0, 1, 0], epochs=2, progress=False)
    assert not np.array_equal(w, before)
    assert np.shares_memory(w, net.weights[0])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda net: setattr(net, "weights", [np.ones((3, 4))]), ValueError),
        (lambda net: setattr(net, "weights", [np.ones((3, 4)), np.ones((2, 4))]), ValueError),
        (lambda net: setattr(net, "weights", [np.ones((3, 4)), np.ones((4, 2)) * 1j]), TypeError),
        (lambda net: setattr(net, "weights", 5), TypeError),
        (lambda net: setattr(net, "biases", [np.ones(4), np.ones((1, 2))]), ValueError),
        (lambda net: setattr(net, "biases", [[[1], [2, 3]], [0, 0]]), TypeError),
        (lambda net: net.weights.__setitem__(0, np.ones((4, 3))), ValueError),
        (lambda net: net.weights.__setitem__(0, 1.0), ValueError),
        (lambda net: net.biases.__setitem__(0, ["a"] * 4), TypeError),
        (lambda net: net.biases.__setitem__(slice(0, 2), [np.ones(4)]), ValueError),
        (lambda net: net.biases.__setitem__(slice(0, 2), [np.ones(4), np.ones(3)]), ValueError),
        (lambda net: net.weights.__setitem__(2, np.ones((4, 2))), IndexError),
        (lambda net: net.weights.append(np.ones((2, 2))), TypeError),
        (lambda net: net.weights.pop(), TypeError),
        (lambda net: net.weights.reverse(), TypeError),
        (lambda net: net.weights.__delitem__(0), TypeError),
        (lambda net: net.biases.__iadd__([np.ones(2)]), TypeError),
    ],
)
def test_a_wrong_assignment_changes_nothing(change, error):
    net = MLP((3, 4, 2), rng=0)
    before = parameters(net)
    with pytest.raises(error) as caught:
        change(net)
    assert same(parameters(net), before)
    assert error is IndexError or str(caught.value).startswith(("weights", "biases"))


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("threads", 0, ValueError),
        ("threads", "2", TypeError),
        ("backend", None, TypeError),
        ("feature_names", "abc", TypeError),
        ("feature_names", ["a", "b"], ValueError),
        ("feature_names", ["a", "b", None], TypeError),
        ("feature_names", np.array([["a"], ["b"], ["c"]]), TypeError),
        ("history", None, TypeError),
        ("history", {"loss": []}, TypeError),
        *((name, "relu", AttributeError) for name in ("activation", "output", "loss")),
        *((name, 2, AttributeError) for name in ("bias", "input_scale", "layer_sizes")),
        ("precision", "medium", AttributeError),
        ("dtype", "float64", AttributeError),
    ],
)
def test_an_attribute_takes_what_the_constructor_takes_or_nothing(name, value, error):
    net = MLP((3, 4, 2), rng=0, activation="tanh", input_scale=2.0, threads=1)
    before = getattr(net, name)
    with pytest.raises(error, match=f"^{name}: expected"):
        setattr(net, name, value)
    assert getattr(net, name) == before


def test_names_come_as_frames_have_them():
    pandas = pytest.importorskip("pandas")
    net = MLP((3, 4, 2), rng=0, backend="numpy")
    net.feature_names = pandas.DataFrame(np.eye(3), columns=list("abc")).columns
    assert net.feature_names == ("a", "b", "c")
    net.class_names = np.array([5, 7])
    assert net.class_names == ("5", "7")
    with pytest.raises(TypeError, match=r"class_names: expected a sequence of names, got array\(5"):
        net.class_names = np.array(5)


def test_attributes_that_were_set_are_saved(tmp_path):
    net = MLP((3, 4, 2), rng=0, activation="tanh", input_scale=2.0)
    net.threads, net.backend, net.feature_names = np.int64(2), "numpy", ["a", "b", 3]
    net.save(tmp_path / "net.npz")
    again = MLP.load(tmp_path / "net.npz")
    assert again.feature_names == net.feature_names == ("a", "b", "3")
    assert (again.activation, again.loss, again.bias) == (("tanh",), "cross_entropy", True)
    copied = copy.deepcopy(net)
    assert (copied.threads, copied.backend) == (2, "numpy")


def test_a_wrong_assignment_is_placed():
    net = MLP((3, 4, 2), rng=0)
    with pytest.raises(ValueError, match=r"weights\[1\]: expected shapes \[\(4, 2\)\]"):
        net.weights[1] = np.ones((2, 4))


def test_a_slice_of_parameters_is_assigned_whole():
    net = MLP((3, 4, 2), rng=0)
    net.weights[:] = [np.ones((3, 4)), np.full((4, 2), 2)]
    assert net.weights[0].min() == net.weights[0].max() == 1
    assert net.weights[1].min() == net.weights[1].max() == 2


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, list.copy,
                                    lambda views: pickle.loads(pickle.dumps(views))])  # fmt: skip
def test_a_copy_of_the_views_is_a_plain_list(copied):
    net = MLP((3, 4, 2), rng=0)
    arrays = copied(net.weights)
    assert type(arrays) is list
    assert same(arrays, net.weights)
    arrays[0] = np.zeros((3, 4))
    assert net.weights[0].any()


def test_layers_can_be_swapped_though_they_are_views():
    net = MLP((4, 4, 4), rng=0)
    first, second = (w.copy() for w in net.weights)
    net.weights = [net.weights[1], net.weights[0]]
    np.testing.assert_array_equal(net.weights[0], second)
    np.testing.assert_array_equal(net.weights[1], first)
    net.weights[0] = net.weights[0].T
    np.testing.assert_array_equal(net.weights[0], second.T)


# answers


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layers", [(1, 1), (17, 9), (5, 33, 16, 3), (40, 8, 8, 8, 1)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_backends_agree_on_every_activation(activation, layers, dtype):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(37, layers[0])), rng.integers(0, layers[-1], 37)
    made = [MLP(layers, activation=activation, rng=2, dtype=dtype, backend=b) for b in BACKENDS]
    for net in made:
        net.biases = [np.linspace(-1, 1, len(b)) for b in net.biases]
    slow, fast = (
        [*n.forward(X), *n.loss_and_gradients(X, y, l2=0.1)[1].weights, n.predict_proba(X)]
        for n in made
    )
    assert difference(fast, slow) <= TOLERANCE[dtype]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("output", "loss"), PAIRS)
def test_backends_agree_on_every_output_and_loss(output, loss, dtype, weighted):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(70, 12)), rng.random((70, 5))
    if loss == "cross_entropy":
        y /= y.sum(axis=1, keepdims=True)
    weight = rng.random(70) if weighted else None
    results = []
    for b in BACKENDS:
        net = MLP((12, 7, 5), output=output, loss=loss, rng=2, dtype=dtype, backend=b)
        value, g = net.loss_and_gradients(X, y, sample_weight=weight, l2=0.01)
        scores = net.evaluate(X, y, sample_weight=weight)
        assert ("accuracy" in scores) == (output != "identity")
        penalty = 0.005 * sum((w.astype(float) ** 2).sum() for w in net.weights)
        assert value == pytest.approx(scores["loss"] + penalty, rel=TOLERANCE[dtype] * 10)
        flat = np.concatenate([a.ravel() for a in (*g.weights, *g.biases)])
        results.append([np.array(value), np.array(list(scores.values())), flat])
    assert difference(results[1], results[0]) <= TOLERANCE[dtype]


def test_predictions_are_labels_bits_or_values(backend):
    X = np.random.default_rng(0).normal(size=(20, 4))
    for output in OUTPUTS:
        net = MLP((4, 6, 3), output=output, rng=1, backend=backend, init=Normal(1.0))
        a, answer = net.predict_proba(X), net.predict(X)
        np.testing.assert_array_equal(a, net.forward(X)[-1])
        assert a.dtype == np.float32
        if output == "softmax":
            np.testing.assert_allclose(a.sum(axis=1), 1, rtol=1e-6)
            np.testing.assert_array_equal(answer, a.argmax(axis=1))
            wanted = (answer == 1).mean()
            assert net.evaluate(X, np.ones(20, int))["accuracy"] == wanted
        elif output == "sigmoid":
            np.testing.assert_array_equal(answer, a > 0.5)
            half = answer.copy()
            half[:10, 2] ^= 1  # a sample is right when all of its labels are
            assert net.evaluate(X, half)["accuracy"] == 0.5
        else:
            np.testing.assert_array_equal(answer, a)
        assert answer.dtype == (np.float32 if output == "identity" else np.int64)


def test_no_rows_give_no_answers(backend):
    for output in OUTPUTS:
        net = MLP((4, 6, 3), output=output, rng=1, backend=backend)
        X = np.zeros((0, 4))
        assert [a.shape for a in net.forward(X)] == [(0, 6), (0, 3)]
        assert net.predict_proba(X).shape == (0, 3)
        assert net.predict(X).shape == ((0,) if output == "softmax" else (0, 3))
        for ask in (net.evaluate, net.loss_and_gradients, net.fit):
            with pytest.raises(ValueError, match="X: expected at least one sample"):
                ask(X, np.zeros(0, int) if output == "softmax" else np.zeros((0, 3)))


@pytest.mark.parametrize("output", OUTPUTS)
def test_copies_are_whole_and_apart(backend, output):
    net = MLP((4, 6, 3), output=output, rng=1, backend=backend, threads=1)
    X = np.random.default_rng(0).normal(size=(20, 4))
    y = np.arange(20) % 3 if output == "softmax" else np.random.default_rng(1).random((20, 3))
    net.fit(X, y, epochs=2, batch_size=8, optimizer=Adam(0.01))
    for clone in (copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))):
        twin = clone(net)
        assert same(parameters(twin), parameters(net))
        assert twin.history == net.history
        assert (twin.backend, twin.threads) == (net.backend, net.threads)
        twin.fit(X, y, epochs=2, batch_size=8)
        assert not same(parameters(twin), parameters(net))
        net.fit(X, y, epochs=2, batch_size=8)
        assert same(parameters(twin), parameters(net))


class Tagged(MLP):
    def __init__(self, *sizes):
        super().__init__(sizes, rng=0)
        self.tag, self._private = ["tag"], 5


def test_copies_keep_what_a_user_has_attached():
    assert attached(MLP((3, 2))) == {}
    net = Tagged(3, 4, 2)
    net.predict(np.eye(3))
    net.fit(np.eye(3), [0, 1, 1], epochs=1, validation_split=0.4, schedule="stepdecay")
    assert attached(net).keys() == {"tag", "_private"}
    for again in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert type(again) is Tagged
        assert (again.tag, again._private) == (["tag"], 5)
        assert same(parameters(again), parameters(net))
    assert copy.deepcopy(net).tag is not net.tag


def test_a_copy_trains_on_its_own():
    X, y = np.eye(4, 3), [0, 1, 1, 0]
    net, alone = (MLP((3, 4, 2), rng=0, backend="numpy") for _ in range(2))
    for one in (net, alone):
        one.fit(X, y, epochs=2, optimizer="adam")
    copied = copy.copy(net)
    copied.fit(X, y, epochs=5, resume=True)
    assert len(net.history) == 2
    for one in (net, alone):
        one.fit(X, y, epochs=5, resume=True)
    assert same(parameters(net), parameters(alone))
    assert same(parameters(net), parameters(copied))


def test_a_network_that_an_older_version_pickled_is_read():
    net = MLP((4, 3), rng=0, backend="numpy")
    net.fit(np.eye(4), [0, 1, 2, 0], epochs=2)
    pickled = pickle.dumps(net, protocol=0)  # names stand on lines of their own
    older = pickled.replace(b"cfastmlp.training.history\n", b"cfastmlp.history\n")
    assert older != pickled
    again = pickle.loads(older)
    assert again.history == net.history
    assert same(parameters(again), parameters(net))


def test_hyperparameters_of_any_real_kind_can_be_kept(tmp_path):
    net = MLP((4, 3), rng=1, backend="numpy", input_scale=np.float32(2))
    net.fit(np.eye(4), [0, 1, 2, 0], epochs=1, optimizer=Adam(np.float32(0.5)))
    net.save(tmp_path / "net.npz")
    assert MLP.load(tmp_path / "net.npz").optimizer == Adam(0.5)
    with pytest.raises(TypeError, match="optimizer"):
        net.fit(np.eye(4), [0, 1, 2, 0], optimizer=Optimizer(0.1))


USES = {
    "fit": lambda net, X, y: net.fit(X, y, epochs=2, validation_split=0.2),
    "one sample a step": lambda net, X, y: net.fit(X, y, epochs=1, batch_size=1),
    "few rows": lambda net, X, y: net.predict(X[:1]),
    "many rows": lambda net, X, y: net.predict(X),
    "converted": lambda net, X, y: net.predict(X.astype(np.int16)),
    "evaluate": lambda net, X, y: net.evaluate(X, y),
    "gradients": lambda net, X, y: net.loss_and_gradients(X, y),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("use", USES)
def test_the_memory_of_a_network_that_nobody_holds_is_free_at_once(use, backend):
    X, y = np.ones((100, 20), np.float32), np.arange(100) % 3
    gc.disable()  # which would come late: it counts objects, not their bytes
    try:
        net = MLP((20, 30, 3), rng=0, backend=backend)
        USES[use](net, X, y)
        memory = weakref.ref(net._parameters)
        del net
        assert memory() is None
    finally:
        gc.enable()
