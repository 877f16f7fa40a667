"""Who owns what: the rows of W, and of the lists of non-zeros, that are a thread's own."""

from __future__ import annotations

import numpy as np

from ._jit import jit
from .index import Index
from .tables import BLOCK, BLOCKS, MR, N_IN, VECTORS_OUT

__all__ = ["first_rows", "rows_of", "share"]

_STEP = 4  # stepping a vector of W, as often as it is multiplied and added


@jit()
def share(n, t, threads):
    """Return thread t's first of n pieces."""
    return n * t // threads


@jit()
def rows_of(bounds, l, t, threads):  # noqa: E741
    """Return thread t's first row of layer l's W, and the one behind its last."""
    first = (l + 1) * (threads + 1) + t
    return bounds[first], bounds[first + 1]


def first_rows(
    layers: np.ndarray, threads: int, samples: int, index: Index | None = None, panels: int = 0
) -> np.ndarray:
    """Return where each thread's part begins, and the last one's ends: first of the blocks of
    lists, then of the rows of every W, in whole blocks.

    All threads get equally much to do. Panels are not cut: who has the smaller ones gets more of
    the other layers.

    Parameters
    ----------
    layers : ndarray of int64, (n_layers, Layer.COLUMNS)
    threads : int
    samples : int
        That are gone through at a time.
    index : Index or None
        The lists, where the first layer goes through them in panels.
    panels : int
        How many there are.
    """
    bounds = np.zeros((len(layers) + 1, threads + 1), np.int64)
    costs, work, first = [_block_costs(q, samples) for q in layers], np.zeros(threads), 0
    if index is not None:
        bounds[0] = index.shares(threads)
        listed = index.columns.size / index.starts.size  # of a sample
        costs[0] = _block_costs(layers[0], samples * listed / layers[0, N_IN])
        if panels >= threads:
            vectors = int(layers[0, VECTORS_OUT])
            edges = vectors * (panels * np.arange(threads + 1) // threads) // panels
            work, first = np.diff(edges) / vectors * costs[0].sum(), 1
    cumulative = np.cumsum(np.concatenate([np.zeros(1), *costs[first:]]))
    middles = (cumulative[:-1] + cumulative[1:]) / 2
    cuts = np.searchsorted(middles, np.cumsum(_filled_up(work, cumulative[-1])))
    for number, blocks in enumerate(costs[first:], first + 1):
        bounds[number, 1:] = np.clip(cuts, 0, blocks.size) * BLOCK
        cuts -= blocks.size
    return bounds.ravel()


def _block_costs(q: np.ndarray, samples: float) -> np.ndarray:
    """Return what the blocks of a W's rows cost: the last one's tiles may be fewer."""
    rows = -(-q[N_IN] // MR) * MR - np.arange(0, q[BLOCKS] * BLOCK, BLOCK)
    return np.asarray(np.minimum(rows, BLOCK) * q[VECTORS_OUT] * (samples + _STEP), np.float64)


def _filled_up(work: np.ndarray, more: float) -> np.ndarray:
    """Share `more` work out so that all have equally much, or nothing where they have more."""
    levels = (more + np.cumsum(np.sort(work))) / np.arange(1, len(work) + 1)
    return np.maximum(levels.min() - work, 0.0)
