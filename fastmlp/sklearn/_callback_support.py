"""scikit-learn's callbacks, which it has since 1.9; before, there are none to be told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["CallbackSupportMixin", "with_callbacks"]

Method = TypeVar("Method", bound=Callable[..., Any])

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class _Unheard:
        """The context of a fit that nobody is told of."""

        def call_on_fit_task_begin(self, **_: Any) -> bool:
            """Return that nobody wants to stop."""
            return False

        call_on_fit_task_end = call_on_fit_task_begin

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands where scikit-learn's mixin does."""

        def _init_callback_context(self, max_subtasks: int) -> _Unheard:
            return _Unheard()

    def with_callbacks(method: Method) -> Method:
        """Return the method as it is."""
        return method
