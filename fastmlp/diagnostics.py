"""How good predictions are: confusion matrix, precision and recall, calibration."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .datasets._checks import whole_labels
from .support.validation import check_finite, check_integer

__all__ = [
    "Calibration",
    "PrecisionRecall",
    "calibration",
    "confusion_matrix",
    "precision_recall",
]

_MOST_CLASSES = 20_000  # of a confusion matrix, which then takes 3.2 GB


class PrecisionRecall(NamedTuple):
    """Per class, float64 (n_classes,); NaN where there is nothing to take a share of.

    Attributes
    ----------
    precision : ndarray
        Of the samples that were called this class, the share that is.
    recall : ndarray
        Of the samples that are of this class, the share that was called so.
    f1 : ndarray
        The harmonic mean of the two: ``2 TP / (2 TP + FP + FN)``.
    support : ndarray of int64
        How many samples are of this class.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


class Calibration(NamedTuple):
    """What a reliability diagram shows, a number per bin of probability.

    Attributes
    ----------
    edges : ndarray of float64, (n_bins + 1,)
        Equal steps from 0 to 1; a bin holds its upper edge.
    probability, frequency : ndarray of float64, (n_bins,)
        The mean of what was said, and how often it was so; NaN in an empty bin.
    counts : ndarray of int64, (n_bins,)
        How many predictions fell into the bin.
    error : float
        The expected calibration error: the mean of ``|frequency - probability|`` over
        predictions.
    """

    edges: np.ndarray
    probability: np.ndarray
    frequency: np.ndarray
    counts: np.ndarray
    error: float


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def confusion_matrix(y: Any, predicted: Any, n_classes: int | None = None) -> np.ndarray:
    """Return how many samples of each class (rows) were called which class (columns).

    Parameters
    ----------
    y, predicted : array of int, (n,)
        Labels from 0.
    n_classes : int, optional
        By default as many as the labels need.

    Returns
    -------
    ndarray of int64, (n_classes, n_classes)

    Raises
    ------
    TypeError, ValueError
        If these are no labels, or not equally many, or beyond `n_classes`, or beyond 20,000
        classes.

    Examples
    --------
    >>> from fastmlp.diagnostics import confusion_matrix
    >>> confusion_matrix([0, 1, 1], [0, 1, 0]).tolist()
    [[1, 0], [1, 1]]
    """
    y, predicted = whole_labels(y, "y"), whole_labels(predicted, "predicted")
    if len(y) != len(predicted):
        raise ValueError(f"predicted: expected {len(y)} labels as in y, got {len(predicted)}")
    needed = int(max(y.max(initial=-1), predicted.max(initial=-1))) + 1
    n = needed if n_classes is None else check_integer("n_classes", n_classes, low=1)
    if needed > n:
        raise ValueError(f"n_classes: expected at least {needed} for these labels, got {n}")
    if n > _MOST_CLASSES:
        if n_classes is not None:
            raise ValueError(f"n_classes: expected at most {_MOST_CLASSES}, got {n}")
        name = "y" if y.max(initial=-1) == n - 1 else "predicted"
        raise ValueError(
            f"{name}: expected labels below {_MOST_CLASSES}, which have a row each, got {n - 1}"
        )
    matrix = np.zeros((n, n), np.int64)
    np.add.at(matrix, (y, predicted), 1)
    return matrix


def precision_recall(matrix: np.ndarray) -> PrecisionRecall:
    """Return precision, recall, F1 and support of each class.

    Parameters
    ----------
    matrix : ndarray of int, (n_classes, n_classes)
        As `confusion_matrix` returns it.

    Returns
    -------
    PrecisionRecall

    Raises
    ------
    ValueError
        If the matrix is not square, or holds something else than counts.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp.diagnostics import precision_recall
    >>> precision_recall(np.array([[1, 0], [1, 1]])).recall.tolist()
    [1.0, 0.5]
    """
    counts = np.ndim(matrix) == 2 and np.asarray(matrix).dtype.kind in "biuf"
    if not counts or matrix.shape[0] != matrix.shape[1] or not (matrix >= 0).all():
        raise ValueError(f"matrix: expected a square one of counts, got {matrix!r}")
    right, called, support = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    return PrecisionRecall(
        _share(right, called), _share(right, support), _share(2 * right, called + support), support
    )


def calibration(y: Any, probabilities: Any, n_bins: int = 10) -> Calibration:
    """Return how often predictions came true, by the probability that they were given.

    With labels and a row of probabilities per sample, a prediction is the sample's likeliest
    class (Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, 2017).
    With 0/1 targets shaped as the probabilities, every entry is a prediction of a 1.

    Parameters
    ----------
    y : array, (n,) or (n, n_labels)
    probabilities : array of float, (n,), (n, n_classes) or (n, n_labels)
    n_bins : int, default 10

    Returns
    -------
    Calibration

    Raises
    ------
    TypeError, ValueError
        If shapes do not fit, there are no probabilities or some outside 0 to 1, or targets are not
        0 and 1.

    Examples
    --------
    >>> from fastmlp.diagnostics import calibration
    >>> found = calibration([0, 1, 1, 1], [0.25, 0.75, 0.75, 0.75], n_bins=2)
    >>> found.frequency.tolist(), found.error
    ([0.0, 1.0], 0.25)
    """
    n_bins = check_integer("n_bins", n_bins, low=1)
    p, y = np.asarray(probabilities), np.asarray(y)
    if p.dtype.kind not in "biuf" or p.ndim not in (1, 2):
        raise ValueError(
            f"probabilities: expected numbers of shape (n,) or (n, n_classes), got {p.dtype} "
            f"{p.shape}"
        )
    check_finite("probabilities", p if p.ndim == 2 else p[:, None])
    # a softmax in float32 may end a rounding above 1
    if not p.size:
        raise ValueError(f"probabilities: expected at least one, got shape {p.shape}")
    if p.min() < 0 or p.max() > 1 + 1e-5:
        raise ValueError(f"probabilities: expected 0 to 1, got {p.min()} to {p.max()}")
    if p.ndim == 2 and p.shape[1] == 1 and y.ndim == 1:
        p = p[:, 0]
    if p.ndim == 2 and y.ndim == 1:
        labels = whole_labels(y, "y", p.shape[1] - 1)
        if len(labels) != len(p):
            raise ValueError(f"y: expected {len(p)} labels as in probabilities, got {len(labels)}")
        said, came = p.max(axis=1), labels == p.argmax(axis=1)
    elif y.shape == p.shape:
        if not np.isin(y, (0, 1)).all():
            raise ValueError("y: expected 0 and 1 where it is shaped as probabilities")
        said, came = p.ravel(), y.ravel() == 1
    else:
        raise ValueError(f"y: expected labels, or the shape {p.shape}, got {y.shape}")
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    said = np.minimum(said.astype(np.float64), 1.0)
    which = np.clip(np.searchsorted(edges, said, side="left") - 1, 0, n_bins - 1)
    count = np.bincount(which, minlength=n_bins)
    probability = _share(np.bincount(which, said, n_bins), count)
    frequency = _share(np.bincount(which, came, n_bins), count)
    gaps = np.abs(frequency - probability)[count > 0] * count[count > 0]
    error = float(gaps.sum() / len(said))
    return Calibration(edges, probability, frequency, count, error)
