"""Operations on a caller's arrays as they lie: what they need is checked and allocated already."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..emit.activations import ACTIVATIONS
from ..emit.losses import OUTPUTS
from ..emit.matrix_product import COLUMN_BLOCK, K_BLOCK, ROW_BLOCK
from ..emit.target import current_target
from ..program.operation import NOWHERE, At, Phase, Share, Slot, Value, cut
from . import choose
from .calls import Call, call
from .source import loss_of

__all__ = ["activate", "backward", "count_to", "dense", "loss", "outputs"]

OUT, X, W, BIAS = Slot.OUT, Slot.X, Slot.PARAMETERS, Slot.BIAS
DELTA, GRADIENT, HYPER = Slot.DELTA, Slot.GRADIENT, Slot.HYPER

_LINE = 64  # elements of arrays without gaps that stay together
_TARGET = current_target()

_Operand = tuple[Slot, np.ndarray]


@cache
def _one(dtype: np.dtype) -> np.ndarray:
    """Return a 1, whose product with delta is delta."""
    return np.ones(1, dtype)


class _Product(NamedTuple):
    """C = bias + A B, then the activation, of matrices as they lie."""

    c: _Operand
    a: _Operand
    b: _Operand
    bias: At = NOWHERE
    activation: str = "identity"


def _strides(array: np.ndarray) -> tuple[int, int]:
    """Return the bytes from row to row, and from column to column if there are several."""
    down, across = array.strides
    return down, array.itemsize if array.shape[1] <= 1 else across


def _add_product(share: Share, t: int, shares: int, p: _Product) -> int:
    """Add share t's part of a product, whole tiles of it; return the bytes that it is packed in."""
    (of_c, c), (of_a, a), (of_b, b) = p.c, p.a, p.b
    (rows, k), columns, item = a.shape, b.shape[1], a.itemsize
    (lda, step_a), (ldb, step_b), ldc = _strides(a), _strides(b), c.strides[0]
    down, across = choose.grid(rows, columns, shares)
    packed = choose.packed_operands(
        -(-rows // down), -(-columns // across), k, item, (lda, step_a, ldb, step_b)
    )
    room_a, room_b = (
        is_packed * block * K_BLOCK * item
        for is_packed, block in zip(packed, (ROW_BLOCK, COLUMN_BLOCK), strict=True)
    )
    both, room = room_a + room_b, At(Slot.WORKSPACE, t * (room_a + room_b))
    if t >= down * across:
        return both
    top, bottom = cut(rows, down, t // across, _TARGET.tile_rows)
    left, right = cut(
        columns, across, t % across, _TARGET.tile_vectors * _TARGET.vector_bytes // item
    )
    rows, columns = bottom - top, right - left
    if not rows * columns:
        return both
    place = At(of_c, top * ldc + left * item)
    share.add(
        "matrix_product", c=place, ldc=ldc, a=At(of_a, top * lda), lda=lda, step_a=step_a,
        b=At(of_b, left * step_b), ldb=ldb, step_b=step_b,
        bias=p.bias if p.bias == NOWHERE else p.bias + left * item, rows=rows, columns=columns,
        k=k, room_a=room if room_a else NOWHERE, room_b=room + room_a if room_b else NOWHERE,
    )  # fmt: skip
    if p.activation != "identity":
        if columns * item == ldc:
            rows, columns = 1, rows * columns  # without gaps: no vector is left half empty
        share.add(
            "activate_rows", y=place, ldy=ldc, slope=NOWHERE, lds=0, x=place, ldx=ldc, rows=rows,
            columns=columns, code=ACTIVATIONS[p.activation],
        )  # fmt: skip
    return both


def _products(dtype: np.dtype, shares: int, *products: _Product) -> Call:
    """Return a call that makes products, of each of which a share has a part of its own."""
    room: list[int] = []

    def build(share: Share, t: int) -> None:
        room.extend(_add_product(share, t, shares, p) for p in products)

    phases = [Phase.of("products", shares, build)]
    activations = [p.activation for p in products]
    return Call(dtype.name, shares, phases, activations=activations, room=shares * max(room))


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

    def make(threads: int) -> Call:
        at = NOWHERE if bias is None else At(BIAS)
        product = _Product((OUT, out), (X, x), (W, weights), at, activation)
        return _products(dtype, threads, product)

    call(
        key, flops * item // 4, make, (OUT, out), (X, x), (W, weights),
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

    def make(threads: int) -> Call:
        d = DELTA, delta
        ones = HYPER, np.broadcast_to(one, (1, n))
        products = [_Product((GRADIENT, dw), (X, x.T), d), _Product((BIAS, db[None]), ones, d)]
        if dx is not None:
            products.append(_Product((OUT, dx), d, (W, weights.T)))
        return _products(dtype, threads, *products)

    flops = (4 if dx is None else 6) * n * n_in * n_out * item // 4
    call(
        key, flops, make, (DELTA, delta), (X, x), (W, weights), (GRADIENT, dw), (BIAS, db),
        (OUT, 0 if dx is None else dx), (HYPER, one),
    )  # fmt: skip


def _over_rows(
    kernel: str, z: np.ndarray, arrays: dict[str, _Operand], activations: Sequence[str] = (),
    others: Sequence[tuple[Slot, np.ndarray | int]] = (), *, flat: bool = False, **values: Value,
) -> None:  # fmt: skip
    """Run a kernel over the rows of z or, of arrays without gaps, `flat`, over all elements, on as
    many threads as pay.

    The `arrays`, by field and with the slots that they come in, are shaped as z or have an element
    for each of its rows; the `values` are those of the other fields, and what they say of `others`
    is where these are.
    """
    count, unit, cut_field = (z.size, _LINE, "columns") if flat else (len(z), 1, "rows")
    flops = choose.ELEMENTWISE_FLOPS * z.size * z.itemsize // 4
    strides = [array.itemsize if flat else array.strides[0] for _, array in arrays.values()]

    def make(threads: int) -> Call:
        def build(share: Share, t: int) -> None:
            first, last = cut(count, threads, t, unit)
            if first < last:
                places = {
                    field: At(slot, first * stride)
                    for (field, (slot, _)), stride in zip(arrays.items(), strides, strict=True)
                }
                share.add(kernel, **{cut_field: last - first}, **places, **values)

        phases = [Phase.of("rows", threads, build)]
        return Call(z.dtype.name, threads, phases, activations=activations)

    key = kernel, z.dtype.num, count, *strides, *values.values()
    call(key, flops, make, *arrays.values(), *others)


def activate(activation: str, z: np.ndarray, out: np.ndarray, derivative: np.ndarray) -> None:
    """Write f(z) to `out`, f'(z) to `derivative`; all are contiguous."""
    if z.size:
        arrays = {"y": (OUT, out), "slope": (Slot.DERIVATIVE, derivative), "x": (X, z)}
        _over_rows(
            "activate_rows", z, arrays, [activation], flat=True, ldy=0, lds=0, ldx=0, rows=1,
            code=ACTIVATIONS[activation],
        )  # fmt: skip


def outputs(logits: np.ndarray, output: str, out: np.ndarray) -> None:
    """Write the outputs of logits to `out`: matrices whose rows are contiguous."""
    if logits.size:
        _over_rows(
            "output_of_rows", logits, {"out": (OUT, out), "z": (X, logits)}, ldo=out.strides[0],
            ldz=logits.strides[0], n=logits.shape[1], code=OUTPUTS[output],
        )  # fmt: skip


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
    values: dict[str, Any] = dict(targets)
    arrays = {
        "d": (DELTA, delta), "loss": (Slot.LOSSES, losses), "correct": (Slot.CORRECT, correct),
        "z": (X, logits), "order": (Slot.ORDER, order),
    }  # fmt: skip
    others = (Slot.Y, y), (Slot.WEIGHT, 0 if weight is None else weight)
    _over_rows(
        f"{kernel}_of_rows", logits, arrays, others=others, ldz=logits.strides[0],
        n=logits.shape[1], weight=NOWHERE if weight is None else At(Slot.WEIGHT), **values,
    )  # fmt: skip
    return losses
