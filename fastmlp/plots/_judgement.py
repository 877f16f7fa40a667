"""Predictions against the truth: confusion matrix, calibration, values, residuals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..diagnostics import calibration, confusion_matrix
from ..support.extras import require
from ..support.validation import check_finite
from ._axes import ACCENT, clipped, fitting_size, greys, names_of, new_axes, room, titled

__all__ = ["plot_calibration", "plot_confusion_matrix", "plot_predictions", "plot_residuals"]

_DENSE = 2000  # points beyond which a cloud becomes a map of densities


def plot_confusion_matrix(
    y: Any,
    predicted: Any,
    axes: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    n_classes: int | None = None,
) -> Any:
    """Draw how many samples of each class (rows) were called which class (columns).

    The shade follows the square root of the share of the row, so that rare mistakes show too; a
    cell without samples stays empty; frames mark what is right. Where cells are too small, the
    numbers are left out.

    Parameters
    ----------
    y, predicted : array of int, (n,)
        True and predicted labels.
    axes : matplotlib Axes, optional
        By default in a new figure.
    class_names : sequence of str, optional
        What labels are called.
    n_classes : int, optional
        By default as many as there are names, or as the labels need.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        If these are no labels, or names are too few.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastmlp.plots import plot_confusion_matrix
    >>> y, predicted = [0, 0, 0, 1, 1, 2, 2, 2], [0, 0, 1, 1, 1, 2, 2, 0]
    >>> names = ["setosa", "versicolor", "virginica"]
    >>> axes = plot_confusion_matrix(y, predicted, Figure().subplots(), class_names=names)
    >>> [text.get_text() for text in axes.texts]
    ['2', '1', '2', '1', '2']
    """
    if n_classes is None and class_names is not None:
        n_classes = len(names_of(class_names, 0)) or None
    matrix = confusion_matrix(y, predicted, n_classes)
    n = len(matrix)
    if n == 0:
        raise ValueError("y: expected at least one label, got none")
    names = [clipped(name) for name in names_of(class_names, n)]
    side = min(12.0, max(3.6, 0.48 * n + 0.8))
    axes = new_axes(axes, side, side)
    shades = np.sqrt(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1))
    image = axes.imshow(shades, cmap=greys(axes), vmin=0, vmax=1, interpolation="none")
    every = max(1, -(-n // 40))
    ticks = range(0, n, every)
    long = max(map(len, names)) > 3
    axes.set_xticks(
        ticks, [names[i] for i in ticks], parse_math=False, size="small",
        rotation=45 if long else 0, ha="right" if long else "center",
        rotation_mode="anchor",
    )  # fmt: skip
    axes.set_yticks(ticks, [names[i] for i in ticks], parse_math=False, size="small")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    cell = min(room(axes)) / n
    texts = [str(count) for count in (0, matrix.max())]
    size = fitting_size(texts, 0.9 * cell, 0.9 * cell)
    frame, width = require("matplotlib.patches", "plot").Rectangle, min(1.5, cell / 12)
    for i in range(n):
        axes.add_patch(frame((i - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=ACCENT, lw=width))
    if size:
        for i, j in np.argwhere(matrix > 0):
            ink = "white" if np.mean(image.cmap(shades[i, j])[:3]) < 0.5 else "black"
            axes.text(j, i, str(matrix[i, j]), size=size, color=ink, ha="center", va="center")
    return axes


def plot_calibration(y: Any, probabilities: Any, axes: Any = None, *, n_bins: int = 10) -> Any:
    """Draw a reliability diagram: how often predictions came true, by their probability.

    Bars on the dashed diagonal are what a well calibrated network has. The number over a bar is
    how many predictions it stands for; the title gives the expected calibration error.

    Parameters
    ----------
    y : array, (n,) or (n, n_labels)
        Labels, or 0/1 targets shaped as the probabilities.
    probabilities : array of float, (n,), (n, n_classes) or (n, n_labels)
        Of labels the likeliest class counts, of 0/1 targets every entry.
    axes : matplotlib Axes, optional
        By default in a new figure.
    n_bins : int, default 10

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        If y and probabilities do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from fastmlp.plots import plot_calibration
    >>> rng = np.random.default_rng(0)
    >>> p = rng.random(2000)
    >>> y = (rng.random(2000) < p**1.5).astype(int)  # comes true less often than said
    >>> axes = plot_calibration(y, p, Figure().subplots())
    >>> axes.get_title()
    'expected calibration error 0.100'
    """
    found = calibration(y, probabilities, n_bins)
    axes = new_axes(axes, 4.4, 4.0)
    width = 1 / len(found.counts)
    middles = found.edges[:-1] + width / 2
    heights = np.nan_to_num(found.frequency)
    axes.bar(
        middles, heights, width, facecolor="none", edgecolor=axes.xaxis.label.get_color(),
        hatch="//", linewidth=1, label="came true",
    )  # fmt: skip
    _reference(axes, (0, 1), "well calibrated")
    across, _ = room(axes)
    counts = [f"{count:,}" for count in found.counts]
    size = fitting_size(counts, across * width, 14)
    for x, height, count in zip(middles, heights, counts, strict=True):
        if size and count != "0":
            axes.text(x, height + 0.015, count, size=size, ha="center", va="bottom")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.1)
    axes.set_xlabel("probability said")
    axes.set_ylabel("share that came true")
    titled(axes, f"expected calibration error {found.error:.3f}")
    axes.legend(loc="upper left")
    return axes


def _reference(axes: Any, ends: tuple[float, float], label: str) -> None:
    axes.plot(ends, ends, linestyle="--", color=ACCENT, linewidth=2, label=label)


def _columns(y: Any, predicted: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 (n,), all outputs one after the other."""
    both = []
    for name, given in (("y", y), ("predicted", predicted)):
        array = np.asarray(given)
        if array.dtype.kind not in "biuf" or array.ndim not in (1, 2):
            raise ValueError(
                f"{name}: expected numbers of shape (n,) or (n, n_outputs), got {array.dtype} "
                f"{array.shape}"
            )
        check_finite(name, array if array.ndim == 2 else array[:, None])
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        both.append(array.astype(np.float64))
    if both[0].shape != both[1].shape:
        raise ValueError(f"predicted: expected the shape {both[0].shape}, got {both[1].shape}")
    if not both[0].size:
        raise ValueError("y: expected at least one value, got none")
    return both[0].ravel(), both[1].ravel()


def _cloud(axes: Any, x: np.ndarray, y: np.ndarray) -> None:
    if len(x) > _DENSE:
        shades = greys(axes, 0.35)  # what is least is still seen
        axes.hexbin(x, y, gridsize=40, cmap=shades, bins="log", mincnt=1, linewidths=0.1)
    else:
        size = float(np.clip(2000 / len(x), 4, 25))
        axes.scatter(x, y, s=size, marker="o", alpha=0.7, linewidths=0)


def plot_predictions(y: Any, predicted: Any, axes: Any = None) -> Any:
    """Draw predicted against true values; perfect ones lie on the dashed diagonal.

    Parameters
    ----------
    y, predicted : array of float, (n,) or (n, n_outputs)
        Several outputs are drawn as one cloud.
    axes : matplotlib Axes, optional
        By default in a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If these are not equally many finite numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from fastmlp.plots import plot_predictions
    >>> rng = np.random.default_rng(0)
    >>> y = rng.normal(size=300)
    >>> predicted = 0.8 * y + rng.normal(scale=0.3, size=300)
    >>> axes = plot_predictions(y, predicted, Figure().subplots())
    >>> axes.get_xlabel()
    'true'
    """
    true, said = _columns(y, predicted)
    axes = new_axes(axes, 4.4, 4.0)
    _cloud(axes, true, said)
    ends = (min(true.min(), said.min()), max(true.max(), said.max()))
    _reference(axes, ends, "perfect")
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    return axes


def plot_residuals(y: Any, predicted: Any, axes: Any = None) -> Any:
    """Draw what predictions are above the truth, over the prediction.

    A band of even width around the dashed zero is what a network without a bias has.

    Parameters
    ----------
    y, predicted : array of float, (n,) or (n, n_outputs)
        Several outputs are drawn as one cloud.
    axes : matplotlib Axes, optional
        By default in a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If these are not equally many finite numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from fastmlp.plots import plot_residuals
    >>> rng = np.random.default_rng(0)
    >>> y = rng.normal(size=300)
    >>> predicted = 0.8 * y + rng.normal(scale=0.3, size=300)
    >>> axes = plot_residuals(y, predicted, Figure().subplots())
    >>> axes.get_xlabel()
    'predicted'
    """
    true, said = _columns(y, predicted)
    axes = new_axes(axes, 4.4, 4.0)
    _cloud(axes, said, said - true)
    axes.axhline(0, linestyle="--", color=ACCENT, linewidth=2)
    axes.set_xlabel("predicted")
    axes.set_ylabel("predicted minus true")
    axes.grid(alpha=0.3)
    return axes
