"""Warnings as scikit-learn's own class gives them."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

__all__ = ["HOME", "as_sklearn"]

HOME = "sklearn.neural_network._multilayer_perceptron"


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


# Filters name the module that a warning comes from, and take it from the caller's globals. Programs
# ignore those of "sklearn", so the caller of what warns here says that it is scikit-learn's module.
as_sklearn = FunctionType(_call.__code__, {"__name__": HOME, "__builtins__": __builtins__})
