"""Programs laid out with their kernels; those of training are kept for fits of the same kind.

Writing a small network's step and laying it out takes 0.3 ms, a full batch's in groups 7 ms. What
is kept are the tables alone: the operations of a full batch would be some MB of objects.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import lru_cache

from ..jit.registry import groups_of, kernel_addresses
from ..program.job import Job
from ..program.operation import Program
from ..program.sections import phases_of
from .executor import Layout

__all__ = ["layout_of", "layout_of_sections"]


def layout_of(
    program: Program, dtype: str, activations: Iterable[str] = (), rule: str = "sgd"
) -> Layout:
    """Return the layout of a program, whose kernels are compiled if need be.

    Parameters
    ----------
    program : Program
    dtype : {"float32", "float64"}
    activations : iterable of str
        That its kernels need.
    rule : str
        The optimizer's.
    """
    groups = groups_of(program.kernels(), activations, rule)
    return Layout(program, kernel_addresses(dtype, *groups))


@lru_cache(maxsize=16)
def layout_of_sections(
    mode: str, job: Job, keys: tuple[Hashable, ...], dtype: str, activations: tuple[str, ...],
    rule: str,
) -> Layout:  # fmt: skip
    """Return the layout of some sections of a training; see `phases_of`."""
    program = Program(job.shares, {key: phases_of(mode, job, key) for key in keys})
    return layout_of(program, dtype, activations, rule)
