"""The way forward only, over data of any size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np

from ..parameters import Parameters, row_length
from .costs import choose_threads, flops
from .index import Index, is_sparse, room_for_lists
from .inference import INFER_REGIONS, infer_parallel, infer_serial
from .needs import inference_groups, input_group, list_kind
from .outputs import OUTPUTS
from .regions import region_addresses
from .single import infer_few
from .source import Source, enter_index, enter_targets, padded_targets
from .table import forward_group, kernel_addresses
from .tables import (
    S_CHUNK,
    S_CORRECT,
    S_LD_OUT,
    S_LOSSES,
    S_ORDER,
    S_OUT,
    S_OUT_CODE,
    S_ROWS,
    S_SLOTS,
    S_SPREAD,
    S_X_KIND,
    S_X_SCALE,
    SETTINGS,
    VECTOR,
)
from .threads import run
from .workspace import Workspace

__all__ = ["FEW", "Inference", "Prepared", "SmallInference"]

FEW = 4  # rows that go through one by one: a tile of eight would be half empty
_ROWS = 64  # samples of a block at most: their activations stay in the cache
_FEWEST_ROWS = 16  # of a thread
_LISTED_INPUTS = 8192  # longer rows would push W out of the cache
_NARROW = 3  # vectors: fewer columns are summed in several chains, which the bits would tell


class SmallInference:
    """Outputs of a few rows at a time, with everything prepared: for calls that come in often.

    A workspace and a table of settings are kept; a call fills in two addresses.

    Parameters
    ----------
    parameters : Parameters
    """

    def __init__(self, parameters: Parameters) -> None:
        architecture = parameters.architecture
        self._workspace = Workspace(parameters, FEW)
        self._order = np.arange(FEW)
        self._n_out, self._dtype = architecture.n_out, parameters.dtype
        self._S = S = np.zeros(SETTINGS, np.int64)
        S[S_OUT_CODE] = OUTPUTS[architecture.output]
        S[S_ROWS] = self._order.ctypes.data
        self._architecture = architecture
        self._sources: dict[np.dtype, tuple[np.ndarray, int, int] | None] = {}
        self._keep: list[Any] = []
        self._busy = Lock()

    def outputs(self, X: Any) -> np.ndarray | None:
        """Return the outputs, or None where X takes the general way or another call is on."""
        if type(X) is not np.ndarray or not 0 < len(X) <= FEW or not X.flags.c_contiguous:
            return None
        if X.dtype not in self._sources:
            self._sources[X.dtype] = self._source(X)
        source = self._sources[X.dtype]
        if source is None or not self._busy.acquire(blocking=False):
            return None
        try:
            out = np.empty((len(X), self._n_out), self._dtype)
            kernels, kind, scale = source
            infer_few(kernels, self._S, self._workspace.layers, X, out, kind, scale)
            return out
        finally:
            self._busy.release()

    def _source(self, X: np.ndarray) -> tuple[np.ndarray, int, int] | None:
        """Return how rows of X's dtype are read: kernels, kind and address of the divisor."""
        source = Source(X, self._architecture)
        if not source.direct:
            return None
        self._keep.append(source)
        entered = np.zeros(SETTINGS, np.int64)
        source.settings(entered, X, scaled=False)
        forward = forward_group("online forward", self._architecture.activations)
        kernels = kernel_addresses(
            self._architecture.dtype, "common", forward, *input_group(source)
        )
        return kernels, int(entered[S_X_KIND]), int(entered[S_X_SCALE])


class Prepared:
    """What a network keeps ready for calls to come: each kind of call has its own workspace."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self.small = SmallInference(parameters)
        self._free: dict[int | None, list[Inference]] = {}

    @contextmanager
    def inference(self, threads: int | None) -> Iterator[Inference]:
        """Lend the way forward that was used before, or a new one while another call has it."""
        free = self._free.setdefault(threads, [])
        try:
            lent = free.pop()
        except IndexError:
            lent = Inference(self._parameters, threads)
        try:
            yield lent
        finally:
            if not free:
                free.append(lent)


class Inference:
    """The way forward only, over data of any size, without copying it.

    Parameters
    ----------
    parameters : Parameters
    threads : int or None
    data : array, optional
        Samples that will be asked for again and again: worth a list of their non-zeros.
    """

    def __init__(self, parameters: Parameters, threads: int | None, data: Any = None) -> None:
        self.parameters, self._threads = parameters, threads
        self.architecture = parameters.architecture
        self._data, self._index = data, None
        self._workspace: Workspace | None = None  # that of the call before
        self._lists: Index | None = None
        if data is not None:
            self._source = Source(data, self.architecture)
            if self._source.sparse:
                self._index = self._source.make_index(self._row_bytes())

    def _row_bytes(self) -> int:
        item = self.parameters.dtype.itemsize
        return row_length(self.architecture.layer_sizes[1], item) * item

    def activations(self, X: Any) -> list[np.ndarray]:
        """Return every layer's activations, the output last."""
        n = X.shape[0]
        workspace = Workspace(self.parameters, max(n, 1), backward=False)
        outputs = self._outputs(X, workspace, spread=True)
        hidden = [
            np.ascontiguousarray(h[:n, :n_out])
            for h, (_, n_out) in zip(workspace.outputs, self.architecture.layers, strict=True)
        ]
        return [*hidden[:-1], outputs]

    def outputs(self, X: Any) -> np.ndarray:
        """Return the network's outputs, (n, n_out)."""
        return self._outputs(X, None, spread=False)

    def losses(
        self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return each sample's weight times loss, and whether it was predicted right."""
        n = X.shape[0]
        losses, correct = np.zeros(n), np.zeros(n, np.int64)
        targets = padded_targets(y, self.parameters.dtype)

        def enter(S: np.ndarray, start: int, order: np.ndarray) -> None:
            enter_targets(S, self.architecture, targets, sample_weight)
            S[S_LOSSES] = losses[start:].ctypes.data
            S[S_CORRECT] = correct[start:].ctypes.data
            S[S_ORDER] = order.ctypes.data

        self._over(X, None, False, enter, targets)
        return losses, correct

    def _outputs(self, X: Any, workspace: Workspace | None, spread: bool) -> np.ndarray:
        n_out = self.architecture.n_out
        out = np.empty((X.shape[0], n_out), self.parameters.dtype)

        def enter(S: np.ndarray, start: int, order: np.ndarray) -> None:
            S[S_OUT], S[S_LD_OUT] = out[start:].ctypes.data, out.strides[0]
            S[S_OUT_CODE] = OUTPUTS[self.architecture.output]

        self._over(X, workspace, spread, enter)
        return out

    def _room(self, rows: int) -> Workspace:
        """Return room for so many rows, if it can be that of the call before."""
        kept = self._workspace
        if kept is None or kept.rows < rows:
            kept = self._workspace = Workspace(self.parameters, rows, backward=False)
        return kept

    def _room_for_lists(self, X: Any, source: Source, rows: int) -> Index | None:
        """Return room to list the non-zeros of so many rows as they go by, where it is worth it:
        the lists are used once.
        """
        n_in, n_out = self.architecture.layers[0]
        wide = n_out * self.parameters.dtype.itemsize > (_NARROW - 1) * VECTOR
        if not (source.direct and wide and n_in <= _LISTED_INPUTS and is_sparse(X)):
            return None
        if self._lists is None or len(self._lists.cuts) < rows:
            self._lists = room_for_lists(rows, n_in, self._row_bytes(), self.parameters.dtype)
        return self._lists

    def _over(
        self,
        X: Any,
        workspace: Workspace | None,
        spread: bool,
        enter: Any,
        targets: np.ndarray | None = None,
    ) -> None:
        """Run the driver over X, in pieces where NumPy has to convert the rows."""
        n = X.shape[0]
        if n == 0:
            return
        source = self._source if X is self._data else Source(X, self.architecture)
        piece = n if source.direct or spread else min(n, max(source.stage_rows, _ROWS))
        work = flops(self.architecture, piece) // 3
        threads = min(choose_threads(self._threads, work), -(-piece // _FEWEST_ROWS))
        block = min(_ROWS, -(-piece // (threads * 16)) * 16)
        if workspace is None:
            workspace = self._room(threads * block)
        S = np.zeros(SETTINGS, np.int64)
        S[S_CHUNK], S[S_SPREAD] = block, int(spread)
        index, passing = (self._index if X is self._data else None), False
        if source.listed and index is None:
            index = source.make_index(self._row_bytes())
        elif index is None and not spread:
            index = self._room_for_lists(X, source, threads * block)
            passing = index is not None
        if index is not None and (source.listed or self.parameters.finite):
            enter_index(S, index)
        else:
            index, passing = None, False
        groups = inference_groups(self.architecture, source, targets, list_kind(index))
        if passing:
            groups.append("listing")
        kernels = kernel_addresses(self.architecture.dtype, *groups)
        regions = region_addresses(INFER_REGIONS)
        order = np.arange(max(n, threads * block))
        S[S_SLOTS] = order.ctypes.data if passing else 0
        for start in range(0, n, piece):
            part = order[start : min(start + piece, n)]
            data = X if source.direct else source.stage(part)
            source.settings(S, data, scaled=not source.direct)
            S[S_ROWS] = part.ctypes.data if source.direct else order.ctypes.data
            enter(S, start, part)
            run(
                (infer_serial, infer_parallel), threads, regions, kernels, S, workspace.layers,
                len(part),
            )  # fmt: skip
