"""What turns a table's columns into numbers of one scale: parts of scikit-learn, and two of ours.

Needs scikit-learn; who may lack it imports this on first use.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any, NoReturn

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .cells import categories_of, numbers_of

__all__ = ["CategoryReader", "NumberReader", "preparation", "with_readers"]

_NUMBERS, _CATEGORIES, _READ = "numbers", "categories", "read"


def _blame(name: str, row: int, expected: str, got: str) -> NoReturn:
    raise ValueError(f"X: row {row}, column {name!r}: expected {expected}, got {got}")


class _Reader(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What both readers have: the names of the columns."""

    def _take_names(self, names: Any) -> None:
        self.feature_names_in_ = np.array(list(names), object)
        self.n_features_in_ = len(self.feature_names_in_)

    def _columns(self, X: Any) -> Iterator[tuple[str, Any]]:
        for name in self.feature_names_in_:
            yield name, X[name]


class NumberReader(_Reader):
    """Reads columns of numbers, NaN where one is missing, also where they came as texts.

    Examples
    --------
    >>> import pandas
    >>> from fastmlp.tables.preparation import NumberReader
    >>> frame = pandas.DataFrame({"height": ["1.8", "?"], "tall": [True, False]})
    >>> NumberReader().fit_transform(frame).tolist()
    [[1.8, 1.0], [nan, 0.0]]
    """

    def fit(self, X: Any, y: Any = None) -> NumberReader:
        """Take the names of a frame's columns."""
        self._take_names(X.columns)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return an array of floats.

        Raises
        ------
        ValueError
            If a cell is no number; its row and column are named.
        """
        return np.column_stack([
            numbers_of(column, partial(_blame, name)) for name, column in self._columns(X)
        ])  # fmt: skip


class CategoryReader(_Reader):
    """Reads columns of categories as texts, "" where one is missing, and warns of new ones.

    Attributes
    ----------
    kinds_ : list of ndarray
        By column, the texts that `fit` has seen.

    Examples
    --------
    >>> import pandas
    >>> from fastmlp.tables.preparation import CategoryReader
    >>> frame = pandas.DataFrame({"city": ["Rom", None], "member": [True, False]})
    >>> CategoryReader().fit_transform(frame).tolist()
    [['Rom', 'True'], ['', 'False']]
    """

    kinds_: list[np.ndarray]

    def fit(self, X: Any, y: Any = None) -> CategoryReader:
        """Take the names of a frame's columns, and the categories in them."""
        self._take_names(X.columns)
        self.kinds_ = [np.unique(categories_of(column)) for _, column in self._columns(X)]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return an array of texts.

        Warns
        -----
        UserWarning
            If there are texts that `fit` has not seen.
        """
        columns = []
        for (name, column), kinds in zip(self._columns(X), self.kinds_, strict=True):
            texts, known = categories_of(column), set(kinds)
            columns.append(texts)
            if set(texts) - known:
                new = [text for text in texts if text not in known]
                warnings.warn(
                    f"column {name!r}: {len(new):,} of {len(texts):,} rows have a value that the "
                    f"model was not trained on, as {new[0]!r}: it counts as none",
                    stacklevel=2,
                )
        return np.column_stack(columns)


def preparation(numbers: list[str], categories: list[str]) -> ColumnTransformer:
    """Return what turns columns into numbers of one scale; learns from what it is fitted on.

    Numbers that are missing are filled with their median, and all are standardized. Categories
    become one column each; one that training has not seen is zeros.

    Examples
    --------
    >>> import pandas
    >>> from fastmlp.tables.preparation import preparation
    >>> frame = pandas.DataFrame({"height": [1.8, 1.6], "city": ["Rom", None]})
    >>> preparation(["height"], ["city"]).fit_transform(frame).round(3).tolist()
    [[1.0, 0.0, 1.0], [-1.0, 1.0, 0.0]]
    """
    parts: list[Any] = []
    if numbers:
        fill = SimpleImputer(strategy="median", keep_empty_features=True)
        steps = [(_READ, NumberReader()), ("fill", fill), ("scale", StandardScaler())]
        parts.append((_NUMBERS, Pipeline(steps), numbers))
    if categories:
        encoder = OneHotEncoder(handle_unknown="ignore")
        steps = [(_READ, CategoryReader()), ("encode", encoder)]
        parts.append((_CATEGORIES, Pipeline(steps), categories))
    return ColumnTransformer(parts)


def with_readers(fitted: ColumnTransformer) -> ColumnTransformer:
    """Return a fitted preparation with readers, which early models were saved without."""
    for at, (name, part, columns) in enumerate(fitted.transformers_):
        steps = list(part.steps) if isinstance(part, Pipeline) else [("encode", part)]
        if name not in (_NUMBERS, _CATEGORIES) or isinstance(steps[0][1], _Reader):
            continue
        reader: _Reader = NumberReader()
        if name == _CATEGORIES:
            reader, encoder = CategoryReader(), part
            encoder.categories_ = [categories_of(kinds) for kinds in encoder.categories_]
            reader.kinds_ = list(encoder.categories_)
        reader._take_names(columns)
        vars(steps[0][1]).pop("feature_names_in_", None)  # it gets an array now
        fitted.transformers_[at] = name, Pipeline([(_READ, reader), *steps]), columns
    fitted.transformers = preparation(*(
        next((columns for part, _, columns in fitted.transformers if part == name), [])
        for name in (_NUMBERS, _CATEGORIES)
    )).transformers  # fmt: skip
    return fitted
