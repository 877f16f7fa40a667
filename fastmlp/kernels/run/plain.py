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
from .calls import Call, address_of, call

__all__ = ["activate", "backward", "count_to", "dense", "loss", "outputs"]

OUT, X, W, BIAS, DELTA = Slot.OUT, Slot.X, Slot.PARAMETERS, Slot.BIAS, Slot.DELTA


@cache
def _one(dtype: np.dtype) -> np.ndarray:
    """Return a 1, whose product with delta is delta."""
    return np.ones(1, dtype)


def _matrix(slot: Slot, array: np.ndarray) -> Matrix:
    down, across = array.strides
    item = array.itemsize
    return Matrix(At(slot), down, item if array.shape[1] <= 1 else across)


def _product(
    shares: int, c: Matrix, a: Matrix, b: Matrix, shape: tuple[int, int, int], item: int,
    bias: At | None = None, activation: str = "identity",
) -> Product:  # fmt: skip
    """Return a product of this shape (rows, columns, k), cut for so many threads."""
    rows, columns, k = shape
    grid = choose.grid(rows, columns, shares)
    strides = (a.down, a.across, b.down, b.across)
    packed = choose.packed_operands(-(-rows // grid[0]), -(-columns // grid[1]), k, item, strides)
    return Product(c, a, b, bias, rows, columns, k, item, packed, grid, activation)


def _call_of(dtype: np.dtype, shares: int, products: Sequence[Product]) -> Call:
    def build(share: Share, t: int) -> None:
        for product in products:
            add_product(share, t, product)

    phases = [Phase.of("products", shares, build)]
    room = shares * max(sum(product.rooms) for product in products)
    activations = [product.activation for product in products]
    return Call(dtype.name, shares, phases, activations=activations, room=room)


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
        product = _product(
            threads, _matrix(OUT, out), _matrix(X, x), _matrix(W, weights), (n, n_out, n_in),
            item, None if bias is None else At(BIAS), activation,
        )  # fmt: skip
        return _call_of(dtype, threads, [product])

    flops = flops * item // 4
    places = ((OUT, address_of(out)), (X, address_of(x)), (W, address_of(weights)))
    if bias is None:
        call(key, flops, make, *places)
    else:
        bias = np.ascontiguousarray(bias)
        call(key, flops, make, *places, (BIAS, address_of(bias)))


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

    def make(threads: int) -> Call:
        d, a, w = _matrix(DELTA, delta), _matrix(X, x), _matrix(W, weights)
        gradient, sums = _matrix(Slot.GRADIENT, dw), Matrix(At(BIAS), 0, item)
        ones = Matrix(At(Slot.HYPER), 0, 0)
        products = [
            _product(threads, gradient, a.transposed, d, (n_in, n_out, n), item),
            _product(threads, sums, ones, d, (1, n_out, n), item),
        ]
        if dx is not None:
            c = _matrix(OUT, dx)
            products.append(_product(threads, c, d, w.transposed, (n, n_in, n_out), item))
        return _call_of(dtype, threads, products)

    flops = (4 if dx is None else 6) * n * n_in * n_out * item // 4
    call(
        key, flops, make, (DELTA, address_of(delta)), (X, address_of(x)), (W, address_of(weights)),
        (Slot.GRADIENT, address_of(dw)), (BIAS, address_of(db)),
        (OUT, 0 if dx is None else address_of(dx)), (Slot.HYPER, address_of(_one(dtype))),
    )  # fmt: skip


def _over_rows(
    kernel: str, z: np.ndarray, arrays: dict[str, tuple[Slot, np.ndarray]],
    activations: Sequence[str] = (), others: Sequence[tuple[int, int]] = (), **values: int | At,
) -> None:  # fmt: skip
    """Run a kernel over the rows of z, on as many threads as pay.

    The `arrays`, by field and with the slots that they come in, have a row for each of them; the
    `values` are those of the other fields, and what they say of `others` is where these are.
    """
    rows, columns = z.shape
    flops = choose.ELEMENTWISE_FLOPS * rows * columns * z.itemsize // 4
    moving = [(field, slot, array.strides[0]) for field, (slot, array) in arrays.items()]

    def make(threads: int) -> Call:
        def build(share: Share, t: int) -> None:
            first, last = cut(rows, threads, t)
            if first < last:
                places = {field: At(slot, first * stride) for field, slot, stride in moving}
                share.add(kernel, rows=last - first, **places, **values)

        phases = [Phase.of("rows", threads, build)]
        return Call(z.dtype.name, threads, phases, activations=activations)

    key = kernel, z.dtype.num, rows, columns, *moving, *values.values()
    places = [(slot, address_of(array)) for slot, array in arrays.values()]
    call(key, flops, make, *places, *others)


def activate(z: np.ndarray, activation: str, out: np.ndarray, derivative: np.ndarray) -> None:
    """Write f(z) to `out`, f'(z) to `derivative`: matrices whose rows are contiguous."""
    if z.size:
        arrays = {"y": (OUT, out), "slope": (Slot.DERIVATIVE, derivative), "x": (X, z)}
        _over_rows(
            "activate_rows", z, arrays, [activation], ldy=out.strides[0],
            lds=derivative.strides[0], ldx=z.strides[0], columns=z.shape[1],
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
    values: dict[str, Any] = {"t": At(Slot.Y), "ldt": y.strides[0]}
    kernel = "elementwise_loss_of_rows"
    if names[0] != "softmax":
        values["code"] = ELEMENTWISE[names]
    elif y.ndim == 2:
        kernel = "softmax_targets_of_rows"
    else:
        kernel, values = "softmax_labels_of_rows", {"y": At(Slot.Y)}
    others = [(Slot.Y, address_of(y))]
    if weight is not None:
        others.append((Slot.WEIGHT, address_of(weight)))
    arrays = {
        "d": (DELTA, delta), "loss": (Slot.LOSSES, losses), "correct": (Slot.CORRECT, correct),
        "z": (X, logits), "order": (Slot.ORDER, order),
    }  # fmt: skip
    _over_rows(
        kernel, logits, arrays, others=others, ldz=logits.strides[0], n=logits.shape[1],
        weight=NOWHERE if weight is None else At(Slot.WEIGHT), **values,
    )  # fmt: skip
    return losses
