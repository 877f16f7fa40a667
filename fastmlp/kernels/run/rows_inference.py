"""Outputs of any number of rows, by programs that are told it at a run."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from ...contract.parameters import Parameters
from ..emit.losses import OUTPUTS
from ..emit.target import current_target
from ..program.inference import AnyCount, any_count, by_columns
from ..program.job import Job, Lists, Loss
from ..program.operation import Program, Slot
from . import choose
from .calls import address_of
from .executor import Executable, layout_of, run
from .plain import count_to
from .source import Source
from .thread_choice import ThreadChoice
from .workspace import Workspace

__all__ = ["RowsInference", "executable_of", "job_of"]


def job_of(
    parameters: Parameters, workspace: Workspace, kind: str, *, shares: int = 1, chunk: int = 1,
    loss: Loss | None = None, lists: Lists | None = None,
) -> Job:  # fmt: skip
    """Return what programs of inference need to know of a network."""
    target = current_target()
    return Job(
        layers=workspace.layers, item=parameters.dtype.itemsize, vector=target.vector_bytes,
        tile_rows=target.tile_rows, shares=shares, input=kind, loss=loss, batch_size=0,
        chunk=chunk, lists=lists,
    )  # fmt: skip


def executable_of(parameters: Parameters, workspace: Workspace, program: Program) -> Executable:
    """Return a program with the addresses of its kernels and of the network entered."""
    a = parameters.architecture
    executable = Executable(layout_of(program, a.dtype, a.activations))
    executable.bases[Slot.PARAMETERS] = parameters.flat.ctypes.data
    executable.bases[Slot.WORKSPACE] = workspace.address
    return executable


class _Lent:
    """A program for so many threads, with a workspace: of one call at a time.

    Parameters
    ----------
    parameters : Parameters
    source : Source
    shares : int
    rows : int
        Of the workspace.
    program : callable
        ``program(job)``, whose one section is run.
    """

    def __init__(
        self, parameters: Parameters, source: Source, shares: int, rows: int,
        program: Callable[[Job], Program],
    ) -> None:  # fmt: skip
        self._item = parameters.dtype.itemsize * parameters.architecture.n_out
        self._workspace = Workspace(parameters, rows, backward=False)
        job = job_of(parameters, self._workspace, source.kind, shares=shares, chunk=rows // shares)
        made = program(job)
        self._executable = executable_of(parameters, self._workspace, made)
        self._executable.enter((key, 0, 1) for key in made.sections)
        bases = self._executable.bases
        self._bases = (ctypes.c_int64 * bases.size).from_buffer(bases)  # type: ignore[arg-type]
        self._shares, self._n = shares, -1  # rows of the call before
        self._outs: list[tuple[int, int]] = []  # slots of outputs, and where in `out` they begin
        self._found = (ctypes.c_int64 * shares)(*[1] * shares)  # cleared by programs that look
        self._bases[Slot.FINITE] = ctypes.addressof(self._found)

    def run(self, X: np.ndarray, scale: int, out: np.ndarray) -> bool:
        """Write the outputs of all rows of X to `out`, and return whether X is finite as far as
        this looks; `scale` is the address of the divisor.
        """
        bases = self._bases
        if self._n != len(X):
            self._divide(len(X))
            bases[Slot.N_ROWS] = self._n = len(X)
        bases[Slot.X], bases[Slot.LD_X], bases[Slot.SCALE] = address_of(X), X.strides[0], scale
        begin = address_of(out)
        for slot, offset in self._outs:
            bases[slot] = begin + offset
        run(self._executable, self._shares)
        if all(self._found):
            return True
        self._found[:] = [1] * self._shares
        return False

    def _divide(self, n: int) -> None:
        """Say how many rows there are, and which are whose; the next call may have as many."""
        self._numbers = count_to(n)  # held: their address is entered


class _Columns(_Lent):
    """So few rows that shares have columns of each layer instead."""

    def __init__(
        self, parameters: Parameters, source: Source, shares: int, count: int, *, looks: bool
    ) -> None:
        code = OUTPUTS[parameters.architecture.output]

        def program(job: Job) -> Program:
            phases = by_columns(job, count, code, one_by_one=False, looks=looks)
            return Program(shares, {"columns": phases})

        super().__init__(parameters, source, shares, count, program)
        self._outs = [(Slot.OUT, 0)]

    def _divide(self, n: int) -> None:
        super()._divide(n)
        self._bases[Slot.ROWS] = address_of(self._numbers)


class _Blocks(_Lent):
    """Rows that shares have blocks of."""

    def __init__(self, parameters: Parameters, source: Source, shares: int, *, looks: bool) -> None:
        code = OUTPUTS[parameters.architecture.output]

        def program(job: Job) -> Program:
            return any_count(job, code, looks=looks)

        super().__init__(parameters, source, shares, choose.BLOCK_ROWS * shares, program)
        self._tile = current_target().tile_rows

    def _divide(self, n: int) -> None:
        super()._divide(n)
        bases, block = self._bases, choose.BLOCK_ROWS
        numbers = address_of(self._numbers)
        of, turns, self._outs = AnyCount, [], []
        for t in range(self._shares):
            # whole tiles, but for the last share
            first, last = (min(n, 16 * (-(-n // 16) * k // self._shares)) for k in (t, t + 1))
            whole, left = divmod(last - first, block)
            rest, slot = first + whole * block, AnyCount.first(t)
            bases[slot + of.ROWS] = numbers + 8 * first
            bases[slot + of.REST_ROWS] = numbers + 8 * rest
            bases[slot + of.REST] = left
            bases[slot + of.REST_TILES] = -(-left // self._tile)
            for place, row in ((of.OUT, first), (of.REST_OUT, rest)):
                self._outs.append((slot + place, self._item * row))
            turns += [whole, left > 0]
        self._executable.turns[:] = turns


class _Way(NamedTuple):
    """How calls of so many rows are made: on how many shares, and how many rows there are if these
    have columns of the layers, else 0. Where there is a choice, it says which of two ways.
    """

    n: int
    threads: int | None
    choice: ThreadChoice | None
    alone: tuple[int, int]
    together: tuple[int, int]


class _Kind:
    """What is kept for X of one dtype: how it is read, and programs that nobody uses.

    Those that look if X is finite are apart from those whose X was checked.
    """

    def __init__(self, parameters: Parameters, X: np.ndarray, *, looks: bool) -> None:
        self._looks = looks
        self.source = Source(X, parameters.architecture)
        self.direct = self.source.direct and not self.source.listed
        self.scale = self.source.divisor_address
        self._parameters = parameters
        self._free: dict[tuple[int, int], list[_Lent]] = {}
        self._choices: dict[int, ThreadChoice] = {}  # by the rows' number of digits
        self._way = _Way(0, None, None, (1, 0), (1, 0))  # that of the call before
        self._flops = choose.flops(parameters.architecture, 1) // 3

    def run(self, X: np.ndarray, out: np.ndarray, threads: int | None) -> bool:
        n = len(X)
        way = self._way
        if (way.n, way.threads) != (n, threads):
            way = self._way = self._way_of(n, threads)
        choice = way.choice
        shares, columns = way.together if choice is None or choice.together else way.alone
        free = self._free.setdefault((shares, columns), [])
        try:
            lent = free.pop()
        except IndexError:
            lent = self._lent(shares, columns)
            choice = None
        begun = perf_counter()
        finite = lent.run(X, self.scale, out)
        if choice is not None:
            choice.note(perf_counter() - begun)
        if not free:
            free.append(lent)
        return finite

    def _way_of(self, n: int, threads: int | None) -> _Way:
        flops = self._flops * n
        most, choice = choose.choose_threads(threads, flops), None
        if threads is None and most > 1 and flops < choose.LEARNT_FLOPS:
            choice = self._choices.setdefault(n.bit_length(), ThreadChoice())
        if most > 1 and choose.threads_of_columns(self._parameters.architecture, n) > 1:
            together = most, n
        else:
            together = choose.inference_blocks(n, most)[0], 0
        return _Way(n, threads, choice, (1, 0), together)

    def _lent(self, shares: int, columns: int) -> _Lent:
        if columns:
            return _Columns(self._parameters, self.source, shares, columns, looks=self._looks)
        return _Blocks(self._parameters, self.source, shares, looks=self._looks)


class RowsInference:
    """Outputs of rows that lie in an array as kernels read it, few or many of them.

    A call costs a few microseconds beside the work, whatever the number of rows.

    Parameters
    ----------
    parameters : Parameters
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._kinds: dict[tuple[np.dtype, bool], _Kind] = {}
        n_in, n_out = parameters.architecture.layers[0]
        self._lists = choose.lists_pay_in_passing(n_in, n_out, parameters.dtype.itemsize)

    def outputs(self, X: Any, threads: int | None, *, checked: bool = True) -> np.ndarray | None:
        """Return the outputs; None where X takes the general way, or is not finite as far as is
        known, if nobody has `checked` that.
        """
        if not isinstance(X, np.ndarray) or X.ndim != 2 or not X.size:
            return None
        if X.shape[1] > 1 and X.strides[1] != X.itemsize:
            return None
        looks = not checked and X.dtype.kind == "f"
        if not checked and not self._known(X):
            return None
        if self._lists and len(X) >= choose.LISTS_FROM and choose.is_sparse(X):
            return None
        kind = self._kinds.get((X.dtype, looks))
        if kind is None:
            kind = self._kinds[X.dtype, looks] = _Kind(self._parameters, X[:1], looks=looks)
        if not kind.direct:
            return None
        out = np.empty((len(X), self._parameters.architecture.n_out), self._parameters.dtype)
        return out if kind.run(X, out, threads) else None

    def _known(self, X: np.ndarray) -> bool:
        """Tell whether nothing but finiteness has to be asked of X, and a program can do it."""
        if type(X) is not np.ndarray or X.shape[1] != self._parameters.architecture.n_in:
            return False
        return X.dtype == self._parameters.dtype or X.dtype.kind in "iub"
