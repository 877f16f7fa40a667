"""What fit refuses, and in which words."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from fits import LABELS, X, assert_same, make, parameters, state

from fastmlp import (
    SGD,
    Adam,
    AdamW,
    AnnealOnRise,
    CosineDecay,
    EarlyStopping,
    InverseScaling,
    ModelCheckpoint,
    OneCycle,
    ReduceOnPlateau,
    RMSProp,
    StepDecay,
)
from fastmlp.persistence import rng_state

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
    ({"y": ["a"] * 70}, TypeError, "y: expected real numbers, .* np.unique"),
    ({"y": [[1], [2, 3]]}, ValueError, "y: .*rectangular"),
    ({"y": None}, ValueError, "y: "),
    ({"y": np.eye(4)[LABELS]}, ValueError, "y: expected 3 columns"),
    ({"y": np.eye(3)[LABELS] * 0.9}, ValueError, r"y: .*sum to 1, got a sum of 0\.9 in row 0$"),
    ({"y": np.eye(3)[LABELS] * 2 - 1 / 3}, ValueError, r"y: .*sum to 1, got -0\.3"),
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
    ({"dropout": np.array(0.5)}, TypeError, r"dropout: expected a number, got array\(0.5\)"),
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
    ({"callbacks": [ModelCheckpoint("missing/net.npz")]}, ValueError, "path: .*missing"),
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
