"""A table's model: a scikit-learn Pipeline of standard parts, and the file that keeps it."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..optimizers import OPTIMIZERS
from ..schedules import SCHEDULES
from ..support.atomic import replacing
from ..support.extras import require
from ..support.frames import is_frame
from ..support.interrupts import CtrlC
from ..support.sources import check_directory, open_regular
from ..support.validation import check_path
from .columns import Columns, as_numbers, as_texts
from .reading import Table

__all__ = [
    "Targets",
    "features_of",
    "load_model",
    "save_model",
    "targets_of",
    "train_model",
]


@dataclass
class Targets:
    """The label's column as an estimator takes it.

    Attributes
    ----------
    rows : ndarray of int
        The table's rows that have a label.
    y : ndarray
        Classes as whole numbers where they are written as such, else as texts; or values.
    """

    rows: np.ndarray
    y: np.ndarray


def targets_of(table: Table, label: str, *, regression: bool) -> Targets:
    """Return the labels of a table, rows without one left out.

    Raises
    ------
    ValueError
        If no row has a label, or a label that should be a number is none.
    """
    if regression:
        values = as_numbers(table, label, "a number as the label")
        rows = np.flatnonzero(~np.isnan(values))
        y = values[rows]
    else:
        texts = as_texts(table.frame[label])
        rows = np.flatnonzero(texts != "")
        y = _classes(texts[rows])
    if not len(rows):
        raise ValueError(f"{table.path}: expected a label in column {label!r}, got none in any row")
    return Targets(rows, y)


def _classes(texts: np.ndarray) -> np.ndarray:
    """Return labels as whole numbers where that is how they are written, else as they are."""
    kinds = set(texts)
    try:
        if all(str(int(text)) == text for text in kinds):
            return np.array([int(text) for text in texts], np.int64)
    except (ValueError, OverflowError):
        pass
    return texts


def features_of(table: Table, numbers: list[str], categories: list[str]) -> Any:
    """Return a frame of the features: floats, and categories as they were read.

    Raises
    ------
    ValueError
        If a cell of a column of numbers is none; its line and column are named.
    """
    pandas = require("pandas", "table")
    columns: dict[str, Any] = {name: as_numbers(table, name) for name in numbers}
    columns |= {name: table.frame[name] for name in categories}
    return pandas.DataFrame(columns)


def _check_estimator(estimator: Any, columns: Any) -> None:
    """Raise unless an estimator can learn what the columns say."""
    if not isinstance(columns, Columns):
        raise TypeError(
            f"columns: expected Columns, as describe returns them, got {type(columns).__name__}"
        )
    for name, names in (("numbers", columns.numbers), ("categories", columns.categories)):
        if isinstance(names, str):
            raise TypeError(f"columns: expected a list of names as {name}, got {names!r}")
    if not columns.features:
        raise ValueError("columns: expected numbers or categories, got neither")
    sklearn = require("fastmlp.sklearn", "table")
    wanted = sklearn.MLPRegressor if columns.regression else sklearn.MLPClassifier
    if not isinstance(estimator, wanted):
        kind = (
            ValueError
            if isinstance(estimator, sklearn.MLPClassifier | sklearn.MLPRegressor)
            else TypeError
        )
        raise kind(
            f"estimator: expected an {wanted.__name__} of fastmlp.sklearn, as the label "
            f"{columns.label!r} holds {'values' if columns.regression else 'classes'}, got "
            f"{type(estimator).__name__}"
        )


def _checked(name: str, part: Any, columns: Columns) -> tuple[Any, np.ndarray]:
    """Return frame and labels, held against one another and the columns."""
    if not isinstance(part, tuple | list) or len(part) != 2 or not is_frame(part[0]):
        raise TypeError(
            f"{name}: expected (frame, labels), got {type(part).__name__}"
            + (f" of {len(part)}" if isinstance(part, tuple | list) else "")
        )
    frame, y = part[0], np.asarray(part[1])
    if missing := [column for column in columns.features if column not in frame.columns]:
        raise ValueError(
            f"{name}: expected the columns {', '.join(map(repr, columns.features[:8]))}, got none "
            f"called {', '.join(map(repr, missing[:8]))}"
        )
    if y.shape != (len(frame),):
        raise ValueError(f"{name}: expected {len(frame)} labels, one a row, got shape {y.shape}")
    return frame, y


def train_model(
    estimator: Any,
    columns: Columns,
    training: tuple[Any, np.ndarray],
    validation: tuple[Any, np.ndarray] | None = None,
    callbacks: Any = (),
) -> Any:
    """Fit a pipeline on the rows of a table.

    Numbers that are missing are filled with their median, and all are standardized; categories
    become one column each. What that takes is learned from the training rows.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Of `fastmlp.sklearn`. A regressor is trained on standardized values, and its last layer
        gives them back in their own scale.
    columns : Columns
    training, validation : (frame, labels)
        The frame has the features' columns by name, as `read_table` or pandas reads them.
    callbacks : sequence of Callback

    Returns
    -------
    sklearn.pipeline.Pipeline

    Raises
    ------
    ImportError
        If scikit-learn or pandas is not installed.
    TypeError, ValueError
        If an argument is something else, or the frame lacks a column; it is named.
    """
    pipeline = require("sklearn.pipeline", "table").Pipeline
    _check_estimator(estimator, columns)
    training = _checked("training", training, columns)
    if validation is not None:
        validation = _checked("validation", validation, columns)
    prepare = require("fastmlp.tables.preparation", "table").preparation
    preparation = prepare(columns.numbers, columns.categories)
    X = preparation.fit_transform(training[0])
    y, held = training[1], None
    mean, scale = 0.0, 1.0
    if columns.regression:
        mean, scale = float(y.mean()), float(y.std()) or 1.0
        y = (y - mean) / scale
    if validation is not None:
        y_held = validation[1]
        held = (
            preparation.transform(validation[0]),
            (y_held - mean) / scale if columns.regression else y_held,
        )
    estimator.fit(X, y, validation_data=held, callbacks=list(callbacks))
    if columns.regression:
        estimator.coefs_[-1][...] *= scale
        estimator.intercepts_[-1][...] = estimator.intercepts_[-1] * scale + mean
    model = pipeline([("columns", preparation), ("network", estimator)])
    model.table_ = {
        "label": columns.label,
        "regression": columns.regression,
        "numbers": columns.numbers,
        "categories": columns.categories,
        "left_out": dict(columns.left_out),
        "fastmlp": __version__,
    }
    return model


def _trusted() -> list[str]:
    """Return the types beside scikit-learn's own that a table's model may be made of."""
    own = ["fastmlp.sklearn._classifier.MLPClassifier", "fastmlp.sklearn._regressor.MLPRegressor"]
    parts = [*OPTIMIZERS.values(), *SCHEDULES.values()]
    own += [f"fastmlp.tables.preparation.{kind}Reader" for kind in ("Category", "Number")]
    return [*own, *(f"{part.__module__}.{part.__qualname__}" for part in parts), "numpy.dtype"]


def save_model(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a table's model to a ``.skops`` file, whole or not at all.

    Parameters
    ----------
    model : Pipeline
    path : str or os.PathLike

    Raises
    ------
    ImportError
        If skops is not installed.
    OSError
        If the file cannot be written.
    """
    skops = require("skops.io", "table")
    with CtrlC():  # a zip whose writing is broken off raises ValueError instead
        data = skops.dumps(model)
    with replacing(check_path(path)) as name:
        Path(name).write_bytes(data)


def load_model(path: str | os.PathLike[str]) -> Any:
    """Read a table's model; nothing in the file is run.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    sklearn.pipeline.Pipeline
        It predicts for frames with the features' names. ``model.table_`` says what the table's
        columns were. A category that it was not trained on is zeros, with a warning.

    Raises
    ------
    ImportError
        If skops is not installed.
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, or no table's model.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastmlp.tables import load_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load_model(pathlib.Path(folder, "model.skops"))  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    FileNotFoundError: No such file or directory
    """
    file = check_path(path)
    skops = require("skops.io", "table")
    require("fastmlp.sklearn", "table")
    try:
        with open_regular(file) as stream:
            check_directory(stream)
            with zipfile.ZipFile(stream) as archive:
                stated = sum(member.file_size for member in archive.infolist())
            if stated > stream.seek(0, os.SEEK_END):  # `save_model` does not compress
                raise ValueError("its members state more bytes than it has")
            stream.seek(0)
            data = stream.read()
        model = skops.loads(data, trusted=_trusted())
        known = model.table_
        names = [*known["numbers"], *known["categories"]]
        if not all(isinstance(name, str) for name in [known["label"], *names]):
            raise ValueError("its columns have no names")
        model[-1].coefs_  # noqa: B018 - which a fitted network has
        # early models took categories as texts, and nothing else
        require("fastmlp.tables.preparation", "table").with_readers(model[0])
    except (MemoryError, OSError):
        raise
    except Exception as error:
        # zipfile, json and skops have many ways of saying that a file is damaged
        raise ValueError(f"{file}: expected a table's model saved by fastmlp; {error}") from error
    return model
