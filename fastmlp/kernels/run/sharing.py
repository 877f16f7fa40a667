"""What is made from a data set, made once where several networks train on it together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, TypeVar

__all__ = ["shared", "sharing"]

T = TypeVar("T")


class _Kept:
    def __init__(self, data: Sequence[Any], most: int) -> None:
        self._data, self._lock, self._most = {id(X): X for X in data}, Lock(), most
        self._made: dict[Hashable, Any] = {}

    def get(self, X: Any, key: Hashable, make: Callable[[], T]) -> T:
        if id(X) not in self._data:  # an array of one network, whose address others may get
            return make()
        known = id(X), key
        with self._lock:
            if known not in self._made:
                self._made[known] = make()
                if len(self._made) > self._most:
                    del self._made[next(iter(self._made))]
            return self._made[known]


_kept: ContextVar[_Kept | None] = ContextVar("kept", default=None)


@contextmanager
def sharing(data: Sequence[Any], most: int) -> Iterator[None]:
    """Share what is made from the arrays of `data` while the block runs.

    Threads take part that run in a copy of this context. The latest `most` things are kept, to
    the end of the block; nobody may change the data meanwhile.
    """
    token = _kept.set(_Kept(data, most))
    try:
        yield
    finally:
        _kept.reset(token)


def shared(X: Any, key: Hashable, make: Callable[[], T]) -> T:
    """Return what `make` makes of X: where `sharing` has X, what it made before for that key."""
    kept = _kept.get()
    return make() if kept is None else kept.get(X, key, make)
