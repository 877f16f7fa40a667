"""In the step: penalties, clipping, smoothing, bounded norms, weights of classes."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import MLP, SGD, Adam, AdamW, RMSProp
from fastmlp.architecture import Architecture
from fastmlp.contract.operations import DataSet, StepSettings
from fastmlp.contract.parameters import Parameters
from fastmlp.reference.backprop import batch_gradients
from fastmlp.reference.dropout import key_words
from fastmlp.reference.epoch import train_steps
from fastmlp.reference.losses import smooth_targets
from fastmlp.reference.optimizers import optimizer_step
from fastmlp.reference.penalties import clip_by_global_norm, limit_norms, penalty
from fastmlp.regularization import Regularization, get_regularization
from fastmlp.training import trainer
from fastmlp.training.samples import dropout_key
from fastmlp.verification import TOLERANCE, difference

KEY = np.array([0x01234567, 0x89ABCDEF], np.uint32)
BACKENDS = ("numpy", "numba")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 6))
LABELS = np.digitize(X[:, 0] + X[:, 1] ** 2, [0.3, 1.3])
TASKS = {
    "softmax": LABELS,
    "sigmoid": np.stack([LABELS > 0, LABELS > 1, X[:, 2] > 0], axis=1),
    "identity": X[:, :3] ** 2,
}


def make(backend="numpy", layers=(6, 9, 7, 3), **options) -> MLP:
    return MLP(layers, backend=backend, **{"rng": 1, "dtype": "float64", **options})


def parameters(net) -> list[np.ndarray]:
    return [a.copy() for a in (*net.weights, *net.biases)]


def assert_same(ours, theirs) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


# gradients

WORDS = key_words(KEY, 11, 1, 2)[0]
ALL_OF_IT = {
    "plain": Regularization(),
    "l1": Regularization(l1=0.03),
    "l2": Regularization(l2=0.05),
    "dropout": Regularization(dropout=(0.5, 0.3)),
    "dropout in one layer": Regularization(dropout=(0.0, 0.6)),
    "all": Regularization(dropout=(0.2, 0.4), l1=0.02, l2=0.03),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("settings", ALL_OF_IT.values(), ids=ALL_OF_IT)
@pytest.mark.parametrize("output", TASKS)
def test_gradients_are_difference_quotients(output, settings, weighted):
    shape = Architecture(
        (6, 9, 7, 3), activation=("tanh", "softplus"), output=output, dtype="float64"
    )
    rng = np.random.default_rng(5)
    weights = [rng.uniform(0.2, 0.8, s) * rng.choice([-1, 1], s) for s in shape.layers]
    biases = [rng.normal(size=n_out) for _, n_out in shape.layers]  # no weight is near 0
    y = TASKS[output][:20] if output == "softmax" else TASKS[output][:20] * 1.0
    weight = rng.random(20) if weighted else None
    if output != "identity":
        settings = Regularization(**{**vars(settings), "label_smoothing": 0.1})

    data = DataSet(X[:20], y, weight)

    def loss() -> float:
        return batch_gradients(data, weights, biases, shape, settings, WORDS)[0]

    gradients = batch_gradients(data, weights, biases, shape, settings, WORDS)[1]
    h = 1e-5
    for array, gradient in zip(
        [*weights, *biases], [*gradients.weights, *gradients.biases], strict=True
    ):
        for place in rng.permutation(array.size)[:6]:
            index = np.unravel_index(place, array.shape)
            kept = array[index]
            array[index] = kept + h
            above = loss()
            array[index] = kept - h
            below = loss()
            array[index] = kept
            assert gradient[index] == pytest.approx((above - below) / (2 * h), rel=1e-6, abs=1e-8)


def test_penalties_are_sums_over_weights():
    weights = [RNG.normal(size=(3, 4)), RNG.normal(size=(4, 2))]
    flat = np.concatenate([w.ravel() for w in weights])
    wanted = 0.3 * np.abs(flat).sum() + 0.05 * (flat @ flat)
    assert penalty(weights, 0.3, 0.1) == pytest.approx(wanted, rel=1e-14)


def test_a_clipped_gradient_keeps_its_direction():
    arrays = [RNG.normal(size=(4, 3)), RNG.normal(size=3)]
    flat = np.concatenate([a.ravel() for a in arrays])
    norm = np.linalg.norm(flat)
    kept = [a.copy() for a in arrays]
    assert clip_by_global_norm(arrays, 1.01 * norm) == pytest.approx(norm, rel=1e-14)
    assert_same(arrays, kept)
    clip_by_global_norm(arrays, 0.1)
    clipped = np.concatenate([a.ravel() for a in arrays])
    np.testing.assert_allclose(clipped, flat * 0.1 / norm, rtol=1e-13)
    broken = [np.array([1.0, np.nan]), np.array([2.0])]
    clip_by_global_norm(broken, 1.0)
    assert np.isnan(broken[0]).all()
    assert np.isnan(broken[1]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_norms_of_columns_are_bounded_and_short_ones_untouched(dtype):
    w = RNG.normal(size=(50, 20)).astype(dtype) * np.linspace(0, 2, 20, dtype=dtype)
    before = w.copy()
    limit_norms([w], 5.0)
    norms = np.linalg.norm(before.astype("float64"), axis=0)
    long = norms > 5
    assert 3 < long.sum() < 17
    np.testing.assert_array_equal(w[:, ~long], before[:, ~long])
    after = np.linalg.norm(w.astype("float64"), axis=0)
    np.testing.assert_allclose(after[long], 5.0, rtol=1e-6 if dtype == "float32" else 1e-14)
    cosines = (w * before).sum(0)[long] / (after * norms)[long]
    np.testing.assert_allclose(cosines, 1, rtol=1e-6)


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_smoothing_is_a_fit_on_smoothed_targets(backend, output):
    given, by_hand = make(backend, output=output), make(backend, output=output)
    rows = np.eye(3)[LABELS] if output == "softmax" else TASKS["sigmoid"] * 1.0
    smooth = 0.8 * rows + 0.2 / (3 if output == "softmax" else 2)
    options = {"epochs": 3, "batch_size": 16, "optimizer": Adam(0.01)}
    first = given.fit(X, TASKS[output], label_smoothing=0.2, **options)
    second = by_hand.fit(X, smooth, **options)
    np.testing.assert_allclose(first.loss, second.loss, rtol=1e-12)
    assert first.accuracy == second.accuracy
    for a, b in zip(parameters(given), parameters(by_hand), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_smoothing_of_labels_has_the_gradient_that_is_written():
    z = RNG.normal(size=(9, 4))
    y, e = RNG.integers(0, 4, 9), 0.3
    a = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    rows = smooth_targets(y, e, 4, "softmax", np.dtype("float64"))
    np.testing.assert_allclose(a - rows, a - (1 - e) * np.eye(4)[y] - e / 4, rtol=1e-13)
    loss = -(rows * np.log(a)).sum(1)
    wanted = (1 - e) * -np.log(a[np.arange(9), y]) + e / 4 * -np.log(a).sum(1)
    np.testing.assert_allclose(loss, wanted, rtol=1e-13)


# steps

STEPS = {
    "l1": {"l1": 0.02},
    "l1 and l2": {"l1": 0.01, "l2": 0.02},
    "clipped": {"clip_norm": 0.05},
    "hardly clipped": {"clip_norm": 100.0},
    "bounded": {"max_norm": 0.9},
    "smoothed": {"label_smoothing": 0.1},
    "smoothed, clipped": {"label_smoothing": 0.1, "clip_norm": 0.1},
    "dropout": {"dropout": 0.5},
    "dropout per layer": {"dropout": (0.0, 0.3)},
    "everything": {
        "dropout": (0.2, 0.4), "l1": 0.01, "l2": 0.02, "clip_norm": 0.3, "max_norm": 1.2,
        "label_smoothing": 0.05,
    },
}  # fmt: skip


@pytest.mark.parametrize("options", STEPS.values(), ids=STEPS)
def test_a_step_is_made_of_its_parts(options):
    shape = Architecture((6, 9, 7, 3), activation="tanh", dtype="float64")
    settings, optimizer = get_regularization(shape, **options), RMSProp(0.02)
    ours, theirs = Parameters(shape), Parameters(shape)
    for p in (ours, theirs):
        for i, w in enumerate(p.weights):
            w[...] = np.random.default_rng(i).normal(size=w.shape)
    state, by_hand = (optimizer.start([*p.weights, *p.biases]) for p in (ours, theirs))
    state.step = by_hand.step = 5
    key = KEY if settings.dropout else None
    order, rates = RNG.permutation(70), np.array([0.02, 0.01, 0.03])
    steps = StepSettings(optimizer, state, 30, settings)
    train_steps(DataSet(X, LABELS), ours.weights, ours.biases, shape, steps, order, rates, key)
    for step, rate in enumerate(rates):
        rows = order[30 * step : 30 * (step + 1)]
        words = key_words(KEY, 5 + step, 1, 2)[0] if settings.dropout else None
        data = DataSet(X[rows], LABELS[rows])
        _, g, _ = batch_gradients(data, theirs.weights, theirs.biases, shape, settings, words)
        gradients = [*g.weights, *g.biases]
        norm = np.sqrt(sum(np.square(a).sum() for a in gradients))
        if settings.clip_norm is not None and norm > settings.clip_norm:
            gradients = [a * settings.clip_norm / norm for a in gradients]
        optimizer_step(
            optimizer, [*theirs.weights, *theirs.biases], gradients, by_hand, learning_rate=rate
        )
        for w in theirs.weights if settings.max_norm is not None else []:
            norms = np.linalg.norm(w, axis=0)
            w *= np.minimum(1, settings.max_norm / norms)
    np.testing.assert_allclose(ours.flat, theirs.flat, rtol=1e-10, atol=1e-12)
    assert state.step == 8


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("optimizer", [SGD(0.3), SGD(0.1, momentum=0.9), AdamW(0.02)], ids=str)
@pytest.mark.parametrize("options", STEPS.values(), ids=STEPS)
def test_backends_train_alike(options, optimizer, dtype):
    results, hits = [], []
    for backend in BACKENDS:
        net = make(backend, activation=("tanh", "relu"), dtype=dtype)
        h = net.fit(
            X, LABELS, epochs=3, batch_size=16, optimizer=optimizer, class_weight="balanced",
            sample_weight=np.linspace(0.1, 2, 70), validation_split=0.2, **options,
        )  # fmt: skip
        results.append([np.array([h.loss, h.val_loss]), *parameters(net)])
        hits.append(np.array(h.accuracy) * 56)
    assert difference(*results) <= 20 * TOLERANCE[dtype]
    # where all units of a sample are left out, its logits are equal but for rounding
    assert abs(hits[0] - hits[1]).max() < 2.5


@pytest.mark.parametrize("batch_size", [1, 16, None])
@pytest.mark.parametrize("options", STEPS.values(), ids=STEPS)
def test_two_fits_of_two_epochs_are_one_of_four(backend, options, batch_size):
    whole, parts = make(backend), make(backend)
    options = {"batch_size": batch_size, **options}
    history = whole.fit(X, LABELS, epochs=4, optimizer=Adam(0.02), **options)
    first = parts.fit(X, LABELS, epochs=2, optimizer=Adam(0.02), **options)
    second = parts.fit(X, LABELS, epochs=2, **options)
    assert first.loss + second.loss == history.loss
    assert_same(parameters(whole), parameters(parts))


@pytest.mark.parametrize("options", STEPS.values(), ids=STEPS)
def test_neither_threads_nor_the_cuts_of_an_epoch_change_a_bit(backend, options, monkeypatch):
    results = []
    for threads, seconds in ((1, 0.1), (2, 0.1), (1, 1e-9)):
        monkeypatch.setattr(trainer, "_PIECE_SECONDS", seconds)
        net = make(backend, threads=threads)
        net.fit(X, LABELS, epochs=2, batch_size=8, optimizer=Adam(0.02), **options)
        results.append(parameters(net))
    assert_same(results[0], results[1])
    assert_same(results[0], results[2])


def test_options_do_something(backend):
    """Each option moves the parameters, and none the plain run."""
    plain = make(backend)
    plain.fit(X, LABELS, epochs=2, batch_size=16, dropout=0.0, l1=0.0)
    for name, options in STEPS.items():
        net = make(backend)
        net.fit(X, LABELS, epochs=2, batch_size=16, **options)
        gap = max(
            np.abs(a - b).max() for a, b in zip(parameters(net), parameters(plain), strict=True)
        )
        assert (gap > 1e-6) == (name != "hardly clipped"), name
        if "max_norm" in options:
            norms = [np.linalg.norm(w, axis=0).max() for w in net.weights]
            bound = options["max_norm"]
            assert max(norms) <= bound * (1 + 1e-12)
            assert max(np.linalg.norm(w, axis=0).max() for w in plain.weights) > bound


def test_dropout_draws_from_any_random_source(backend):
    for rng in (3, np.random.RandomState(3), np.random.default_rng(3)):
        net = make(backend, rng=rng)
        net.fit(X, LABELS, epochs=1, dropout=0.5)
    one, other = (make(backend, rng=seed) for seed in (1, 2))
    other.weights, other.biases = one.weights, one.biases
    for net in (one, other):
        net.fit(X, LABELS, epochs=1, batch_size=None, dropout=0.5)
    assert np.abs(one.weights[0] - other.weights[0]).max() > 1e-6


def test_a_key_of_dropout_is_two_words_of_random_bits():
    for seed in range(5):
        new, old = np.random.default_rng(seed), np.random.RandomState(seed)
        words = new.integers(0, 2**32, 2, np.uint32), old.randint(0, 2**32, 2, np.uint32)
        keys = dropout_key(np.random.default_rng(seed)), dropout_key(np.random.RandomState(seed))
        np.testing.assert_array_equal(keys, words, strict=True)


def test_dropout_is_for_training_alone(backend):
    net = make(backend)
    held = (X[:30], LABELS[:30])
    history = net.fit(X, LABELS, epochs=1, dropout=0.5, validation_data=held)
    assert history.val_loss[0] == pytest.approx(net.evaluate(*held)["loss"], rel=1e-12)
    assert net.evaluate(*held) == net.evaluate(*held)


def test_what_does_not_go_with_a_network_is_refused():
    with pytest.raises(ValueError, match="dropout: expected 0 without hidden layers"):
        make(layers=(6, 3)).fit(X, LABELS, dropout=0.5)
    with pytest.raises(ValueError, match="label_smoothing: expected 0 for squared_error"):
        make(output="identity").fit(X, TASKS["identity"], label_smoothing=0.1)
    with pytest.raises(ValueError, match=r"class_weight: .* no classes"):
        make(output="identity").fit(X, TASKS["identity"], class_weight="balanced")
    with pytest.raises(ValueError, match=r"class_weight: .*several labels"):
        make(output="sigmoid").fit(X, TASKS["sigmoid"], class_weight={0: 2})


# weights of classes


def fitted(backend, y, *, layers=(6, 9, 7, 3), output="softmax", **options) -> list[np.ndarray]:
    net = make(backend, layers, output=output)
    net.fit(X, y, epochs=2, batch_size=16, **options)
    return parameters(net)


FORMS = {
    "labels": ("softmax", LABELS),
    "rows": ("softmax", np.eye(3)[LABELS]),
    "labels of a sigmoid": ("sigmoid", LABELS),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_class_s_weight_is_its_samples(backend, form):
    output, y = FORMS[form]
    own = RNG.random(70)
    by_class = np.array([2.0, 1.0, 0.5])[LABELS]
    given = fitted(backend, y, output=output, class_weight={0: 2, 2: 0.5}, sample_weight=own)
    wanted = fitted(backend, y, output=output, sample_weight=own * by_class)
    assert_same(given, wanted)


def test_balanced_classes_weigh_the_same(backend):
    counts = np.bincount(LABELS)
    wanted = fitted(backend, LABELS, sample_weight=(70 / (3 * counts))[LABELS])
    assert_same(fitted(backend, LABELS, class_weight="balanced"), wanted)


def test_a_single_sigmoid_has_two_classes(backend):
    y = (LABELS > 1) * 1
    one = {"layers": (6, 5, 1), "output": "sigmoid"}
    given = fitted(backend, y, class_weight={1: 3.0}, **one)
    assert_same(given, fitted(backend, y, sample_weight=1.0 + 2 * y, **one))


def test_soft_targets_have_mixed_weights():
    soft = 0.5 * np.eye(3)[LABELS] + 0.5 * np.eye(3)[(LABELS + 1) % 3]
    by_class = soft @ [3.0, 1.0, 1.0]
    assert_same(fitted("numpy", soft, class_weight={0: 3}),
                fitted("numpy", soft, sample_weight=by_class))  # fmt: skip


def test_balance_is_counted_without_the_held_out_part():
    y = np.zeros(70, int)
    y[:30] = 1
    nets = [make(layers=(6, 4, 2)) for _ in range(2)]
    order = np.random.default_rng()
    order.bit_generator.state = nets[0]._rng.bit_generator.state
    rows = order.permutation(70)[35:]
    counts = np.bincount(y[rows])
    assert counts[0] * 30 != counts[1] * 40
    weights = (35 / (2 * counts))[y]
    nets[0].fit(X, y, epochs=2, class_weight="balanced", validation_split=0.5)
    nets[1].fit(X, y, epochs=2, sample_weight=weights, validation_split=0.5)
    assert_same(parameters(nets[0]), parameters(nets[1]))


# what it is good for


@pytest.fixture(scope="module")
def noisy_digits():
    """1,500 digits, three in ten of them mislabelled: enough to learn, and to learn by heart."""
    from fastmlp.datasets import load_mnist

    data, rng = load_mnist(), np.random.default_rng(0)
    x, y = data.x_train[:1500], data.y_train[:1500].astype(np.int64)
    wrong = rng.random(1500) < 0.3
    y[wrong] = rng.integers(0, 10, wrong.sum())
    held = data.x_train[1500:2000], data.y_train[1500:2000]
    return x, y, held, (data.x_test[:4000], data.y_test[:4000])


@pytest.mark.slow
def test_dropout_and_early_stopping_raise_the_test_accuracy(noisy_digits):
    x, y, held, test = noisy_digits

    def accuracy(**options) -> np.ndarray:
        """Return training and test accuracy, means over two seeds."""
        found = []
        for seed in (0, 1):
            net = MLP((784, 256, 10), activation="relu", rng=seed)
            h = net.fit(x, y, epochs=40, optimizer=Adam(0.002), validation_data=held, **options)
            found.append([h.accuracy[-1], net.evaluate(*test)["accuracy"]])
        return np.mean(found, axis=0)

    by_heart, plain = accuracy()
    assert by_heart > 0.99
    assert accuracy(dropout=0.5)[1] > plain + 0.02
    assert accuracy(early_stopping=True)[1] > plain + 0.04
