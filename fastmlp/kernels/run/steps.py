"""Steps that are taken in one call, and where they find their data."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...support.cached import cached_property
from ..program.operation import Slot

__all__ = ["Run", "batches"]


def batches(
    order: np.ndarray, size: int, sample_weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return where the batches of `order` begin, and their sums of sample weights."""
    starts = np.arange(0, len(order), size)
    if sample_weight is None:
        totals = np.diff(np.append(starts, len(order))).astype(np.float64)
    else:
        totals = np.add.reduceat(sample_weight[order], starts)
    return starts, totals


class Run:
    """Steps that are taken in one call: their samples, hyperparameters and results.

    `hyper` is (steps, 2, HYPER_ROW), `words` are uint32, (steps, n_hidden, 2), or None. The order
    is kept as int64: kernels read it by address, and NumPy's integers may be 32 bits wide.
    """

    def __init__(self, order: np.ndarray, hyper: np.ndarray, words: np.ndarray | None) -> None:
        self.order = np.ascontiguousarray(order, np.int64)
        self.hyper, self.steps = hyper, len(hyper)
        self._words = np.zeros((len(hyper), 1, 2), np.uint32) if words is None else words
        self.losses, self.correct = np.zeros(len(order)), np.zeros(len(order), np.int64)
        # a step adds up the penalties of the one before it, and the first one's lie before it
        self._penalty = np.zeros(len(hyper) + 1)

    @cached_property
    def _places(self) -> list[tuple[Slot, int, int, int]]:
        """By slot where the data are, and how far that moves with a step and a sample: asking NumPy
        for an address takes a microsecond.
        """
        hyper = self.hyper
        return [
            (Slot.ORDER, self.order.ctypes.data, 0, 8),
            (Slot.LOSSES, self.losses.ctypes.data, 0, 8),
            (Slot.CORRECT, self.correct.ctypes.data, 0, 8),
            (Slot.HYPER, hyper.ctypes.data, hyper.strides[0], 0),
            (Slot.WORDS, self._words.ctypes.data, self._words.strides[0], 0),
            (Slot.PENALTY, self._penalty.ctypes.data + 8, 8, 0),
        ]

    @property
    def penalty(self) -> np.ndarray:
        """The penalties of the weights before each step."""
        return self._penalty[1:]

    def enter(self, bases: Any, step: int, sample: int) -> None:
        """Enter where steps from `step` on, whose samples begin at `sample`, find their data."""
        for slot, address, of_step, of_sample in self._places:
            bases[slot] = address + step * of_step + sample * of_sample
        bases[Slot.PLACE] = 0
