"""Outputs of rows that lie in an array as kernels read it, by programs that are kept ready."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from ...architecture import Architecture
from ...contract.parameters import Parameters
from ...contract.splitting import is_sparse
from ..emit.losses import OUTPUTS
from ..emit.target import current_target
from ..program.inference import blocks, by_columns, told
from ..program.job import Job, Lists, Loss
from ..program.operation import Slot
from . import choose
from .calls import address_of
from .csr_index import Index
from .executor import Executable, Layout, layout_of
from .plain import count_to
from .source import Source
from .thread_choice import ThreadChoice
from .workspace import Workspace

__all__ = ["Blocks", "RowsInference", "job_of"]

_KEPT = 64  # kinds of calls
_PLAIN = (np.ndarray, np.memmap)  # other classes may hide elements, or turn them


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


@lru_cache(maxsize=16)
def _layout_of_blocks(job: Job, looks: bool, in_place: bool, a: Architecture) -> Layout:
    """Return the layout of a program over blocks: writing it takes 0.1 ms."""
    program = blocks(job, OUTPUTS[a.output], looks=looks, in_place=in_place)
    return layout_of(program, a.dtype, a.activations)


class _Ready:
    """A program of inference with its workspace, ready to be run: of one call at a time."""

    def __init__(self, parameters: Parameters, workspace: Workspace, layout: Layout) -> None:
        self.workspace = workspace
        self._executable = Executable(layout)
        self._executable.enter((key, 0, 1) for key in layout.phases)
        self._shares, self._address = layout.shares, self._executable.address
        self._run_alone = self._executable.run_alone
        self._found = (ctypes.c_int64 * self._shares)(*[1] * self._shares)  # cleared where it looks
        bases = self.bases = self._executable.bases
        bases[Slot.PARAMETERS] = parameters.flat.ctypes.data
        bases[Slot.WORKSPACE], bases[Slot.FINITE] = workspace.address, ctypes.addressof(self._found)

    def run(self) -> bool:
        """Run, and return whether X is finite as far as the program looks."""
        if self._shares == 1:  # 0.3 us less than for several, of 6.5 for a row of 784-128-10
            self._run_alone(self._address)
            finite = self._found[0] == 1
        else:
            self._executable.run(self._shares)
            finite = all(self._found)
        if not finite:
            self._found[:] = [1] * self._shares
        return finite


class _Columns(_Ready):
    """Rows that are so few that shares have columns of each layer; up to `FEW` go one by one.

    They are copied to where the program expects them: of one row, in half the time that it takes
    to ask NumPy for addresses and to enter them.
    """

    def __init__(
        self, parameters: Parameters, source: Source, shares: int, count: int, *, looks: bool
    ) -> None:
        a, workspace = parameters.architecture, Workspace(parameters, count, backward=False)
        job = job_of(parameters, workspace, source.kind, shares=shares)
        few = count <= choose.FEW
        program = by_columns(job, count, OUTPUTS[a.output], one_by_one=few, looks=looks)
        super().__init__(parameters, workspace, layout_of(program, a.dtype, a.activations))
        self._rows = np.zeros((count, a.n_in), source.X.dtype)
        self._out = np.zeros((count, a.n_out), parameters.dtype)
        self._held = source, count_to(count)
        source.enter(self.bases, self._rows)
        self.bases[Slot.ROWS] = self._held[1].ctypes.data
        self.bases[Slot.OUT] = self._out.ctypes.data

    def outputs(self, X: np.ndarray) -> np.ndarray | None:
        """Return the outputs, or None if it looks and X is not finite."""
        self._rows[...] = X
        return self._out.copy() if self.run() else None


class Blocks(_Ready):
    """Any number of rows, read as those of `source`, which shares have blocks of.

    With a loss it notes losses and hits instead of outputs; lists may stand for the rows. Those
    that are read `in_place` lie without gaps.
    """

    room: Index | None = None  # for the non-zeros of rows on their way

    def __init__(
        self, parameters: Parameters, source: Source, shares: int, *,
        block: int = choose.BLOCK_ROWS, looks: bool = False, in_place: bool = False,
        loss: Loss | None = None, lists: Lists | None = None,
    ) -> None:  # fmt: skip
        a, rows = parameters.architecture, shares * block
        workspace = Workspace(parameters, rows, backward=False)
        job = job_of(
            parameters, workspace, source.kind, shares=shares, chunk=block, loss=loss, lists=lists
        )
        super().__init__(parameters, workspace, _layout_of_blocks(job, looks, in_place, a))
        self._block, self._n_out, self._in_place = block, a.n_out, in_place
        self._dtype, self._n = parameters.dtype, -1  # rows of the call before

    def divide(self, n: int) -> None:
        """Say how many rows there are, and which are whose."""
        if self._n == n:  # the call before had as many
            return
        bases, self._n = self.bases, n
        self._numbers = count_to(max(n, self.workspace.rows))  # held: their address is entered
        bases[Slot.NUMBERS] = address_of(self._numbers)
        self._parts: list[tuple[dict[int | str, int], int]] = []
        own = -(-n // (16 * self._shares)) * 16  # whole tiles, but for the last share's
        turns = []
        for t in range(self._shares):
            first, last = min(n, t * own), min(n, (t + 1) * own)
            whole, left = divmod(last - first, self._block)
            of_whole, of_rest = told(t)
            bases[of_rest["count"]] = left
            bases[of_rest["tiles"]] = -(-left // current_target().tile_rows)
            self._parts += [(of_whole, first), (of_rest, last - left)]
            turns += [whole, left > 0]
        self._executable.turns[:] = turns
        self.enter(Slot.ROWS, bases[Slot.NUMBERS], 8)

    def enter(self, slot: Slot, address: int, row: int) -> None:
        """Say where an array in order is, whose rows have so many bytes."""
        for slots, first in self._parts:
            self.bases[slots[slot]] = address + first * row

    def outputs(self, X: np.ndarray) -> np.ndarray | None:
        """Return the outputs, or None if it looks and X is not finite."""
        bases, n = self.bases, len(X)
        out = np.empty((n, self._n_out), self._dtype)
        self.divide(n)
        bases[Slot.X], bases[Slot.LD_X] = address_of(X), X.strides[0]
        if self._in_place:
            self.enter(Slot.X, bases[Slot.X], X.strides[0])
        self.enter(Slot.OUT, address_of(out), out.strides[0])
        return out if self.run() else None


class _Pool(NamedTuple):
    """Programs that do the same."""

    free: list[_Columns | Blocks]  # those that nobody uses
    make: Callable[[], _Columns | Blocks]


class _Way(NamedTuple):
    """How calls alike are made: on one thread or `together`, if there is a choice by it."""

    choice: ThreadChoice | None
    alone: _Pool
    together: _Pool


class _Ways:
    """How calls are made, and the programs that they share."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._sources: dict[np.dtype, Source] = {}  # how rows of a dtype are read
        self._free: dict[tuple[Any, ...], list[_Columns | Blocks]] = {}
        # by the rows' number of digits, those that go one by one apart
        self._choices: dict[tuple[np.dtype, bool, int], ThreadChoice] = {}

    def of(
        self, dtype: np.dtype, shape: tuple[int, ...], strides: tuple[int, ...],
        threads: int | None,
    ) -> _Way | None:  # fmt: skip
        """Return how calls alike are made. None is the general way."""
        a = self._parameters.architecture
        n, n_in = shape if len(shape) == 2 else (0, 0)
        if not n or n_in != a.n_in or dtype.kind not in "iubf":
            return None
        source = self._sources.setdefault(dtype, Source(np.zeros((1, n_in), dtype), a))
        if not source.direct or (n_in > 1 and strides[1] != dtype.itemsize):
            return None
        few, flops = n <= choose.FEW, choose.forward_flops(a, n)
        if few:
            most = choose.threads_of_columns(a, choose.WAITING_ROWS)
            most = min(threads or most, most)
        else:
            most = choose.choose_threads(threads, flops)
        choice = None
        if threads is None and most > 1 and flops < choose.LEARNT_FLOPS:
            choice = self._choices.setdefault((dtype, few, n.bit_length()), ThreadChoice())
        in_place = dtype == self._parameters.dtype and a.input_scale is None
        in_place &= strides[0] == n_in * dtype.itemsize and choose.reads_in_place(strides[0])

        def pool(shares: int, count: int) -> _Pool:
            """Those of columns of so many rows, or of blocks."""

            def make() -> _Columns | Blocks:
                looks = dtype.kind == "f"
                if count:
                    return _Columns(self._parameters, source, shares, count, looks=looks)
                block = choose.BLOCK_IN_PLACE if in_place else choose.BLOCK_ROWS
                ready = Blocks(
                    self._parameters, source, shares, block=block, looks=looks, in_place=in_place
                )
                source.enter(ready.bases, source.X)  # the divisor: X comes later
                return ready

            return _Pool(self._free.setdefault((dtype, in_place, shares, count), []), make)

        by_columns = few or (most > 1 and choose.threads_of_columns(a, n) > 1)
        together = pool(most, n) if by_columns else pool(choose.inference_shares(n, most), 0)
        return _Way(choice, pool(1, n if few else 0), together)


class RowsInference:
    """Outputs of rows that lie in an array as kernels read it, few or many of them.

    A call costs a few microseconds beside the work, whatever the number of rows.
    """

    def __init__(self, parameters: Parameters) -> None:
        a = parameters.architecture
        self._way = lru_cache(_KEPT)(_Ways(parameters).of)
        self._lists = choose.lists_pay_in_passing(*a.layers[0], parameters.dtype.itemsize)

    def outputs(self, X: Any, threads: int | None) -> np.ndarray | None:
        """Return the outputs; None where X has to be looked at more closely, since nothing but its
        finiteness can be asked here, or takes the general way.
        """
        if type(X) not in _PLAIN:
            return None
        way = self._way(X.dtype, X.shape, X.strides, threads)
        if way is None:
            return None
        choice = way.choice
        pool = way.together if choice is None or choice.together else way.alone
        if self._lists and len(X) >= choose.LISTS_FROM and is_sparse(X):
            return None
        try:
            ready = pool.free.pop()
        except IndexError:
            ready, choice = pool.make(), None
        begun = perf_counter()
        out = ready.outputs(X)
        if choice is not None:
            choice.note(perf_counter() - begun)
        if not pool.free:
            pool.free.append(ready)
        return out
