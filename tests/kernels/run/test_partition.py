"""Work is shared out whole, evenly, and to the same bits; what is idle is left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import numba
import numpy as np
import pytest
from numba import types
from numba.extending import intrinsic

from fastmlp import MLP, SGD, Adam
from fastmlp.architecture import Architecture
from fastmlp.contract.parameters import Parameters
from fastmlp.kernels.emit import gemm
from fastmlp.kernels.emit.flow import const
from fastmlp.kernels.emit.optimizers import OPTIMIZERS
from fastmlp.kernels.emit.records import emit_kernel, record
from fastmlp.kernels.emit.sparse import PANEL, over_even_panels
from fastmlp.kernels.emit.target import current_target
from fastmlp.kernels.emit.vector_math import Vec
from fastmlp.kernels.program import minibatch
from fastmlp.kernels.program.job import BLOCK, Job, Layer, Lists, Loss, Packed
from fastmlp.kernels.program.operation import At, Operation, Phase, Slot
from fastmlp.kernels.run import choose
from fastmlp.kernels.run.csr_index import make_index
from fastmlp.kernels.run.packed_weights import PackedWeights
from fastmlp.kernels.run.partition import _STEP as STEP
from fastmlp.kernels.run.partition import _block_costs, _filled_up, row_bounds
from fastmlp.kernels.run.workspace import Workspace

TARGET = current_target()
MR, VECTOR = TARGET.tile_rows, TARGET.vector_bytes
SIZES = [
    (784, 200, 100, 50, 10),
    (784, 100, 10),
    (50, 100, 1),
    (300, 5),
    (17, 16, 16, 16, 2),
    (3, 1),
]


def layers_of(sizes, dtype="float32") -> tuple[Layer, ...]:
    return Workspace(Parameters(Architecture(sizes, dtype=dtype)), 64).layers


def vectors_of(layers) -> np.ndarray:
    return np.array([q.vectors_out for q in layers])


def mostly_zeros(n: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), np.float32)
    return np.where(rng.random((n, d)) < np.linspace(0, 0.5, d), X, np.float32(0))


def whole_tiles(rows: int) -> int:
    return -(-rows // MR) * MR


# rows of W, blocks of lists


@pytest.mark.parametrize("shares", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("lists", [False, True])
def test_every_row_is_one_shares_own(sizes, shares, lists):
    layers = layers_of(sizes)
    index, panels = None, 0
    if lists:
        panels = choose.panel_count(layers[0].vectors_out, shares)
        index = make_index(mostly_zeros(200, sizes[0]), 256, np.dtype("float32"), None)
    found = row_bounds(layers, shares, 64, index, panels)
    assert all(isinstance(edge, int) for edges in found for edge in edges)
    bounds = np.array(found)
    assert bounds.shape == (len(layers) + 1, shares + 1)
    assert (bounds[:, 0] == 0).all()
    assert (np.diff(bounds) >= 0).all()
    assert not (bounds[1:] % BLOCK).any()
    assert bounds[0, -1] == (index.cuts.shape[1] - 1 if lists else 0)
    first = 1 if panels >= shares else 0  # panels that nobody shares are not cut
    rows = [q.blocks * BLOCK for q in layers]
    assert bounds[1 + first :, -1].tolist() == rows[first:]
    assert not bounds[1 : 1 + first].any()


@pytest.mark.parametrize("sizes", [s for s in SIZES if len(s) > 2])
@pytest.mark.parametrize("shares", [2, 3])
def test_shares_have_equally_much_to_do(sizes, shares):
    layers = layers_of(sizes)
    bounds, vectors = np.array(row_bounds(layers, shares, 64)), vectors_of(layers)
    rows = np.diff(np.minimum(bounds[1:], np.array(sizes[:-1])[:, None]))
    work = (rows * vectors[:, None]).sum(axis=0)
    assert work.max() - work.mean() <= BLOCK * vectors.max()


@pytest.mark.parametrize("sizes", [(784, 200, 100, 50, 10), (784, 400, 300, 10), (50, 200, 90, 1)])
@pytest.mark.parametrize(("shares", "panels"), [(2, 2), (2, 4), (3, 3), (3, 6)])
def test_panels_over_lists_count_as_work(sizes, shares, panels):
    """By their vectors and the non-zeros; the other layers make up for what is uneven."""
    layers = layers_of(sizes)
    X, samples = mostly_zeros(500, sizes[0]), 64
    index = make_index(X, 448, np.dtype("float32"), None)
    vectors = vectors_of(layers)
    bounds = np.array(row_bounds(layers, shares, samples, index, panels))
    assert not bounds[1].any()  # of which nobody has a row of his own
    ends = vectors[0] * (panels * np.arange(shares + 1) // shares) // panels
    density = np.count_nonzero(X) / X.size
    work = np.diff(ends) * whole_tiles(sizes[0]) * (samples * density + STEP)
    for layer, n_in in enumerate(sizes[1:-1], 1):
        rows = np.diff(np.minimum(bounds[1 + layer], whole_tiles(n_in)))
        work = work + rows * vectors[layer] * (samples + STEP)
    assert work.max() - work.mean() <= BLOCK * vectors[1:].max() * (samples + STEP)


@pytest.mark.parametrize("n_in", [1, 15, 16, 17, 50, 784])
def test_a_block_costs_its_rows_in_whole_tiles(n_in):
    q = layers_of((n_in, 100, 10))[0]
    rows = np.minimum(whole_tiles(n_in) - BLOCK * np.arange(-(-n_in // BLOCK)), BLOCK)
    assert np.array_equal(_block_costs(q, 20), rows * q.vectors_out * (20.0 + STEP))


def test_who_has_most_gets_nothing_more():
    assert np.array_equal(_filled_up(np.array([1.0, 9.0, 3.0]), 4.0), [3.0, 0.0, 1.0])
    assert np.array_equal(_filled_up(np.zeros(4), 2.0), np.full(4, 0.5))


def test_who_has_the_smaller_panel_has_more_of_the_rest():
    layers = layers_of((784, 196, 100, 10))
    index = make_index(mostly_zeros(500, 784), 448, np.dtype("float32"), None)
    assert layers[0].vectors_out % 2 == 1
    first, second = np.diff(row_bounds(layers, 2, 64, index, 2)[2])
    assert first > second


# what a step does with them


def job_of(sizes, shares: int, size: int, *, listed: bool = False) -> Job:
    """Return a job of plain steps over `size` samples, in float64."""
    parameters = Parameters(Architecture(sizes, dtype="float64"))
    layers, lists, packed, index, panels = Workspace(parameters, size).layers, None, None, None, 0
    if listed:
        weights = PackedWeights(parameters, shares, size, 0, size)
        X = mostly_zeros(200, sizes[0]).astype("float64")
        index, panels = make_index(X, weights.row_bytes, X.dtype, None), weights.count
    blocks, *bounds = row_bounds(layers, shares, size, index, panels)
    if index is not None:
        packed = weights.described(blocks)
        lists = Lists("values", index.cuts.shape[1], index.block, 1)
    return Job(
        layers=layers, item=8, vector=VECTOR, tile_rows=MR, shares=shares, input="f64",
        loss=Loss("softmax_labels", (("y", At(Slot.Y)),)), batch_size=size, chunk=size,
        bounds=tuple(bounds), optimizer=OPTIMIZERS["sgd"], lists=lists, packed=packed,
    )  # fmt: skip


def named(phases: list[Phase], name: str) -> Phase:
    (phase,) = [phase for phase in phases if phase.name == name]
    return phase


def operations(phase: Phase, kernel: str) -> list[list[dict[str, Any]]]:
    """Return the records of a kernel that each share calls."""

    def of(share: Any) -> list[Operation]:
        assert all(loop.turns == 1 for loop in share.loops)
        return [operation for loop in share.loops for operation in loop.operations]

    return [[op.named() for op in of(share) if op.kernel == kernel] for share in phase.shares]


def all_operations(phase: Phase, kernel: str) -> list[dict[str, Any]]:
    return list(chain.from_iterable(operations(phase, kernel)))


@pytest.mark.parametrize("shares", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("listed", [False, True])
def test_every_weight_is_stepped_once(sizes, shares, listed):
    """And every bias; what lies behind the last row in its tile is padding."""
    job = job_of(sizes, shares, 20, listed=listed and sizes[0] >= 16)
    weights = named(minibatch.step(job, 20), "weights")
    updates = all_operations(weights, "update")
    biases = all_operations(weights, "bias_update")
    features = all_operations(weights, "feature_update")
    for l, q in enumerate(job.layers):  # noqa: E741
        counts = np.zeros((q.blocks * BLOCK, q.vectors_out), int)
        if l == 0 and job.packed is not None:
            for op in features:
                first, row = panel_at(job, op["w"].offset, op["vectors"])
                counts[row : row + op["features"], first : first + op["vectors"]] += 1
            assert (counts == 1).all()
        else:
            for op in updates:
                row, column = divmod(op["w"].offset - q.w.offset, q.ld_w)
                if 0 <= row < q.blocks * BLOCK:
                    assert column == 0
                    assert op["vectors"] == q.vectors_out
                    assert op["a"].offset == q.a.offset + row * job.item
                    counts[row : row + op["tiles"] * MR] += 1
            assert (counts[: q.n_in] == 1).all()
            assert counts.max() == 1
        counts = np.zeros(q.vectors_out, int)
        for op in biases:
            at = (op["bias"].offset - q.bias.offset) // VECTOR
            if 0 <= at < q.vectors_out:
                counts[at : at + op["vectors"]] += 1
        assert (counts == 1).all()


def panel_at(job: Job, offset: int, width: int) -> tuple[int, int]:
    """Return the first vector of the panel that lies there, and the row."""
    q = job.layers[0]
    edges = [q.vectors_out * p // job.packed.count for p in range(job.packed.count + 1)]
    starts = [edge * q.blocks * BLOCK * VECTOR for edge in edges]
    p = int(np.searchsorted(starts, offset, side="right")) - 1
    assert width == edges[p + 1] - edges[p]
    row, column = divmod(offset - starts[p], width * VECTOR)
    assert column == 0
    return edges[p], row


@pytest.mark.parametrize("shares", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("sizes", [s for s in SIZES if s[0] >= 16])
def test_every_sample_goes_once_through_every_panel(sizes, shares):
    """And each block of columns is listed by one share."""
    job = job_of(sizes, shares, 20, listed=True)
    q, panels = job.layers[0], named(minibatch.step(job, 20), "panels")
    counts = np.zeros((20, q.vectors_out), int)
    for op in all_operations(panels, "sparse_forward_values"):
        row, column = divmod(op["z"].offset - q.h.offset, q.ld_h)
        first, _ = panel_at(job, op["w"].offset, op["vectors"])
        assert column == first * VECTOR == op["bias"].offset - q.bias.offset
        assert op["order"] == At(Slot.ROWS, row * 8, step=20 * 8)
        counts[row : row + op["rows"], first : first + op["vectors"]] += 1
    assert (counts == 1).all()
    listed = all_operations(panels, "by_feature_values")
    edges = [(op["first"], op["last"]) for op in listed if op["first_row"] == 0]
    assert [a for a, _ in edges[1:]] + [job.lists.n_cuts - 1] == [b for _, b in edges]
    assert edges[0][0] == 0
    features = [op["features"] for op in listed if op["first_row"] == 0]
    assert sum(features) == q.blocks * BLOCK


@pytest.mark.parametrize("size", [8, 7, 3, 1])
def test_portions_are_listed_behind_each_other(size):
    """And the lists of as many samples behind them are asked for."""
    job = replace(
        job_of((40, 32, 3), 1, 8, listed=True), chunk=8,
        packed=Packed(
            count=1, state=0, gradient=0, ld_counts=40, ld_listed=200, portion=3, blocks=(0, 2)
        ),
    )  # fmt: skip
    (found,) = operations(named(minibatch.step(job, size), "panels"), "by_feature_values")
    names = ("counts", "before", "first_row", "order", "rows", "following")

    def order(sample: int) -> At:
        return At(Slot.ROWS, sample * 8, step=64)

    assert [tuple(op[name] for name in names) for op in found] == [
        (At(Slot.COUNTS, 40 * (r // 3 + 1)), At(Slot.COUNTS, 40 * (r // 3)), r, order(r),
         min(3, size - r), order(size + r))
        for r in range(0, size, 3)
    ]  # fmt: skip


def test_portions_are_added_up_behind_each_other():
    """All but the last in the panel's own gradient, the first of them from nothing."""
    job = replace(
        job_of((40, 32, 3), 1, 8, listed=True),
        packed=Packed(
            count=1, state=0, gradient=4096, ld_counts=40, ld_listed=200, portion=3, blocks=(0, 2)
        ),
    )  # fmt: skip
    (found,) = operations(named(minibatch.step(job, 8), "weights"), "feature_update")
    nothing, w, gradient = At(Slot.NONE), At(Slot.PACKED), At(Slot.PACKED, 4096)
    counts = [At(Slot.COUNTS, 40 * portion) for portion in range(4)]
    assert [(op["sums"], op["w"], op["before"], op["counts"]) for op in found] == [
        (nothing, gradient, counts[0], counts[1]),
        (gradient, gradient, counts[1], counts[2]),
        (gradient, w, counts[2], counts[3]),
    ]
    assert found[-1]["code"] == job.optimizer
    assert all(op["code"] > job.optimizer for op in found[:-1])


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.05, momentum=0.9), Adam(0.01)], ids=repr)
@pytest.mark.parametrize("settings", [{}, {"l2": 1e-3}, {"clip_norm": 0.5}], ids=repr)
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_portions_of_a_batch_leave_no_trace(optimizer, settings, dtype):
    """Threads, and with them the width of panels, decide how many a batch of 400 is taken in."""
    X = mostly_zeros(900, 96)
    y = np.random.default_rng(1).integers(0, 3, 900)
    threads = (1, 2, 3, 8, 12)

    def fitted(backend, threads):
        net = MLP((96, 320, 3), dtype=dtype, rng=0, backend=backend, threads=threads)
        net.fit(X, y, epochs=2, batch_size=400, optimizer=optimizer, **settings)
        return net._parameters.flat.copy()

    parameters = Parameters(Architecture((96, 320, 3), dtype=dtype))
    packed = [PackedWeights(parameters, n, 400, optimizer.slots, 400) for n in threads]
    portions = {-(-400 // weights.portion) for weights in packed}
    assert len(portions) > 1
    assert max(portions) > 2
    expected = fitted("numpy", None)
    found = [fitted("numba", n) for n in threads]
    for flat in found:
        assert np.array_equal(flat, found[0])
    if dtype == "float64":  # in float32 Adam makes steps of what rounding leaves of a gradient
        assert np.allclose(found[0], expected, rtol=1e-9, atol=1e-12)


def test_features_that_no_sample_has_keep_their_weights():
    """With plain steps to the last bit, the sign of a zero too; not under a penalty."""
    X = mostly_zeros(256, 64)
    X[:, 10:20] = 0
    y = np.random.default_rng(1).integers(0, 3, 256)
    for l2 in (0.0, 0.1):
        net = MLP((64, 48, 3), rng=0)
        W = net.weights[0].copy()
        W[10] = -0.0
        net.weights = [W, *net.weights[1:]]
        net.fit(X, y, epochs=2, batch_size=32, optimizer=SGD(0.1), l2=l2)
        after = net.weights[0]
        assert not np.array_equal(after[:10], W[:10])
        assert (after[11:20].tobytes() == W[11:20].tobytes()) == (l2 == 0)
        assert np.signbit(after[10]).all()


# panels of columns

MOST = 40  # vectors of a row


def panels(over: Callable[[Vec, Any], Iterator[tuple[int, Any]]]) -> list[list[int]]:
    """Return the widths of the panels of rows of 1, 2, ... vectors; each is where it should be."""

    @record("out vectors")
    def emit(v: Vec, q: Any) -> None:
        b = v.b
        for width, offset in over(v, q.vectors):
            number = b.add(v.load_scalar(q.out, 0, offset.type), const(1))
            v.store_scalar(number, q.out)
            at = b.shl(number, const(4))
            v.store_scalar(const(width), q.out, at)
            v.store_scalar(offset, v.at(q.out, 8), at)

    @intrinsic
    def kernel(typingctx, address):
        def codegen(context, builder, sig, args):
            new = partial(Vec, dtype="float64", target=TARGET)
            builder.call(emit_kernel(builder.module, "panels", emit, new), args)
            return context.get_dummy_value()

        return types.void(types.int64), codegen

    @numba.njit
    def run(address):
        kernel(address)

    found = []
    for vectors in range(1, MOST + 1):
        table = np.zeros((MOST + 1, 2), np.int64)
        run(np.array([table.ctypes.data, vectors]).ctypes.data)
        widths, offsets = table[1 : 1 + table[0, 0]].T
        assert widths.sum() == vectors
        assert (offsets == (np.cumsum(widths) - widths) * VECTOR).all()
        found.append(widths.tolist())
    return found


@pytest.mark.parametrize("widest", [2, 3, 4])
def test_rows_are_cut_into_few_panels_and_none_is_narrow(monkeypatch, widest):
    monkeypatch.setattr(gemm, "NV", widest)
    for vectors, widths in enumerate(panels(gemm.over_panels), 1):
        assert len(widths) == -(-vectors // widest)
        assert widths == sorted(widths, reverse=True)
        assert 0 < min(widths) <= max(widths) <= widest
        assert min(widths) > 1 or vectors == 1 or widest == 2


def test_rows_over_lists_are_cut_evenly():
    assert PANEL == 8
    found = panels(over_even_panels)
    firsts = [widths[0] for widths in found[:25]]
    assert firsts == [*range(1, 9), 5, 5, 6, 6, 7, 7, 8, 8, 6, 6, 7, 7, 7, 8, 8, 8, 7]
    for vectors, widths in enumerate(found, 1):
        assert len(widths) == -(-vectors // PANEL)
        assert max(widths) - min(widths) <= 1
