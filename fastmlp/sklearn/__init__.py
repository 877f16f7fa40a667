"""scikit-learn's two multilayer perceptrons, fast: change the import, keep the program.

Parameters, fitted attributes, methods, warnings and errors are those of scikit-learn 1.9. With
the same data, parameters and ``random_state`` the same parameters are drawn and the same batches
seen, so ``loss_curve_`` follows scikit-learn's to rounding. What is otherwise in scikit-learn,
and how it is here:

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
A batch whose sample weights are all zero ends in ZeroDivisionError
    It teaches nothing, nor does one whose weights sum to less than zero; training goes on.
``MLPRegressor`` offers ``partial_fit`` with ``lbfgs``
    No more than ``MLPClassifier`` does: steps need a stochastic solver.
Callbacks are not supported
    ``set_callbacks``: one task per epoch.

What is added is keyword-only and off by default: ``dtype``, ``threads``, ``class_weight``,
``dropout``, ``optimizer``, ``schedule``, ``progress``, an activation per layer and every
activation of fastmlp, `numpy.random.Generator` as ``random_state``, more losses of
`MLPRegressor`, and ``validation_data`` and ``callbacks`` in ``fit``.

Programs need no other import: `patch` puts these classes in the place of scikit-learn's for the
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
