"""Packed operands: every element in its place, nothing beside them, and the bits of plain ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastmlp import MLP, SGD, Adam
from fastmlp.kernels.emit.target import current_target
from fastmlp.kernels.jit.registry import launch
from fastmlp.kernels.run import caches, choose
from fastmlp.kernels.run.choose import Packing
from fastmlp.verification import TOLERANCE, difference

TARGET = current_target()
MR, NV = TARGET.tile_rows, TARGET.tile_vectors
DTYPES = ("float32", "float64")
LENGTH = {dtype: TARGET.vector_bytes // np.dtype(dtype).itemsize for dtype in DTYPES}
NOTHING = -7.0  # what lies where nothing is written


def padded(matrix: np.ndarray, columns: int) -> np.ndarray:
    """Return a matrix with columns of zeros up to a multiple."""
    return np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % columns)))


def left_operand(matrix: np.ndarray) -> np.ndarray:
    """Return (k, n) as blocks of MR columns, k after k."""
    return np.concatenate([block.ravel() for block in blocks(padded(matrix, MR), MR)])


def right_operand(matrix: np.ndarray) -> np.ndarray:
    """Return (k, n) as panels of NV vectors of columns, k after k."""
    length = LENGTH[matrix.dtype.name]
    return np.concatenate([block.ravel() for block in blocks(padded(matrix, length), NV * length)])


def blocks(matrix: np.ndarray, width: int) -> list[np.ndarray]:
    return [matrix[:, i : i + width] for i in range(0, matrix.shape[1], width)]


def apart(matrix: np.ndarray, gap: int) -> np.ndarray:
    """Return a copy whose rows lie further apart and whose end is that of its memory."""
    rows, n = matrix.shape
    flat = np.full(rows * (n + gap) - gap, np.nan, matrix.dtype)
    strides = ((n + gap) * matrix.itemsize, matrix.itemsize)
    copy = np.lib.stride_tricks.as_strided(flat, matrix.shape, strides)
    copy[...] = matrix
    return copy


SIZES = (1, 7, 8, 9, 15, 16, 17, 31, 33, 48, 65)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_columns_are_packed_in_parts(dtype, side):
    rng = np.random.default_rng(0)
    expected_of = left_operand if side == "left" else right_operand
    for n, depth, gap in itertools.product(SIZES, (1, 5, 16), (0, 3)):
        source = apart(rng.standard_normal((depth, n)).astype(dtype), gap)
        expected = expected_of(source)
        packed = np.full(expected.size + 64, NOTHING, dtype)
        cuts = sorted({0, depth // 3, depth})
        for first, end in itertools.pairwise(cuts):
            launch(
                f"pack_columns_{side}", dtype, dst=packed.ctypes.data,
                src=source[first:].ctypes.data, lds=source.strides[0], first=first,
                k=end - first, n=n, depth=depth,
            )  # fmt: skip
        assert np.array_equal(packed[: expected.size], expected)
        assert (packed[expected.size :] == NOTHING).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_packed_in_parts(dtype):
    rng, length = np.random.default_rng(0), LENGTH[dtype]
    for n, depth, gap in itertools.product(SIZES, (1, 5, 16, 19), (0, 3)):
        source = apart(rng.standard_normal((n, depth)).astype(dtype), gap)
        expected = right_operand(np.ascontiguousarray(source.T))
        packed = np.full(expected.size + 64, NOTHING, dtype)
        vectors = -(-n // length)
        cuts = sorted({0, vectors // 2, vectors})
        for first, end in itertools.pairwise(cuts):
            rows = min(end * length, n) - first * length
            launch(
                "pack_rows_right", dtype, dst=packed.ctypes.data,
                src=source[first * length :].ctypes.data, lds=source.strides[0], first=first,
                rows=rows, vectors=vectors, depth=depth,
            )  # fmt: skip
        assert np.array_equal(packed[: expected.size], expected)
        assert (packed[expected.size :] == NOTHING).all()


def test_rows_beyond_the_last_vector_are_left_out():
    source, packed = np.ones((32, 4), "float32"), np.full(80, NOTHING, "float32")
    launch(
        "pack_rows_right", "float32", dst=packed.ctypes.data, src=source.ctypes.data, lds=16,
        first=0, rows=32, vectors=1, depth=4,
    )  # fmt: skip
    assert (packed == 1).sum() == 4 * LENGTH["float32"]
    assert (packed[4 * LENGTH["float32"] :] == NOTHING).all()


# networks

WAYS = {
    "the passes read W in panels": Packing(4096, True),
    "k in blocks": Packing(256, True, 16),
    "the update alone": Packing(64, False, 48),
}
NETWORKS = [
    ((257, 511, 256, 5), "float32", "relu"),
    ((255, 300, 513, 5), "float64", "gelu"),
]
STEPS = {
    "adam": {"optimizer": Adam(), "batch_size": 128, "l2": 0.01},
    "momentum": {"optimizer": SGD(0.1, momentum=0.9), "batch_size": 130, "dropout": 0.2},
    "clipped": {"optimizer": Adam(), "batch_size": 129, "clip_norm": 0.1, "max_norm": 1.0},
}


def trained(network, threads=1, backend="numba", samples=259, **options) -> list[np.ndarray]:
    """Return what an epoch leaves."""
    sizes, dtype, activation = network
    rng = np.random.default_rng(3)
    X = rng.standard_normal((samples, sizes[0])).astype(dtype)
    y = rng.integers(0, sizes[-1], samples)
    net = MLP(sizes, activation=activation, dtype=dtype, rng=1, threads=threads, backend=backend)
    net.fit(X, y, epochs=1, **options)
    return [*net.weights, *net.biases]


def always(monkeypatch, way: Packing | None) -> None:
    """Have every layer packed one way, or none."""
    monkeypatch.setattr(choose, "packing", lambda *sizes: way)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network[1])
@pytest.mark.parametrize("step", STEPS)
def test_packed_layers_have_the_bits_of_plain_ones(monkeypatch, network, step):
    always(monkeypatch, None)
    plain = trained(network, **STEPS[step])
    for number, way in enumerate(WAYS.values()):
        always(monkeypatch, way)
        for threads in (1, 2 + number):
            packed = trained(network, threads, **STEPS[step])
            assert all(np.array_equal(a, b) for a, b in zip(plain, packed, strict=True))


def test_a_batch_in_chunks_has_the_bits_of_plain_layers(monkeypatch):
    monkeypatch.setattr(choose, "CHUNK", 64)
    monkeypatch.setattr(choose, "_GROUPS_BYTES", 1)
    options = {"optimizer": Adam(), "batch_size": 150, "samples": 300}
    found = []
    for way in (None, *WAYS.values()):
        always(monkeypatch, way)
        found.append(trained(NETWORKS[0], 2, **options))
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [255, 256, 257, pytest.param(511, marks=pytest.mark.slow), 513])
def test_packed_layers_are_the_reference(monkeypatch, dtype, width):
    network = ((width, 257, width, 3), dtype, "tanh")
    always(monkeypatch, WAYS["k in blocks"])
    options = {"optimizer": SGD(0.1), "samples": width, "batch_size": width}
    packed = trained(network, 2, **options)
    reference = trained(network, backend="numpy", **options)
    assert difference(packed, reference) <= TOLERANCE[dtype]


# choices


@pytest.mark.parametrize(
    ("level_1", "level_2", "block", "forward"),
    [(48 << 10, 2 << 20, 256, True), (16 << 10, 1 << 20, (1 << 18), False)],
)
def test_panels_fit_the_caches(monkeypatch, level_1, level_2, block, forward):
    monkeypatch.setattr(choose, "data_cache", {1: level_1, 2: level_2}.get)
    way = choose.packing(1024, 1024, 256)
    assert way is not None
    row = NV * TARGET.vector_bytes
    assert (way.block, way.forward) == (block if forward else block // row, forward)


def test_what_is_packed():
    assert choose.packing(1024, 1024, 64) is not None
    assert choose.packing(1024, 1024, 63) is None
    assert choose.packing(512, 512, 128) is not None
    assert choose.packing(400, 800, 512) is not None
    assert choose.packing(2048, 100, 256) is None
    assert choose.packing(300, 300, 512) is None


def test_sizes_of_caches_are_read(monkeypatch, tmp_path):
    for number, lines in enumerate(
        [("Data", "1", "48K"), ("Instruction", "1", "32K"), ("Unified", "2", "2M"),
         ("Unified", "3", "strange")]
    ):  # fmt: skip
        folder = tmp_path / f"index{number}"
        folder.mkdir()
        for name, line in zip(("type", "level", "size"), lines, strict=True):
            (folder / name).write_text(line + "\n")
    read = caches.data_cache.__wrapped__
    monkeypatch.setattr(caches, "_SYSTEM", tmp_path)
    assert [read(1), read(2)] == [48 << 10, 2 << 20]
    (tmp_path / "index0" / "size").write_text("")
    (tmp_path / "index2" / "type").unlink()
    assert [read(1), read(2)] == [32 << 10, 512 << 10]
    monkeypatch.setattr(caches, "_SYSTEM", tmp_path / "nowhere")
    assert [read(1), read(2)] == [32 << 10, 512 << 10]
