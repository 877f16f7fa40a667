"""The reference against mathematics: finite differences, closed forms, textbook identities."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastmlp import MLP, SGD, AdaGrad, Adam, AdamW, RMSProp, kernels, reference
from fastmlp.activations import ACTIVATIONS
from fastmlp.architecture import Architecture
from fastmlp.losses import OUTPUTS
from fastmlp.reference import products
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


# optimizers: a scalar at a time with Python's floats, then closed forms for a constant gradient


def run(optimizer, gradients, w0=0.8, ndim=2, **options) -> list[float]:
    w = [np.full((1,) * ndim, w0)]
    state, path = optimizer.start(w), []
    for g in gradients:
        reference.optimizer_step(optimizer, w, [np.full((1,) * ndim, g)], state, **options)
        path.append(w[0].item())
    assert state.step == len(gradients)
    return path


GRADIENTS = [0.3, -0.7, 1.9, 0.0, -0.2, 0.05]


def test_each_rule_is_its_formula():
    w = v = nw = nv = aw = s = rw = u = dw = m = q = ww = 0.0
    w = nw = aw = rw = dw = ww = 0.8
    wanted = []
    for t, g in enumerate(GRADIENTS, 1):
        v = 0.8 * v - 0.1 * g
        w += v
        nv = 0.8 * nv - 0.1 * g
        nw += 0.8 * nv - 0.1 * g
        s += g**2
        aw -= 0.1 * g / (math.sqrt(s) + 1e-3)
        u = 0.7 * u + 0.3 * g**2
        rw -= 0.1 * g / (math.sqrt(u) + 1e-3)
        m = 0.6 * m + 0.4 * g
        q = 0.95 * q + 0.05 * g**2
        step = 0.1 * m / (1 - 0.6**t) / (math.sqrt(q / (1 - 0.95**t)) + 1e-3)
        dw -= step
        ww = ww - 0.1 * 0.5 * ww - step
        wanted.append((w, nw, aw, rw, dw, ww))
    betas = {"beta_1": 0.6, "beta_2": 0.95, "epsilon": 1e-3}
    got = [
        run(SGD(0.1, momentum=0.8), GRADIENTS),
        run(SGD(0.1, momentum=0.8, nesterov=True), GRADIENTS),
        run(AdaGrad(0.1, epsilon=1e-3), GRADIENTS),
        run(RMSProp(0.1, rho=0.7, epsilon=1e-3), GRADIENTS),
        run(Adam(0.1, **betas), GRADIENTS),
        run(AdamW(0.1, **betas, weight_decay=0.5), GRADIENTS),
    ]
    np.testing.assert_allclose(np.transpose(got), wanted, rtol=1e-13)
    sgd = 0.8 - 0.1 * np.cumsum(GRADIENTS)
    np.testing.assert_allclose(run(SGD(0.1), GRADIENTS), sgd, rtol=1e-13)
    np.testing.assert_allclose(run(SGD(9.0), GRADIENTS, learning_rate=0.1), sgd, rtol=1e-13)


def test_closed_forms_for_a_constant_gradient():
    g, lr, mu, t = -0.4, 0.05, 0.9, np.arange(1, 13)
    velocity = -lr * g * (1 - mu**t) / (1 - mu)
    same = [g] * 12
    cases = {
        SGD(lr, momentum=mu): np.cumsum(velocity),
        SGD(lr, momentum=mu, nesterov=True): np.cumsum(mu * velocity - lr * g),
        AdaGrad(lr, epsilon=1e-30): lr * np.cumsum(1 / np.sqrt(t)),
        RMSProp(lr, rho=mu, epsilon=1e-30): lr * np.cumsum(1 / np.sqrt(1 - mu**t)),
        Adam(lr, epsilon=1e-30): lr * t,  # the corrections make every mean the gradient itself
    }
    for optimizer, moved in cases.items():
        np.testing.assert_allclose(run(optimizer, same), 0.8 + moved, rtol=1e-10)


def test_adamw_shrinks_matrices_and_leaves_vectors():
    lr, decay, t = 0.05, 0.6, np.arange(1, 9)
    q = 1 - lr * decay
    optimizer = AdamW(lr, weight_decay=decay, epsilon=1e-30)
    falling = 0.8 * q**t - lr * (1 - q**t) / (1 - q)
    np.testing.assert_allclose(run(optimizer, [0.4] * 8), falling, rtol=1e-10)
    np.testing.assert_allclose(run(optimizer, [0.4] * 8, ndim=1), 0.8 - lr * t, rtol=1e-10)


def test_nesterov_is_momentum_that_looks_ahead():
    """On a parabola: w + mu v of the form with the gradient taken at w + mu v."""
    lr, mu, curvature = 0.1, 0.9, 1.7
    w, v, ours = 0.8, 0.0, [np.array([[0.8]])]
    optimizer = SGD(lr, momentum=mu, nesterov=True)
    state = optimizer.start(ours)
    for _ in range(10):
        v = mu * v - lr * curvature * (w + mu * v)
        w += v
        reference.optimizer_step(optimizer, ours, [curvature * ours[0]], state)
        assert ours[0].item() == pytest.approx(w + mu * v, rel=1e-12)


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


def test_bfloat16_is_rounded_to_the_nearest_and_ties_to_the_even():
    upper = np.array([0x0001, 0x3F80, 0x3F81, 0x7F7F, 0xBF80, 0xC0FF, 0x0000, 0x8000], np.uint32)
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    bits = (upper[:, None] << 16) | lower
    even = upper + (upper & 1)
    expected = np.stack([upper, upper, upper, even, upper + 1, upper + 1], 1) << 16
    found = products.round_to_bfloat16(bits.view(np.float32))
    assert np.array_equal(found.view(np.uint32), expected)
    for value in (np.inf, -np.inf, np.nan):
        assert np.array_equal(
            products.round_to_bfloat16(np.float32([value])), [value], equal_nan=True
        )
    signalling = np.array([0x7F800001, 0xFF80FFFF], np.uint32).view(np.float32)
    assert np.isnan(products.round_to_bfloat16(signalling)).all()


def test_parts_are_the_number_but_for_its_last_bits():
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    one, two = products.split(x, 2)
    assert np.array_equal(one, products.round_to_bfloat16(x))
    assert (np.abs(x - one) <= 2**-8 * np.abs(x)).all()
    assert (np.abs(x - one - two) <= 2**-16 * np.abs(x)).all()
    assert (two != 0).any()
    assert [part.tolist() for part in products.split(np.float32([np.inf]), 2)] == [[np.inf], [0.0]]


def test_products_are_sums_over_parts():
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((3, 5), (5, 4)))
    (a1, a2), (b1, b2) = products.split(a, 2), products.split(b, 2)
    assert np.array_equal(products.product(a, b), a @ b)
    assert np.array_equal(products.product(a, b, 1), a1 @ b1)
    whole = (a1.astype(float) + a2) @ (b1.astype(float) + b2) - a2.astype(float) @ b2
    np.testing.assert_allclose(products.product(a, b, 2), whole, rtol=0, atol=1e-6)
    assert np.abs(products.product(a, b, 2) - a1 @ b1).max() > 1e-4
