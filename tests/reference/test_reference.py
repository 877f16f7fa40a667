"""The reference against mathematics: finite differences, closed forms, textbook identities."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastmlp import MLP, SGD, Adam, kernels, reference
from fastmlp.activations import ACTIVATIONS
from fastmlp.architecture import Architecture
from fastmlp.losses import OUTPUTS
from fastmlp.reference.dropout import draws, dropout_factors
from fastmlp.reference.epoch import count_correct
from fastmlp.reference.penalties import penalty_gradient

STEP = 6e-6  # about the cube root of the rounding unit: where central differences are best
PAIRS = [(output, loss) for output, losses in OUTPUTS.items() for loss in losses]


def numeric_gradient(function, array: np.ndarray) -> np.ndarray:
    """Return central differences of a scalar function of `array`, which is changed and restored."""
    gradient = np.zeros_like(array)
    for i in np.ndindex(array.shape):
        kept = array[i]
        array[i] = kept + STEP
        above = function()
        array[i] = kept - STEP
        below = function()
        array[i] = kept
        gradient[i] = (above - below) / (2 * STEP)
    return gradient


def assert_close(ours, theirs, tolerance: float) -> None:
    scale = max(np.abs(theirs).max(), 1e-3)
    gap = np.abs(ours - theirs).max() / scale
    assert gap <= tolerance, f"{gap:.1e}"


# activations


BY_HAND = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": lambda z: math.tanh(z),
    "relu": lambda z: max(z, 0.0),
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "elu": lambda z: z if z > 0 else math.exp(z) - 1,
    "gelu": lambda z: 0.5 * z * (1 + math.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    "silu": lambda z: z / (1 + math.exp(-z)),
    "softplus": lambda z: math.log(1 + math.exp(z)),
}
POINTS = np.concatenate([np.linspace(-8, 8, 64), [-1e-3, 1e-3, -30.0, 30.0]])  # without 0


@pytest.mark.parametrize("name", BY_HAND)
def test_activation_is_its_formula(name):
    a, _ = reference.activate(POINTS, activation=name)
    assert_close(a, np.array([BY_HAND[name](float(x)) for x in POINTS]), 1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activations_derivative_is_its_slope(name):
    z = POINTS
    _, derivative = reference.activate(z, activation=name)
    slope = (
        reference.activate(z + STEP, activation=name)[0]
        - reference.activate(z - STEP, activation=name)[0]
    ) / (2 * STEP)
    np.testing.assert_allclose(derivative, slope, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "slope"), [("relu", 0.0), ("leaky_relu", 0.01), ("elu", 1.0), ("softplus", 0.5)]
)
def test_the_slope_at_zero_is_the_one_from_the_left(name, slope):
    assert reference.activate(np.zeros(1), activation=name)[1][0] == slope


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_stay_finite_far_out(name, dtype):
    z = np.array([-1e4, -800.0, 800.0, 1e4], dtype)
    a, derivative = reference.activate(z, activation=name)
    assert a.dtype == derivative.dtype == np.dtype(dtype)
    assert np.isfinite(a).all()
    assert np.isfinite(derivative).all()


# losses


def targets_for(rng, output: str, loss: str, n: int, n_out: int):
    if output == "softmax":
        return rng.integers(0, n_out, n)
    if loss == "binary_cross_entropy":
        return rng.integers(0, 2, (n, n_out)).astype(float)
    if loss == "poisson":
        return rng.poisson(2.0, (n, n_out)).astype(float)
    return rng.normal(size=(n, n_out)) * 1.5


def textbook_loss(loss: str, output: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return each sample's loss from outputs, not from logits."""
    if y.ndim == 1:
        y = np.eye(output.shape[1])[y]
    r = output - y
    terms = {
        "cross_entropy": lambda: -y * np.log(output),
        "binary_cross_entropy": lambda: -(y * np.log(output) + (1 - y) * np.log(1 - output)),
        "squared_error": lambda: 0.5 * r**2,
        "absolute_error": lambda: abs(r),
        "huber": lambda: np.where(abs(r) <= 1, 0.5 * r**2, abs(r) - 0.5),
        "poisson": lambda: np.exp(output) - y * output,
    }
    return terms[loss]().sum(axis=1)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("output", "loss"), PAIRS)
def test_loss_is_summed_over_outputs_and_averaged_over_samples(output, loss, weighted):
    rng = np.random.default_rng(1)
    z, y = rng.normal(size=(7, 4)), targets_for(rng, output, loss, 7, 4)
    weight = rng.random(7) if weighted else None
    net = Architecture((4, 4), output=output, loss=loss, dtype="float64")
    a = reference.forward(z, [np.eye(4)], [np.zeros(4)], net)[-1]
    got, _ = reference.output_loss(z, y, output=output, loss=loss, sample_weight=weight)
    wanted = np.average(textbook_loss(loss, a, y), weights=weight)
    assert got == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("output", OUTPUTS)
def test_delta_is_a_minus_y(output, weighted):
    rng = np.random.default_rng(2)
    loss = OUTPUTS[output][0]
    z, y = rng.normal(size=(6, 3)), targets_for(rng, output, loss, 6, 3)
    weight = rng.random(6) if weighted else None
    one_layer = Architecture((3, 3), output=output, dtype="float64", bias=False)
    a = reference.forward(z, [np.eye(3)], [], one_layer)[-1]
    rows = np.eye(3)[y] if y.ndim == 1 else y
    _, delta = reference.output_loss(z, y, output=output, loss=loss, sample_weight=weight)
    np.testing.assert_allclose(
        delta, (a - rows) * (1 if weight is None else weight[:, None]), rtol=1e-14, atol=1e-15
    )


def test_outputs_and_losses_survive_logits_that_overflow_exp():
    z = np.array([[1000.0, -1000.0, 0.0], [-1e5, 1e5, 1e5]])
    a = reference.softmax(z)
    np.testing.assert_array_equal(a, [[1, 0, 0], [0, 0.5, 0.5]])
    loss, delta = reference.softmax_cross_entropy(z, np.array([1, 2]))
    assert loss == pytest.approx((2000 + math.log(2)) / 2, rel=1e-15)
    np.testing.assert_array_equal(delta, [[1, -1, 0], [0, 0.5, -0.5]])
    y = np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    loss, _ = reference.output_loss(z, y, output="sigmoid", loss="binary_cross_entropy")
    assert loss == pytest.approx((1000 + math.log(2) + 2e5) / 2, rel=1e-15)


def test_a_probability_of_zero_costs_nothing_where_its_target_is_zero():
    z, y = np.array([[0.0, -1e6]]), np.array([[1.0, 0.0]])
    probabilities = np.array([[0.75, 0.25]])
    assert reference.softmax_cross_entropy(z, y)[0] == 0
    assert reference.softmax_cross_entropy(z, probabilities)[0] == 0.25e6
    # where its logarithm is beyond the range of the dtype, too
    with np.errstate(over="ignore", invalid="ignore"):
        assert reference.softmax_cross_entropy(np.array([[1e308, -1e308]]), y)[0] == 0


@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
def test_a_half_is_no_label(target):
    """Outputs and targets of exactly one half count as 0."""
    y = np.array([[target]])
    assert count_correct(np.zeros((1, 1)), y, "sigmoid") == (target <= 0.5)
    assert count_correct(np.full((1, 1), 1e-9), y, "sigmoid") == (target > 0.5)
    for backend in ("numpy", "numba"):
        net = MLP((2, 1), output="sigmoid", loss="squared_error", rng=0, backend=backend)
        net._parameters.state[:] = 0
        assert net.evaluate(np.ones((3, 2)), np.full((3, 1), target))["accuracy"] == (target <= 0.5)
        assert net.predict(np.ones((1, 2))) == 0


# gradients of whole networks

NETWORKS = {name: {"activation": name} for name in ACTIVATIONS}
NETWORKS |= {f"{output} {loss}": {"output": output, "loss": loss} for output, loss in PAIRS}
NETWORKS |= {
    "l2": {"l2": 0.3},
    "sample_weight": {"weighted": True},
    "no bias": {"bias": False},
    "one layer": {"layers": (4, 3)},
    "one unit": {"layers": (1, 1, 1), "output": "identity"},
    "probabilities": {"probabilities": True},
    "input_scale": {"input_scale": 3.0},
    "everything": {
        "layers": (4, 6, 5, 3), "activation": ("elu", "gelu"), "bias": False, "l2": 0.1,
        "weighted": True, "probabilities": True, "input_scale": 0.5,
    },
    "everything, values": {
        "layers": (4, 5, 5, 5, 2), "activation": ("silu", "tanh", "softplus"), "output": "identity",
        "loss": "huber", "l2": 0.1, "weighted": True,
    },
}  # fmt: skip


def make_network(layers=(4, 6, 5, 3), l2=0.0, weighted=False, probabilities=False, **options):
    """Return the arguments of loss_and_gradients; no logit lies near a kink."""
    architecture = Architecture(layers, dtype="float64", **options)
    rng = np.random.default_rng(11)
    X = rng.normal(size=(8, layers[0]))
    if probabilities:
        y = rng.dirichlet(np.ones(layers[-1]), 8)
    else:
        y = targets_for(rng, architecture.output, architecture.loss, 8, layers[-1])
    weights = [rng.normal(size=shape) / np.sqrt(shape[0]) for shape in architecture.layers]
    biases = [rng.normal(size=n_out) for _, n_out in architecture.layers] * architecture.bias
    weight = rng.random(8) + 0.1 if weighted else None
    layers_in = [
        X / (architecture.input_scale or 1),
        *reference.forward(X, weights, biases, architecture),
    ]
    for i, name in enumerate(architecture.activations):
        if "relu" in name:
            z = layers_in[i] @ weights[i] + (biases[i] if biases else 0)
            assert np.abs(z).min() > 1e-3
    if y.ndim == 2:
        r = np.abs(layers_in[-1] - y)
        assert min(r.min(), np.abs(r - 1).min()) > 1e-3
    return (X, y, weights, biases, architecture), {"l2": l2, "sample_weight": weight}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_the_slopes_of_the_loss(name):
    arguments, options = make_network(**NETWORKS[name])

    def loss() -> float:
        return reference.loss_and_gradients(*arguments, **options)[0]

    _, gradients = reference.loss_and_gradients(*arguments, **options)
    _, _, weights, biases, _ = arguments
    assert len(gradients.weights) == len(weights)
    assert len(gradients.biases) == len(biases)
    for ours, array in zip(
        [*gradients.weights, *gradients.biases], [*weights, *biases], strict=True
    ):
        assert_close(ours, numeric_gradient(loss, array), 2e-8)


def test_the_penalty_is_half_l2_times_the_squares_of_weights_alone():
    arguments, _ = make_network()
    plain, gradients = reference.loss_and_gradients(*arguments)
    loss, penalized = reference.loss_and_gradients(*arguments, l2=0.7)
    weights = arguments[2]
    assert loss - plain == pytest.approx(0.35 * sum((w**2).sum() for w in weights), rel=1e-12)
    for g, p, w in zip(gradients.weights, penalized.weights, weights, strict=True):
        np.testing.assert_allclose(p - g, 0.7 * w, rtol=1e-12, atol=1e-14)
    for g, p in zip(gradients.biases, penalized.biases, strict=True):
        np.testing.assert_array_equal(g, p)


@pytest.mark.parametrize("rows", [0, 1])
def test_a_loss_needs_a_sample(rows):
    a = Architecture((2, 3), dtype="float64")
    arguments = (np.ones((rows, 2)), np.zeros(rows, int), [np.ones((2, 3))], [np.zeros(3)], a)
    for backend in (reference, kernels):
        if rows:
            assert backend.loss_and_gradients(*arguments)[0] == pytest.approx(math.log(3))
        else:
            with pytest.raises(ValueError, match="X: expected at least one sample, got none"):
                backend.loss_and_gradients(*arguments)


def test_a_weight_of_zero_has_no_slope():
    w = np.array([[0.0, -2.0, 0.5]])
    np.testing.assert_array_equal(penalty_gradient(w, 0.1, 0.0), [[0.0, -0.1, 0.1]])


def test_a_draw_at_the_rate_itself_is_kept():
    words = np.array([1, 2], np.uint32)
    draw = int(draws(words, 1, 5)[0, 3])
    for rate, kept in ((draw / 2**32, True), ((draw + 1) / 2**32, False)):
        factors = dropout_factors(words, 1, 5, rate, np.dtype("float64"))
        assert (factors[0, 3] > 0) == kept


def test_a_weight_counts_like_repeated_samples():
    (X, y, *rest), _ = make_network()
    times = np.array([1, 0, 3, 2, 1, 1, 0, 2])
    loss, gradients = reference.loss_and_gradients(X, y, *rest, sample_weight=times)
    again, repeated = reference.loss_and_gradients(X.repeat(times, 0), y.repeat(times), *rest)
    assert loss == pytest.approx(again, rel=1e-13)
    for a, b in zip(gradients.weights, repeated.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_one_layer_has_the_closed_forms_of_linear_and_softmax_regression():
    rng = np.random.default_rng(5)
    X, W, b = rng.normal(size=(9, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)
    Y, labels = rng.normal(size=(9, 3)), rng.integers(0, 3, 9)
    line = Architecture((4, 3), output="identity", dtype="float64")
    _, g = reference.loss_and_gradients(X, Y, [W], [b], line, l2=0.2)
    assert_close(g.weights[0], X.T @ (X @ W + b - Y) / 9 + 0.2 * W, 1e-14)
    assert_close(g.biases[0], (X @ W + b - Y).mean(axis=0), 1e-14)
    classes = Architecture((4, 3), dtype="float64")
    _, g = reference.loss_and_gradients(X, labels, [W], [b], classes)
    e = np.exp(X @ W + b)
    assert_close(g.weights[0], X.T @ (e / e.sum(1, keepdims=True) - np.eye(3)[labels]) / 9, 1e-14)


# the epoch


@pytest.mark.parametrize("batch_size", [1, 3, 8, None])
def test_an_epoch_is_its_steps(batch_size):
    (X, y, weights, biases, net), options = make_network(l2=0.1, weighted=True)
    optimizer, order = Adam(0.02), np.array([5, 0, 7, 2, 1, 6, 3, 4])
    ours, theirs = [[w.copy() for w in [*weights, *biases]] for _ in range(2)]
    layers, state, other = len(weights), optimizer.start(ours), optimizer.start(theirs)
    rates = np.linspace(0.01, 0.05, -(-8 // (batch_size or 8)))
    result = reference.train_epoch(
        X, y, ours[:layers], ours[layers:], net, optimizer, state, order=order,
        batch_size=batch_size, learning_rate=rates, **options,
    )  # fmt: skip
    seen = 0.0
    for step, rate in enumerate(rates):
        rows = order[step * (batch_size or 8) :][: batch_size or 8]
        w = options["sample_weight"][rows]
        loss, g = reference.loss_and_gradients(
            X[rows], y[rows], theirs[:layers], theirs[layers:], net, l2=0.1, sample_weight=w
        )
        seen += loss * w.sum()
        reference.optimizer_step(
            optimizer, theirs, [*g.weights, *g.biases], other, learning_rate=rate
        )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)
    assert result.loss == pytest.approx(seen / options["sample_weight"].sum(), rel=1e-13)
    assert result.samples == 8


def test_a_batch_whose_weights_are_all_zero_teaches_nothing():
    a = Architecture((4, 3), dtype="float64")
    X, y = np.random.default_rng(0).standard_normal((4, 4)), np.array([0, 1, 2, 1])
    optimizer = SGD(0.1)
    trained = []
    for order in (np.arange(4), np.array([2, 3])):
        weights, biases = [np.ones((4, 3))], [np.zeros(3)]
        state = optimizer.start([*weights, *biases])
        reference.train_epoch(
            X, y, weights, biases, a, optimizer, state, order=order, batch_size=2,
            sample_weight=np.array([0.0, 0.0, 1.0, 2.0]),
        )  # fmt: skip
        trained.append([*weights, *biases])
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)
