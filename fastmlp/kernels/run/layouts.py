"""Layouts of training programs, kept for fits of the same kind.

Writing a small network's step and laying it out takes 0.3 ms, a full batch's in groups 7 ms. What
is kept are the tables alone: the operations of a full batch would be some MB of objects.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache

from ..jit.registry import groups_of, kernel_addresses
from ..program.job import Job
from ..program.operation import Program
from ..program.sections import phases_of
from .executor import Layout

__all__ = ["kernels_of", "layout_of"]

_KEPT = 16


def _program(mode: str, job: Job, keys: tuple[Hashable, ...]) -> Program:
    return Program(job.shares, {key: phases_of(mode, job, key) for key in keys})


@lru_cache(maxsize=2 * _KEPT)
def kernels_of(mode: str, job: Job, keys: tuple[Hashable, ...]) -> frozenset[str]:
    """Return the names of all kernels that some sections call; see `phases_of`."""
    return frozenset(_program(mode, job, keys).kernels())


@lru_cache(maxsize=_KEPT)
def layout_of(
    mode: str, job: Job, keys: tuple[Hashable, ...], dtype: str, activations: tuple[str, ...],
    rule: str,
) -> Layout:  # fmt: skip
    """Return the layout of a program, whose kernels are compiled if need be.

    Parameters
    ----------
    mode, job
        As for `phases_of`.
    keys : tuple of hashable
        Of its sections.
    dtype : {"float32", "float64"}
    activations : tuple of str
    rule : str
        The optimizer's.
    """
    program = _program(mode, job, keys)
    groups = groups_of(program.kernels(), activations, rule)
    return Layout(program, kernel_addresses(dtype, *groups))
