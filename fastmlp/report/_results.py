"""What a network makes of a test set: sections by what its outputs are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..diagnostics import calibration, confusion_matrix, precision_recall
from ..plots import (
    plot_calibration,
    plot_confusion_matrix,
    plot_mistakes,
    plot_predictions,
    plot_residuals,
)
from ..plots._axes import names_of
from ..plots._images import most_confident_mistakes
from ._figure import figure, figures
from ._page import Element, element, facts, missing, section, table
from ._training import number, percent

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["Tested", "judged", "tested"]

_MOST_CLASSES = 50  # of a confusion matrix that is still readable
_MOST_MISTAKES = 16
_MOST_VALUES = 4  # outputs that get pictures of their own


@dataclass
class Tested:
    """A test set, checked, and what the network answers to it.

    Attributes
    ----------
    X : array, frame or sparse matrix, (n, n_in)
    targets : ndarray
        Labels (n,), or rows (n, n_out).
    outputs : ndarray, (n, n_out)
    figures : dict
        What `MLP.evaluate` returns.
    name : str
        Where it comes from.
    """

    X: Any
    targets: np.ndarray
    outputs: np.ndarray
    figures: dict[str, float]
    name: str


def tested(net: MLP, X: Any, y: Any, name: str) -> Tested:
    """Return the test set with the network's answers.

    Raises
    ------
    TypeError, ValueError
        If X or y does not fit the network.
    """
    X, targets, _ = net._samples(X, y, None)
    return Tested(X, targets, net.predict_proba(X), net.evaluate(X, y), name)


def _exclusive(net: MLP, test: Tested) -> tuple[np.ndarray, np.ndarray] | None:
    """Return labels and a column of probability per class, where a sample has one class."""
    a, targets = net.architecture, test.targets
    if a.output == "identity":
        return None
    if targets.ndim == 1:
        return targets, test.outputs
    if a.output == "softmax":
        return targets.argmax(axis=1), test.outputs
    if not np.isin(targets, (0, 1)).all():
        return None
    if a.n_out == 1:
        both = np.concatenate([1 - test.outputs, test.outputs], axis=1)
        return targets[:, 0].astype(np.int64), both
    if (targets.sum(axis=1) == 1).all():
        return targets.argmax(axis=1), test.outputs
    return None


def judged(
    net: MLP, test: Tested, class_names: Any, image_shape: tuple[int, ...] | None
) -> list[Element]:
    """Return the sections on a test set.

    Raises
    ------
    TypeError, ValueError
        If the class names do not fit.
    """
    pairs = [("data", test.name), ("samples", number(len(test.outputs))),
             ("loss", number(test.figures["loss"]))]  # fmt: skip
    if "accuracy" in test.figures:
        pairs.append(("accuracy", percent(test.figures["accuracy"])))
    first: list[Element | None] = [facts(pairs)]
    if not np.isfinite(test.outputs).all():
        first.append(missing(
            "Some outputs are not finite numbers: training diverged, nothing can be judged.",
        ))  # fmt: skip
        return [section("Test", *first)]
    classes = _exclusive(net, test)
    if classes is not None:
        names = names_of(class_names, classes[1].shape[1])
        if net.architecture.output == "sigmoid" and net.architecture.n_out > 1:
            first.append(element(
                "p", "Every sample has one label, so below the likeliest output counts as the "
                "predicted class; the accuracy above asks for every output on the right side.",
            ))  # fmt: skip
        return _classes(net, test, *classes, names, image_shape, first)
    names = names_of(class_names, net.architecture.n_out)
    if net.architecture.output == "sigmoid" and np.isin(test.targets, (0, 1)).all():
        return _labels(test, names, first)
    if class_names is None:
        names = [f"y{i}" for i in range(net.architecture.n_out)]
    return _values(net, test, names, first)


def _classes(
    net: MLP, test: Tested, labels: np.ndarray, probabilities: np.ndarray, names: list[str],
    image_shape: tuple[int, ...] | None, first: list[Element | None],
) -> list[Element]:  # fmt: skip
    n = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    matrix = confusion_matrix(labels, predicted, n)
    found = precision_recall(matrix)
    first.append(element(
        "p", "Precision: of what is called this class, the share that is. Recall: of what is "
        "this class, the share that is called so. F1: their harmonic mean.",
    ))  # fmt: skip
    first.append(_scores(found, names))
    if n > _MOST_CLASSES:
        confusion = missing(
            f"The confusion matrix is left out: {n} classes are more than {_MOST_CLASSES}."
        )
    else:
        side = min(9.0, max(4.2, 0.45 * n + 0.8))
        confusion = figure(
            lambda axes: plot_confusion_matrix(
                labels, predicted, axes, class_names=names, n_classes=n
            ),
            "Rows are the true classes, columns the predicted ones; frames mark what is right.",
            f"Confusion matrix: {int(np.trace(matrix)):,} of {len(labels):,} samples lie on the "
            f"diagonal. {_worst_confusion(matrix, names)}",
            (side, side),
        )
    return [
        section("Test", *first),
        section("Confusion matrix", figures(confusion, _confusions(matrix, names))),
        _mistakes(net, test, labels, probabilities, names, image_shape),
        _calibrated(labels, probabilities),
    ]


def _scores(found: Any, names: list[str]) -> Element:
    shares = list(zip(*found[:3], strict=True))
    rows = [
        (names[i], *map(percent, shares[i]), number(int(count)))
        for i, count in enumerate(found.support)
    ]
    means = [float(np.nanmean(column)) if (column == column).any() else np.nan
             for column in found[:3]]  # fmt: skip
    rows.append(("mean", *map(percent, means), number(int(found.support.sum()))))
    header = ("class", "precision", "recall", "F1", "samples")
    return table("Class by class", header, rows)


def _pairs(matrix: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Return the most frequent (true, predicted) confusions, the most frequent first."""
    off = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-off, axis=None, kind="stable")[:most]
    where = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, off.shape), strict=True)]
    return [(i, j) for i, j in where if off[i, j]]


def _worst_confusion(matrix: np.ndarray, names: list[str]) -> str:
    worst = _pairs(matrix, 1)
    if not worst:
        return "Nothing is confused."
    ((i, j),) = worst
    return f"Most often, {matrix[i, j]:,} times, {names[i]} is taken for {names[j]}."


def _confusions(matrix: np.ndarray, names: list[str]) -> Element | None:
    rows = [
        (names[i], names[j], number(int(matrix[i, j])), percent(matrix[i, j] / matrix[i].sum()))
        for i, j in _pairs(matrix, 5)
    ]
    if not rows:
        return None
    return table(
        "The most frequent confusions", ("true", "predicted", "samples", "of the class"), rows
    )


def _mistakes(
    net: MLP, test: Tested, labels: np.ndarray, probabilities: np.ndarray, names: list[str],
    image_shape: tuple[int, ...] | None,
) -> Element:  # fmt: skip
    title = "Most confident mistakes"
    predicted, said = probabilities.argmax(axis=1), probabilities.max(axis=1)
    rows = most_confident_mistakes(labels, predicted, said, _MOST_MISTAKES)
    if not len(rows):
        return section(title, missing("There are none: every sample is predicted right."))
    shown = None
    if image_shape is not None and net.architecture.n_out > 1:
        side = 5.2
        shown = figure(
            lambda axes: plot_mistakes(
                net, test.X[rows], labels[rows], axes, image_shape=image_shape, class_names=names
            ),
            "Wrong predictions with the highest probability: what was predicted, in bold, and "
            "the truth.",
            f"{len(rows)} samples as images that are predicted wrong with great confidence; the "
            "table has their numbers.",
            (side, side * (1 + 0.7 * image_shape[0] / image_shape[1])),
        )
    cells = [(str(i), names[labels[i]], names[predicted[i]], percent(float(said[i]))) for i in rows]
    listed = table(
        "The samples by their row in the data, counted from 0",
        ("row", "true", "predicted", "probability"), cells,
    )  # fmt: skip
    return section(title, figures(shown, listed))


def _calibrated(y: np.ndarray, probabilities: np.ndarray) -> Element:
    found = calibration(y, probabilities)
    shown = figure(
        lambda axes: plot_calibration(y, probabilities, axes),
        "How often predictions came true, by the probability that they were given; the number "
        "over a bar is how many there were. Bars above the dashed line: too timid; below: too "
        "sure.",
        f"Reliability diagram; the expected calibration error is {found.error:.3f}.",
        (4.6, 4.2),
    )
    rows = [
        (f"{100 * found.edges[i]:.0f} to {100 * found.edges[i + 1]:.0f} %",
         percent(found.probability[i]), percent(found.frequency[i]), number(int(count)))
        for i, count in enumerate(found.counts) if count
    ]  # fmt: skip
    listed = table(
        "Predictions by their probability", ("said", "mean said", "came true", "predictions"), rows
    )
    return section("Calibration", figures(shown, listed))


def _labels(test: Tested, names: list[str], first: list[Element | None]) -> list[Element]:
    """Return the sections of independent labels."""
    truth, said = test.targets > 0.5, test.outputs > 0.5
    cells = []
    for i, name in enumerate(names[: truth.shape[1]]):
        found = precision_recall(confusion_matrix(truth[:, i], said[:, i], 2))
        cells.append(
            (name, *(percent(float(column[1])) for column in found[:3]), number(int(found[3][1])))
        )
    first.append(element("p", "The accuracy is the share of samples with every label right."))
    first.append(
        table(
            "Label by label, where a probability above one half counts as predicted",
            ("label", "precision", "recall", "F1", "samples"),
            cells,
        )
    )
    return [section("Test", *first), _calibrated(truth.astype(np.int64), test.outputs)]


def _values(net: MLP, test: Tested, names: list[str], first: list[Element | None]) -> list[Element]:
    """Return the sections of a regressor."""
    truth = test.targets.astype(np.float64)
    said = test.outputs.astype(np.float64)
    if net.architecture.loss == "poisson":
        said = np.exp(said)
        first.append(element("p", "Predictions are rates: the exponential of the outputs."))
    cells: list[tuple[str, ...]] = []
    for i, name in enumerate(names[: truth.shape[1]]):
        residual, spread = said[:, i] - truth[:, i], truth[:, i] - truth[:, i].mean()
        total = float((spread**2).sum())
        r2 = f"{1 - float((residual**2).sum()) / total:.4f}" if total > 0 else "-"
        errors = (np.sqrt((residual**2).mean()), np.abs(residual).mean(), residual.mean())
        cells.append((name, r2, *(number(float(error)) for error in errors)))
    first.append(element(
        "p", "R²: the share of the variance that is explained. RMSE: root of the mean squared "
        "error. MAE: mean absolute error. Bias: mean of predicted minus true.",
    ))  # fmt: skip
    first.append(table("Output by output", ("output", "R²", "RMSE", "MAE", "bias"), cells))
    drawn = names[: min(truth.shape[1], _MOST_VALUES)]
    made: list[Element | None] = []
    for i, name in enumerate(drawn):
        made += [_cloud(plot_predictions, truth[:, i], said[:, i], name, "Predicted against true"),
                 _cloud(plot_residuals, truth[:, i], said[:, i], name, "Residuals")]  # fmt: skip
    rest = None
    if len(drawn) < truth.shape[1]:
        rest = missing(f"Drawn are the first {len(drawn)} of {truth.shape[1]} outputs.")
    return [section("Test", *first), section("Predictions", figures(*made), rest)]


def _cloud(plot: Any, truth: np.ndarray, said: np.ndarray, name: str, what: str) -> Element | None:
    if not np.isfinite(said).all():  # a rate may overflow where its logarithm does not
        return missing(f"{what} of {name}: not drawn, as predictions are not finite.")
    return figure(
        lambda axes: plot(truth, said, axes),
        f"{what} of {name}.",
        f"{what} of {name}, {len(truth):,} samples; true from {truth.min():.4g} to "
        f"{truth.max():.4g}, predicted from {said.min():.4g} to {said.max():.4g}.",
    )
