"""Operands as bfloat16 parts: every pair in its place, nothing beside them; their products."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastmlp.kernels.emit.target import current_target
from fastmlp.kernels.jit.registry import SPLIT, launch
from fastmlp.reference.products import split

TARGET = current_target()
MR, NV, LENGTH = TARGET.tile_rows, TARGET.tile_vectors, TARGET.vector_bytes // 4
NOTHING = 0xABABABAB  # what lies where nothing is written
SIZES = (1, 7, 8, 9, 15, 16, 17, 31, 33, 48, 65)
DEPTHS = (1, 2, 5, 16, 19, 35)


def apart(matrix: np.ndarray, gap: int) -> np.ndarray:
    """Return a copy whose rows lie further apart and whose end is that of its memory."""
    rows, n = matrix.shape
    flat = np.full(rows * (n + gap) - gap, np.nan, np.float32)
    copy = np.lib.stride_tricks.as_strided(flat, matrix.shape, ((n + gap) * 4, 4))
    copy[...] = matrix
    return copy


def drawn(rows: int, columns: int, gap: int = 0) -> np.ndarray:
    """Return numbers of every kind: normal, large, infinite, none."""
    rng = np.random.default_rng(rows * 100 + columns)
    matrix = rng.standard_normal((rows, columns)) * 10.0 ** rng.integers(-20, 30, (rows, columns))
    matrix = matrix.astype(np.float32)
    some = rng.random(matrix.shape) < 0.1
    matrix[some] = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38, 1.00390625], some.sum())
    return apart(matrix, gap)


def paired(matrix: np.ndarray, parts: int) -> np.ndarray:
    """Return (k, n) as pairs of k, in parts: (pairs, parts, n) of uint32."""
    matrix = np.pad(matrix, ((0, len(matrix) % 2), (0, 0)))
    halves = np.stack([part.view(np.uint32) >> 16 for part in split(matrix, parts)], 1)
    return halves[0::2] | halves[1::2] << 16


def blocks(pairs: np.ndarray, width: int, unit: int) -> np.ndarray:
    """Return pairs in blocks of so many columns, the last one in whole units, end to end."""
    padded = np.pad(pairs, ((0, 0), (0, 0), (0, -pairs.shape[2] % unit)))
    cuts = range(0, padded.shape[2], width)
    return np.concatenate([padded[:, :, i : i + width].ravel() for i in cuts])


def right(pairs: np.ndarray) -> np.ndarray:
    return blocks(pairs, NV * LENGTH, LENGTH)


def check(packed: np.ndarray, expected: np.ndarray) -> None:
    """Compare what is packed; NaN may have any bits of one."""
    assert np.array_equal(packed[: expected.size], expected)
    assert (packed[expected.size :] == NOTHING).all()


@pytest.mark.parametrize("parts", SPLIT)
@pytest.mark.parametrize("side", ["left", "right"])
def test_columns_are_split_in_parts(side, parts):
    for n, k, gap in itertools.product(SIZES, DEPTHS, (0, 3)):
        source = drawn(k, n, gap)
        pairs = paired(source, parts)
        expected = right(pairs) if side == "right" else blocks(pairs, MR, MR)
        packed = np.full(expected.size + 64, NOTHING, np.uint32)
        cuts = sorted({0, k // 4 * 2, k})
        for first, end in itertools.pairwise(cuts):
            launch(
                f"pack_columns_{side}_{SPLIT[parts]}", "float32", dst=packed.ctypes.data,
                src=source[first:].ctypes.data, lds=source.strides[0], first=first // 2,
                k=end - first, n=n, depth=-(-k // 2),
            )  # fmt: skip
        check(packed, expected)


@pytest.mark.parametrize("parts", SPLIT)
def test_rows_are_split_in_parts(parts):
    for n, depth, gap in itertools.product(SIZES, DEPTHS, (0, 3)):
        source = drawn(n, depth, gap)
        expected = right(paired(np.ascontiguousarray(source.T), parts))
        packed = np.full(expected.size + 64, NOTHING, np.uint32)
        vectors = -(-n // LENGTH)
        for first, end in itertools.pairwise(sorted({0, vectors // 2, vectors})):
            launch(
                f"pack_rows_right_{SPLIT[parts]}", "float32", dst=packed.ctypes.data,
                src=source[first * LENGTH :].ctypes.data, lds=source.strides[0], first=first,
                rows=min(end * LENGTH, n) - first * LENGTH, vectors=vectors, depth=depth,
            )  # fmt: skip
        check(packed, expected)


@pytest.mark.parametrize("parts", SPLIT)
def test_rows_of_the_left_operand_keep_their_order(parts):
    for rows, n, gap in itertools.product((1, 3), SIZES, (0, 3)):
        source = drawn(rows, n, gap)
        whole = -(-n // (2 * LENGTH)) * 2 * LENGTH
        pairs = paired(np.pad(source, ((0, 0), (0, whole - n))).T, parts)
        expected = pairs.transpose(2, 1, 0).ravel()
        packed = np.full(expected.size + 64, NOTHING, np.uint32)
        launch(
            f"split_rows_left_{SPLIT[parts]}", "float32", dst=packed.ctypes.data,
            ldd=whole * 2 * parts, src=source.ctypes.data, lds=source.strides[0], n=n, rows=rows,
        )  # fmt: skip
        check(packed, expected)
