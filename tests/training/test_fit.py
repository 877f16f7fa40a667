"""fit: what a call trains, what it goes on from, and what it reports."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from fits import BACKENDS, LABELS, RNG, X, assert_same, make, parameters, state

from fastmlp import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    AnnealOnRise,
    Constant,
    CosineDecay,
    ExponentialDecay,
    InverseScaling,
    OneCycle,
    ReduceOnPlateau,
    RMSProp,
    StepDecay,
    reference,
)
from fastmlp.verification import TOLERANCE, difference

OPTIMIZERS = {
    "sgd": SGD(0.3),
    "momentum": SGD(0.1, momentum=0.9),
    "nesterov": SGD(0.1, momentum=0.9, nesterov=True),
    "adagrad": AdaGrad(0.05),
    "rmsprop": RMSProp(0.01),
    "adam": Adam(0.02),
    "adamw": AdamW(0.02, weight_decay=0.1),
}


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


def test_a_bar_is_drawn_on_request_alone(backend, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # of the terminal, where there is none
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
