"""scikit-learn's callbacks: a task for the fit, and one for each of its epochs."""

from __future__ import annotations

from typing import Any

__all__ = ["Tasks"]


class Tasks:
    """Tells an estimator's callbacks (`set_callbacks`) where training stands.

    Parameters
    ----------
    estimator : BaseMLP
    epochs : int
        The most there can be.
    sample_weight : array, optional
        Handed to scorers.
    """

    def __init__(self, estimator: Any, epochs: int, sample_weight: Any) -> None:
        self.estimator = estimator
        self._context = estimator._init_callback_context(max_subtasks=epochs)
        self._wanted = bool(getattr(estimator, "_skl_callbacks", ()))
        self._metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._task: Any = None

    def _fitted(self) -> dict[str, Any]:
        """Return what makes a copy of the estimator predict as this one now would."""
        e = self.estimator
        return {
            "coefs_": [w.copy() for w in e.coefs_],
            "intercepts_": [b.copy() for b in e.intercepts_],
        }

    def begin_fit(self, samples: Any) -> None:
        """Say that fit begins."""
        self._say(self._context.call_on_fit_task_begin, samples)

    def end_fit(self, samples: Any) -> None:
        """Say that fit is done."""
        self._say(self._context.call_on_fit_task_end, samples)

    def begin(self, samples: Any) -> None:
        """Say that an epoch begins."""
        if self._wanted:
            self._task = self._context.subcontext(task_name="epoch")
            self._say(self._task.call_on_fit_task_begin, samples)

    def end(self, samples: Any) -> bool:
        """Say that an epoch is done; return whether a callback wants to stop."""
        if not self._wanted:
            return False
        return bool(self._say(self._task.call_on_fit_task_end, samples))

    def _say(self, hook: Any, samples: Any) -> Any:
        return hook(
            estimator=self.estimator, X=samples.X, y=samples.y, metadata=self._metadata,
            reconstruction_attributes=self._fitted,
        )  # fmt: skip
