"""Operations on a caller's arrays as they lie: what they need is checked and allocated already."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from ..emit.activations import ACTIVATIONS
from ..emit.losses import ELEMENTWISE, OUTPUTS
from ..program.calls import Matrix, Product, add_product
from ..program.operation import NOWHERE, At, Phase, Share, Slot, cut
from . import choose
from .calls import Call, call

__all__ = ["activate", "backward", "count_to", "dense", "loss", "outputs"]

OUT, X, W, BIAS = Slot.OUT, Slot.X, Slot.PARAMETERS, Slot.BIAS
DELTA, GRADIENT, HYPER = Slot.DELTA, Slot.GRADIENT, Slot.HYPER


@cache
def _one(dtype: np.dtype) -> np.ndarray:
    """Return a 1, whose product with delta is delta."""
    return np.ones(1, dtype)


def _matrix(slot: Slot, array: np.ndarray) -> Matrix:
    down, across = array.strides
    return Matrix(At(slot), down, array.itemsize if array.shape[1] <= 1 else across)


_Operand = tuple[Slot, np.ndarray]


def _product(
    shares: int, c: _Operand, a: _Operand, b: _Operand, bias: At | None = None,
    activation: str = "identity",
) -> Product:  # fmt: skip
    """Return a product, cut for so many threads."""
    (rows, k), columns, item = a[1].shape, b[1].shape[1], a[1].itemsize
    of_c, of_a, of_b = _matrix(*c), _matrix(*a), _matrix(*b)
    grid = choose.grid(rows, columns, shares)
    strides = (of_a.down, of_a.across, of_b.down, of_b.across)
    packed = choose.packed_operands(-(-rows // grid[0]), -(-columns // grid[1]), k, item, strides)
    return Product(of_c, of_a, of_b, bias, rows, columns, k, item, packed, grid, activation)


def _call_of(dtype: np.dtype, shares: int, products: Sequence[Product]) -> Call:
    room = max(sum(product.rooms) for product in products)  # of a share

    def build(share: Share, t: int) -> None:
        for product in products:
            add_product(share, t, product, room)

    phases = [Phase.of("products", shares, build)]
    activations = [product.activation for product in products]
    return Call(dtype.name, shares, phases, activations=activations, room=shares * room)


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
        at = None if bias is None else At(BIAS)
        product = _product(threads, (OUT, out), (X, x), (W, weights), at, activation)
        return _call_of(dtype, threads, [product])

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
        products = [
            _product(threads, (GRADIENT, dw), (X, x.T), d),
            _product(threads, (BIAS, db[None]), ones, d),
        ]
        if dx is not None:
            products.append(_product(threads, (OUT, dx), d, (W, weights.T)))
        return _call_of(dtype, threads, products)

    flops = (4 if dx is None else 6) * n * n_in * n_out * item // 4
    call(
        key, flops, make, (DELTA, delta), (X, x), (W, weights), (GRADIENT, dw), (BIAS, db),
        (OUT, 0 if dx is None else dx), (HYPER, one),
    )  # fmt: skip


def _over_rows(
    kernel: str, z: np.ndarray, arrays: dict[str, _Operand], activations: Sequence[str] = (),
    others: Sequence[tuple[Slot, np.ndarray | int]] = (), **values: int | At,
) -> None:  # fmt: skip
    """Run a kernel over the rows of z, on as many threads as pay.

    The `arrays`, by field and with the slots that they come in, have a row for each of them; the
    `values` are those of the other fields, and what they say of `others` is where these are.
    """
    rows, columns = z.shape
    flops = choose.ELEMENTWISE_FLOPS * rows * columns * z.itemsize // 4
    strides = [array.strides[0] for _, array in arrays.values()]

    def make(threads: int) -> Call:
        def build(share: Share, t: int) -> None:
            first, last = cut(rows, threads, t)
            if first < last:
                places = {
                    field: At(slot, first * stride)
                    for (field, (slot, _)), stride in zip(arrays.items(), strides, strict=True)
                }
                share.add(kernel, rows=last - first, **places, **values)

        phases = [Phase.of("rows", threads, build)]
        return Call(z.dtype.name, threads, phases, activations=activations)

    key = kernel, z.dtype.num, rows, columns, *strides, *values.values()
    call(key, flops, make, *arrays.values(), *others)


def activate(activation: str, z: np.ndarray, out: np.ndarray, derivative: np.ndarray) -> None:
    """Write f(z) to `out`, f'(z) to `derivative`; all are contiguous."""
    if z.size:
        row = z.strides[0]
        arrays = {"y": (OUT, out), "slope": (Slot.DERIVATIVE, derivative), "x": (X, z)}
        _over_rows(
            "activate_rows", z, arrays, [activation], ldy=row, lds=row, ldx=row,
            columns=z.shape[1], code=ACTIVATIONS[activation],
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
    targets: Any = At(Slot.Y)
    kernel, values = "softmax_labels_of_rows", {"y": targets}
    if y.ndim == 2:
        kernel, values = "softmax_targets_of_rows", {"t": targets, "ldt": y.strides[0]}
    if names[0] != "softmax":
        kernel, values["code"] = "elementwise_loss_of_rows", ELEMENTWISE[names]
    arrays = {
        "d": (DELTA, delta), "loss": (Slot.LOSSES, losses), "correct": (Slot.CORRECT, correct),
        "z": (X, logits), "order": (Slot.ORDER, order),
    }  # fmt: skip
    others = (Slot.Y, y), (Slot.WEIGHT, 0 if weight is None else weight)
    _over_rows(
        kernel, logits, arrays, others=others, ldz=logits.strides[0], n=logits.shape[1],
        weight=NOWHERE if weight is None else At(Slot.WEIGHT), **values,
    )  # fmt: skip
    return losses
