"""The sections that programs of training are made of, by their keys."""

from __future__ import annotations

from collections.abc import Hashable

from . import full_batch, minibatch, per_sample, post_gradient
from .job import Job
from .operation import Phase

__all__ = ["phases_of"]


def phases_of(mode: str, job: Job, key: Hashable) -> list[Phase]:
    """Return the phases of a section, by its key: "copies", "penalties", "apply", ("sum", samples,
    STORE or ADD) or ("step", samples); LookupError if there is none of that key.
    """
    match key:
        case "copies":
            return [post_gradient.copies(job)]
        case "penalties":
            return [post_gradient.penalties(job, before=True)]
        case "apply":
            return [*post_gradient.phases(job), post_gradient.penalties(job, before=False)]
        case ("sum", int(size), int(code)):
            return minibatch.chunk(job, 0, size, code)
        case ("step", int(size)):
            if mode == "single":
                return per_sample.step(job)
            kind = full_batch if mode == "full" else minibatch
            return kind.step(job, size)
    raise LookupError(f"no section {key!r}")
