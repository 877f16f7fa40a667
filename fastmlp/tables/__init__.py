"""Tables as people have them: files read, columns told apart, models that any program opens.

With the extra ``table``, the command line takes CSV and Parquet as they are::

    $ fastmlp train people.csv --label income
    people.csv: 3,000 rows; features: 5 numbers, 3 categories (17 values); label 'income': 2 classes
    (<=50K 1,559, >50K 1,441)
    fastmlp: column 'id' left out: it numbers the rows
    ...
    test accuracy 89.17 %, loss 0.2693
    $ fastmlp predict model.skops new.csv > answers.csv

- Separator, decimal commas, marks between thousands, encoding, compression and header are found
  out, and the first line says what was taken for what.
- Numbers are standardized, and filled with their median where they are missing. Words become one
  column each, unknown ones zeros, with a note.
- A column that numbers the rows, dates, and texts of which each row has its own are left out with a
  note.
- All of that is learned from the training rows and kept in the model, whose columns go by name.
- Test and validation rows are drawn class by class. ``evaluate`` on the table of the training
  counts the rows that were held out.

A table's model is a scikit-learn Pipeline of standard parts and an estimator of `fastmlp.sklearn`,
kept in a ``.skops`` file. ``load_model("model.skops").predict(pandas.read_csv("new.csv"))`` says
what ``fastmlp predict model.skops new.csv`` does, and warns where that has a note; give pandas the
file's ``sep``, ``decimal`` and ``thousands`` if they are others. skops' own ``load`` opens the
model too. A category is the same as a text, a number or a truth value: "07" is 7, "true" is True.
skl2onnx converts a model after `fastmlp.interchange.register_skl2onnx`; what that makes takes
categories as ``fastmlp.tables.cells.categories_of`` returns them. A CSV of 784 pixels and a label
is MNIST's, and its model an ``.npz``.

>>> import os, tempfile
>>> import pandas
>>> from fastmlp.sklearn import MLPClassifier
>>> from fastmlp.tables import Columns, load_model, save_model, train_model
>>> frame = pandas.DataFrame({"height": [1.8, 1.6, None], "member": [True, None, False]})
>>> columns = Columns("kind", regression=False, numbers=["height"], categories=["member"])
>>> estimator = MLPClassifier((5,), solver="lbfgs", random_state=0)
>>> model = train_model(estimator, columns, (frame, ["a", "b", "c"]))
>>> with tempfile.TemporaryDirectory() as folder:
...     save_model(model, os.path.join(folder, "model.skops"))
...     again = load_model(os.path.join(folder, "model.skops"))
>>> again.predict(frame.astype(str)).tolist()
['a', 'b', 'c']
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
