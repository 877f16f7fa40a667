"""What a training run looked like, epoch by epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["History"]


@dataclass
class History:
    """One number per epoch in each list.

    Attributes
    ----------
    loss : list of float
        The mean training loss seen during the epoch, the penalty included.
    accuracy : list of float
        The share of training samples that were predicted right when they were seen; empty for
        an identity output.
    val_loss, val_accuracy : list of float
        On the validation data, after the epoch; empty without such data.
    learning_rate : list of float
        At the epoch's first step.
    seconds : list of float
        How long the epoch took, validation included.

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> net = fastmlp.MLP((2, 3, 2), rng=0, backend="numpy")
    >>> history = net.fit(np.eye(2), [0, 1], epochs=3)
    >>> len(history.loss)
    3
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.loss)

    def as_dict(self) -> dict[str, list[float]]:
        """Return the lists by name, as JSON can hold them."""
        return asdict(self)

    def plot(self, axes: Any = None) -> Any:
        """Draw loss and accuracy over epochs; needs the ``plot`` extra.

        Parameters
        ----------
        axes : matplotlib Axes, optional
            Where the loss is drawn. By default a new figure with loss and accuracy.

        Returns
        -------
        matplotlib Axes, or an array of two
        """
        from .plots import plot_history

        return plot_history(self, axes)
