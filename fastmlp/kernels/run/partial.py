"""A full batch in parts: groups of samples summed in one place, the step taken in another.

The groups are those of `full_batch`, gone through in the same blocks. Their sums, added up in
order and handed to the optimizer, leave the bits that `Training` leaves on one machine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...contract.operations import DataSet, StepSettings, read_rows
from ...contract.parameters import Parameters
from ...optimizers import Optimizer, OptimizerState
from ...regularization import Regularization
from ..emit.optimizers import HYPER_ROW, hyperparameters
from ..program.operation import Slot
from . import choose
from .choose import BLOCK_ROWS as BLOCK
from .choose import GROUPS
from .executor import run
from .source import Source
from .steps import Run
from .training import Training
from .workspace import Workspace

__all__ = ["BLOCK", "GROUPS", "GroupSums", "Update", "readable"]


def readable(X: np.ndarray, architecture: Any) -> tuple[np.ndarray, bool]:
    """Return X as a kernel reads it, and whether the division by `input_scale` is done."""
    if Source(X, architecture).direct:
        return X, False
    return read_rows(X, slice(None), architecture.input_scale, architecture.dtype), True


class _OneGroup(Training):
    """A training whose batch is one group, summed as `full_batch` sums it, on this thread."""

    def _choose_mode(self) -> choose.Mode:
        return "full"

    def _most_groups(self) -> int:
        return 1

    def _layer_parts(self) -> tuple[int, ...]:
        return (0,) * self.architecture.n_layers  # sums of groups are float32's own


class GroupSums(_OneGroup):
    """Summed loss and gradient of one group of samples after the other.

    Parameters are read only; `X` and `scaled` are as `readable` returns them, the rest is checked
    already. A group has `group_samples` at most, in whole blocks; of the regularization dropout
    counts. Lists of the non-zeros of X are gone through where X as a whole is mostly zero,
    `sparse`.
    """

    def __init__(
        self,
        parameters: Parameters,
        X: np.ndarray,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        *,
        scaled: bool,
        group_samples: int,
        regularization: Regularization,
        sparse: bool,
    ) -> None:
        settings = StepSettings(None, OptimizerState(), group_samples, regularization)
        self._scaled, self._sparse = scaled, sparse and not scaled
        super().__init__(parameters, DataSet(X, y, sample_weight), settings, threads=1)
        self._hyper = np.zeros((1, 2, HYPER_ROW), parameters.dtype)
        self.gradient = np.zeros(0, parameters.dtype)

    def _goes_through_lists(self) -> bool:
        return self._sparse or super()._goes_through_lists()

    @staticmethod
    def workspace(parameters: Parameters, regularization: Regularization) -> Workspace:
        """Return what a thread works in, whatever the group."""
        return Workspace(parameters, BLOCK, dropout=regularization.dropout)

    def sums(
        self,
        order: np.ndarray,
        out: np.ndarray,
        workspace: Workspace,
        words: np.ndarray | None = None,
        place: int = 0,
    ) -> tuple[np.ndarray, int]:
        """Sum the gradient of the samples in `order` into `out`, zeros on a cache line.

        Returns each sample's weight times loss, and how many were predicted right. `words` are for
        dropout, (1, n_hidden, 2), and `place` is the first sample's in the step's batch.
        """
        part = Run(order, self._hyper, words)
        segments = self._segments(1, len(order))
        executable = self._executable(self._listed(), segments)
        bases = executable.bases
        self._source.enter(bases, self._source.X, scaled=self._scaled)
        part.enter(bases, 0, 0)
        bases[Slot.ROWS], bases[Slot.PLACE] = part.order.ctypes.data, place
        bases[Slot.GRADIENT], bases[Slot.WORKSPACE] = out.ctypes.data, workspace.address
        run(executable, self.threads)
        identity = self.architecture.output == "identity"
        return part.losses, 0 if identity else int(part.correct.sum())


class Update(_OneGroup):
    """The optimizer's step from sums of gradients: parameters change in place, with their slots.

    The state's step count goes on; of the regularization, penalties and bounds count.
    """

    optimizer: Optimizer

    def __init__(
        self,
        parameters: Parameters,
        optimizer: Optimizer,
        state: OptimizerState,
        regularization: Regularization,
    ) -> None:
        a = parameters.architecture
        labels = a.output == "softmax"
        y = np.zeros(1, np.int64) if labels else np.zeros((1, a.n_out), parameters.dtype)
        data = DataSet(np.ones((1, a.n_in), parameters.dtype), y)  # no zeros: no lists of them
        counted = replace(regularization, dropout=(), label_smoothing=0.0)
        settings = StepSettings(optimizer, state, BLOCK + 1, counted)
        super().__init__(parameters, data, settings, threads=1)

    def _prepare(self) -> None:
        self._executable(False, (("apply", 0, 1),))

    def step(self, total: float, rate: float) -> float:
        """Take a step from the sum in `gradient`, which is cleared; return the penalties before it.

        The samples of the batch weigh `total`; `rate` is the learning rate.
        """
        r = self.regularization
        hyper = hyperparameters(
            self.optimizer, np.array([rate]), np.array([total]), r.l2, self.state.step,
            self.parameters.dtype, r.l1,
        )  # fmt: skip
        part = Run(np.zeros(1, np.int64), hyper, None)
        self._apply(part, 0)
        self.state.step += 1
        return float(part.penalty[0])
