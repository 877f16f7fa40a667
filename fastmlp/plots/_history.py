"""Loss and accuracy over epochs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..support.extras import require
from ..training.history import History, check_history
from ._axes import new_axes

__all__ = ["draw_curves", "plot_history", "save_history"]

_STYLES = (("-", "o"), ("--", "s"))


def draw_curves(axes: Any, curves: dict[str, list[float]], name: str) -> None:
    """Draw a number per epoch, a curve for each label that has any."""
    for (line, marker), (label, values) in zip(_STYLES, curves.items(), strict=False):
        if values:
            # markers show a curve of one epoch, and tell curves apart without colour
            axes.plot(
                np.arange(1, len(values) + 1), values, linestyle=line, marker=marker, markersize=4,
                markevery=max(1, len(values) // 20), label=label,
            )  # fmt: skip
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    axes.legend()
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def _draw(history: History, panels: Any) -> None:
    draw_curves(panels[0], {"training": history.loss, "validation": history.val_loss}, "loss")
    if len(panels) > 1:
        shares = {"training": history.accuracy, "validation": history.val_accuracy}
        draw_curves(panels[1], shares, "accuracy")


def _panels(history: History) -> int:
    if not check_history(history).loss:
        raise ValueError("history: expected at least one epoch, got none")
    return 2 if history.accuracy else 1


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
    TypeError, ValueError
        If `axes` is no Axes, or no epoch has been trained.

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> from matplotlib.figure import Figure
    >>> from fastmlp.plots import plot_history
    >>> X = np.random.default_rng(0).normal(size=(300, 8))
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> net = fastmlp.MLP((8, 32, 2), activation="tanh", rng=0, backend="numpy")
    >>> history = net.fit(X, y, epochs=60, optimizer="adam", validation_split=0.3, progress=False)
    >>> axes = plot_history(history, Figure().subplots())
    >>> axes.get_xlabel()
    'epoch'
    """
    n = _panels(history)
    if axes is not None:
        axes = new_axes(axes, 5, 4)
        _draw(history, [axes])
        return axes
    pyplot = require("matplotlib.pyplot", "plot")
    _, made = pyplot.subplots(1, n, figsize=(5 * n, 4), layout="constrained")
    _draw(history, np.atleast_1d(made))
    return made


def save_history(history: History, path: str, title: str = "") -> None:
    """Draw the history into a picture file, without a window.

    The format follows from the ending of `path`.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If no epoch has been trained.

    Examples
    --------
    >>> import fastmlp, os, tempfile
    >>> from fastmlp.plots import save_history
    >>> net = fastmlp.MLP((2, 3, 2), rng=0, backend="numpy")
    >>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1], epochs=3, progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_history(history, os.path.join(folder, "loss.png"))
    ...     os.listdir(folder)
    ['loss.png']
    """
    n = _panels(history)
    figure = require("matplotlib.figure", "plot").Figure((5 * n, 4), layout="constrained")
    _draw(history, np.atleast_1d(figure.subplots(1, n)))
    if title:
        figure.suptitle(title)
    figure.savefig(path, dpi=120)
