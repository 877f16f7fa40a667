"""What workers make of the data: chunks are checked and cut, partitions are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..architecture import Architecture
from ..regularization import Regularization
from ..support.validation import (
    as_rows,
    check_class_weight,
    check_finite,
    check_sample_weight,
    check_targets,
)
from ._layout import Layout
from ._loading import load_kernels

__all__ = [
    "Job",
    "Partition",
    "Summary",
    "merge",
    "one_hot",
    "piece_of",
    "split",
    "summary_of",
    "weights_of",
]

_LOOKED_AT = 256  # rows whose density speaks for all, as in `kernels.run.choose`


@dataclass(frozen=True)
class Job:
    """What a worker has to know of a fit, beside its data.

    Attributes
    ----------
    name : str
        Of this fit alone.
    architecture : Architecture
    layout : Layout
    regularization : Regularization
    class_weight : tuple of float or None
        By label.
    sparse : bool
        Whether all of X is mostly zeros.
    soft : bool
        Whether targets are rows of probabilities, in some partitions at least.
    """

    name: str
    architecture: Architecture
    layout: Layout
    regularization: Regularization = Regularization()  # noqa: RUF009  frozen
    class_weight: tuple[float, ...] | None = None
    sparse: bool = False
    soft: bool = False


@dataclass
class Summary:
    """What the one who asked has to know of a chunk of samples.

    Attributes
    ----------
    looked_at, nonzeros : int
        How many values were looked at for zeros, and how many were none.
    counts : ndarray of float64, (n_classes,), or None
        Samples by class.
    weighted : bool
        Whether a sample weight is above 0.
    soft : bool
        Whether the targets are rows of probabilities.
    """

    looked_at: int
    nonzeros: int
    counts: np.ndarray | None
    weighted: bool
    soft: bool


class Partition:
    """Samples that a worker keeps, and what it has prepared for them.

    Attributes
    ----------
    number : int
    X, y, weight
        Checked; weight is None where nobody gave any.
    """

    def __init__(self, number: int, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None):
        self.number, self.X, self.y, self.weight = number, X, y, weight
        self.prepared: Any = None  # for one fit: (its bench, GroupSums, an order and its key)

    def __sizeof__(self) -> int:
        """Return the bytes of its samples: Dask decides by them."""
        return sum(a.nbytes for a in (self.X, self.y, self.weight) if a is not None)

    def __getstate__(self) -> tuple[Any, ...]:
        return self.number, self.X, self.y, self.weight

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.number, self.X, self.y, self.weight = state
        self.prepared = None


Piece = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def split(
    number: int, first: int, n: int, X: Any, y: Any, weight: Any, job: Job
) -> tuple[dict[int, Piece], Summary]:
    """Check a chunk of `n` samples from `first` on; return what goes to which partition.

    Raises
    ------
    TypeError, ValueError
        If it is not what the network takes; the message names the chunk.
    """
    a = job.architecture
    load_kernels(a)
    try:
        X = as_rows("X", X, a.n_in)
        if hasattr(X, "tocsr"):
            raise TypeError("X: expected dense partitions, got a sparse matrix")
        if X.shape[0] != n:
            raise ValueError(f"X: expected {n} rows, as was said, got {X.shape[0]}")
        if y is None:
            raise ValueError("y: expected labels, got None")
        check_finite("X", X, dtype=a.dtype, scale=a.input_scale)
        targets = check_targets("y", y, n, a.n_out, a.output, a.loss, np.dtype(a.dtype))
        if weight is not None:
            weight = np.asarray(weight)
            nothing = weight.shape == (n,) and weight.dtype.kind in "biuf" and not weight.any()
            weight = np.zeros(n) if nothing else check_sample_weight(weight, n)
    except (TypeError, ValueError) as error:
        raise type(error)(f"partition {number}: {error}") from None
    every = max(1, job.layout.samples // _LOOKED_AT)
    there = np.arange(-(-first // every) * every, first + n, every)
    looked_at = X[there[there < every * _LOOKED_AT] - first]
    soft = a.output == "softmax" and targets.ndim == 2
    summary = Summary(
        looked_at.size, int(np.count_nonzero(looked_at)), _counts(targets, a),
        weight is None or bool(weight.any()), soft,
    )  # fmt: skip
    pieces = {}
    for partition, slices in job.layout.cut(first, n).items():
        pieces[partition] = tuple(
            None if array is None else _joined([array[part] for part in slices])
            for array in (X, targets, weight)
        )
    return pieces, summary  # type: ignore[return-value]


def piece_of(found: tuple[dict[int, Piece], Summary], partition: int) -> Piece:
    """Return what goes to one partition."""
    return found[0][partition]


def summary_of(found: tuple[dict[int, Piece], Summary]) -> Summary:
    """Return what is said of a chunk."""
    return found[1]


def _counts(y: np.ndarray, a: Architecture) -> np.ndarray | None:
    if a.output == "identity":
        return None
    if y.ndim == 1:
        return np.bincount(y, minlength=max(a.n_out, 2)).astype(np.float64)
    if y.shape[1] == 1:
        return np.array([(1 - y).sum(dtype=np.float64), y.sum(dtype=np.float64)])
    return y.sum(axis=0, dtype=np.float64)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(arrays[0]) if len(arrays) == 1 else np.concatenate(arrays)


def merge(number: int, n_out: int, pieces: Sequence[Piece]) -> Partition:
    """Return the pieces of a partition, in their order, as one."""
    X, targets, weights = zip(*pieces, strict=True)
    if len({y.ndim for y in targets}) > 1:
        targets = tuple(one_hot(y, n_out) for y in targets)
    weight = None if weights[0] is None else _joined(weights)
    return Partition(number, _joined(X), _joined(targets), weight)


def one_hot(y: np.ndarray, n_out: int) -> np.ndarray:
    """Return labels as rows; rows as they are."""
    if y.ndim == 2:
        return y
    rows = np.zeros((len(y), n_out))
    rows[np.arange(len(y)), y] = 1
    return rows


def weights_of(partition: Partition, job: Job) -> np.ndarray:
    """Return the samples' weights times those of their classes."""
    a, weight = job.architecture, partition.weight
    if job.class_weight is None:
        return np.ones(len(partition.y)) if weight is None else weight
    given = dict(enumerate(job.class_weight))
    by_class = check_class_weight(given, partition.y, a.n_out, a.output)
    assert by_class is not None
    return by_class if weight is None else by_class * weight
