"""A full batch in parts: groups of samples summed in one place, the step taken in another.

The groups are those of `full_batch`, gone through in the same blocks. Their sums, added up in
order and handed to the optimizer, leave the bits that `Training` leaves on one machine.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...contract.operations import DataSet, StepSettings, read_rows
from ...contract.parameters import Parameters
from ...optimizers import Optimizer, OptimizerState
from ...regularization import Regularization
from ..program.operation import Slot
from .choose import BLOCK_ROWS as BLOCK
from .choose import GROUPS
from .source import Source
from .steps import Run
from .training import Training
from .workspace import Workspace

__all__ = ["BLOCK", "GROUPS", "GroupSums", "Update"]


class GroupSums(Training):
    """Summed loss and gradient of one group of samples after the other, on this thread.

    Parameters are read only; everything is checked already. A group has `group_samples` at most, in
    whole blocks; of the regularization dropout counts. Lists of the non-zeros of X are gone through
    where X as a whole is mostly zero, `sparse`. X is converted here if no kernel reads it.
    """

    _one_group = True

    def __init__(
        self,
        parameters: Parameters,
        X: np.ndarray,
        y: np.ndarray,
        sample_weight: np.ndarray | None,
        *,
        group_samples: int,
        regularization: Regularization,
        sparse: bool,
    ) -> None:
        settings = StepSettings(None, OptimizerState(), group_samples, regularization)
        a = parameters.architecture
        readable = Source(X, a).direct
        if not readable:
            X = read_rows(X, slice(None), a.input_scale, a.dtype)
        self._sparse = sparse and readable
        super().__init__(parameters, DataSet(X, y, sample_weight), settings, threads=1)
        if not readable:
            self._source.scale = None  # by which X is divided already
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
        self._source.enter(bases, self._source.X)
        part.enter(bases, 0, 0)
        bases[Slot.ROWS], bases[Slot.PLACE] = part.order.ctypes.data, place
        bases[Slot.GRADIENT], bases[Slot.WORKSPACE] = out.ctypes.data, workspace.address
        executable.run(self.threads)
        identity = self.architecture.output == "identity"
        return part.losses, 0 if identity else int(part.correct.sum())


class Update(Training):
    """The optimizer's step from sums of gradients: parameters change in place, with their slots.

    The state's step count goes on; of the regularization, penalties and bounds count.
    """

    _one_group = True
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
        hyper = self._hyperparameters(np.array([rate]), np.array([total]))
        part = Run(np.zeros(1, np.int64), hyper, None)
        self._apply(part, 0)
        self.state.step += 1
        return float(part.penalty[0])
