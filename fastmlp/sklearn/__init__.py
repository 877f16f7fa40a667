"""scikit-learn's two multilayer perceptrons, fast: change the import, keep the program.

::

    from fastmlp.sklearn import MLPClassifier, MLPRegressor  # instead of sklearn.neural_network

Everything else stays. Parameters, fitted attributes, methods, warnings and errors are those of
scikit-learn 1.9; 1.6 and later can be installed. So it is in a Pipeline, a GridSearchCV with any
joblib backend, with pandas or polars frames, joblib and skops files and metadata routing. Sparse
matrices are read as they are, whatever their number of columns.

With the same data, parameters and ``random_state`` the same parameters are drawn and the same
batches seen, so ``loss_curve_`` follows scikit-learn's to rounding, and training stops at the same
epoch. scikit-learn's own tests of its two classes run on ours.

What is otherwise in scikit-learn, and how it is here:

A parameter set after ``fit`` changes what predicts
    What was fitted predicts. A warm start and ``partial_fit`` train what is set, or raise.
Squared error of several outputs: the gradient is ``n_outputs`` times that of the loss
    ``solver="sgd"`` and ``"adam"`` take the same steps and report the same loss.
    ``solver="lbfgs"`` is given the loss that belongs to the gradient, so its line search works;
    ``loss_`` still is the mean over outputs.
``n_iter_`` is 1 after any number of calls of ``partial_fit``
    Here it counts the passes, as ``t_`` counts the samples and ``loss_curve_`` keeps the losses.
With ``warm_start`` and ``early_stopping``, a fit that is no better keeps its last parameters
    The best parameters of all fits are kept.
Log loss is clipped at machine epsilon
    The same for one label per sample. With several labels per sample it is exact, computed from
    logits.
A call of ``fit`` that fails may leave new parameters, not trained
    What was fitted stays.
Going on with another number of outputs ends in an error of NumPy, or trains something else
    ValueError, with the name of the argument.
Dates and texts that can be read as numbers are
    TypeError, with the name of the column.
A missing one of categories that are whole numbers, in a frame of pandas, is the number -2^63
    ValueError, as for other missing values.
Poisson losses of negative values are NaN
    ValueError.
A batch whose sample weights are all zero ends in ZeroDivisionError
    It teaches nothing, nor does one whose weights sum to less than zero; training goes on.
``MLPRegressor`` offers ``partial_fit`` with ``lbfgs``
    No more than ``MLPClassifier`` does: steps need a stochastic solver.
Ctrl-C during ``lbfgs`` leaves parameters that its line search was trying
    KeyboardInterrupt too, and the parameters and ``n_iter_`` of the last whole iteration.
``verbose`` says nothing during ``lbfgs``, and there is no ``loss_curve_``
    One line and one loss per iteration.
Callbacks are not supported
    ``set_callbacks``: one task per epoch.

**What is added** is keyword-only and off by default:

- ``class_weight``;
- ``dropout``, one rate for all hidden layers or one for each (``sgd`` and ``adam``);
- ``optimizer``, ``schedule`` and every activation of fastmlp, again one or one for each layer;
- ``dtype``, ``threads``, ``precision``, ``progress``;
- a `numpy.random.Generator` as ``random_state``;
- the losses ``absolute_error`` and ``huber`` of `MLPRegressor`;
- in ``fit``, ``callbacks``, and ``validation_data``, which ``early_stopping`` watches and whose
  loss is in ``validation_loss_curve_``;
- ``LossCurveDisplay.from_estimator(model)``, which draws the losses.

**Callbacks** are those of `fastmlp.callbacks`, or functions of the estimator that stop training
with a true answer. They watch ``loss``, ``accuracy`` and, with validation data or
``early_stopping``, ``val_loss`` and ``val_accuracy`` (``val_r2`` for values). What
``ModelCheckpoint`` saves is an `fastmlp.MLP`, whose classes are the numbers of ``classes_``.
Parameters that are not finite stay an error, as in scikit-learn, also after ``TerminateOnNaN``.
``set_callbacks`` takes scikit-learn's own, such as ``ScoringMonitor`` and ``ProgressBar``: one task
per epoch, alone, in a Pipeline or in a search.

**A skops file** asks to trust the estimator's class alone, and that of an optimizer or schedule
given as an object: ``trusted=["fastmlp.sklearn._classifier.MLPClassifier"]``.

**Programs need no other import**: `patch` puts these classes in the place of scikit-learn's for the
whole process, and ``python -m fastmlp.sklearn [--verbose] program.py args...`` runs a program that
was not changed at all, as ``python program.py args...`` would. Modules that were imported before,
joblib's workers and multiprocessing's processes have them too. ``--verbose`` says who serves which
call. What cannot be served stays scikit-learn's, with a warning that says why.

Needs the ``sklearn`` extra.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..support.extras import require
from ..support.interrupts import CtrlC
from ._patch import patch, unpatch

if find_spec("sklearn") is None:
    require("sklearn", "sklearn")

if TYPE_CHECKING:
    from ._classifier import MLPClassifier
    from ._display import LossCurveDisplay
    from ._regressor import MLPRegressor

__all__ = ["LossCurveDisplay", "MLPClassifier", "MLPRegressor", "patch", "unpatch"]

# Loaded on first use: a program that `python -m fastmlp.sklearn` runs may have settings to make
# before NumPy is.
_HOME = {
    "LossCurveDisplay": "_display",
    "MLPClassifier": "_classifier",
    "MLPRegressor": "_regressor",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with CtrlC():
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
