"""The report as a whole: its arguments, its order, and its file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from ..plots._axes import names_of
from ..plots._images import guess_image_shape
from ..support.atomic import replacing
from ..support.validation import check_network
from ._notebook import Report
from ._page import Element, element, facts, missing, page, section
from ._results import Tested, judged, tested
from ._training import duration, machine, network, number, percent, training, weights

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["make_report", "write_report"]

_FEWEST_PIXELS = 64  # fewer features are hardly an image, though they may make a square


def _image_shape(net: MLP, image_shape: Any) -> tuple[int, ...] | None:
    if image_shape is not None:
        return guess_image_shape(net.architecture.n_in, image_shape)
    try:
        shape = guess_image_shape(net.architecture.n_in)
    except ValueError:
        return None
    return shape if net.architecture.n_in >= _FEWEST_PIXELS else None


def _lead(net: MLP, test: Tested | None) -> list[Element]:
    history = net.history
    pairs = [("parameters", number(net.n_parameters))]
    if test is not None:
        if "accuracy" in test.figures:
            pairs.append(("test accuracy", percent(test.figures["accuracy"])))
        pairs.append(("test loss", number(test.figures["loss"])))
    if history.loss:
        pairs.append(("epochs", number(len(history))))
    if history.seconds:
        pairs.append(("time per epoch", duration(median(history.seconds))))
    kind = {"softmax": "classifier", "sigmoid": "classifier of labels", "identity": "regressor"}
    sizes = "-".join(str(size) for size in net.layer_sizes)
    what = kind[net.architecture.output]
    return [element("p", f"A multilayer perceptron, {sizes}, a {what}.", class_="soft"),
            facts(pairs, "facts lead")]  # fmt: skip


def make_report(
    net: MLP,
    X: Any = None,
    y: Any = None,
    *,
    title: str | None = None,
    data_name: str = "test data",
    class_names: Sequence[str] | None = None,
    image_shape: Sequence[int] | None = None,
    saved_with: dict[str, str] | None = None,
) -> Report:
    """Return a report of a network as one HTML document that opens without a connection.

    What was trained and how; loss and accuracy curves; on a test set the loss, accuracy,
    precision and recall, confusion matrix, worst mistakes and calibration, or for values
    predictions and residuals; the first layer's weights. The same network and data make the same
    bytes.

    Parameters
    ----------
    net : MLP
    X : array, frame or sparse matrix, (n, n_in), optional
        A test set; without it the report says that there is none.
    y : array, optional
        Its labels or targets.
    title : str, optional
        By default "Report of a network".
    data_name : str, default "test data"
        What the test set is called.
    class_names : sequence of str, optional
        What classes, labels or outputs are called.
    image_shape : (height, width) or (height, width, 3), optional
        Of a sample; by default the square, where there are at least 64 pixels.
    saved_with : dict of str, optional
        Versions by name, as a model's file states them.

    Returns
    -------
    str
        Which a notebook shows as the page it is.

    Raises
    ------
    ImportError
        If matplotlib or networkx is not installed.
    TypeError, ValueError
        If an argument does not fit the network.

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> from fastmlp.report import make_report
    >>> net = fastmlp.MLP((2, 3, 2), rng=0, backend="numpy")
    >>> _ = net.fit(np.eye(2), [0, 1], epochs=2)
    >>> make_report(net, np.eye(2), [0, 1])[:15]
    '<!DOCTYPE html>'
    """
    check_network(net)
    if (X is None) != (y is None):
        raise ValueError("y: expected X and y, or neither of them")
    for name, text in (("title", "" if title is None else title), ("data_name", data_name)):
        if not isinstance(text, str):
            raise TypeError(f"{name}: expected a str, got {text!r}")
    if class_names is not None:
        names_of(class_names, net.architecture.n_out)
    shape = _image_shape(net, image_shape)
    test = None if X is None else tested(net, X, y, data_name)
    sections = [network(net), training(net)]
    if test is None:
        sections.append(section("Test", missing(
            "No test data was given, so figures, confusion matrix, mistakes and calibration "
            "are missing.",
        )))  # fmt: skip
    else:
        sections += judged(net, test, class_names, shape)
    sections += [weights(net, shape), machine(saved_with)]
    return Report(page(title or "Report of a network", _lead(net, test), sections))


def write_report(
    net: MLP, path: str | os.PathLike[str], X: Any = None, y: Any = None, **options: Any
) -> None:
    """Write `make_report`'s document to a file, whole or not at all.

    Parameters
    ----------
    net : MLP
    path : str or os.PathLike
    X, y, **options
        As for `make_report`.

    Raises
    ------
    ImportError
        If matplotlib or networkx is not installed.
    OSError
        If the file cannot be written; an older file of that name stays as it was.
    TypeError, ValueError
        If an argument does not fit the network.

    Examples
    --------
    >>> import pathlib, tempfile, fastmlp
    >>> from fastmlp.report import write_report
    >>> net = fastmlp.MLP((2, 3, 2), rng=0, backend="numpy")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "report.html")
    ...     write_report(net, file, title="Two bits")
    ...     "<h1>Two bits</h1>" in file.read_text(encoding="utf-8")
    True
    """
    text = make_report(net, X, y, **options)
    with replacing(path) as name:
        Path(name).write_text(text, encoding="utf-8")
