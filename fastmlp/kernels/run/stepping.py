"""An optimizer's step over a caller's arrays as they lie, all of them in one call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...optimizers import Optimizer
from ..emit.optimizers import OPTIMIZERS, one_step
from ..program.operation import At, Phase, Share, Slot
from . import choose
from .calls import Call, address_of, call

__all__ = ["step"]

Arrays = Sequence[np.ndarray]
_ROW = 1024  # elements: arrays without gaps are cut into rows, for threads to share
_STEP_FLOPS = 4  # what stepping an element takes, in floating-point operations of a product


def _matrices(arrays: Arrays) -> list[np.ndarray] | None:
    """Return views of two dimensions and one shape whose rows are contiguous, if there are any."""
    if all(array.flags.c_contiguous for array in arrays):
        return [array.reshape(1, -1) for array in arrays]
    if all(array.flags.f_contiguous for array in arrays):
        return [array.T.reshape(1, -1) for array in arrays]
    if all(array.ndim == 2 and array.strides[1] == array.itemsize for array in arrays):
        return list(arrays)
    return None


def _items(arrays: list[np.ndarray], hyper: int) -> list[int]:
    """Return the numbers of the items of parameters, gradient and state: `rows.ITEM` and SLOT."""
    rows, columns = arrays[0].shape
    places = [(address_of(array), array.strides[0]) for array in arrays]
    if rows == 1 and columns > _ROW:
        whole, row = columns // _ROW, _ROW * arrays[0].itemsize
        numbers = _item([(at, row) for at, _ in places], whole, _ROW, hyper)
        if columns % _ROW:
            rest = [(at + whole * row, 0) for at, _ in places]
            numbers += _item(rest, 1, columns % _ROW, hyper)
        return numbers
    return _item(places, rows, columns, hyper)


def _item(places: list[tuple[int, int]], rows: int, columns: int, hyper: int) -> list[int]:
    parameter, gradient, *slots = places
    slot_numbers = [number for slot in slots for number in slot]
    return [*parameter, *gradient, rows, columns, hyper, *slot_numbers]


def step(
    optimizer: Optimizer, rate: float, number: int, parameters: Arrays, gradients: Arrays,
    slots: Sequence[Arrays],
) -> None:  # fmt: skip
    """Step parameters and state in place; `number` counts from 1."""
    for dtype in dict.fromkeys(array.dtype for array in parameters):
        hyper = one_step(optimizer, rate, number, dtype)
        copies: list[tuple[np.ndarray, np.ndarray]] = []
        kept: list[np.ndarray] = []  # until the step is done
        numbers: list[int] = []
        elements = 0
        for i, w in enumerate(parameters):
            if w.dtype != dtype or not w.size:
                continue
            state = [slot[i] for slot in slots]
            given = [w, gradients[i], *state]
            arrays = given if all(a.dtype == dtype for a in given) else None
            matrices = None if arrays is None else _matrices(arrays)
            if matrices is None:
                arrays = [np.array(array, dtype, order="C") for array in given]
                copies += zip((w, *state), (arrays[0], *arrays[2:]), strict=True)
                matrices = [array.reshape(1, -1) for array in arrays]
            kept += matrices
            numbers += _items(matrices, address_of(hyper) + (w.ndim != 2) * hyper.strides[0])
            elements += w.size
        if elements:
            _run(OPTIMIZERS[optimizer.rule], optimizer, dtype, numbers, elements)
        for array, stepped in copies:
            array[...] = stepped.reshape(array.shape)


def _run(
    code: int, optimizer: Optimizer, dtype: np.dtype, numbers: list[int], elements: int
) -> None:
    items = np.array(numbers, np.int64)
    count = len(numbers) // (7 + 2 * optimizer.slots)
    threads = choose.choose_threads(
        None, _STEP_FLOPS * elements * (1 + optimizer.slots) * dtype.itemsize
    )

    def make() -> Call:
        def build(share: Share, t: int) -> None:
            share.add(
                "optimizer_items", items=At(Slot.X), count=count, share=t, shares=threads, code=code
            )

        return Call(dtype.name, threads, [Phase.of("step", threads, build)], rule=optimizer.rule)

    call(("step", dtype.num, optimizer.rule, count, threads), make, (Slot.X, address_of(items)))
