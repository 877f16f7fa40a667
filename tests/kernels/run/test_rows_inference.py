"""Outputs of any number of rows by one program: the bits, and the memory, of the general way."""

from __future__ import annotations

import itertools
import sys
from threading import Barrier, Thread

import numpy as np
import pytest
from checker import faults
from extents import as_run, programs_of_blocks
from footprint import Array

from fastmlp import MLP
from fastmlp.kernels.program import inference
from fastmlp.kernels.program.operation import At, Phase, Share, Slot
from fastmlp.kernels.run import choose, rows_inference
from fastmlp.kernels.run.inference import Inference
from fastmlp.kernels.run.rows_inference import RowsInference
from fastmlp.verification import TOLERANCE, difference

RNG = np.random.default_rng(0)
COUNTS = (1, 2, 5, 15, 16, 17, 63, 64, 65, 127, 129, 200, 513)
NETWORKS = {
    "float32": MLP((40, 70, 9, 3), rng=0),
    "float64 gelu": MLP((40, 21, 5), activation="gelu", output="sigmoid", dtype="float64", rng=0),
    "scaled": MLP((40, 17, 1), output="identity", input_scale=255.0, rng=0),
    "no hidden layer": MLP((40, 3), rng=0, dtype="float64"),
}
DATA = {
    "float32": RNG.standard_normal((513, 40)).astype("float32"),
    "float64": RNG.standard_normal((513, 40)),
    "uint8": RNG.integers(0, 256, (513, 40)).astype("uint8"),
    "bool": RNG.random((513, 40)) < 0.5,
    "every other": RNG.standard_normal((1026, 90))[::2, 7:47],
    "backwards": RNG.standard_normal((513, 40))[::-1],
}  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("network", NETWORKS)
def test_bits_are_those_of_the_general_way(network, kind, threads):
    parameters, X = NETWORKS[network]._parameters, DATA[kind]
    rows, general = RowsInference(parameters), Inference(parameters)
    for n in (*COUNTS, *COUNTS[::-3]):
        ours, theirs = rows.outputs(X[:n], threads), general.outputs(X[:n], 1)
        if n > choose.FEW:
            np.testing.assert_array_equal(ours, theirs, err_msg=str(n))
        else:  # one by one, by kernels of their own
            assert difference([ours], [theirs]) < TOLERANCE[parameters.dtype.name]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("kind", ["float32", "float64", "every other", "backwards"])
def test_what_is_not_finite_is_seen_wherever_it_is(kind, threads, value):
    X = DATA[kind][:67].copy() if kind.startswith("float") else DATA[kind][:67]
    net = NETWORKS["float32" if X.dtype == np.float32 else "float64 gelu"]
    rows = RowsInference(net._parameters)
    first = rows.outputs(X, threads)
    assert first is not None
    for place in ((0, 0), (15, 39), (16, 0), (31, 7), (33, 8), (44, 20), (66, 39)):
        kept, X[place] = X[place], value
        assert rows.outputs(X, threads) is None
        with pytest.raises(ValueError, match=f"X: .*row {place[0]}"):
            net.predict_proba(X)
        X[place] = kept
    np.testing.assert_array_equal(rows.outputs(X, threads), first)  # what was seen is forgotten


def test_only_what_needs_no_other_check_is_taken():
    rows = RowsInference(NETWORKS["float32"]._parameters)
    X = DATA["float32"]
    for other in (X[:, :39], X.astype("float16"), np.ma.array(X), X.astype("M8")):
        assert rows.outputs(other, 1) is None
    for other in (X, DATA["float64"], DATA["uint8"], DATA["bool"], DATA["every other"]):
        assert rows.outputs(other, 1) is not None


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", ["float64", "every other", "backwards"])
def test_what_is_infinite_in_the_network_s_dtype_is_seen_once_it_is_converted(kind, threads):
    net, X = NETWORKS["float32"], DATA[kind][:67].copy()
    rows, largest = RowsInference(net._parameters), float(np.finfo("float32").max)
    beyond = largest + 2.0**103  # half an ulp more, which rounds to even
    for place in ((0, 0), (15, 39), (16, 0), (33, 8), (66, 39)):
        for count in {place[0] + 1, 67}:
            part = X[:count].copy()
            for fine in (np.nextafter(beyond, 0), -largest, 1e-310, 5e-324):
                part[place] = fine
                assert rows.outputs(part, threads) is not None
            for value in (beyond, -beyond, 1e300):
                part[place] = value
                assert rows.outputs(part, threads) is None
                with pytest.raises(ValueError, match=rf"float32 can hold.*row {place[0]}, "):
                    net.predict_proba(part)


def test_what_kernels_cannot_read_takes_the_general_way():
    rows = RowsInference(NETWORKS["float32"]._parameters)
    X = DATA["float32"]
    for other in (np.asfortranarray(X), X.astype("int16"), X[:0], X.astype(">f4"), X[:, ::-1]):
        assert rows.outputs(other, None) is None
    scipy_sparse = pytest.importorskip("scipy.sparse")
    assert rows.outputs(scipy_sparse.csr_matrix(X), None) is None
    mostly_zero = X * (RNG.random(X.shape) < 0.05)
    assert rows.outputs(mostly_zero, None) is None
    assert rows.outputs(mostly_zero[: choose.LISTS_FROM - 1], None) is not None


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("network", [*NETWORKS, "wide"])
def test_where_shares_have_columns_the_bits_are_the_same(monkeypatch, network, kind):
    """For few rows, one by one, and for those that fill a tile or some."""
    monkeypatch.setattr(choose, "choose_threads", lambda threads, flops, **more: threads or 3)
    net = NETWORKS.get(network) or MLP((40, 999, 300, 130), activation="elu", rng=0)
    parameters, X = net._parameters, DATA[kind]
    rows, general = RowsInference(parameters), Inference(parameters)
    seen: list[int] = []
    honest = inference.by_columns

    def noted(job, *arguments, **options):
        seen.append(job.shares)
        return honest(job, *arguments, **options)

    monkeypatch.setattr(rows_inference, "by_columns", noted)
    for n in (1, 2, 4):
        alone = rows.outputs(X[:n], 1)
        for threads in (2, 3, None):
            np.testing.assert_array_equal(rows.outputs(X[:n], threads), alone)
    for n in (5, 8, 9, 31):
        alone = general.outputs(X[:n], 1)
        for threads in (2, 3):
            np.testing.assert_array_equal(rows.outputs(X[:n], threads), alone)
    assert seen == [1, 2, 3] * 3 + [2, 3] * 4


@pytest.mark.parametrize("one_by_one", [True, False])
@pytest.mark.parametrize("shares", [1, 2, 3])
def test_columns_of_a_layer_keep_to_their_part(shares, one_by_one):
    parameters = MLP((40, 999, 300, 13), activation="gelu", rng=0)._parameters
    workspace = rows_inference.Workspace(parameters, 5)
    job = rows_inference.job_of(parameters, workspace, "f32", shares=shares)
    phases = inference.by_columns(job, 5, 2, one_by_one=one_by_one, looks=True).sections["columns"]
    bases = {Slot.N_ROWS: 5, Slot.LD_X: 160}
    seen = []
    for phase in phases:
        seen.append(Phase(phase.name, []))
        for share in phase.shares:
            concrete = Share()
            for operation in (o for loop in share.loops for o in loop.operations):
                named = operation.named()
                concrete.add(operation.kernel, **{k: resolved(v, bases) for k, v in named.items()})
            seen[-1].shares.append(concrete)
    arrays = {
        Slot.ROWS: [Array("numbers", 0, 40)], Slot.OUT: [Array("out", 0, 5 * 13 * 4)],
        Slot.X: [Array("X", 0, 5 * 160)], Slot.SCALE: [],
        Slot.FINITE: [Array("found", 0, 8 * shares)],
        Slot.PARAMETERS: [Array("parameters", 0, parameters.flat.nbytes)],
        Slot.WORKSPACE: [Array("workspace", *place) for place in workspace.places],
    }  # fmt: skip
    assert [f for f in faults(seen, 4, arrays, [0]) if "SCALE" not in f] == []
    vectors = sum(
        operation.named()["vectors"] * (1 if one_by_one else 5)
        for phase in phases for share in phase.shares for loop in share.loops
        for operation in loop.operations if "forward" in operation.kernel
    )  # fmt: skip
    assert vectors == 5 * sum(layer.vectors_out for layer in workspace.layers)


def test_a_program_is_made_once_whatever_the_number_of_rows(monkeypatch):
    made = []
    honest = rows_inference.Executable
    monkeypatch.setattr(rows_inference, "Executable", lambda *a: made.append(1) or honest(*a))
    rows = RowsInference(NETWORKS["float32"]._parameters)
    for n in range(1, 200):
        rows.outputs(DATA["float32"][:n], 1)
    assert len(made) == choose.FEW + 1  # a few rows have programs of their own


def test_few_rows_fill_their_outputs_and_no_more():
    rows, X = RowsInference(NETWORKS["float32"]._parameters), DATA["float32"]
    for n in range(1, choose.FEW + 1):
        few = X[:n]
        expected = rows.outputs(few, 1)
        _, ((ready,), _), _ = rows._way(few.dtype, few.shape, few.strides, 1)
        room = np.full((n + 8, 3), np.nan, "float32")
        ready.bases[Slot.OUT] = room[4:].ctypes.data
        ready.run()
        assert np.isnan(room[:4]).all()
        assert np.isnan(room[-4:]).all()
        np.testing.assert_array_equal(room[4:-4], expected)


def test_no_array_of_the_caller_is_kept_alive():
    parameters = NETWORKS["float32"]._parameters
    rows, general = RowsInference(parameters), Inference(parameters)
    for n in (1, 100):
        for X in (DATA["float32"][:n].copy(), DATA["float32"][:n].astype("int16")):
            before = sys.getrefcount(X)
            rows.outputs(X, 1)
            general.outputs(X, 1)
            assert sys.getrefcount(X) == before


def resolved(value, bases):
    """Return a value as it is in a run."""
    return bases.get(value.slot, value) if isinstance(value, At) else value


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("looks", [False, True])
@pytest.mark.parametrize("shares", [1, 2, 3])
@pytest.mark.parametrize("n", COUNTS)
def test_shares_keep_to_their_rows(monkeypatch, n, shares, looks, in_place):
    parameters, X = NETWORKS["float32"]._parameters, DATA["float32"][:n]
    programs = programs_of_blocks(monkeypatch)
    source = rows_inference.Source(X, parameters.architecture)
    ready = rows_inference.Blocks(
        parameters, source, shares, block=16 if in_place else 64, looks=looks, in_place=in_place
    )
    out = ready.outputs(X)
    np.testing.assert_array_equal(out, Inference(parameters).outputs(X, 1))
    phases = as_run(ready, programs[0])
    arrays = {
        Slot.ROWS: [Array("numbers", 0, 8 * n)], Slot.OUT: [Array("out", 0, out.nbytes)],
        Slot.X: [Array("X", 0, X.nbytes)], Slot.SCALE: [],
        Slot.FINITE: [Array("found", 0, 8 * shares)], Slot.PARAMETERS:
            [Array("parameters", 0, parameters.flat.nbytes)],
        Slot.WORKSPACE: [Array("workspace", *place) for place in ready.workspace.places],
    }  # fmt: skip
    assert [f for f in faults(phases, 4, arrays, [0]) if "SCALE" not in f] == []
    done = {
        kernel: sum(
            operation.named()["rows"] * loop.turns
            for share in phases[0].shares for loop in share.loops for operation in loop.operations
            if operation.kernel == kernel
        )
        for kernel in ("output", "gather_f32", "finite")
    }  # fmt: skip
    assert done["output"] == n
    assert done["finite"] == n * looks
    assert done["gather_f32"] == (n % 16 if in_place else n)  # the last share's rest


def test_calls_of_several_threads_have_programs_of_their_own():
    net, X = NETWORKS["float32"], DATA["float32"]
    wanted = {n: net.predict_proba(X[:n]) for n in COUNTS}
    wrong, together = [], Barrier(4)

    def ask(number):
        together.wait()
        for n in COUNTS[number:] + COUNTS[:number]:
            for _ in range(5):
                if not np.array_equal(net.predict_proba(X[:n]), wanted[n]):
                    wrong.append(n)

    asking = [Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert wrong == []


def test_short_calls_learn_whether_threads_pay(monkeypatch):
    monkeypatch.setattr(choose, "choose_threads", lambda threads, flops, **more: threads or 2)
    taken = []
    honest = rows_inference.Blocks.run

    def run(self):
        taken.append(self._shares)
        return honest(self)

    monkeypatch.setattr(rows_inference.Blocks, "run", run)
    clock = itertools.count()
    monkeypatch.setattr(rows_inference, "perf_counter", lambda: next(clock) * 1e-3)
    rows = RowsInference(NETWORKS["float32"]._parameters)
    for _ in range(100):
        rows.outputs(DATA["float32"], None)
    assert taken[0] == 1
    assert set(taken) == {1, 2}
    taken.clear()
    for _ in range(20):
        rows.outputs(DATA["float32"], 2)
    assert set(taken) == {2}
