"""Train multilayer perceptrons on a CPU, fast and repeatable to the last bit.

`MLP` is a network, and ``fit`` trains it. Guides stand in the packages: `fastmlp.training` (what
``fit`` can do), `fastmlp.callbacks`, `fastmlp.sklearn`, `fastmlp.tables`, `fastmlp.interchange`,
`fastmlp.distributed`, `fastmlp.plots`, `fastmlp.report`, `fastmlp.cli`, `fastmlp.examples`. How it
works inside: `fastmlp.reference` (the mathematics) and `fastmlp.kernels` (how a step is cut up).

The names below are loaded on first use: importing the package loads neither Numba nor any of
the optional libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "MLP": "network",
    "History": "training.history",
    "SGD": "optimizers",
    "AdaGrad": "optimizers",
    "RMSProp": "optimizers",
    "Adam": "optimizers",
    "AdamW": "optimizers",
    "Constant": "schedules",
    "AnnealOnRise": "schedules",
    "StepDecay": "schedules",
    "ExponentialDecay": "schedules",
    "InverseScaling": "schedules",
    "CosineDecay": "schedules",
    "OneCycle": "schedules",
    "ReduceOnPlateau": "schedules",
    "DivergenceError": "training.divergence",
    "Gradients": "contract.operations",
    "EarlyStopping": "callbacks",
    "ModelCheckpoint": "callbacks",
    "fit_many": "training.many",
}
_MODULES = (
    "activations",
    "callbacks",
    "cli",
    "datasets",
    "diagnostics",
    "distributed",
    "examples",
    "initializers",
    "interchange",
    "kernels",
    "losses",
    "metrics",
    "optimizers",
    "plots",
    "recipes",
    "reference",
    "report",
    "schedules",
    "sklearn",
    "tables",
    "training",
)

__all__ = [
    "MLP",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "AnnealOnRise",
    "Constant",
    "CosineDecay",
    "DivergenceError",
    "EarlyStopping",
    "ExponentialDecay",
    "Gradients",
    "History",
    "InverseScaling",
    "ModelCheckpoint",
    "OneCycle",
    "RMSProp",
    "ReduceOnPlateau",
    "StepDecay",
    "activations",
    "callbacks",
    "datasets",
    "diagnostics",
    "distributed",
    "examples",
    "fit_many",
    "initializers",
    "interchange",
    "kernels",
    "losses",
    "metrics",
    "optimizers",
    "plots",
    "recipes",
    "reference",
    "report",
    "schedules",
    "tables",
    "training",
]

if TYPE_CHECKING:
    from . import (
        activations,
        callbacks,
        datasets,
        diagnostics,
        distributed,
        examples,
        initializers,
        interchange,
        kernels,
        losses,
        metrics,
        optimizers,
        plots,
        recipes,
        reference,
        report,
        schedules,
        tables,
        training,
    )
    from .callbacks import EarlyStopping, ModelCheckpoint
    from .contract.operations import Gradients
    from .network import MLP
    from .optimizers import SGD, AdaGrad, Adam, AdamW, RMSProp
    from .schedules import (
        AnnealOnRise,
        Constant,
        CosineDecay,
        ExponentialDecay,
        InverseScaling,
        OneCycle,
        ReduceOnPlateau,
        StepDecay,
    )
    from .training.divergence import DivergenceError
    from .training.history import History
    from .training.many import fit_many


def __getattr__(name: str) -> Any:
    if name not in _HOME and name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .support.interrupts import CtrlC

    with CtrlC():  # NumPy whose import was broken off cannot be imported again
        if name in _HOME:
            value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
        else:
            value = importlib.import_module(f".{name}", __name__)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
