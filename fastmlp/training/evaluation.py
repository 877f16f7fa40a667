"""What is measured after every epoch: loss, accuracy and metrics of held-out data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..metrics import Metric

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["Evaluation"]

_COPIED_BYTES = 32 << 20  # more rows than this, and a memory map's, are read piece by piece
_PIECE_BYTES = 4 << 20


class Evaluation:
    """Loss, accuracy and metrics of some samples, as the parameters then are.

    Parameters
    ----------
    net : MLP
    X, y
        Checked already.
    rows : integer array, optional
        The samples to take; all by default.
    metrics : sequence of Metric
    prefix : {"val_", ""}
        Of the names; without one loss and accuracy are left out, since training measures them.
    repeated : bool
        Whether preparations are worth their time.
    """

    def __init__(
        self,
        net: MLP,
        X: Any,
        y: np.ndarray,
        rows: np.ndarray | None,
        metrics: Sequence[Metric],
        *,
        prefix: str,
        repeated: bool,
    ) -> None:
        self._net, self._metrics, self._prefix = net, metrics, prefix
        self._X, self._y, self._rows = X, y, rows
        row_bytes = X.shape[1] * X.dtype.itemsize
        self._piece = max(1024, _PIECE_BYTES // row_bytes)
        if (
            rows is not None
            and not isinstance(X, np.memmap)
            and (len(rows) * row_bytes <= _COPIED_BYTES)
        ):
            self._X, self._y, self._rows = X[rows], y[rows], None
        self._evaluate = None
        if self._rows is None and prefix:
            self._evaluate = net._backend().evaluator(
                net._parameters, self._X, self._y, None, net.threads, repeated=repeated
            )

    @property
    def names(self) -> list[str]:
        """The names of what is measured."""
        own = ["loss"] * bool(self._prefix)
        if own and self._net.architecture.output != "identity":
            own.append("accuracy")
        return [self._prefix + name for name in [*own, *(m.name for m in self._metrics)]]

    def __call__(self) -> dict[str, float]:
        """Measure."""
        numbers: list[float] = []
        if self._prefix:
            loss, accuracy = self._loss_and_accuracy()
            numbers = [loss] if self._net.architecture.output == "identity" else [loss, accuracy]
        if self._metrics:
            outputs = self._outputs()
            y = (self._y if self._rows is None else self._y[self._rows]).view()
            y.flags.writeable = outputs.flags.writeable = False  # all metrics see the same
            kind = self._net.architecture.output
            numbers += [metric(y, outputs, kind) for metric in self._metrics]
        return dict(zip(self.names, numbers, strict=True))  # mutant False: both are of one length

    def _parts(self) -> list[np.ndarray]:
        rows = self._rows
        if rows is None:
            return []
        return [rows[i : i + self._piece] for i in range(0, len(rows), self._piece)]

    def _loss_and_accuracy(self) -> tuple[float, float]:
        if self._evaluate is not None:
            return self._evaluate()
        net, sums, count = self._net, np.zeros(2), 0
        for rows in self._parts():
            part = net._backend().evaluator(
                net._parameters, self._X[rows], self._y[rows], None, net.threads,
                repeated=False,  # mutant True: preparations that pay only for more epochs
            )  # fmt: skip
            sums += len(rows) * np.array(part())
            count += len(rows)
        loss, accuracy = sums / count
        return float(loss), float(accuracy)

    def _outputs(self) -> np.ndarray:
        net = self._net
        backend, parameters = net._backend(), net._parameters
        if self._rows is None:
            return backend.outputs(parameters, self._X, net.threads)
        return np.concatenate(
            [backend.outputs(parameters, self._X[rows], net.threads) for rows in self._parts()]
        )
