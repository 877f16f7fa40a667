"""Programs keep to their memory, and what kernels say that they read and write is so."""

from __future__ import annotations

import ctypes
import itertools

import checker
import extents
import numpy as np
import pytest
from checker import faults
from footprint import FOOTPRINTS, Array, accesses, name_of

from fastmlp import MLP
from fastmlp.contract.operations import DataSet, StepSettings
from fastmlp.kernels.jit import registry
from fastmlp.kernels.jit.registry import KERNELS, SPLIT
from fastmlp.kernels.program import minibatch
from fastmlp.kernels.program.operation import At, Phase, Program, Share, Slot
from fastmlp.kernels.program.sections import phases_of
from fastmlp.kernels.run import choose, inference
from fastmlp.kernels.run.choose import Packing
from fastmlp.kernels.run.decayed import DecayedTraining
from fastmlp.kernels.run.executor import Executable
from fastmlp.kernels.run.inference import Inference
from fastmlp.kernels.run.training import Training
from fastmlp.optimizers import OptimizerState, get_optimizer
from fastmlp.regularization import Regularization

scipy_sparse = pytest.importorskip("scipy.sparse")

RNG = np.random.default_rng(0)
N = 150
Y = RNG.integers(0, 3, N)
DENSE = RNG.standard_normal((N, 40))
FILLED = DENSE * (RNG.random((N, 40)) < 0.2)
FEW = np.zeros((N, 40))
FEW[[0, 2, 2, 5], [3, 0, 39, 3]] = 0.5, -1, 2, 1  # so few that rows are read as they lie
DATA = {
    "dense": DENSE, "values": FILLED, "codes": np.round(FILLED).astype("uint8"),
    "sparse": scipy_sparse.csr_array(FILLED), "rows": scipy_sparse.csr_array(FEW),
    "converted": (3 * DENSE).astype("int16"),
}  # fmt: skip
NETWORKS = {
    "float32 tanh": ((40, 70, 9, 3), "tanh", "float32"),
    "float64 gelu": ((40, 9, 17, 3), "gelu", "float64"),
    "wide relu": ((40, 300, 3), "relu", "float32"),
    "no hidden layer": ((40, 3), "relu", "float64"),
}
PENALTIES = {
    "plain": {},
    "penalized": {"l2": 0.1},
    "all": {"l1": 0.1, "l2": 0.1, "clip_norm": 1.0, "max_norm": 1.0},
}


def training(network="float32 tanh", kind="dense", optimizer="adam", batch_size=64, threads=2,
             penalties="plain", dropout=False, samples=N, times=1):  # fmt: skip
    sizes, activation, dtype = NETWORKS[network]
    parameters = MLP(sizes, activation=activation, dtype=dtype, rng=0)._parameters
    X = DATA[kind]
    if kind not in ("sparse", "rows"):
        X = np.tile(X.astype(dtype) if kind in ("dense", "values") else X, (times, 1))
    rates = (0.3,) * (len(sizes) - 2) if dropout else ()
    decayed, data = batch_size == "decayed", DataSet(X, np.tile(Y, times))
    settings = StepSettings(
        optimizer and get_optimizer(optimizer), OptimizerState(),
        1 if decayed else batch_size or samples,
        Regularization(dropout=rates, **PENALTIES[penalties]),
    )  # fmt: skip
    if decayed:
        return DecayedTraining(parameters, data, settings)
    return Training(parameters, data, settings, threads=threads)


def all_faults(made: Training, samples=N) -> list[str]:
    steps = -(-samples // made.batch_size)
    found = []
    for listed, job in made._jobs.items():
        if not listed and made._source.listed:
            continue
        arrays = extents.of_training(made, listed, samples, steps)
        keys = [(key, {first, last - 1}) for key, first, last in made._segments(steps, samples)]
        if not made._source.direct:
            keys = [(key, {0}) for key in made._executables[False].places]
        for key, of_steps in keys:
            item = made.parameters.dtype.itemsize
            found += faults(phases_of(made._mode, job, key), item, arrays, sorted(of_steps))
    return found


@pytest.mark.parametrize("batch_size", ["decayed", 1, 13, 64, None])
@pytest.mark.parametrize("kind", DATA)
def test_programs_keep_to_their_memory(kind, batch_size):
    every = batch_size in (13, None) and kind in ("dense", "codes")
    networks = list(NETWORKS) if every else list(NETWORKS)[:2]
    for network, threads, penalties in itertools.product(networks, (1, 3), PENALTIES):
        if batch_size == "decayed" and (penalties != "penalized" or kind == "converted"):
            continue
        optimizer = "sgd" if batch_size in ("decayed", 1) else "adam"
        made = training(
            network, kind, optimizer, batch_size, threads, penalties, dropout=penalties == "all"
        )
        assert all_faults(made) == []


@pytest.mark.parametrize("kind", ["dense", "values", "sparse", "rows"])
@pytest.mark.parametrize("optimizer", ["adagrad", None])
def test_full_batches_in_groups_keep_to_their_memory(kind, optimizer):
    times = 1 if kind in ("sparse", "rows") else 5
    for network, threads in itertools.product(NETWORKS, (1, 2, 8)):
        made = training(
            network, kind, optimizer, None, threads, "penalized" if optimizer else "plain",
            samples=N * times, times=times,
        )  # fmt: skip
        assert all_faults(made, N * times) == []


@pytest.mark.parametrize("kind", ["dense", "values"])
@pytest.mark.parametrize("penalties", PENALTIES)
def test_a_batch_in_chunks_keeps_to_its_memory(monkeypatch, kind, penalties):
    monkeypatch.setattr(choose, "CHUNK", 32)
    monkeypatch.setattr(choose, "_GROUPS_BYTES", 1)
    made = training("wide relu", kind, "adam", 100, 3, penalties)
    assert made.chunk == 32
    assert all_faults(made) == []


PACKED = {"passes": Packing(16, True, 16), "update": Packing(48, False, 48)}


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("way", PACKED)
def test_packed_layers_keep_to_their_memory(monkeypatch, kind, way):
    monkeypatch.setattr(choose, "packing", lambda *sizes: PACKED[way])
    for network, threads, penalties in itertools.product(NETWORKS, (1, 3), PENALTIES):
        made = training(network, kind, "adam", 64, threads, penalties, dropout=penalties == "all")
        assert any(q.wide for q in made._workspace.layers)
        assert all_faults(made) == []


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("parts", SPLIT)
def test_split_layers_keep_to_their_memory(monkeypatch, kind, parts):
    monkeypatch.setattr(
        Training, "_layer_parts", lambda self: (parts,) * self.architecture.n_layers
    )
    way = Packing(16, True, 16, parts)
    monkeypatch.setattr(choose, "packing", lambda *_: way)
    for network, threads, penalties in itertools.product(
        ("float32 tanh", "wide relu"), (1, 3), PENALTIES
    ):
        made = training(network, kind, "adam", 61, threads, penalties, dropout=penalties == "all")
        assert all(q.wide and q.wide.parts for q in made._workspace.layers)
        assert all_faults(made) == []


def test_random_jobs_keep_to_their_memory():
    rng = np.random.default_rng(7)
    for _ in range(60):
        draw = lambda options: options[rng.integers(len(options))]  # noqa: E731
        penalties = draw(list(PENALTIES))
        made = training(
            draw(list(NETWORKS)), draw(list(DATA)), draw(["sgd", "adam", "rmsprop", "adamw"]),
            int(rng.integers(1, N + 1)), int(rng.integers(1, 9)), penalties,
            dropout=bool(rng.integers(2)),
        )  # fmt: skip
        assert all_faults(made) == []


class Watched(Inference):
    """An inference that remembers the lists and the data of its run."""

    def _lists(self, X, source, *, kept):
        self.index, lists = super()._lists(X, source, kept=kept)
        enter = source.enter

        def entered(bases, data):
            self.data = data
            enter(bases, data)

        source.enter = entered
        return self.index, lists


def inference_faults(monkeypatch, kind, call, change=lambda phases: phases) -> list[str]:
    """Return the faults of an inference, against the arrays that it ran on."""
    ran = []

    class Noted(inference.Blocks):
        def run(self):
            ran.append(self)
            return super().run()

    programs = extents.programs_of_blocks(monkeypatch)
    monkeypatch.setattr(inference, "Blocks", Noted)
    X = DATA[kind].astype("float32") if kind in ("dense", "values") else DATA[kind]
    watched = Watched(MLP((40, 70, 9, 3), rng=0)._parameters)
    getattr(watched, call)(X, *((Y, None) if call == "losses" else ()), 3)
    (ready,), (program,) = ran, programs
    phases = extents.as_run(ready, program)
    index = ready.room or watched.index
    arrays = extents.of_inference(watched, ready.workspace, watched.data, index, N)
    arrays |= {Slot.Y: [Array("y", 0, Y.nbytes)]}
    arrays |= {Slot.WEIGHT: [Array("none", 0, 0)]}
    return faults(change(phases), 4, arrays, [0])


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("call", ["outputs", "losses", "activations"])
def test_inference_keeps_to_its_memory(monkeypatch, kind, call):
    assert inference_faults(monkeypatch, kind, call) == []


def planted(change, threads=3):
    """Return the faults of a mini-batch step after a change to its phases."""
    made = training(batch_size=64, threads=threads)
    phases = change(minibatch.step(made._jobs[False], 64))
    return faults(phases, 4, extents.of_training(made, False, N, 3), [0])


def changed(phase: Phase, number: int, kernel: str, **values) -> Phase:
    """Return a phase whose share has other values in the first operation of a kernel."""
    share = Share()
    for operation in [o for loop in phase.shares[number].loops for o in loop.operations]:
        given = operation.named()
        if operation.kernel == kernel and values:
            given |= {name: change(given) for name, change in values.items()}
            values = {}
        share.add(operation.kernel, **given)
    assert not values
    shares = [share if i == number else s for i, s in enumerate(phase.shares)]
    return Phase(phase.name, shares)


def test_what_is_right_has_no_faults():
    assert planted(lambda phases: phases) == []


def test_a_share_one_row_too_long_is_found():
    def longer(phases):
        return [changed(phases[0], 0, "forward", tiles=lambda q: q["tiles"] + 1), phases[1]]

    assert any("share 0 writes what share 1 touches of WORKSPACE" in f for f in planted(longer))


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_a_share_of_an_inference_that_is_too_long_is_found(monkeypatch, kind):
    def longer(phases):
        return [changed(phases[0], 0, "output", rows=lambda q: q["rows"] + 1)]

    found = inference_faults(monkeypatch, kind, "outputs", longer)
    assert any("share 0 writes what share 1 touches of OUT" in f for f in found), found


def test_an_output_column_that_two_shares_own_is_found():
    def twice(phases):
        q = {"tiles": lambda q: q["tiles"] + 1}
        return [phases[0], changed(phases[1], 0, "update", **q)]

    assert any("share 0 writes what share 1 touches of PARAMETERS" in f for f in planted(twice))


def test_a_missing_barrier_is_found():
    def joined(phases):
        both = Phase("both", [])
        for first, second in zip(phases[0].shares, phases[1].shares, strict=True):
            share = Share()
            share.loops = [*first.loops, *second.loops]
            both.shares.append(share)
        return [both]

    assert any("share 0 writes what share 1 touches" in f for f in planted(joined))


@pytest.mark.parametrize(
    ("kernel", "field", "add"),
    [("gather_f64", "rows", 40), ("forward", "vectors", 1), ("softmax_labels", "rows", 2000)],
)
def test_what_leaves_its_array_is_found(kernel, field, add):
    def wild(phases):
        name = kernel.replace("f64", "f32")
        return [changed(phases[0], 2, name, **{field: lambda q: q[field] + add}), phases[1]]

    assert any("in none of its arrays" in f for f in planted(wild))


def test_an_address_that_moves_too_far_is_found():
    made = training(batch_size=64)
    arrays = extents.of_training(made, False, N, 3)
    phases = minibatch.step(made._jobs[False], 64)
    assert faults(phases, 4, arrays, [0, 1]) == []
    assert faults(phases, 4, arrays, [3])


def test_every_kernel_of_programs_has_a_footprint():
    once = "index_count", "index_fill", "encode"  # launched by themselves
    named = {name_of(name) for name in KERNELS if not name.startswith(once)}
    assert named == set(FOOTPRINTS)


def value_of(value, bases, step, turn) -> int:
    if not isinstance(value, At):
        return value
    return int(bases[value.slot]) + value.offset + step * value.step + turn * value.turn


def bytes_of(bases, arrays) -> dict:
    """Return a copy of all arrays' bytes, by slot and array."""
    return {
        (slot, array): np.frombuffer(
            (ctypes.c_ubyte * array.size).from_address(int(bases[slot]) + array.start), np.uint8
        ).copy()
        for slot, of_slot in arrays.items()
        for array in of_slot
        if array.size and bases[slot]
    }


def run_and_watch(made: Training, executable: Executable, listed: bool, segments, samples) -> int:
    """Run a program operation by operation; nothing but what is declared may change."""
    steps = -(-samples // made.batch_size)
    arrays = extents.of_training(made, listed, samples, steps)
    item, count = made.parameters.dtype.itemsize, 0
    program = Program(3, {key: made.phases(listed, key) for key in executable.places})
    a, rule = made.architecture, made.optimizer.rule if made.optimizer else "sgd"
    addresses = registry.kernel_addresses(
        a.dtype, *registry.groups_of(program.kernels(), a.activations, rule)
    )
    for key, first, last in segments:
        for step, phase in itertools.product(range(first, last), made.phases(listed, key)):
            for share in phase.shares:
                for loop in share.loops:
                    for turn, operation in itertools.product(range(loop.turns), loop.operations):
                        before = bytes_of(executable.bases, arrays)
                        values = [value_of(v, executable.bases, step, turn)
                                  for v in operation.values]  # fmt: skip
                        record = np.array(values, np.int64)
                        registry.KERNEL(addresses[operation.kernel])(record.ctypes.data)
                        after = bytes_of(executable.bases, arrays)
                        allowed = {
                            place: np.zeros(len(content), bool) for place, content in before.items()
                        }
                        for access in accesses(operation, item):
                            slot = access.at.slot
                            moved = access._replace(
                                at=At(
                                    slot, access.at.offset + turn * access.at.turn, access.at.step
                                )
                            )
                            of_slot = arrays.get(slot, ())
                            for start, end in checker._spans(moved, step, 1, of_slot):
                                for array in of_slot if access.writes else ():
                                    a, b = start - array.start, end - array.start
                                    if array.size and executable.bases[slot]:
                                        allowed[slot, array][max(a, 0) : max(b, 0)] = True
                        for place, content in before.items():
                            differs = content != after[place]
                            assert not (differs & ~allowed[place]).any(), (operation, place)
                        count += 1
    return count


@pytest.mark.parametrize("way", PACKED)
@pytest.mark.parametrize(("kind", "batch_size"), [("dense", 6), ("sparse", 13)])
def test_of_packed_layers_only_what_is_declared_changes(monkeypatch, kind, batch_size, way):
    monkeypatch.setattr(choose, "packing", lambda *sizes: PACKED[way])
    test_only_what_is_declared_changes_and_the_executor_leaves_the_same(
        monkeypatch, kind, batch_size
    )


@pytest.mark.parametrize("parts", SPLIT)
def test_of_split_layers_only_what_is_declared_changes(monkeypatch, parts):
    monkeypatch.setattr(Training, "_layer_parts", lambda self: (parts,) * 3)
    way = Packing(16, True, 16, parts)
    monkeypatch.setattr(choose, "packing", lambda *_: way)
    test_only_what_is_declared_changes_and_the_executor_leaves_the_same(monkeypatch, "dense", 13)


@pytest.mark.parametrize("kind", ["dense", "values", "codes", "sparse", "rows"])
@pytest.mark.parametrize("batch_size", ["decayed", 1, 6, 13, None])
def test_only_what_is_declared_changes_and_the_executor_leaves_the_same(
    monkeypatch, kind, batch_size
):
    samples = 13
    penalties = {"decayed": "penalized", 1: "plain"}.get(batch_size, "all")
    optimizer = "sgd" if batch_size in ("decayed", 1) else "adam"
    options = {"batch_size": batch_size, "penalties": penalties, "optimizer": optimizer}
    options |= {"kind": kind, "threads": 3, "samples": samples, "dropout": batch_size == 6}
    monkeypatch.setattr("fastmlp.kernels.run.choose._BLOCK_BYTES", 1)
    left = []
    for watched in (False, True):
        made = training(**options)
        count = [0]
        if watched:

            def run(executable, threads, made=made, count=count):
                listed = made._listed()
                steps = -(-samples // made.batch_size)
                segments = made._segments(steps, samples)
                count[0] += run_and_watch(made, executable, listed, segments, samples)

            monkeypatch.setattr(Executable, "run", run)
        words = np.arange(2 * 2 * 3 * 13, dtype=np.uint32).reshape(-1, 2, 2)
        steps = -(-samples // made.batch_size)
        result = made.train(np.arange(samples)[::-1], np.full(steps, 0.01), words[:steps])
        assert count[0] > 8 or not watched
        left.append([*made.parameters.weights, *made.parameters.biases, result.losses])
    assert all(np.array_equal(a, b) for a, b in zip(*left, strict=True))


def test_a_footprint_that_leaves_out_a_write_is_seen(monkeypatch):
    monkeypatch.setitem(FOOTPRINTS, "bias_update", ())
    made = training(batch_size=13, samples=13)
    segments = made._segments(1, 13)
    monkeypatch.setattr(
        Executable, "run",
        lambda executable, threads: run_and_watch(made, executable, False, segments, 13),
    )  # fmt: skip
    with pytest.raises(AssertionError, match="bias_update"):
        made.train(np.arange(13), np.full(1, 0.01))
