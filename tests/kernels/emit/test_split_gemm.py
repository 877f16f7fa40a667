"""Products of bfloat16 parts: the reference's, operation by operation, on every edge."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastmlp.kernels.emit.activations import ACTIVATIONS
from fastmlp.kernels.emit.optimizers import ADD, STORE
from fastmlp.kernels.emit.target import current_target
from fastmlp.kernels.jit.registry import SPLIT, launch
from fastmlp.reference.products import product

TARGET = current_target()
MR, NV, LENGTH = TARGET.tile_rows, TARGET.tile_vectors, TARGET.vector_bytes // 4
IDENTITY = ACTIVATIONS["identity"]
ROWS = (MR, 3 * MR)
COLUMNS = (1, LENGTH, NV * LENGTH, NV * LENGTH + 1)
DEPTHS = (1, 2, 31, 64, 77)
# Of a product, what two operands lose: the first part leaves 2^-8 of one, the second 2^-16; of two
# parts the product of the second ones, 2^-16, is left out as well.
BOUND = {1: 2 * 2**-8, 2: 3 * 2**-16}


def room(rows: int, elements: int) -> np.ndarray:
    return np.full((rows, elements), np.nan, np.float32)


def padded(n: int, unit: int) -> int:
    return -(-n // unit) * unit


def packed(kernel: str, parts: int, size: int, **values: int) -> np.ndarray:
    """Return what a packing kernel writes."""
    dst = np.zeros(size, np.uint32)
    launch(f"{kernel}_{SPLIT[parts]}", "float32", dst=dst.ctypes.data, **values)
    return dst


def rows_left(a: np.ndarray, parts: int) -> tuple[np.ndarray, int]:
    ld = padded(a.shape[1], 2 * LENGTH) * 2 * parts
    dst = packed(
        "split_rows_left", parts, len(a) * ld // 4, ldd=ld, src=a.ctypes.data, lds=a.strides[0],
        n=a.shape[1], rows=len(a),
    )  # fmt: skip
    return dst, ld


def columns(side: str, a: np.ndarray, parts: int) -> np.ndarray:
    pairs = -(-len(a) // 2)
    return packed(
        f"pack_columns_{side}", parts, padded(a.shape[1], 16) * pairs * parts,
        src=a.ctypes.data, lds=a.strides[0], first=0, k=len(a), n=a.shape[1], depth=pairs,
    )  # fmt: skip


def forward(a: np.ndarray, w: np.ndarray, parts: int, block: int) -> np.ndarray:
    (rows, k), n = a.shape, w.shape[1]
    c, bias = room(rows, padded(n, LENGTH)), np.zeros(padded(n, LENGTH), np.float32)
    (left, ld), right = rows_left(a, parts), columns("right", w, parts)
    launch(
        f"packed_forward_{SPLIT[parts]}", "float32", out=c.ctypes.data, ldo=c.strides[0],
        a=left.ctypes.data, lda=ld, b=right.ctypes.data, depth=-(-k // 2), k=-(-k // 2),
        begin=bias.ctypes.data, code=IDENTITY, kept=0, tiles=rows // MR, vectors=-(-n // LENGTH),
        block=block,
    )  # fmt: skip
    return c[:, :n]


def backward(a: np.ndarray, w: np.ndarray, parts: int, block: int) -> np.ndarray:
    """As `forward`, of W^T."""
    (rows, k), n = a.shape, w.shape[1]
    e, zeros = room(rows, padded(n, LENGTH)), np.zeros(NV * LENGTH, np.float32)
    wt, vectors = np.ascontiguousarray(w.T), -(-n // LENGTH)
    (left, ld) = rows_left(a, parts)
    right = packed(
        "pack_rows_right", parts, -(-k // 2) * parts * vectors * LENGTH, src=wt.ctypes.data,
        lds=wt.strides[0], first=0, rows=n, vectors=vectors, depth=k,
    )  # fmt: skip
    launch(
        f"packed_backward_{SPLIT[parts]}", "float32", out=e.ctypes.data, ldo=e.strides[0],
        a=left.ctypes.data, lda=ld, b=right.ctypes.data, depth=-(-k // 2), k=-(-k // 2),
        begin=zeros.ctypes.data, code=IDENTITY, kept=0, tiles=rows // MR, vectors=vectors,
        block=block,
    )  # fmt: skip
    return e[:, :n]


def update(a: np.ndarray, w: np.ndarray, parts: int, block: int) -> np.ndarray:
    """As `forward`, of the transpose of a; stored, and added once more."""
    (rows, k), n = a.shape, w.shape[1]
    g = room(rows, padded(n, LENGTH))
    left = columns("left", np.ascontiguousarray(a.T), parts)
    right = columns("right", w, parts)
    for code in (STORE, ADD):
        launch(
            f"packed_update_{SPLIT[parts]}", "float32", w=g.ctypes.data, ldw=g.strides[0],
            a=left.ctypes.data, d=right.ctypes.data, k=-(-k // 2), code=code, state=0, hyper=0,
            tiles=rows // MR, vectors=-(-n // LENGTH),
        )  # fmt: skip
    return g[:, :n] / 2


WAYS = {"forward": forward, "backward": backward, "update": update}


@pytest.mark.parametrize("parts", SPLIT)
@pytest.mark.parametrize("way", WAYS)
def test_products_are_the_reference_s(way, parts):
    rng = np.random.default_rng(0)
    for rows, n, k in itertools.product(ROWS, COLUMNS, DEPTHS):
        a = rng.standard_normal((rows, k)).astype(np.float32)
        w = rng.standard_normal((k, n)).astype(np.float32)
        ours, theirs = WAYS[way](a, w, parts, 16), product(a, w, parts)
        size = np.abs(a) @ np.abs(w)
        assert (np.abs(ours - theirs) / size).max() < 1e-6
        error = np.abs(theirs - a.astype(np.float64) @ w) / size
        assert error.max() < 1.01 * BOUND[parts]


@pytest.mark.parametrize("parts", SPLIT)
@pytest.mark.parametrize("way", WAYS)
def test_products_of_small_integers_are_exact(way, parts):
    rng = np.random.default_rng(1)
    low = {1: 255, 2: 32767}[parts]  # that so many parts hold
    for rows, n, k in itertools.product(ROWS, COLUMNS, DEPTHS):
        a = rng.integers(-low, low + 1, (rows, k)).astype(np.float32)
        w = rng.integers(-2, 3, (k, n)).astype(np.float32)
        assert np.array_equal(WAYS[way](a, w, parts, 1024), a @ w)


@pytest.mark.filterwarnings("ignore:invalid value")  # inf times a second part of 0
@pytest.mark.parametrize("parts", SPLIT)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_finite_stays_so(way, parts):
    a, w = np.ones((MR, 5), np.float32), np.ones((5, 3), np.float32)
    a[0, 1], a[1, 2], a[2, 4] = np.inf, np.nan, -np.inf
    found = WAYS[way](a, w, parts, 16)
    assert np.array_equal(found, product(a, w, parts), equal_nan=True)
    assert not np.isfinite(found[:3]).any()
    if parts == 1:
        assert found[0, 0] == np.inf
        assert found[2, 0] == -np.inf


def test_the_order_of_blocks_does_not_show():
    rng = np.random.default_rng(2)
    a = rng.standard_normal((2 * MR, 100)).astype(np.float32)
    w = rng.standard_normal((100, 40)).astype(np.float32)
    for way, parts in itertools.product((forward, backward), SPLIT):
        whole = way(a, w, parts, 1024)
        assert all(np.array_equal(whole, way(a, w, parts, block)) for block in (1, 16, 48))
