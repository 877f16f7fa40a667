"""Pictures of training; needs the ``plot`` extra."""

from __future__ import annotations

from typing import Any

import numpy as np

from .extras import require
from .history import History

__all__ = ["plot_history", "save_history"]


def _draw(axes: Any, epochs: Any, curves: list[tuple[str, list[float]]], name: str) -> None:
    styles = iter(("-", "--"))
    for label, values in curves:
        if values:
            # a marker shows a curve of one epoch, and tells the curves apart without colour
            axes.plot(epochs, values, next(styles), marker="o", markersize=3, label=label)
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    axes.legend()
    axes.xaxis.get_major_locator().set_params(integer=True)


def plot_history(history: History, axes: Any = None) -> Any:
    """Draw loss and accuracy over epochs.

    Parameters
    ----------
    history : History
    axes : matplotlib Axes, optional
        Where the loss is drawn; by default a new figure with loss and, for classifiers,
        accuracy.

    Returns
    -------
    matplotlib Axes, or an array of two

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If no epoch has been trained.
    """
    if not history.loss:
        raise ValueError("history: expected at least one epoch, got none")
    pyplot = require("matplotlib.pyplot", "plot")
    epochs = np.arange(1, len(history.loss) + 1)
    losses = [("training", history.loss), ("validation", history.val_loss)]
    if axes is not None:
        _draw(axes, epochs, losses, "loss")
        return axes
    both = bool(history.accuracy)
    _, made = pyplot.subplots(1, 1 + both, figsize=(5 * (1 + both), 4), layout="constrained")
    panels = np.atleast_1d(made)
    _draw(panels[0], epochs, losses, "loss")
    if both:
        shares = [("training", history.accuracy), ("validation", history.val_accuracy)]
        _draw(panels[1], epochs, shares, "accuracy")
    return panels if both else panels[0]


def save_history(history: History, path: str, title: str = "") -> None:
    """Draw the history into a picture file, without a window.

    The format follows from the ending of `path`.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    require("matplotlib", "plot").use("Agg")
    panels = np.atleast_1d(plot_history(history))
    figure = panels[0].figure
    if title:
        figure.suptitle(title)
    figure.savefig(path, dpi=120)
    require("matplotlib.pyplot", "plot").close(figure)
