"""The model of steps on a cluster: what it says where the answer is known."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def model(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("cluster_model")


def test_without_costs_workers_are_worth_their_number(model):
    free, network = model.Costs(0, 0, 0, 0), model.Network((64, 32, 10), 1e-6)
    assert network.parameters == 2410
    for workers in (1, 2, 4, 32, 64, 256):
        assert model.speedup(free, network, 10_000, workers) == pytest.approx(workers)
    assert model.speedup(free, network, 10_000, 3) == pytest.approx(32 / 11)  # 11, 11, 10 groups
    assert model.step_seconds(free, network, 10_000, 8, cores=2) == pytest.approx(5e-3)


def test_every_cost_counts_as_often_as_it_comes(model):
    network, size = model.Network((64, 32, 10), 0.0), 4 * 2410

    def step(workers, **costs):
        given = {"ask": 0, "hop": 0, "sent": 0, "added": 0, **costs}
        return model.step_seconds(model.Costs(**given), network, 10_000, workers)

    assert [step(w, ask=1) for w in (1, 4)] == [1, 1]
    assert [step(w, hop=1) for w in (1, 4)] == [0, 3]
    # to the scheduler and on to each; from worker to worker; back in two ways
    assert [step(w, sent=1) for w in (1, 4)] == [4 * size, (8 + 3 + 2) * size]
    assert [step(w, added=1) for w in (1, 4)] == [32 * size, 32 * size]


def test_calibration_finds_the_costs_that_made_the_steps(model):
    costs = model.Costs(2e-3, 1e-3, 2e-9, 1e-10)
    names = ("64-32-10", "64-600-128-10")
    found = {}
    for name in names:
        network = model._network(name, 1e-6)
        for workers in (1, 2):
            total = model.step_seconds(costs, network, 32_000, workers)
            found[name, workers] = np.array([total, 32e-3 / workers])
    got = model.calibrated(found, costs.added)
    for name in ("ask", "hop", "sent", "added"):
        assert getattr(got, name) == pytest.approx(getattr(costs, name)), name


def test_where_nothing_is_gained_the_table_says_so(model, tmp_path):
    costs = model.Costs(2e-3, 1e-3, 2e-9, 1e-10)
    slow, fast = model._network("64-32-10", 1e-9), model._network("64-600-128-10", 1e-4)
    assert model.best(costs.apart(), slow, 100_000) == 0
    assert model.best(costs.apart(), fast, 10_000_000) == 256
    assert costs.apart(1.0, 1.0) == model.Costs(4.002, 2.001, 1 + 2e-9, 1e-10)
    rows = [model.Row(n, w, 1e-3, 2e-3) for n in (slow, fast) for w in model.MEASURED]
    table = "\n".join(model.lines(costs, rows))
    assert "| 64-32-10 | 2,410 | 1.0 / 2.0 ms | 1.0 / 2.0 ms | 1.0 / 2.0 ms |" in table
    assert "| 64-32-10 | 2,410 | no gain | no gain | " in table
    assert "times with 256 |" in table
    pytest.importorskip("matplotlib")
    model.draw(costs, model.networks_of(rows), str(tmp_path / "cluster.png"))
    assert 1000 < (tmp_path / "cluster.png").stat().st_size < 100_000
