"""The comparison with peers times real work: everyone ends with the same loss."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fastmlp.bench import (
    WORKLOADS,
    Row,
    Workload,
    compare,
    fma_peak,
    peak,
    save_speed,
    with_precision,
)
from fastmlp.bench.peers import PEERS, FastMLP, does, installed
from fastmlp.optimizers import SGD, Adam

MOMENTUM = SGD(0.05, momentum=0.9)
TINY = {
    "momentum": Workload(
        "momentum", (20, 16, 3), "relu", "float32", 32, "random", 640, optimizer=MOMENTUM
    ),
    "batches": Workload("batches", (20, 16, 3), "sigmoid", "float32", 32, "random", 640),
    "adam": Workload("adam", (20, 16, 3), "tanh", "float64", 32, "random", 640, optimizer=Adam()),
    "full": Workload("full", (20, 5, 3), "sigmoid", "float64", None, "random", 640, epochs=3),
}


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_does_the_same_work(peer, name):
    work = TINY[name]
    if not (installed(peer) and does(peer, work)):
        pytest.skip(f"{peer} is not installed, or trains nothing")
    X, floats, y = work.arrays()
    ours, theirs = FastMLP(work, X, y).run(6), PEERS[peer](work, floats, y).run(6)
    # other orders of samples, and scikit-learn's own initial weights: the losses stay close
    assert theirs == pytest.approx(ours, rel=0.15 if peer == "scikit-learn" else 0.02)


@pytest.mark.parametrize("samples", [1, 70])
@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_predicts_the_same(peer, samples):
    if not installed(peer):
        pytest.skip(f"{peer} is not installed")
    work = replace(TINY["batches"], samples=samples, batch_size=None, predicts=True)
    X, floats, y = work.arrays()
    ours, theirs = FastMLP(work, X, y).predict(), PEERS[peer](work, floats, y).predict()
    np.testing.assert_allclose(np.asarray(theirs), ours, rtol=1e-4)
    assert ours.shape == (samples, 3)


def test_a_row_holds_what_was_measured():
    row = compare(TINY["batches"], ["NumPy"], rounds=1)
    assert row.microseconds > 0
    assert set(row.ratios) == {"NumPy"}
    assert row.ratios["NumPy"] > 0
    assert row.losses["NumPy"] == pytest.approx(row.losses["fastmlp"], rel=1e-4)
    flops = TINY["batches"].flops
    assert row.share_of_peak == pytest.approx(flops / (row.microseconds * 1e-6) / row.peak)


def test_epochs_whose_moments_decay_are_held_against_the_first(monkeypatch):
    monkeypatch.setattr(
        FastMLP, "seconds", lambda self, epochs: [2.0, *[9.0] * (epochs - 4), 1, 3, 5]
    )
    assert compare(TINY["adam"], [], rounds=1).growth == 1.5
    assert compare(TINY["momentum"], [], rounds=1).growth == 1.5
    assert compare(TINY["batches"], [], rounds=1).growth == 1


def test_a_row_of_predictions():
    work = replace(TINY["batches"], epochs=2, predicts=True)
    row = compare(work, ["NumPy"], rounds=1)
    assert row.microseconds > 0
    assert row.losses["NumPy"] == pytest.approx(row.losses["fastmlp"], rel=1e-5)


def test_operations_are_counted_by_hand():
    # forward and weight gradient 20*16 + 16*3 each, back through the second layer 16*3
    assert TINY["batches"].flops == 2 * (2 * (320 + 48) + 48)
    assert replace(TINY["batches"], predicts=True).flops == 2 * (320 + 48)


def test_peaks_are_those_of_a_processor():
    for dtype in ("float32", "float64"):
        assert 0 < fma_peak(dtype, threads=1) < 1e12


def test_a_peak_is_the_work_of_the_shortest_run(monkeypatch):
    """By a clock that is put forward by 3, 2 and 1 ms in turn."""
    moments = itertools.accumulate(itertools.cycle([0, 3e-3, 0, 2e-3, 0, 1e-3]))
    monkeypatch.setattr(peak, "time", SimpleNamespace(perf_counter=moments.__next__))
    single, double = fma_peak("float32", threads=1), fma_peak("float64", threads=1)
    assert single == pytest.approx(2 * double)  # twice as many numbers in a vector
    assert fma_peak("float64", threads=2) == pytest.approx(2 * double)


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
    for name in ("scikit-learn", "PyTorch", "JAX", "onnxruntime"):
        assert installed(name) == (importlib.util.find_spec(PEERS[name].library) is not None)


def test_the_command_prints_ratios_and_writes_json(tmp_path, monkeypatch, capsys):
    import json

    from fastmlp import bench
    from fastmlp.cli import main

    monkeypatch.setitem(bench.WORKLOADS, "mini-batch", TINY["batches"])
    file, picture = tmp_path / "bench.json", tmp_path / "speed.png"
    asked = ["bench", "mini-batch", "--rounds", "1", "--json", str(file), "--plot", str(picture)]
    assert main(asked) == 0
    assert "NumPy" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    written = json.loads(file.read_text())
    assert written["rows"][0]["ratios"]["NumPy"] > 0
    for wrong in (["nothing"], ["mini-batch", "--plot", "speed.nothing"]):
        assert main(["bench", *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1


SPLIT = Workload(
    "split", (130, 140, 3), "relu", "float32", 64, "random", 640, optimizer=SGD(0.01),
    precision="medium",
)  # fmt: skip


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_a_lower_precision_has_peers_of_its_own(precision):
    work = replace(SPLIT, precision=precision)
    own = {"high": {"fastmlp highest"}, "medium": {"fastmlp highest", "PyTorch autocast"}}
    others = {"NumPy", "scikit-learn", "PyTorch", "JAX"}
    assert {name for name in PEERS if does(name, work)} == others | own.get(precision, set())
    assert not any(does(name, replace(work, predicts=True)) for name in own["medium"])


@pytest.mark.parametrize("peer", [name for name in PEERS if name != "onnxruntime"])
def test_peers_of_a_lower_precision_do_the_same_work(peer):
    if not installed(peer):
        pytest.skip(f"{peer} is not installed")
    X, floats, y = SPLIT.arrays()
    ours, theirs = FastMLP(SPLIT, X, y).run(2), PEERS[peer](SPLIT, floats, y).run(2)
    assert theirs == pytest.approx(ours, rel=0.15 if peer == "scikit-learn" else 0.02)
    if peer == "fastmlp highest":
        assert theirs != ours
    if peer == "NumPy":  # the reference rounds as well
        assert theirs == pytest.approx(ours, rel=1e-5)


def test_pytorch_is_left_as_it_was():
    torch = pytest.importorskip("torch")
    _, floats, y = SPLIT.arrays()
    before = torch.get_float32_matmul_precision()
    PEERS["PyTorch"](SPLIT, floats, y).run(1)
    assert torch.get_float32_matmul_precision() == before


def test_workloads_with_a_lower_precision_have_wide_layers():
    assert list(with_precision("medium")) == ["wide", "2048-wide", "middle"]
    assert {work.precision for work in with_precision("high").values()} == {"high"}


def test_the_command_takes_a_precision(monkeypatch, capsys):
    from fastmlp import bench
    from fastmlp.cli import main

    monkeypatch.setattr(bench, "with_precision", lambda precision: {"split": SPLIT})
    assert main(["bench", "--precision", "medium", "--rounds", "1"]) == 0
    assert "split: " in (line := capsys.readouterr().out)
    assert "fastmlp highest" in line
    for wrong in (["--precision", "low"], ["--precision", "medium", "mini-batch"]):
        assert main(["bench", *wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_the_command_names_every_workload(capsys):
    from fastmlp.cli import main

    assert main(["bench", "--help"]) == 0
    named = "".join(capsys.readouterr().out.split())
    assert ",".join(WORKLOADS) + "(default:all)" in named


def test_the_picture_shows_every_ratio(monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: drawn.append(figure))
    rows = [Row("a", 1.0, {"P": 0.5, "Q": 3.0}), Row("b", 1.0, {"P": 20.0, "Q": 100.0}),
            Row("c", 1.0, {"P": 2.0})]  # fmt: skip
    save_speed(rows, "speed.png")
    (axes,) = drawn[0].axes
    ends = [[bar.get_x() + bar.get_width() for bar in bars] for bars in axes.containers]
    assert ends == [pytest.approx(e) for e in [[0.5, 20.0, 2.0], [3.0, 100.0]]]
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert len({bars[0].get_hatch() for bars in axes.containers}) == 2
    with pytest.raises(ValueError, match="at least one peer"):
        save_speed([Row("a", 1.0)], "speed.png")


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("scaling")


def test_exponents_are_slopes_of_logarithms(scaling, tmp_path):
    sizes = [10, 100, 1000]
    known = scaling.Scaling("samples", sizes, [3e-3 * size**1.25 for size in sizes])
    assert known.exponent == pytest.approx(1.25)
    assert known.steepest == pytest.approx(1.25)
    bent = scaling.Scaling("samples", sizes, [1e-3, 1e-3, 1e-1])
    assert bent.exponent == pytest.approx(1.0)
    assert bent.steepest == pytest.approx(2.0)
    assert "| samples | 10: 1.00 ms | 1,000: 100 ms | 1.00 | 2.00 |" in scaling.lines([bent])
    scaling.draw([known, bent], str(tmp_path / "scaling.png"))
    assert (tmp_path / "scaling.png").stat().st_size > 1000


def test_scaling_measures_what_it_says(scaling):
    assert max(scaling.SAMPLES) == 1000 * min(scaling.SAMPLES)
    samples = scaling.over_samples([64, 200], rounds=1)
    weights = scaling.over_weights([8, 16], rounds=1)
    assert samples.sizes == [64, 200]
    assert weights.sizes == [2 * 64 + 80, 2 * 256 + 160]
    for measured in (samples, weights):
        assert min(measured.seconds) > 0
        assert np.isfinite(measured.exponent)
