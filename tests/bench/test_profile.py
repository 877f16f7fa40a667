"""What a step does, operation by operation: as text, and with the time it takes."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from fastmlp import MLP, Adam
from fastmlp.bench import profile_step
from fastmlp.cli import main
from fastmlp.contract.operations import DataSet, StepSettings
from fastmlp.kernels.program.listing import lines, listing
from fastmlp.kernels.run.profiler import TICK, time_steps
from fastmlp.kernels.run.training import Training
from fastmlp.optimizers import OptimizerState

X = np.random.default_rng(0).standard_normal((96, 30)).astype("float32")
Y = np.arange(96) % 3


def training(batch_size: int = 32, threads: int = 2) -> Training:
    parameters = MLP((30, 40, 3), activation="relu", rng=0)._parameters
    settings = StepSettings(Adam(), OptimizerState(), batch_size)
    return Training(parameters, DataSet(X, Y), settings, threads=threads)


def phases_of(made: Training):
    return made.phases(False, ("step", made.batch_size))


def test_a_listing_has_every_operation_with_its_shape():
    phases = phases_of(training())
    gather, first, *others = lines(phases, 4)
    assert gather == ("samples", 0, 1, "gather_f32", "16 x 30", 0)
    assert first.shape.endswith("relu")
    assert {(line.phase, line.share) for line in others} == {
        (phase.name, share) for phase in phases for share in (0, 1)
    }
    operations = [o for p in phases for s in p.shares for loop in s.loops for o in loop.operations]
    assert len(others) == len(operations) - 2
    text = listing(phases, 4).splitlines()
    assert text[0] == "phase samples, share 0"
    assert text[1].split() == ["gather_f32", "16", "x", "30"]
    assert sum(line.startswith("phase") for line in text) == 4
    assert len(text) == 4 + len(operations)


def test_products_are_counted_and_nothing_else():
    """Twice the rows, the length of the sums and the columns, padded to whole tiles and vectors."""
    made = training(threads=1)
    found = {}
    for line in lines(phases_of(made), 4):
        found.setdefault(line.kernel, []).append(line.flops)
    q = made._workspace.layers
    length = made._jobs[False].vector // 4
    assert found["forward"] == [2 * 32 * l.n_in * l.vectors_out * length for l in q]  # noqa: E741
    assert found["gather_f32"] == [0]
    assert all(count > 0 for count in found["update"])


def test_timed_steps_leave_the_same_bits():
    left = []
    for timed in (False, True):
        made = training()
        order, rates = np.arange(96), np.full(3, 0.01)
        made.train(order[:32], rates[:1])
        if timed:
            found, seconds = time_steps(made, order, rates)
            assert found == list(lines(phases_of(made), 4))
            assert len(seconds) == len(found)
            assert (seconds >= 0).all()
            assert seconds.sum() > 0
        else:
            made.train(order, rates)
        left.append(made.parameters.flat.copy())
    assert np.array_equal(*left)


def test_operations_take_no_longer_than_all_steps():
    made, order = training(threads=1), np.tile(np.arange(96), 200)
    rates = np.full(len(order) // 32, 0.01)
    made.train(order[:32], rates[:1])
    ticks = made._executables[False].time()
    begun = time.perf_counter()
    made.train(order, rates)
    elapsed = time.perf_counter() - begun
    assert 0 < ticks.sum() * TICK <= elapsed


def test_turns_are_counted_in_a_full_batch():
    made = Training(
        MLP((30, 40, 3), activation="relu", rng=0)._parameters,
        DataSet(np.tile(X, (60, 1)), np.tile(Y, 60)),
        StepSettings(Adam(), OptimizerState(), 5760),
        threads=1,
    )
    assert made._mode == "full"
    rows = [line for line in lines(phases_of(made), 4) if line.kernel == "forward"]
    products = sum(line.flops * line.turns for line in rows[::2])
    assert products == 2 * 5760 * 30 * made._workspace.layers[0].vectors_out * (
        made._jobs[False].vector // 4
    )


def test_profiles_of_one_thread_and_of_two():
    alone, together = profile_step((30, 40, 3), batch_size=32, threads=2)
    assert (alone.threads, together.threads) == (1, 2)
    assert {row.operation for row in alone.rows} == {row.operation for row in together.rows}
    for found in (alone, together):
        assert found.peak_gflops > 0
        for row in found.rows:
            assert (row.gflops is None) == (row.operation not in ("forward", "backward", "update"))
            assert (row.share_of_peak is None) == (row.gflops is None)


def test_a_step_of_one_sample_has_one_profile():
    (alone,) = profile_step((30, 40, 3), batch_size=1, optimizer="sgd", threads=2)
    assert [row.operation for row in alone.rows].count("vector_forward") == 2


@pytest.mark.parametrize(
    ("name", "value"), [("batch_size", 0), ("threads", 0), ("optimizer", "sdg"), ("dtype", "int8")]
)
def test_wrong_arguments_are_named(name, value):
    with pytest.raises((TypeError, ValueError), match=name):
        profile_step((30, 40, 3), **{name: value})


def test_the_command_prints_and_writes(tmp_path, capsys):
    path = tmp_path / "step.json"
    arguments = ["--layers", "30,40,3", "--batch-size", "32", "--threads", "1", "--json", str(path)]
    assert main(["profile", *arguments]) == 0
    out = capsys.readouterr().out
    assert "1 thread:" in out
    assert "gather_f32" in out
    (found,) = json.loads(path.read_text())
    assert found["threads"] == 1
    assert [row["operation"] for row in found["rows"]][:2] == ["gather_f32", "forward"]


def test_the_command_refuses_in_one_line(capsys):
    assert main(["profile", "--layers", "3"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_flops_of_kernels_without_products_are_none():
    found = lines(phases_of(training(threads=1)), 4)
    assert [line.flops for line in found if line.kernel == "softmax_labels"] == [0]
