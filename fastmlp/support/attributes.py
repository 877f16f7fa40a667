"""Attributes of a network that are checked when they are assigned, or that never change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["Checked", "Fixed"]

Value = TypeVar("Value")


class Checked(Generic[Value]):
    """An attribute that is what `check` makes of a value and the object, or raises.

    In brackets stands its type.

    Examples
    --------
    >>> from fastmlp.support.attributes import Checked
    >>> class Box:
    ...     size = Checked[int](lambda value, box: abs(int(value)), "How large it is.")
    >>> box = Box()
    >>> box.size = "-3"
    >>> box.size
    3
    """

    def __init__(self, check: Callable[[Any, Any], Value], doc: str) -> None:
        self._check, self.__doc__ = check, doc

    def __set_name__(self, owner: type, name: str) -> None:
        """Keep the name."""
        self._name = name

    def __get__(self, owned: Any, owner: type | None = None) -> Value:
        """Return the value; of the class, this object."""
        return self if owned is None else owned.__dict__[self._name]  # type: ignore[return-value]

    def __set__(self, owned: Any, value: Any) -> None:
        """Check the value, then keep it."""
        owned.__dict__[self._name] = self._check(value, owned)


class Fixed(Generic[Value]):
    """An attribute of a network that is one of its ``architecture``, and never changes.

    Assigning to it would do nothing, so it is an error. In brackets stands its type; `make`, where
    it is given, makes that of the architecture's.

    Examples
    --------
    >>> import fastmlp
    >>> net = fastmlp.MLP((3, 2), activation="relu")
    >>> net.activation = "tanh"
    Traceback (most recent call last):
    AttributeError: activation: expected no assignment; make another network with it
    """

    def __init__(self, field: str, doc: str, make: Callable[[Any], Value] | None = None) -> None:
        self._field, self.__doc__, self._make = field, doc, make

    def __set_name__(self, owner: type, name: str) -> None:
        """Keep the name."""
        self._name = name

    def __get__(self, net: Any, owner: type | None = None) -> Value:
        """Return the architecture's; of the class, this object."""
        if net is None:
            return self  # type: ignore[return-value]
        value = getattr(net.architecture, self._field)
        return value if self._make is None else self._make(value)

    def __set__(self, net: Any, value: Any) -> None:
        """Raise AttributeError."""
        raise AttributeError(f"{self._name}: expected no assignment; make another network with it")
