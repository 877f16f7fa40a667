"""The comparison with peers times real work: everyone ends with the same loss."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from fastmlp.bench import WORKLOADS, Workload, compare, fma_peak
from fastmlp.bench.peers import PEERS, FastMLP, installed
from fastmlp.optimizers import SGD, Adam

TINY = {
    "batches": Workload("batches", (20, 16, 3), "sigmoid", "float32", 32, "random", 640),
    "adam": Workload("adam", (20, 16, 3), "tanh", "float64", 32, "random", 640, optimizer=Adam()),
    "full": Workload("full", (20, 5, 3), "sigmoid", "float64", None, "random", 640, epochs=3),
}


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_does_the_same_work(peer, name):
    if not installed(peer):
        pytest.skip(f"{peer} is not installed")
    work = TINY[name]
    X, floats, y = work.arrays()
    ours, theirs = FastMLP(work, X, y).run(6), PEERS[peer](work, floats, y).run(6)
    # other orders of samples, and scikit-learn's own initial weights: the losses stay close
    assert theirs == pytest.approx(ours, rel=0.15 if peer == "scikit-learn" else 0.02)


def test_a_row_holds_what_was_measured():
    row = compare(TINY["batches"], ["NumPy"], rounds=1, peak=1e12)
    assert row.microseconds > 0
    assert set(row.ratios) == {"NumPy"}
    assert row.ratios["NumPy"] > 0
    assert row.losses["NumPy"] == pytest.approx(row.losses["fastmlp"], rel=1e-4)
    flops = TINY["batches"].flops
    assert row.share_of_peak == pytest.approx(flops / (row.microseconds * 1e-6) / 1e12)


def test_operations_are_counted_by_hand():
    # forward and weight gradient 20*16 + 16*3 each, back through the second layer 16*3
    assert TINY["batches"].flops == 2 * (2 * (320 + 48) + 48)


def test_peaks_are_those_of_a_processor():
    single, double = fma_peak("float32", threads=1), fma_peak("float64", threads=1)
    assert 1e9 < double < single < 1e12


def test_workloads_fit_their_data():
    for work in WORKLOADS.values():
        if work.data == "random":
            X, floats, y = work.arrays()
            assert X.shape == floats.shape == (work.samples, work.layer_sizes[0])
            assert X.dtype == np.dtype(work.dtype)
            assert y.max() < work.layer_sizes[-1]
        assert isinstance(work.optimizer, SGD | Adam)


def test_what_is_installed_is_found():
    assert installed("NumPy")
    for name in ("scikit-learn", "PyTorch", "JAX"):
        assert installed(name) == (importlib.util.find_spec(PEERS[name].library) is not None)


def test_the_command_prints_ratios_and_writes_json(tmp_path, monkeypatch, capsys):
    import json

    from fastmlp import bench
    from fastmlp.cli import main

    monkeypatch.setitem(bench.WORKLOADS, "mini-batch", TINY["batches"])
    file = tmp_path / "bench.json"
    assert main(["bench", "mini-batch", "--rounds", "1", "--json", str(file)]) == 0
    assert "NumPy" in capsys.readouterr().out
    written = json.loads(file.read_text())
    assert written["rows"][0]["ratios"]["NumPy"] > 0
    assert main(["bench", "nothing"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
