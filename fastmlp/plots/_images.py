"""Rows of X or W as images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..support.validation import as_rows, check_finite, check_integer, check_network
from ._axes import clipped, fitting_size, names_of, new_axes, rate, room, titled

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["guess_image_shape", "most_confident_mistakes", "plot_images", "plot_mistakes",
           "plot_weights"]  # fmt: skip

_MOST_IMAGES = 400
_SHORT_NAME, _CAPTION_NAME = 3, 8  # letters beside a probability, and in a line of its own
_LINE = 0.28  # height of a caption's line over the image's height, where there is room


def guess_image_shape(n_in: int, image_shape: Any = None) -> tuple[int, ...]:
    """Return the shape given, or the square that `n_in` features make.

    Raises
    ------
    TypeError, ValueError
        If the shape is not (height, width) or (height, width, 3), or has not `n_in` elements; if
        none is given and `n_in` is no square.
    """
    if image_shape is None:
        side = math.isqrt(n_in)
        if side * side != n_in:
            raise ValueError(
                f"image_shape: expected (height, width), as {n_in} features make no square image"
            )
        return side, side
    if isinstance(image_shape, str) or not isinstance(image_shape, Sequence):
        raise TypeError(f"image_shape: expected (height, width), got {image_shape!r}")
    shape = tuple(check_integer("image_shape", side, low=1) for side in image_shape)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != 3):
        raise ValueError(
            f"image_shape: expected (height, width) or (height, width, 3), got {image_shape!r}"
        )
    if math.prod(shape) != n_in:
        raise ValueError(f"image_shape: expected {n_in} elements, got {image_shape!r}")
    return shape


def _taken(X: Any, rows: Any) -> np.ndarray:
    part = (X.tocsr() if hasattr(X, "tocsr") else X)[rows]
    return part.toarray() if hasattr(part, "toarray") else np.asarray(part)


def _unit_range(X: np.ndarray) -> np.ndarray:
    """Return X as float64 shares of its range; bytes as shares of 255."""
    low, high = (0, 255) if X.dtype == np.uint8 else (X.min(initial=0), X.max(initial=0))
    span = float(high) - float(low)
    return (X.astype(np.float64) - float(low)) / (span if span > 0 else 1.0)


def _mosaic(
    axes: Any,
    images: np.ndarray,
    captions: list[list[tuple[str, bool]]],
    columns: int,
) -> None:
    """Draw images (n, height, width[, 3]) in [0, 1], each over its lines of caption.

    A line of caption is a text and whether it is bold.
    """
    n, height, width = images.shape[:3]
    columns = min(columns, n)
    rows = -(-n // columns)
    lines = max((len(caption) for caption in captions), default=0)
    gap = max(1, round(0.08 * max(width, height)))
    text_height = math.ceil(_LINE * max(height, width / 2) * lines)
    step_y, step_x = height + text_height + gap, width + gap
    canvas = np.zeros((rows * step_y - gap, columns * step_x - gap, 4))
    colours = images if images.ndim == 4 else images[..., None]
    corners = [(i // columns * step_y, i % columns * step_x) for i in range(n)]
    for (y, x), colour in zip(corners, colours, strict=True):
        canvas[y : y + height, x : x + width, :3] = np.clip(colour, 0, 1)
        canvas[y : y + height, x : x + width, 3] = 1
    axes.imshow(canvas, interpolation="none")
    axes.set_axis_off()
    if not lines:
        return
    across, down = room(axes)
    point = min(across / canvas.shape[1], down / canvas.shape[0])  # points of a pixel
    texts = [text for caption in captions for text, _ in caption]
    size = fitting_size(texts, point * step_x, point * text_height / lines)
    if size == 0:
        return
    for (y, x), caption in zip(corners, captions, strict=True):
        for k, (text, bold) in enumerate(caption):
            axes.text(
                x + width / 2 - 0.5, y + height + text_height * (k + 0.5) / lines - 0.5, text,
                size=size, weight="bold" if bold else "normal", ha="center", va="center",
                parse_math=False,
            )  # fmt: skip


def _labels(name: str, labels: Any, n: int) -> np.ndarray:
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(f"{name}: expected {n} labels, one per image, got shape {array.shape}")
    if array.dtype.kind not in "biu":
        raise TypeError(f"{name}: expected integer labels, got dtype {array.dtype}")
    if n and array.min() < 0:
        raise ValueError(f"{name}: expected labels of at least 0, got {array.min()}")
    return array.astype(np.int64)


def plot_images(
    X: Any,
    y: Any = None,
    predicted: Any = None,
    axes: Any = None,
    *,
    image_shape: Sequence[int] | None = None,
    columns: int | None = None,
    class_names: Sequence[str] | None = None,
) -> Any:
    """Draw samples as images, with their labels and what was predicted.

    A wrong prediction stands in bold, with the true label below it.

    Parameters
    ----------
    X : array, frame or sparse matrix, (n, n_in)
        At most 400 samples. Bytes are drawn from 0 to 255, anything else over its own range.
    y, predicted : array of int, (n,), optional
        True and predicted labels.
    axes : matplotlib Axes, optional
        By default in a new figure.
    image_shape : (height, width) or (height, width, 3), optional
        By default the square of `n_in` pixels.
    columns : int, optional
        Images in a row; by default as many as rows.
    class_names : sequence of str, optional
        What labels are called.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        If X, labels or shape do not fit each other.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from fastmlp.datasets import load_mnist
    >>> from fastmlp.plots import plot_images
    >>> X, y, *_ = load_mnist("uint8")
    >>> predicted = [5, 0, 9, 1, 9, 2, 1, 8]
    >>> axes = plot_images(X[:8], y[:8], predicted, Figure().subplots())
    >>> [text.get_text() for text in axes.texts]
    ['5', '0', '9', 'true 4', '1', '9', '2', '1', '8', 'true 3']
    """
    X = as_rows("X", X)
    check_finite("X", X)
    n, n_in = X.shape
    if not 1 <= n <= _MOST_IMAGES:
        raise ValueError(f"X: expected 1 to {_MOST_IMAGES} samples to draw, got {n}")
    shape = guess_image_shape(n_in, image_shape)
    if columns is not None:
        columns = check_integer("columns", columns, low=1)
    known = [_labels(name, labels, n) if labels is not None else None
             for name, labels in (("y", y), ("predicted", predicted))]  # fmt: skip
    highest = max((int(labels.max()) for labels in known if labels is not None), default=-1)
    names = [clipped(name, _CAPTION_NAME) for name in names_of(class_names, highest + 1)]
    captions: list[list[tuple[str, bool]]] = [[] for _ in range(n)]
    true, said = known
    for i, caption in enumerate(captions):
        first = said if said is not None else true
        if first is not None:
            wrong = true is not None and true[i] != first[i]
            caption.append((names[first[i]], wrong))
            if wrong and true is not None:
                caption.append((f"true {names[true[i]]}", False))
    columns = columns or math.ceil(math.sqrt(n))
    lines = 2 if any(len(caption) > 1 for caption in captions) else 1
    side = min(1.0, 8.0 / columns)
    down = -(-n // columns) * side * (shape[0] / shape[1] + _LINE * lines)
    axes = new_axes(axes, max(2.0, columns * side), max(1.5, down))
    _mosaic(axes, _unit_range(_taken(X, slice(None))).reshape(n, *shape), captions, columns)
    return axes


def plot_weights(
    net: MLP,
    axes: Any = None,
    *,
    image_shape: Sequence[int] | None = None,
    n_images: int = 25,
    columns: int | None = None,
) -> Any:
    """Draw the weights into the first neurons of the first layer as images.

    White is the largest weight drawn, black as far below zero, the middle grey zero.

    Parameters
    ----------
    net : MLP
    axes : matplotlib Axes, optional
        By default in a new figure.
    image_shape : (height, width) or (height, width, 3), optional
        Of the network's input; by default the square.
    n_images : int, default 25
        How many neurons, at most 400.
    columns : int, optional
        Images in a row; by default as many as rows.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        If the input is no image of that shape, or a weight is not finite.

    Examples
    --------
    >>> import fastmlp
    >>> from matplotlib.figure import Figure
    >>> from fastmlp.datasets import load_mnist
    >>> from fastmlp.plots import plot_weights
    >>> X, y, X_test, y_test = load_mnist("uint8")
    >>> net = fastmlp.MLP((784, 16, 10), input_scale=255.0, rng=0, backend="numpy")
    >>> history = net.fit(X[:2000], y[:2000], epochs=8, optimizer="adam", progress=False)
    >>> axes = plot_weights(net, Figure().subplots())
    >>> axes.get_title().splitlines()[0]
    '16 neurons of the first layer'
    """
    check_network(net)
    shape = guess_image_shape(net.architecture.n_in, image_shape)
    n = min(check_integer("n_images", n_images, low=1), _MOST_IMAGES, net.layer_sizes[1])
    if columns is not None:
        columns = check_integer("columns", columns, low=1)
    weights = np.array(net.weights[0][:, :n].T, np.float64)
    check_finite("weights", weights)
    limit = float(np.abs(weights).max(initial=0))
    columns = columns or math.ceil(math.sqrt(n))
    side = min(1.0, 5.0 / columns)
    down = -(-n // columns) * side * shape[0] / shape[1] + 0.4
    axes = new_axes(axes, max(3.0, columns * side), max(1.5, down))
    shares = 0.5 + weights / (2 * limit if limit else 1.0)
    _mosaic(axes, shares.reshape(n, *shape), [], columns)
    titled(axes, f"{n} neurons of the first layer\n{-limit:.2g} (black) to {limit:.2g} (white)")
    return axes


def most_confident_mistakes(
    y: np.ndarray, predicted: np.ndarray, probability: np.ndarray, n: int
) -> np.ndarray:
    """Return the rows of at most `n` wrong predictions, the most probable ones first."""
    wrong = np.flatnonzero(y != predicted)
    return wrong[np.argsort(-probability[wrong], kind="stable")[:n]]


def plot_mistakes(
    net: MLP,
    X: Any,
    y: Any,
    axes: Any = None,
    *,
    n_images: int = 16,
    image_shape: Sequence[int] | None = None,
    columns: int | None = None,
    class_names: Sequence[str] | None = None,
) -> Any:
    """Draw the samples that a classifier gets wrong with the greatest confidence.

    Below each stand what was predicted, in bold with its probability, and the true label.

    Parameters
    ----------
    net : MLP
        With exclusive classes: the likeliest output is the prediction.
    X : array, frame or sparse matrix, (n, n_in)
    y : array of int, (n,)
        The true labels.
    axes : matplotlib Axes, optional
        By default in a new figure.
    n_images : int, default 16
        How many at most.
    image_shape : (height, width) or (height, width, 3), optional
        By default the square of `n_in` pixels.
    columns : int, optional
        Images in a row; by default as many as rows.
    class_names : sequence of str, optional
        What labels are called.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        If the network has a single output or values for outputs, or X, y and shape do not fit.

    Examples
    --------
    >>> import fastmlp
    >>> from matplotlib.figure import Figure
    >>> from fastmlp.datasets import load_mnist
    >>> from fastmlp.plots import plot_mistakes
    >>> X, y, X_test, y_test = load_mnist("uint8")
    >>> net = fastmlp.MLP((784, 16, 10), input_scale=255.0, rng=0, backend="numpy")
    >>> history = net.fit(X[:2000], y[:2000], epochs=8, optimizer="adam", progress=False)
    >>> axes = plot_mistakes(net, X_test[:500], y_test[:500], Figure().subplots())
    >>> "true" in axes.texts[1].get_text()
    True
    """
    check_network(net)
    if net.architecture.output == "identity" or net.architecture.n_out < 2:
        raise ValueError("net: expected a classifier with an output for each class")
    X = as_rows("X", X, net.architecture.n_in)
    shape = guess_image_shape(X.shape[1], image_shape)
    n_images = min(check_integer("n_images", n_images, low=1), _MOST_IMAGES)
    if columns is not None:
        columns = check_integer("columns", columns, low=1)
    labels = _labels("y", y, X.shape[0])
    n_classes = net.architecture.n_out
    if len(labels) and labels.max() >= n_classes:
        raise ValueError(f"y: expected labels below {n_classes}, got {labels.max()}")
    names = [clipped(name, _CAPTION_NAME) for name in names_of(class_names, n_classes)]
    outputs = net.predict_proba(X)
    predicted, confidence = outputs.argmax(axis=1), outputs.max(axis=1)
    rows = most_confident_mistakes(labels, predicted, confidence, n_images)
    if not len(rows):
        axes = new_axes(axes, 4, 1)
        axes.text(0.5, 0.5, f"no mistake in {len(labels):,} samples", ha="center", va="center")
        axes.set_axis_off()
        return axes
    together = max(map(len, names)) <= _SHORT_NAME
    captions = []
    for i in rows:
        name, share = names[predicted[i]], rate(float(confidence[i]))
        first = [(f"{name}, {share}", True)] if together else [(name, True), (share, False)]
        captions.append([*first, (f"true {names[labels[i]]}", False)])
    columns = columns or math.ceil(math.sqrt(len(rows)))
    side = min(1.3, 8.0 / columns)
    down = -(-len(rows) // columns) * side * (shape[0] / shape[1] + _LINE * len(captions[0]))
    axes = new_axes(axes, max(2.0, columns * side), max(1.5, down))
    _mosaic(axes, _unit_range(_taken(X, rows)).reshape(-1, *shape), captions, columns)
    return axes
