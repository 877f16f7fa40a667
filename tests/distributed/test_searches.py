"""Searches on a cluster: networks spread over workers, and joblib's Dask backend."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from clusters import LABELS, X, local_cluster, make, numbers, shared, state

from fastmlp import Adam, EarlyStopping, fit_many
from fastmlp.callbacks import TerminateOnNaN
from fastmlp.distributed import DistributedError


def several(**settings):
    return [make(rng=seed, **settings) for seed in range(5)]


class Frame:
    """A frame that counts how often it is packed for sending from here."""

    packed = 0
    columns = tuple("abcdefghijklmnopqrst")

    def __init__(self, rows):
        self.rows = rows

    def to_numpy(self):
        return self.rows

    def __getstate__(self):
        Frame.packed += 1
        return self.__dict__


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": [1, 2, 3, 2, 1], "optimizer": "adam", "dropout": 0.2},
        {"epochs": 30, "early_stopping": EarlyStopping(patience=1), "schedule": "reduceonplateau",
         "optimizer": [Adam(0.05) for _ in range(5)], "sample_weight": np.arange(3000.0)},
    ],
    ids=["epochs", "early stopping"],
)  # fmt: skip
def test_networks_on_workers_are_as_alone(client, settings):
    here, there = several(), several()
    first = [net.weights[0] for net in there]
    wanted = fit_many(here, X, LABELS, **copy.deepcopy(settings))
    got = fit_many(there, X, LABELS, client=client, **settings)
    for one, other, view in zip(here, there, first, strict=True):
        assert np.array_equal(state(one), state(other))
        assert one._rng.integers(2**62) == other._rng.integers(2**62)
        assert np.shares_memory(view, other.weights[0])
        assert one.optimizer == other.optimizer
    assert [numbers(h) for h in wanted] == [numbers(h) for h in got]
    assert [net.history for net in there] == got
    # and they go on from there alike
    for nets, where in ((here, None), (there, client)):
        fit_many(nets, X, LABELS, epochs=1, client=where)
    assert all(np.array_equal(state(a), state(b)) for a, b in zip(here, there, strict=True))


def test_the_data_are_sent_once(client):
    Frame.packed = 0
    fit_many(several(), Frame(X), LABELS, epochs=1, client=client)
    assert Frame.packed == 1


def test_the_one_that_fails_is_named(client):
    nets = several(activation="relu")
    rates = [Adam(0.01), Adam(0.01), Adam(1e38), Adam(0.01), Adam(0.01)]
    with pytest.raises(ExceptionGroup, match=r"1 of 5 networks failed: nets\[2\]") as raised:
        fit_many(nets, X * 1e3, LABELS, epochs=3, optimizer=rates, client=client)
    assert "diverged" in str(raised.value.exceptions[0])
    assert [len(net.history) for net in nets][3] == 3


def test_what_a_cluster_cannot_do_is_refused(client):
    nets = several()
    before = [state(net) for net in nets]
    for settings, match in (
        ({"callbacks": [[TerminateOnNaN()]] * 5}, "callbacks: expected none"),
        ({"workers": 2}, "workers: expected none"),
    ):
        with pytest.raises(ValueError, match=match):
            fit_many(nets, X, LABELS, client=client, **settings)
    with pytest.raises(ValueError, match="y: expected targets"):
        fit_many(nets, [(X, LABELS)], client=client)
    with pytest.raises(TypeError, match=r"client: expected a blocking dask\.distributed\.Client"):
        fit_many(nets, X, LABELS, client=7)
    assert all(np.array_equal(a, state(net)) for a, net in zip(before, nets, strict=True))


@pytest.mark.slow
def test_networks_outlive_a_worker():
    """A network whose worker is killed is trained again from where it was: the same bits."""
    import os
    import signal
    import threading

    here, there = several(), several()
    fit_many(here, X, LABELS, epochs=60, batch_size=16)
    _, client = shared.get(2)
    pid = sorted(client.run(os.getpid).items())[0][1]
    timer = threading.Timer(0.7, os.kill, (pid, signal.SIGKILL))
    timer.start()
    fit_many(there, X, LABELS, epochs=60, batch_size=16, client=client)
    timer.join()
    assert all(np.array_equal(state(a), state(b)) for a, b in zip(here, there, strict=True))


def test_without_workers():
    with local_cluster(0) as (_, client), pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastmlp.training.many._TIMEOUT", 1.0)
        with pytest.raises(DistributedError, match="no worker has come within 1 seconds"):
            fit_many(several(), X, LABELS, client=client)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_grid_search_through_joblib(client):
    joblib = pytest.importorskip("joblib")
    from sklearn.model_selection import GridSearchCV

    from fastmlp.sklearn import MLPClassifier

    grid = {"alpha": [1e-4, 1e-1], "hidden_layer_sizes": [(4,), (8,)]}

    def search():
        model = MLPClassifier(max_iter=5, random_state=0, early_stopping=True, threads=1)
        return GridSearchCV(model, grid, cv=2, n_jobs=2, error_score="raise")

    with client.as_current(), joblib.parallel_config("dask", client=client):
        there = search().fit(X[:600], LABELS[:600])
    here = search().set_params(n_jobs=None).fit(X[:600], LABELS[:600])
    for name in ("mean_test_score", "split0_test_score"):
        assert np.array_equal(here.cv_results_[name], there.cv_results_[name])
    assert here.best_params_ == there.best_params_
    assert np.array_equal(here.predict_proba(X), there.predict_proba(X))
