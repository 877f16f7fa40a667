"""Steps that are taken in one call, and where they find their data."""

from __future__ import annotations

import numpy as np

from ..program.operation import Slot

__all__ = ["Run"]


class Run:
    """Steps that are taken in one call: their samples, hyperparameters and results.

    Parameters
    ----------
    order : ndarray of int64
    hyper : ndarray, (steps, 2, HYPER_ROW)
    words : ndarray of uint32, (steps, n_hidden, 2), or None
    """

    def __init__(self, order: np.ndarray, hyper: np.ndarray, words: np.ndarray | None) -> None:
        self.order, self.hyper, self.steps = order, hyper, len(hyper)
        self.words = np.zeros((len(hyper), 1, 2), np.uint32) if words is None else words
        self.losses, self.correct = np.zeros(len(order)), np.zeros(len(order), np.int64)
        # a step adds up the penalties of the one before it, and the first one's lie before it
        self._penalty = np.zeros(len(hyper) + 1)

    @property
    def penalty(self) -> np.ndarray:
        """The penalties of the weights before each step."""
        return self._penalty[1:]

    def part(self, first: int, last: int, batch_size: int) -> Run:
        """Return some of the steps, as views."""
        part = object.__new__(Run)
        samples = slice(first * batch_size, last * batch_size)
        part.order, part.hyper, part.steps = self.order[samples], self.hyper[first:], last - first
        part.words = self.words[first:]
        part.losses, part.correct = self.losses[samples], self.correct[samples]
        part._penalty = self._penalty[first : last + 1]
        return part

    def enter(self, bases: np.ndarray, step: int, sample: int) -> None:
        """Enter where steps from `step` on, whose samples begin at `sample`, find their data."""
        bases[Slot.ORDER] = self.order[sample:].ctypes.data
        bases[Slot.LOSSES] = self.losses[sample:].ctypes.data
        bases[Slot.CORRECT] = self.correct[sample:].ctypes.data
        bases[Slot.HYPER] = self.hyper[step:].ctypes.data
        bases[Slot.WORDS] = self.words[step:].ctypes.data
        bases[Slot.PENALTY] = self.penalty[step:].ctypes.data
        bases[Slot.PLACE] = 0
