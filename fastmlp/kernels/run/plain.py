"""Operations on a caller's arrays as they lie: what they need is checked and allocated already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from ..emit.activations import ACTIVATIONS
from ..emit.losses import OUTPUTS
from ..emit.matrix_product import COLUMN_BLOCK, K_BLOCK, ROW_BLOCK
from ..emit.target import current_target
from ..program.operation import NOWHERE, At, Share, Slot, Value, cut
from . import choose
from .calls import call
from .source import loss_of

__all__ = ["activate", "backward", "count_to", "dense", "loss", "outputs"]

OUT, X, W, BIAS = Slot.OUT, Slot.X, Slot.PARAMETERS, Slot.BIAS
DELTA, GRADIENT, HYPER = Slot.DELTA, Slot.GRADIENT, Slot.HYPER

_LINE = 64  # elements of arrays without gaps that stay together
_ROOM = (ROW_BLOCK + COLUMN_BLOCK) * K_BLOCK  # elements, of which few may be used
_TARGET = current_target()

_Operand = tuple[Slot, np.ndarray]


@cache
def _one(dtype: np.dtype) -> np.ndarray:
    """Return a 1, whose product with delta is delta."""
    return np.ones(1, dtype)


def _strides(array: np.ndarray) -> tuple[int, int]:
    """Return the bytes from row to row, and from column to column if there are several."""
    down, across = array.strides
    return down, array.itemsize if array.shape[1] <= 1 else across


def _add_product(
    share: Share, t: int, shares: int, to: _Operand, left: _Operand, right: _Operand,
    bias: At = NOWHERE, activation: str = "identity",
) -> int:  # fmt: skip
    """Add share t's part of C = bias + A B, then the activation: whole tiles of matrices as they
    lie. Return the bytes of its room for packed operands: the same for all products of a call,
    which not all shares are at at a time.
    """
    (of_c, c), (of_a, a), (of_b, b) = to, left, right
    (rows, k), columns, item = a.shape, b.shape[1], a.itemsize
    (lda, step_a), (ldb, step_b), ldc = _strides(a), _strides(b), c.strides[0]
    down, across = choose.grid(rows, columns, shares)
    packs_a, packs_b = choose.packed_operands(
        -(-rows // down), -(-columns // across), k, item, (lda, step_a, ldb, step_b)
    )
    size = _ROOM * item if packs_a or packs_b else 0
    room_a = At(Slot.WORKSPACE, t * size)
    room_b = room_a + packs_a * ROW_BLOCK * min(k, K_BLOCK) * item
    if t >= down * across:
        return size
    top, bottom = cut(rows, down, t // across, _TARGET.tile_rows)
    begin, end = cut(
        columns, across, t % across, _TARGET.tile_vectors * _TARGET.vector_bytes // item
    )
    rows, columns = bottom - top, end - begin
    if not rows * columns:
        return size
    place = At(of_c, top * ldc + begin * item)
    share.add(
        "matrix_product", c=place, ldc=ldc, a=At(of_a, top * lda), lda=lda, step_a=step_a,
        b=At(of_b, begin * step_b), ldb=ldb, step_b=step_b,
        bias=bias if bias == NOWHERE else bias + begin * item, rows=rows, columns=columns,
        k=k, room_a=room_a if packs_a else NOWHERE, room_b=room_b if packs_b else NOWHERE,
    )  # fmt: skip
    if activation != "identity":
        if columns * item == ldc:
            rows, columns = 1, rows * columns  # without gaps: no vector is left half empty
        share.add(
            "activate_rows", y=place, ldy=ldc, slope=NOWHERE, lds=0, x=place, ldx=ldc, rows=rows,
            columns=columns, code=ACTIVATIONS[activation],
        )  # fmt: skip
    return size


def dense(
    x: np.ndarray, weights: np.ndarray, bias: np.ndarray | None, activation: str, out: np.ndarray
) -> None:
    """out = f(x W + b); rows of `out` are contiguous."""
    (n, n_in), n_out, dtype = x.shape, weights.shape[1], weights.dtype
    if not out.size:
        return
    item = dtype.itemsize
    if item not in weights.strides:  # rows or columns have to be contiguous to be packed
        weights = np.ascontiguousarray(weights)
    flops = 2 * max(n, choose.WAITING_ROWS) * n_in * n_out
    if activation != "identity":
        flops += choose.ELEMENTWISE_FLOPS * n * n_out
    key = (
        "dense", dtype.num, n, n_in, n_out, x.strides, weights.strides, out.strides,
        bias is None, activation,
    )  # fmt: skip

    def build(share: Share, t: int, shares: int) -> int:
        at = NOWHERE if bias is None else At(BIAS)
        return _add_product(share, t, shares, (OUT, out), (X, x), (W, weights), at, activation)

    call(
        key, flops * item // 4, build, dtype, (activation,), (OUT, out), (X, x), (W, weights),
        (BIAS, 0 if bias is None else np.ascontiguousarray(bias)),
    )  # fmt: skip


def backward(
    delta: np.ndarray, x: np.ndarray, weights: np.ndarray,
    results: tuple[np.ndarray, np.ndarray, np.ndarray | None],
) -> None:  # fmt: skip
    """Write x^T delta, the sum of delta and delta W^T, whose rows are contiguous, to `results`."""
    (n, n_in), n_out, dtype = x.shape, weights.shape[1], weights.dtype
    dw, db, dx = results
    item = dtype.itemsize
    if item not in delta.strides:
        delta = np.ascontiguousarray(delta)
    if item not in weights.strides:
        weights = np.ascontiguousarray(weights)
    key = (
        "backward", dtype.num, n, n_in, n_out, delta.strides, x.strides, weights.strides,
        dw.strides, None if dx is None else dx.strides,
    )  # fmt: skip
    one = _one(dtype)

    def build(share: Share, t: int, shares: int) -> int:
        d = DELTA, delta
        ones = HYPER, np.broadcast_to(one, (1, n))
        products = [((GRADIENT, dw), (X, x.T), d), ((BIAS, db[None]), ones, d)]
        if dx is not None:
            products.append(((OUT, dx), d, (W, weights.T)))
        return max(_add_product(share, t, shares, *product) for product in products)

    flops = (4 if dx is None else 6) * n * n_in * n_out * item // 4
    call(
        key, flops, build, dtype, (), (DELTA, delta), (X, x), (W, weights), (GRADIENT, dw),
        (BIAS, db), (OUT, 0 if dx is None else dx), (HYPER, one),
    )  # fmt: skip


def _over_rows(
    kernel: str, z: np.ndarray, arrays: Mapping[str, _Operand], values: Mapping[str, Value],
    others: Sequence[tuple[Slot, np.ndarray | int]] = (), activations: Sequence[str] = (),
    flat: bool = False,
) -> None:  # fmt: skip
    """Run a kernel over the rows of z or, of arrays without gaps, `flat`, over all elements, on as
    many threads as pay.

    The `arrays`, by field and with the slots that they come in, are shaped as z or have an element
    for each of its rows; the `values` are those of the other fields, and what they say of `others`
    is where these are.
    """
    dtype, size, item = z.dtype, z.size, z.itemsize
    count, strides = size, [item] * len(arrays)
    if not flat:
        count, strides = len(z), [array.strides[0] for _, array in arrays.values()]

    def build(share: Share, t: int, shares: int) -> None:
        first, last = cut(count, shares, t, _LINE if flat else 1)
        if first < last:
            some = {"columns" if flat else "rows": last - first}
            places = {
                field: At(slot, first * stride)
                for (field, (slot, _)), stride in zip(arrays.items(), strides, strict=True)
            }
            share.add(kernel, **some, **places, **values)

    key = kernel, dtype.num, count, *strides, *values.values()
    flops = choose.ELEMENTWISE_FLOPS * size * item // 4
    call(key, flops, build, dtype, activations, *arrays.values(), *others)


def activate(activation: str, z: np.ndarray, out: np.ndarray, derivative: np.ndarray) -> None:
    """Write f(z) to `out`, f'(z) to `derivative`; all are contiguous."""
    if z.size:
        arrays = {"y": (OUT, out), "slope": (Slot.DERIVATIVE, derivative), "x": (X, z)}
        values = {"ldy": 0, "lds": 0, "ldx": 0, "rows": 1, "code": ACTIVATIONS[activation]}
        _over_rows("activate_rows", z, arrays, values, (), (activation,), flat=True)


def outputs(logits: np.ndarray, output: str, out: np.ndarray) -> None:
    """Write the outputs of logits to `out`: matrices whose rows are contiguous."""
    if logits.size:
        values = {
            "ldo": out.strides[0], "ldz": logits.strides[0], "n": logits.shape[1],
            "code": OUTPUTS[output],
        }  # fmt: skip
        _over_rows("output_of_rows", logits, {"out": (OUT, out), "z": (X, logits)}, values)


_numbers = np.arange(1024)


def count_to(n: int) -> np.ndarray:
    """Return at least the numbers 0 to n - 1."""
    global _numbers
    if len(_numbers) < n:
        _numbers = np.arange(max(n, 2 * len(_numbers)))
    return _numbers


def loss(
    logits: np.ndarray, y: np.ndarray, weight: np.ndarray | None, names: tuple[str, str],
    delta: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Write ``w dL/dz`` to `delta`, and return ``w L`` of each row.

    All but y are contiguous, and y too where it is no labels.
    """
    n = len(logits)
    losses, correct, order = np.empty(n), np.empty(n, np.int64), count_to(n)
    kernel, targets = loss_of(names, y.strides)
    values = {
        "ldz": logits.strides[0], "n": logits.shape[1],
        "weight": NOWHERE if weight is None else At(Slot.WEIGHT), **dict(targets),
    }  # fmt: skip
    arrays = {
        "d": (DELTA, delta), "loss": (Slot.LOSSES, losses), "correct": (Slot.CORRECT, correct),
        "z": (X, logits), "order": (Slot.ORDER, order),
    }  # fmt: skip
    others = (Slot.Y, y), (Slot.WEIGHT, 0 if weight is None else weight)
    _over_rows(f"{kernel}_of_rows", logits, arrays, values, others)
    return losses
