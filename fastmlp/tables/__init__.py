"""Tables as people have them: files read, columns told apart, models that any program opens.

A table's model is a scikit-learn Pipeline of standard parts and an estimator of
`fastmlp.sklearn`, kept in a ``.skops`` file. Needs the ``table`` extra.
"""

from __future__ import annotations

from .columns import Columns, describe
from .layout import Layout, find_layout
from .model import load_model, save_model, train_model
from .reading import Table, read_table

__all__ = [
    "Columns",
    "Layout",
    "Table",
    "describe",
    "find_layout",
    "load_model",
    "read_table",
    "save_model",
    "train_model",
]
