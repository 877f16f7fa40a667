"""fit: what a call trains, what it goes on from, what it reports, and what it refuses."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

from fastmlp import (
    MLP,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    AnnealOnRise,
    Constant,
    CosineDecay,
    EarlyStopping,
    ExponentialDecay,
    InverseScaling,
    ModelCheckpoint,
    OneCycle,
    ReduceOnPlateau,
    RMSProp,
    StepDecay,
    reference,
)
from fastmlp.persistence import rng_state
from fastmlp.verification import TOLERANCE, difference

BACKENDS = ("numpy", "numba")
OPTIMIZERS = {
    "sgd": SGD(0.3),
    "momentum": SGD(0.1, momentum=0.9),
    "nesterov": SGD(0.1, momentum=0.9, nesterov=True),
    "adagrad": AdaGrad(0.05),
    "rmsprop": RMSProp(0.01),
    "adam": Adam(0.02),
    "adamw": AdamW(0.02, weight_decay=0.1),
}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 6))
LABELS = np.digitize(X[:, 0] + X[:, 1] ** 2, [0.3, 1.3])


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def make(backend="numpy", layers=(6, 5, 3), **options) -> MLP:
    return MLP(layers, backend=backend, **{"rng": 1, "dtype": "float64", **options})


def parameters(net) -> list[np.ndarray]:
    return [a.copy() for a in (*net.weights, *net.biases)]


def state(net) -> list[np.ndarray]:
    """Return parameters, optimizer state and random state as arrays."""
    rng = net._rng.bit_generator.state["state"]
    numbers = np.array([net._state.step, rng["state"] % 2**53, rng["inc"] % 2**53], float)
    return [*parameters(net), *(a.copy() for slot in net._state.slots for a in slot), numbers]


def assert_same(ours, theirs) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


# going on

GOING_ON = {
    "sgd": {"optimizer": SGD(0.3)},
    "momentum, l2": {"optimizer": SGD(0.1, momentum=0.9), "l2": 0.01},
    "adam, full batch": {"optimizer": Adam(0.02), "batch_size": None},
    "adam, one at a time": {"optimizer": Adam(0.02), "batch_size": 1},
    "in order": {"optimizer": RMSProp(0.01), "shuffle": False},
    "annealed": {"optimizer": SGD(5.0), "schedule": AnnealOnRise(0.5)},
    "plateau": {"optimizer": SGD(0.1), "schedule": ReduceOnPlateau(0.5, patience=0, min_delta=0.1)},
    "steps": {"optimizer": Adam(0.02), "schedule": StepDecay(0.5, every=3)},
    "inverse": {"optimizer": SGD(0.3), "schedule": InverseScaling()},
    "cosine": {"optimizer": SGD(0.3), "schedule": CosineDecay(warmup=0.1, epochs=4)},
    "one cycle": {"optimizer": Adam(0.02), "schedule": OneCycle(epochs=4)},
    "weighted": {"optimizer": AdaGrad(0.05), "sample_weight": RNG.random(70)},
}


@pytest.mark.parametrize("options", GOING_ON.values(), ids=GOING_ON)
def test_two_fits_of_two_epochs_are_one_of_four(backend, options):
    whole, parts = make(backend), make(backend)
    options = {"batch_size": 16, **options}
    history = whole.fit(X, LABELS, epochs=4, **options)
    first = parts.fit(X, LABELS, epochs=2, **options)
    second = parts.fit(X, LABELS, epochs=2, **{**options, "optimizer": None})
    assert first.loss + second.loss == history.loss
    assert first.learning_rate + second.learning_rate == history.learning_rate
    assert_same(state(whole), state(parts))


def test_the_same_optimizer_goes_on_and_a_new_one_starts_afresh(backend):
    optimizer = Adam(0.02)
    kept, renewed, fresh = (make(backend) for _ in range(3))
    for net in (kept, renewed):
        net.fit(X, LABELS, epochs=2, optimizer=optimizer, shuffle=False)
    fresh.weights, fresh.biases = kept.weights, kept.biases
    kept.fit(X, LABELS, epochs=2, optimizer=optimizer, shuffle=False)
    renewed.fit(X, LABELS, epochs=2, optimizer=Adam(0.02), shuffle=False)
    fresh.fit(X, LABELS, epochs=2, optimizer=Adam(0.02), shuffle=False)
    assert_same(parameters(renewed), parameters(fresh))
    assert np.abs(kept.weights[0] - fresh.weights[0]).max() > 1e-4
    assert kept._state.step == 8
    assert renewed._state.step == 4


def test_the_first_optimizer_is_sgd_of_a_tenth(backend):
    default, named = make(backend), make(backend)
    default.fit(X, LABELS, epochs=1)
    named.fit(X, LABELS, epochs=1, batch_size=64, optimizer=SGD(0.1), schedule=Constant(), l2=0.0)
    assert_same(parameters(default), parameters(named))
    assert default.optimizer == SGD(0.1)


def test_an_optimizer_or_schedule_can_be_named(backend):
    named, made = make(backend), make(backend)
    named.fit(X, LABELS, epochs=2, optimizer="adam", schedule="ExponentialDecay")
    made.fit(X, LABELS, epochs=2, optimizer=Adam(), schedule=ExponentialDecay())
    assert_same(parameters(named), parameters(made))


# against steps made by hand


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [1, 16, 69, 70, 500, None])
def test_an_epoch_is_steps_in_order_with_the_smaller_last_one(backend, batch_size, optimizer):
    net, weight, l2 = make(backend), RNG.random(70), 0.02
    ours, slots = parameters(net), optimizer.start(parameters(net))
    size, seen = batch_size or 70, []
    for _ in range(2):
        total = 0.0
        for rows in (slice(start, start + size) for start in range(0, 70, size)):
            loss, g = reference.loss_and_gradients(
                X[rows], LABELS[rows], ours[:2], ours[2:], net.architecture, l2=l2,
                sample_weight=weight[rows],
            )  # fmt: skip
            total += loss * weight[rows].sum()
            reference.optimizer_step(optimizer, ours, [*g.weights, *g.biases], slots)
        seen.append(total / weight.sum())
    history = net.fit(
        X, LABELS, epochs=2, batch_size=batch_size, shuffle=False, optimizer=optimizer, l2=l2,
        sample_weight=weight,
    )  # fmt: skip
    np.testing.assert_allclose(history.loss, seen, rtol=1e-11)
    # adaptive rules magnify rounding where a gradient is near zero
    for a, b in zip(parameters(net), ours, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def test_the_order_is_a_permutation_from_the_network_s_rng(backend):
    net, by_hand = make(backend), make(backend)
    rng = np.random.default_rng(1)
    for w in by_hand.weights:
        limit = np.sqrt(6 / sum(w.shape))
        np.testing.assert_array_equal(w, rng.uniform(-limit, limit, w.shape))
    net.fit(X, LABELS, epochs=3, batch_size=16)
    for _ in range(3):
        order = rng.permutation(70)
        by_hand.fit(X[order], LABELS[order], epochs=1, batch_size=16, shuffle=False)
    assert_same(parameters(net), parameters(by_hand))
    in_order = make(backend)
    in_order.fit(X, LABELS, epochs=3, batch_size=16, shuffle=False)
    assert not np.array_equal(net.weights[0], in_order.weights[0])


TASKS = {
    "softmax": LABELS,
    "sigmoid": np.stack([LABELS > 0, LABELS > 1, X[:, 2] > 0], axis=1),
    "identity": X[:, :3] ** 2,
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("output", TASKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_backends_train_alike(optimizer, output, dtype):
    results = []
    for backend in BACKENDS:
        net = make(backend, output=output, activation="tanh", dtype=dtype)
        h = net.fit(
            X, TASKS[output], epochs=3, batch_size=16, optimizer=optimizer, l2=0.01,
            sample_weight=np.linspace(0.1, 2, 70), validation_split=0.2,
        )  # fmt: skip
        assert bool(h.accuracy) == bool(h.val_accuracy) == (output != "identity")
        results.append([np.array([h.loss, h.val_loss]), np.array([h.accuracy, h.val_accuracy])])
        results[-1] += parameters(net)
    assert difference(*results) <= 20 * TOLERANCE[dtype]


def test_labels_one_hot_rows_and_sure_probabilities_are_one(backend):
    rows = np.eye(3)[LABELS]
    forms = [
        LABELS, LABELS.astype("uint8"), LABELS.astype(float), LABELS[:, None], LABELS.tolist(),
        rows, rows.astype(bool), rows.astype("float32"), np.asfortranarray(rows),
    ]  # fmt: skip
    made = []
    for y in forms:
        net, before = make(backend), copy.deepcopy(y)
        history = net.fit(X, y, epochs=2)
        assert_same([y], [before])
        made.append((parameters(net), history.loss))
    for other, loss in made[1:]:
        assert loss == made[0][1]
        assert_same(other, made[0][0])
    soft, loss = make(backend), make(backend).fit(X, 0.9 * rows + 0.1 / 3, epochs=2).loss
    assert loss != soft.fit(X, LABELS, epochs=2).loss


# history


def test_history_is_what_an_independent_loop_computes(backend):
    net, twin = make(backend), make(backend)
    held = RNG.normal(size=(31, 6)), RNG.integers(0, 3, 31)
    history = net.fit(
        X, LABELS, epochs=3, batch_size=None, l2=0.1, optimizer=SGD(0.5), validation_data=held
    )
    for epoch in range(3):
        loss, g = twin.loss_and_gradients(X, LABELS, l2=0.1)
        assert history.loss[epoch] == pytest.approx(loss, rel=1e-12)
        assert history.accuracy[epoch] == twin.evaluate(X, LABELS)["accuracy"]
        for target, gradient in zip(
            [*twin.weights, *twin.biases], [*g.weights, *g.biases], strict=True
        ):
            target -= 0.5 * gradient
        after = twin.evaluate(*held)  # without the penalty, after the update
        assert history.val_loss[epoch] == pytest.approx(after["loss"], rel=1e-12)
        assert history.val_accuracy[epoch] == after["accuracy"]
    assert history.learning_rate == [0.5] * 3
    assert len(history) == len(history.seconds) == 3
    assert all(seconds > 0 for seconds in history.seconds)
    assert net.history is history
    assert net.fit(X, LABELS, epochs=1) is not history
    assert len(history) == 3


def test_validation_split_holds_a_drawn_share_out(backend):
    net = make(backend)
    rng = copy.deepcopy(net._rng)
    history = net.fit(X, LABELS, epochs=2, batch_size=16, validation_split=0.3, optimizer=SGD(0.5))
    order = rng.permutation(70)
    held, rows = np.sort(order[:21]), np.sort(order[21:])
    twin = make(backend)
    twin._rng = rng
    data = X[held], LABELS[held]
    wanted = twin.fit(
        X[rows], LABELS[rows], epochs=2, batch_size=16, validation_data=data, optimizer=SGD(0.5)
    )
    assert history.loss == wanted.loss
    assert history.val_loss == wanted.val_loss
    assert_same(parameters(net), parameters(twin))


def test_no_epochs_train_nothing(backend):
    net = make(backend)
    before = parameters(net)
    history = net.fit(X, LABELS, epochs=0)
    assert history.loss == history.seconds == []
    assert_same(parameters(net), before)


def test_a_bar_is_drawn_on_request_alone(backend, capsys):
    net = make(backend)
    net.fit(X, LABELS, epochs=2, validation_split=0.2, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 2/2" in err
    assert "100%" in err
    assert "val_accuracy=" in err
    net.fit(X, LABELS, epochs=2, progress=False)
    net.fit(X, LABELS, epochs=2)  # nobody is watching
    assert capsys.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore:overflow encountered")  # NumPy's own, from the reference
def test_divergence_warns_where_fit_was_called(backend):
    net = make(backend, output="identity", activation="relu", rng=3)
    with pytest.warns(RuntimeWarning, match="loss of epoch .* smaller learning rate") as caught:
        history = net.fit(
            100 * X, 100 * X[:, :3], epochs=9, optimizer=SGD(1e4), batch_size=8,
            on_divergence="ignore",
        )  # fmt: skip
    assert {w.filename for w in caught if "smaller" in str(w.message)} == {__file__}
    assert not math.isfinite(history.loss[-1])
    assert len(history.loss) == len(history.seconds) == 9


# schedules


def rates(schedule, epochs=6, n_steps=4, losses=(), val_losses=()) -> np.ndarray:
    memory: dict = {}
    found = []
    for epoch in range(epochs):
        found.append(schedule.rates(0.8, epoch, n_steps, epochs, memory))
        loss = losses[epoch] if losses else 1.0
        schedule.after_epoch(memory, loss, val_losses[epoch] if val_losses else None)
    return np.array(found)


def half_cosine(x: float) -> float:
    return (1 + math.cos(math.pi * x)) / 2


FORMULAS = {
    "constant": (Constant(), lambda e, t: 0.8),
    "steps": (StepDecay(0.3, every=2), lambda e, t: 0.8 * 0.3 ** (e // 2)),
    "exponential": (ExponentialDecay(0.7), lambda e, t: 0.8 * 0.7**e),
    "inverse": (InverseScaling(0.6), lambda e, t: 0.8 / (1 + t) ** 0.6),
    "cosine": (CosineDecay(0.1), lambda e, t: 0.8 * (0.1 + 0.9 * half_cosine(t / 24))),
    "short cosine": (CosineDecay(epochs=3), lambda e, t: 0.8 * half_cosine(min(t / 12, 1))),
    "warm cosine": (
        CosineDecay(warmup=0.25),
        lambda e, t: 0.8 * (t / 6 if t < 6 else half_cosine((t - 6) / 18)),
    ),
    "one cycle": (
        OneCycle(warmup=0.5, start=0.2, final=0.01),
        lambda e, t: 0.8 * (
            0.2 + 0.8 * (1 - half_cosine(t / 12))
            if t < 12
            else 0.01 + 0.99 * half_cosine((t - 12) / 12)
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("schedule", "formula"), FORMULAS.values(), ids=FORMULAS)
def test_a_schedule_is_its_formula(schedule, formula):
    wanted = [[formula(e, 4 * e + s) for s in range(4)] for e in range(6)]
    np.testing.assert_allclose(rates(schedule), wanted, rtol=1e-12, atol=1e-16)


def test_the_rate_falls_when_the_loss_has_risen():
    losses = (1.0, 0.5, 0.6, 0.7, 0.7, 0.1)
    found = rates(AnnealOnRise(0.5), losses=losses)[:, 0] / 0.8
    np.testing.assert_allclose(found, [1, 1, 1, 0.5, 0.25, 0.25])


def test_the_rate_falls_when_the_loss_has_stopped_falling():
    schedule = ReduceOnPlateau(0.5, patience=1, min_delta=0.05)
    losses = (1.0, 0.98, 0.97, 0.5, 0.6, 0.7)
    found = rates(schedule, losses=losses)[:, 0] / 0.8
    np.testing.assert_allclose(found, [1, 1, 1, 0.5, 0.5, 0.5])
    rising = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)  # the validation loss is watched where there is one
    found = rates(schedule, losses=(6.0, 5.0, 4.0, 3.0, 2.0, 1.0), val_losses=rising)[:, 0] / 0.8
    np.testing.assert_allclose(found, [1, 1, 1, 0.5, 0.5, 0.25])


def test_fit_takes_the_schedule_s_rate_for_each_step(backend):
    schedule, net, twin = OneCycle(), make(backend), make(backend)
    history = net.fit(X, LABELS, epochs=2, batch_size=35, shuffle=False, schedule=schedule)
    wanted = 0.1 * schedule.curve(np.arange(4) / 2, 2, 2)
    for step, rate in enumerate(wanted):
        rows = slice(35 * (step % 2), 35 * (step % 2) + 35)
        twin.fit(X[rows], LABELS[rows], epochs=1, batch_size=None, optimizer=SGD(rate))
    assert history.learning_rate == wanted[::2].tolist()
    for a, b in zip(parameters(net), parameters(twin), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


# what is refused

WITH_NAN = np.where(np.arange(420).reshape(70, 6) == 77, np.nan, X)
REFUSED = [
    ({"X": WITH_NAN}, ValueError, "X: .*row 12, column 5"),
    ({"X": X[:, :5]}, ValueError, "X: expected 6 features"),
    ({"X": X[:69]}, ValueError, "y: expected 69 rows"),
    ({"y": LABELS[:69]}, ValueError, "y: expected 70 rows"),
    ({"y": LABELS + 1}, ValueError, "y: expected class labels 0 to 2"),
    ({"y": LABELS - 1}, ValueError, "y: expected class labels 0 to 2"),
    ({"y": LABELS + 0.5}, ValueError, "y: expected integer"),
    ({"y": np.where(LABELS == 1, np.nan, 0)}, ValueError, "y: .*NaN"),
    ({"y": ["a"] * 70}, TypeError, "y: expected numbers"),
    ({"y": [[1], [2, 3]]}, ValueError, "y: .*rectangular"),
    ({"y": None}, ValueError, "y: "),
    ({"y": np.eye(4)[LABELS]}, ValueError, "y: expected 3 columns"),
    ({"y": np.eye(3)[LABELS] * 0.9}, ValueError, "y: .*sum to 1"),
    ({"epochs": -1}, ValueError, "epochs"),
    ({"epochs": 2.0}, TypeError, "epochs"),
    ({"epochs": None}, TypeError, "epochs"),
    ({"batch_size": 0}, ValueError, "batch_size"),
    ({"batch_size": "all"}, TypeError, "batch_size"),
    ({"optimizer": "adamax"}, ValueError, "optimizer: .*rmsprop"),
    ({"optimizer": Adam}, TypeError, "optimizer"),
    ({"schedule": "linear"}, ValueError, "schedule: .*stepdecay"),
    ({"schedule": 0.1}, TypeError, "schedule"),
    ({"l2": -0.1}, ValueError, "l2"),
    ({"l2": math.nan}, ValueError, "l2"),
    ({"l2": "0"}, TypeError, "l2"),
    ({"shuffle": 1}, TypeError, "shuffle"),
    ({"sample_weight": np.ones(69)}, ValueError, "sample_weight"),
    ({"sample_weight": -np.ones(70)}, ValueError, "sample_weight"),
    ({"sample_weight": np.zeros(70)}, ValueError, "sample_weight"),
    ({"sample_weight": ["a"] * 70}, TypeError, "sample_weight"),
    ({"sample_weight": np.full(70, 1 + 1j)}, TypeError, "sample_weight: expected .*real numbers"),
    ({"y": LABELS + 0.5}, ValueError, r"y: expected integer class labels, got \d\.5$"),
    ({"progress": "yes"}, TypeError, "progress: expected True or False"),
    ({"progress": 1}, TypeError, "progress: expected True or False"),
    ({"validation_data": X}, TypeError, "validation_data"),
    ({"validation_data": (X, LABELS, LABELS)}, TypeError, "validation_data"),
    ({"validation_data": (X, LABELS + 1)}, ValueError, "validation_data: y"),
    ({"validation_data": (WITH_NAN, LABELS)}, ValueError, "validation_data: X"),
    ({"validation_data": (X[:0], LABELS[:0])}, ValueError, "validation_data: X"),
    ({"validation_split": 1.0}, ValueError, "validation_split"),
    ({"validation_split": 1.5}, ValueError, "validation_split"),
    ({"validation_split": -0.1}, ValueError, "validation_split"),
    ({"validation_split": 0.001}, ValueError, "validation_split"),
    ({"validation_split": 0.5, "validation_data": (X, LABELS)}, ValueError, "validation_split"),
    ({"dropout": 1.0}, ValueError, "dropout"),
    ({"dropout": (0.1, 0.2)}, ValueError, "dropout: expected one rate, or 1 for"),
    ({"dropout": "half"}, TypeError, "dropout"),
    ({"l1": -1}, ValueError, "l1"),
    ({"clip_norm": 0}, ValueError, "clip_norm"),
    ({"max_norm": "1"}, TypeError, "max_norm"),
    ({"label_smoothing": 1.0}, ValueError, "label_smoothing"),
    ({"early_stopping": 3}, TypeError, "early_stopping"),
    ({"early_stopping": EarlyStopping(validation_fraction=0.001)}, ValueError, "early_stopping"),
    ({"early_stopping": EarlyStopping("val_f1")}, ValueError, "monitor: expected one of loss"),
    ({"callbacks": [print]}, TypeError, "callbacks"),
    ({"callbacks": 1}, TypeError, "callbacks"),
    ({"callbacks": [EarlyStopping()]}, ValueError, "monitor: .*'val_loss'"),
    ({"callbacks": [ModelCheckpoint("missing/net.npz")]}, ValueError, "path: .*'missing'"),
    ({"callbacks": [ModelCheckpoint("{lost}.npz")]}, ValueError, "path: expected a pattern"),
    ({"metrics": "f1"}, TypeError, "metrics"),
    ({"metrics": ["f2"]}, ValueError, "metrics: .*balanced_accuracy"),
    ({"metrics": ["r2"]}, ValueError, "output with metric 'r2'"),
    ({"metrics": [max, max]}, ValueError, "metrics: .*'max' twice"),
    ({"class_weight": {3: 2.0}}, ValueError, "class_weight: expected labels 0 to 2"),
    ({"class_weight": {0: -2.0}}, ValueError, "class_weight"),
    ({"class_weight": dict.fromkeys(range(3), 0)}, ValueError, "class_weight"),
    ({"class_weight": "even"}, ValueError, "class_weight"),
    ({"class_weight": [1, 2, 3]}, TypeError, "class_weight"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), REFUSED)
def test_a_refused_fit_changes_nothing(backend, wrong, error, message):
    net = make(backend)
    net.fit(X, LABELS, epochs=1, optimizer=Adam(0.02), schedule=AnnealOnRise())
    before, memory = state(net), dict(net._schedule_memory)
    history, optimizer, schedule = copy.deepcopy(net.history), net.optimizer, net._schedule
    arguments = {"optimizer": SGD(0.1), "schedule": OneCycle(), "X": X, "y": LABELS, **wrong}
    with pytest.raises(error, match=message):
        net.fit(arguments.pop("X"), arguments.pop("y"), **arguments)
    assert_same(state(net), before)
    assert net.optimizer is optimizer
    assert net._schedule is schedule
    assert net._schedule_memory == memory
    assert net.history == history


def test_sparse_targets_are_refused_by_name(backend):
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="y: expected a dense array"):
        make(backend).fit(X, sparse.csr_matrix(np.eye(3)[LABELS]))


@pytest.mark.parametrize("batch_size", [1, 10])
def test_a_batch_without_weight_teaches_nothing(backend, batch_size):
    """A step is taken, of a gradient of 0; the loss is a mean over the others."""
    weight = np.zeros(70)
    weight[30:] = np.linspace(0.5, 2, 40)
    nets = [make(backend) for _ in range(2)]
    options = {"epochs": 1, "shuffle": False, "batch_size": batch_size, "optimizer": SGD(0.1)}
    history = nets[0].fit(X, LABELS, sample_weight=weight, **options)
    other = nets[1].fit(X[30:], LABELS[30:], sample_weight=weight[30:], **options)
    assert_same(parameters(nets[0]), parameters(nets[1]))
    assert nets[0]._state.step == 70 // batch_size
    assert history.loss == pytest.approx(other.loss, rel=1e-12)


@pytest.mark.parametrize("rng", [lambda: 3, lambda: np.random.RandomState(3)])
@pytest.mark.parametrize("kind", ["sample_weight", "class_weight"])
def test_weights_that_are_all_held_out_change_nothing(backend, kind, rng):
    """Known only once the held-out part is drawn: then the draw is as if it had not been."""
    nets = [make(backend, rng=rng()) for _ in range(2)]
    drawn = copy.deepcopy(nets[0]._rng)
    held = drawn.permutation(70)[:14]
    labels = np.zeros(70, int)
    labels[held[3]] = 1
    wrong = labels if kind == "sample_weight" else {0: 0.0, 1: 1.0}
    net, before = nets[0], (parameters(nets[0]), rng_state(nets[0]._rng))
    optimizer, history = net.optimizer, copy.deepcopy(net.history)
    with pytest.raises(ValueError, match=f"^{kind}: expected a weight above 0 outside the held-"):
        net.fit(X, labels, epochs=1, optimizer=Adam(0.02), validation_split=0.2, **{kind: wrong})
    assert_same(parameters(net), before[0])
    assert rng_state(net._rng) == before[1]
    assert net.optimizer is optimizer
    assert (net.history, net._held_out) == (history, None)
    for each in nets:
        each.fit(X, LABELS, epochs=2, validation_split=0.2, batch_size=16, shuffle=False)
        assert rng_state(each._rng) == rng_state(drawn)
    assert_same(parameters(nets[0]), parameters(nets[1]))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SGD(-0.1), lambda: SGD(math.nan), lambda: SGD(0.1, momentum=1.0),
        lambda: Adam(beta_1=1.0), lambda: Adam(epsilon=0.0), lambda: RMSProp(rho=-0.1),
        lambda: AdamW(weight_decay=-1.0), lambda: StepDecay(every=0), lambda: StepDecay(factor=1.5),
        lambda: AnnealOnRise(0.0), lambda: OneCycle(warmup=0.0), lambda: CosineDecay(final=2.0),
        lambda: ReduceOnPlateau(patience=-1), lambda: InverseScaling(0.0),
    ],
)  # fmt: skip
def test_hyperparameters_have_their_ranges(wrong):
    with pytest.raises(ValueError, match="expected"):
        wrong()


def test_assigning_an_optimizer_starts_its_state_afresh():
    nets = [make("numpy", rng=0) for _ in range(2)]
    for net in nets:
        net.fit(X, LABELS, epochs=1, optimizer=Adam(0.01))
    nets[0].optimizer = Adam(0.02)
    nets[0].fit(X, LABELS, epochs=1)
    nets[1].fit(X, LABELS, epochs=1, optimizer=Adam(0.02))
    for ours, theirs in zip(nets[0].weights, nets[1].weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_another_schedule_begins_afresh_and_the_same_one_goes_on():
    net, rates = make("numpy", rng=0), []
    for factor in (0.5, 0.5, 0.1):
        schedule = StepDecay(every=1, factor=factor)
        history = net.fit(X, LABELS, epochs=2, optimizer=SGD(0.8), schedule=schedule)
        rates += history.learning_rate
        assert net._schedule == schedule
    assert rates == pytest.approx([0.8, 0.4, 0.2, 0.1, 0.8, 0.08], rel=1e-15)


def test_a_schedule_without_a_length_begins_anew_with_every_fit():
    net = make("numpy", rng=0)
    first = net.fit(X, LABELS, epochs=3, schedule=CosineDecay())
    again = net.fit(X, LABELS, epochs=3, schedule=CosineDecay())
    assert again.learning_rate == first.learning_rate
    assert first.learning_rate[-1] < first.learning_rate[0]
