"""fit_many where networks fail, diverge or are interrupted: the others lose nothing."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest
from many import LABELS, X, flat, several

from fastmlp import SGD, Adam, fit_many
from fastmlp.callbacks import Callback
from fastmlp.support.interrupts import Halt
from fastmlp.training import pool


class Fails(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs):
        if epoch == self.epoch:
            raise ArithmeticError(f"no good after {epoch}")


@pytest.mark.parametrize("workers", [1, 3])
def test_one_failure_costs_no_other_network_anything(workers, four_cores):
    nets, twins = several(5, threads=2), several(5)
    callbacks = [(), Fails(1), (), Fails(0), ()]
    with pytest.raises(ExceptionGroup, match=r"2 of 5 networks failed: nets\[1\], nets\[3\]") as e:
        fit_many(nets, X, LABELS, epochs=4, callbacks=callbacks, workers=workers)
    assert [str(error) for error in e.value.exceptions] == ["no good after 1", "no good after 0"]
    assert e.value.exceptions[1].__notes__ == ["nets[3] failed in fastmlp.fit_many"]
    for net, twin, epochs in zip(nets, twins, (4, 2, 4, 1, 4), strict=True):
        twin.fit(X, LABELS, epochs=epochs)
        np.testing.assert_array_equal(flat(net), flat(twin))
        assert net.history.loss == twin.history.loss
        assert net.threads == 2


@pytest.mark.parametrize(
    ("choice", "message"),
    [("ignore", r"the loss of epoch \d is"), ("restore", "training diverged")],
)
def test_divergence_is_told_by_the_calling_thread(choice, message):
    nets = several(3)
    wild = [SGD(0.1), SGD(1e30), SGD(0.1)]
    with pytest.warns(RuntimeWarning, match=rf"nets\[1\]: {message}") as caught:
        fit_many(
            nets, X, LABELS, epochs=3, batch_size=4, optimizer=wild, l2=[0.0, 1e30, 0.0],
            on_divergence=choice,
        )  # fmt: skip
    assert len(caught) == 1
    assert caught[0].filename == __file__


class Presses(Callback):
    """Press Ctrl-C, or not, at the beginning of an epoch, and wait until it has been heard."""

    def __init__(self, epoch, presses, heard):
        self.epoch, self.presses, self.heard = epoch, presses, heard

    def on_epoch_begin(self, epoch, logs):
        if epoch == self.epoch:
            if self.presses:
                signal.raise_signal(signal.SIGINT)  # goes to the main thread
            assert self.heard[0].wait(60)


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_ends_all_after_their_step(four_cores, monkeypatch):
    heard = []

    class Spy(Halt):
        def __init__(self, asked):
            heard.append(asked)
            super().__init__(asked)

    monkeypatch.setattr(pool, "Halt", Spy)
    nets, twins = several(4, threads=2), several(4)
    before = [flat(net) for net in nets]
    callbacks = [Presses(2, False, heard), Presses(3, True, heard), [], []]
    handler = signal.getsignal(signal.SIGINT)
    with pytest.warns(RuntimeWarning, match="interrupted when 0 of 4 networks") as caught:
        histories = fit_many(nets, X, LABELS, epochs=1000, batch_size=None, callbacks=callbacks,
                             optimizer=Adam(), workers=2)  # fmt: skip
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert signal.getsignal(signal.SIGINT) is handler
    assert all(history.interrupted for history in histories)
    # the epoch's one step is done, the epoch not noted
    assert [len(history) for history in histories] == [2, 3, 0, 0]
    assert [net.history is h for net, h in zip(nets, histories, strict=True)] == [True] * 2 + [
        False
    ] * 2
    for net, twin, epochs in zip(nets[:2], twins[:2], (3, 4), strict=True):
        twin.fit(X, LABELS, epochs=epochs, batch_size=None, optimizer=Adam())
        np.testing.assert_array_equal(flat(net), flat(twin))
    for net, parameters in zip(nets[2:], before[2:], strict=True):
        np.testing.assert_array_equal(flat(net), parameters)
        assert net.optimizer == SGD(0.1)
    assert {net.threads for net in nets} == {2}


@pytest.mark.usefixtures("ctrl_c_is_ignored")
def test_ctrl_c_that_is_ignored_ends_nothing(four_cores):
    class Press(Callback):
        def on_epoch_begin(self, epoch, logs):
            signal.raise_signal(signal.SIGINT)

    histories = fit_many(several(), X, LABELS, epochs=2, callbacks=[[Press()], [], []], workers=2)
    assert [(len(history), history.interrupted) for history in histories] == [(2, False)] * 3
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.parametrize("number", [0, 1])
def test_ctrl_c_while_a_thread_starts_trains_nothing(number, four_cores, monkeypatch):
    start, nets, started = threading.Thread.start, several(3), []

    def pressed(self):
        start(self)
        started.append(self)
        if self.name == f"fastmlp_{number}":
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", pressed)
    before = [flat(net) for net in nets]
    with pytest.warns(RuntimeWarning, match="interrupted when 0 of 3 networks"):
        histories = fit_many(nets, X, LABELS, epochs=20, workers=2)
    for thread in started:
        thread.join(60)
        assert not thread.is_alive()
    assert all(history.interrupted and len(history) == 0 for history in histories)
    for net, parameters in zip(nets, before, strict=True):
        np.testing.assert_array_equal(flat(net), parameters)
