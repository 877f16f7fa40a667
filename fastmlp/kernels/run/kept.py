"""A training that is kept from one call to the next: what it prepared serves samples alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...contract.operations import DataSet, StepSettings
from .source import Source, padded_targets

if TYPE_CHECKING:
    from .training import Training

__all__ = ["Kept"]


class Kept:
    """A training that has let go of its samples: it takes no steps before `take` has given it
    others.
    """

    def __init__(self, training: Training) -> None:
        self._training, self._kind = training, _kind_of_data(training)
        training._source.release()
        training._y, training.sample_weight = training._y[:0], None

    def take(
        self, kind: type[Training], data: DataSet, settings: StepSettings, threads: int | None
    ) -> Training | None:
        """Return the training over other samples, with another state, as if made anew.

        None where it is of another kind, or they are of another shape or type than those it had, or
        settings are others.
        """
        training = self._training
        had = training.optimizer, training.regularization, training.batch_size
        wanted = settings.optimizer, settings.regularization, settings.batch_size
        if type(training) is not kind or had != wanted:
            return None
        training._source = source = Source(data.X, training.architecture)
        training._y = padded_targets(data.y, training.parameters.dtype)
        if _kind_of_data(training) != self._kind or training._index is not None or source.sparse:
            return None
        chosen, tuned = training._choose_threads(threads), training._autotuner is not None
        if chosen != training.threads or (threads is None and chosen > 1) != tuned:
            return None
        training.state, training.sample_weight = settings.state, data.sample_weight
        for executable in training._executables.values():
            training._enter_memory(executable.bases, False)
        training._look_at_samples()
        return training


def _kind_of_data(training: Training) -> tuple[Any, ...]:
    """Return all that programs know of the samples."""
    source, y = training._source, training._y
    return source.X.shape, source.direct, source.kind, y.shape, y.dtype
