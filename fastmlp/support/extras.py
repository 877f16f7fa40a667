"""What is imported on first use: optional libraries, and methods that need them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import MethodType, ModuleType
from typing import Any, Generic, Literal, TypeVar

from .interrupts import CtrlC

__all__ = ["MethodElsewhere", "require"]

Result = TypeVar("Result", covariant=True)


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library.

    Raises
    ------
    ImportError
        Naming the extra that brings the library.
    """
    try:
        with CtrlC():  # libraries seldom bear it that their import is broken off
            return importlib.import_module(module)
    except ImportError as error:
        name = module.split(".")[0]
        raise ImportError(
            f"{name} is needed for this; install it with: pip install 'fastmlp[{extra}]'"
        ) from error


class MethodElsewhere(Generic[Result]):
    """A method that is a function of the same name in another module, imported on first use.

    Signature and docstring are the function's. Its first parameter is the object, or the class.
    In brackets stands, for type checkers, what it returns.

    Parameters
    ----------
    module : str
        Absolute.
    of : {"object", "class"}
        What the method is called on.

    Examples
    --------
    >>> from fastmlp.support.extras import MethodElsewhere
    >>> class Path(str):
    ...     basename = MethodElsewhere[str]("os.path", of="object")
    >>> Path("a/b").basename()
    'b'
    """

    def __init__(self, module: str, *, of: Literal["object", "class"]) -> None:
        self._module, self._of_class = module, of == "class"

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the name that the class gives."""
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Callable[..., Result]:
        """Import the function, and bind it."""
        with CtrlC():
            function = getattr(importlib.import_module(self._module), self._name)
        if self._of_class:
            return MethodType(function, owner)
        return function if instance is None else MethodType(function, instance)
