"""An optimizer's step over a caller's arrays as they lie, all of them in one call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...optimizers import Optimizer
from ..emit.optimizers import OPTIMIZERS, one_step
from ..program.operation import At, Share, Slot
from .calls import address_of, call

__all__ = ["step"]

Arrays = Sequence[np.ndarray]
_STEP_FLOPS = 4  # what stepping an element takes, in floating-point operations of a product


def _item(arrays: Arrays, rows: int, columns: int, hyper: int) -> list[int]:
    """Return the numbers of parameters, gradient and state, as `optimizer_items` takes them."""
    numbers = [rows, columns, hyper]
    for array in arrays:
        numbers += address_of(array), array.strides[0] if rows > 1 else 0
    return numbers


# what has to be copied to be stepped, and where a copy is brought back to: all but gradients are
_Copies = list[tuple[np.ndarray | None, np.ndarray]]


def _numbers(arrays: Arrays, dtype: np.dtype, hyper: int, copies: _Copies) -> list[int]:
    """Return the numbers of one parameter with its gradient and state."""
    one_row = 1, arrays[0].size, hyper  # of arrays without gaps
    for array in arrays:
        if array.dtype is not dtype or not array.flags.c_contiguous:
            break
    else:
        return _item(arrays, *one_row)
    if all(array.dtype == dtype for array in arrays):
        if all(array.flags.f_contiguous for array in arrays):
            return _item(arrays, *one_row)
        if all(array.ndim == 2 and array.strides[1] == array.itemsize for array in arrays):
            rows, columns = arrays[0].shape
            return _item(arrays, rows, columns, hyper)
    copied = [np.array(array, dtype, order="C") for array in arrays]
    copies += zip([arrays[0], None, *arrays[2:]], copied, strict=True)
    return _numbers(copied, dtype, hyper, copies)


def step(
    optimizer: Optimizer, rate: float, number: int, parameters: Arrays, gradients: Arrays,
    slots: Sequence[Arrays],
) -> None:  # fmt: skip
    """Step parameters and state in place; `number` counts from 1."""
    for dtype in {array.dtype for array in parameters}:
        hyper = one_step(optimizer, rate, number, dtype)
        of_weights = address_of(hyper)
        of_biases = of_weights + hyper.strides[0]
        copies: _Copies = []
        numbers, elements = list[int](), 0
        for w, *others in zip(parameters, gradients, *slots, strict=True):
            if w.dtype == dtype and w.size:
                row = of_weights if w.ndim == 2 else of_biases
                numbers += _numbers([w, *others], dtype, row, copies)
                elements += w.size
        if elements:
            _run(optimizer, dtype, numbers, elements)
            for array, copy in copies:
                if array is not None:
                    array[...] = copy


def _run(optimizer: Optimizer, dtype: np.dtype, numbers: list[int], elements: int) -> None:
    items = np.array(numbers, np.int64)
    count = len(numbers) // (7 + 2 * optimizer.slots)
    flops = _STEP_FLOPS * elements * (1 + optimizer.slots) * dtype.itemsize

    def build(share: Share, t: int, shares: int) -> None:
        share.add(
            "optimizer_items", items=At(Slot.X), count=count, share=t, shares=shares,
            code=OPTIMIZERS[optimizer.rule],
        )  # fmt: skip

    key = ("step", dtype.num, optimizer.rule, count, elements)
    call(key, flops, build, dtype, (), (Slot.X, items), rule=optimizer.rule)
