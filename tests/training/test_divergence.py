"""Divergence is seen: where, what to try, and the last finite parameters."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

from fastmlp import MLP, SGD, Adam, DivergenceError, EarlyStopping, ModelCheckpoint
from fastmlp.callbacks import Callback, TerminateOnNaN
from fastmlp.cli import main

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6))
Y = X[:, :3].copy()
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:invalid value")


def make(backend, **options) -> MLP:
    return MLP((6, 8, 3), output="identity", activation="relu", rng=3, backend=backend, **options)


def blow_up_at(epoch: int, step: int, size: int = 8):
    """Return data and a fit's options of which one sample, met in that step, is too much.

    Samples come in order, `size` to a step: the sample is far out of range, and its step's loss
    is the first that is no finite number.
    """

    class Spoil(Callback):
        def on_epoch_begin(self, at, logs):
            if at == epoch:
                data[size * step : size * step + size] = 1e30

    data = X.astype(np.float32)
    return data, {"shuffle": False, "batch_size": size, "epochs": 9, "callbacks": [Spoil()]}


@pytest.mark.parametrize(("epoch", "step"), [(0, 0), (0, 3), (2, 0), (4, 7)])
def test_epoch_and_step_are_named(backend, epoch, step):
    data, options = blow_up_at(epoch, step)
    with pytest.raises(DivergenceError) as caught:
        make(backend).fit(data, Y, optimizer=SGD(0.01), **options)
    error = caught.value
    assert (error.epoch, error.step) == (epoch + 1, step + 1)
    assert not math.isfinite(error.loss)
    for part in ("learning_rate (it was 0.01)", "clip_norm", "on_divergence='restore'"):
        assert (part in str(error)) == ((epoch, step) != (0, 0))  # an update may be at fault
    for part in (f"epoch {epoch + 1}, step {step + 1};", "input_scale"):
        assert part in str(error)
    twin = pickle.loads(pickle.dumps(error))
    assert (twin.epoch, twin.step, str(twin)) == (error.epoch, error.step, str(error))


def test_a_fit_that_begins_with_what_diverged_is_not_told_to_learn_more_slowly(backend):
    net = make(backend)
    with pytest.raises(DivergenceError, match="try a smaller learning_rate"):
        net.fit(X, Y, optimizer=SGD(1e30), batch_size=8)
    for _ in range(2):
        with pytest.raises(DivergenceError, match="make the network anew") as caught:
            net.fit(X, Y, optimizer=SGD(1e-9), batch_size=8)
        assert (caught.value.epoch, caught.value.step) == (1, 1)
        assert "learning_rate" not in str(caught.value)


KINDS = {
    "one at a time": ((2, 37, 1), {}),
    "one at a time, with slots": ((2, 37, 1), {"optimizer": Adam(0.01)}),
    "full batch": ((3, 0, 64), {}),
    "the whole gradient": ((2, 5, 8), {"clip_norm": 1.0}),
    "bounded norms": ((2, 5, 8), {"max_norm": 1.0, "l1": 1e-4}),
    "dropout": ((2, 5, 8), {"dropout": 0.1}),
    "held out": ((2, 3, 8), {"validation_data": (X, Y), "metrics": ["r2"]}),
}


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize(("place", "more"), KINDS.values(), ids=KINDS)
def test_every_kind_of_step_is_watched(backend, place, more, restored):
    data, options = blow_up_at(*place)
    net, options = make(backend), {"optimizer": SGD(0.01), **options, **more}
    where = f"epoch {place[0] + 1}, step {place[1] + 1};"
    if restored:
        with pytest.warns(RuntimeWarning, match=where):
            net.fit(data, Y, on_divergence="restore", **options)
        assert net._parameters.finite
        assert np.isfinite(net.predict(X)).all()
    else:
        with pytest.raises(DivergenceError, match=where):
            net.fit(data, Y, **options)
    assert len(net.history) == place[0]


def test_the_history_has_the_whole_epochs(backend):
    data, options = blow_up_at(2, 5)
    net = make(backend)
    with pytest.raises(DivergenceError, match="epoch 3"):
        net.fit(data, Y, **options)
    assert len(net.history) == 2
    assert np.isfinite(net.history.loss).all()


@pytest.mark.parametrize("optimizer", [SGD(0.01, momentum=0.9), Adam(0.01)])
def test_the_last_finite_state_comes_back(backend, optimizer):
    data, options = blow_up_at(2, 5)
    seen = []

    class Note(Callback):
        def on_batch_group_begin(self, step, logs):
            state = self.net._parameters.state
            if np.isfinite(state).all():
                seen.append((state.copy(), self.net._state.step))

    options["callbacks"].append(Note())
    net = make(backend)
    with pytest.warns(
        RuntimeWarning, match="training diverged: .* epoch 3, step 6.* before it"
    ) as w:
        history = net.fit(data, Y, optimizer=optimizer, on_divergence="restore", **options)
    assert {x.filename for x in w if "diverged" in str(x.message)} == {__file__}
    assert len(history) == 2
    state, step = seen[-1]
    assert 16 <= step < 22
    assert net._state.step == step
    np.testing.assert_array_equal(net._parameters.state, state)
    again = net.fit(X, Y, epochs=2)  # a network of finite numbers trains on
    assert np.isfinite(again.loss).all()


def test_early_stopping_has_its_best_epoch_after_a_restore(backend):
    data, options = blow_up_at(4, 0)
    stopping = EarlyStopping("val_loss", patience=9)
    net = make(backend)
    with pytest.warns(RuntimeWarning, match="training diverged"):
        history = net.fit(
            data, Y, on_divergence="restore", early_stopping=stopping, validation_data=(X, Y),
            **options,
        )  # fmt: skip
    assert net.evaluate(X, Y)["loss"] == min(history.val_loss)


def test_parameters_beyond_the_range_are_seen_though_no_loss_tells(backend):
    net = make(backend)
    before = copy.deepcopy(net)
    with pytest.raises(DivergenceError, match=r"a parameter .* epoch 1, step 1;"):
        net.fit(X, Y, epochs=1, batch_size=None, optimizer=SGD(1e39))
    assert not net._parameters.finite
    with pytest.warns(RuntimeWarning, match="training diverged: a parameter"):
        before.fit(X, Y, epochs=1, batch_size=None, optimizer=SGD(1e39), on_divergence="restore")
    np.testing.assert_array_equal(before.weights[0], make(backend).weights[0])


def test_a_checkpoint_never_holds_what_diverged(backend, tmp_path):
    path = tmp_path / "net.npz"
    X_far = X * 1e3
    with pytest.raises(DivergenceError):
        make(backend).fit(
            X_far, Y, epochs=99, batch_size=None, optimizer=SGD(1e-2),
            callbacks=[ModelCheckpoint(path)],
        )  # fmt: skip
    assert MLP.load(path, backend="numpy")._parameters.finite


def test_going_on_has_to_be_asked_for(backend):
    data, options = blow_up_at(1, 2)
    net = make(backend)
    with pytest.warns(RuntimeWarning, match="the loss of epoch 2"):
        history = net.fit(data, Y, on_divergence="ignore", **options)
    assert len(history) == 9


def test_a_callback_that_ends_the_fit_has_seen_it(backend):
    data, options = blow_up_at(1, 2)
    options["callbacks"].append(TerminateOnNaN())
    with pytest.warns(RuntimeWarning, match="the loss of epoch 2"):
        history = make(backend).fit(data, Y, **options)
    assert len(history) == 2


def test_chunks_are_watched(backend):
    far = np.full((8, 6), 1e30, np.float32)
    chunks = [(X, Y), (np.concatenate([X[:8], far]), Y[:16])]
    with pytest.raises(DivergenceError, match="epoch 1, step 10;"):
        make(backend).fit(chunks, batch_size=8, shuffle=False, optimizer=SGD(0.01))


@pytest.mark.parametrize("wrong", ["stop", None, 1])
def test_the_argument_has_its_kinds(wrong):
    with pytest.raises((TypeError, ValueError), match="on_divergence: expected one of raise, rest"):
        make("numpy").fit(X, Y, on_divergence=wrong)


@pytest.mark.parametrize(("choice", "code"), [("raise", 1), ("restore", 0), ("ignore", 0)])
def test_the_command_line_says_it_in_one_line(tmp_path, monkeypatch, capsys, choice, code):
    monkeypatch.chdir(tmp_path)
    X, y = np.outer(np.arange(60.0), [1, -1]), np.arange(60) % 2
    np.savez("rows.npz", x_train=X, y_train=y, x_test=X, y_test=y)
    arguments = [
        "train", "rows.npz", "--backend", "numpy", "--optimizer", "sgd", "--learning-rate", "1e30",
        "--activation", "relu", "--quiet", "--plot", "none", "--epochs", "3",
    ]  # fmt: skip
    assert main([*arguments, "--on-divergence", choice]) == code
    errors = capsys.readouterr().err.splitlines()
    assert len([line for line in errors if "diverged" in line or "the loss of" in line]) == 1
    assert (tmp_path / "model.npz").exists() == (code == 0)
    if choice == "restore":
        assert MLP.load("model.npz")._parameters.finite
