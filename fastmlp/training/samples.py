"""What an epoch goes over: arrays, or chunks that come one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import Train
from ..contract.operations import DataSet, StepSettings
from ..initializers import RandomSource
from ..support.frames import column_names, in_order
from ..support.validation import MOST_WEIGHT, check_class_weight, check_sample_weight

if TYPE_CHECKING:
    from ..network import MLP

__all__ = [
    "ArraySamples",
    "ChunkSamples",
    "Segment",
    "check_share",
    "chunks_of",
    "combined_weight",
    "dropout_key",
    "hold_out",
    "make_samples",
]

Chunk = tuple[Any, np.ndarray, np.ndarray | None]


@dataclass
class Segment:
    """Consecutive steps of an epoch over one data set: whole batches, the last may be smaller."""

    train: Train
    order: np.ndarray
    batch_size: int

    @property
    def steps(self) -> int:
        """How many steps it has."""
        return -(-len(self.order) // self.batch_size)


def _order(net: MLP, rows: np.ndarray, batch_size: int, shuffle: bool) -> np.ndarray:
    # The full batch sums over all samples: another order would only cost memory accesses.
    if shuffle and batch_size < len(rows):
        return rows[net._rng.permutation(len(rows))]
    return rows


class ArraySamples:
    """Samples that lie in arrays, memory-mapped ones too.

    Parameters
    ----------
    net : MLP
    chunk : (X, y, sample_weight), checked already
    rows : integer array
        The samples to take.
    batch_size : int or None
    shuffle : bool
    settings : dict
        ``optimizer`` and ``regularization``.
    """

    def __init__(
        self,
        net: MLP,
        chunk: Chunk,
        rows: np.ndarray,
        batch_size: int | None,
        shuffle: bool,
        settings: dict[str, Any],
    ) -> None:
        self._net, self._rows, self._shuffle = net, rows, shuffle
        self.count = len(rows)
        self.batch_size = self.count if batch_size is None else min(batch_size, self.count)
        self.steps = -(-self.count // self.batch_size)
        step = StepSettings(state=net._state, batch_size=self.batch_size, **settings)
        self._train = net._backend().trainer(net._parameters, DataSet(*chunk), step, net.threads)

    def segments(self) -> Iterator[Segment]:
        """Yield the epoch, one segment, in an order of its own."""
        order = _order(self._net, self._rows, self.batch_size, self._shuffle)
        yield Segment(self._train, order, self.batch_size)


class ChunkSamples:
    """Samples that come in chunks ``(X, y)`` or ``(X, y, sample_weight)``, anew in every epoch.

    One chunk is held at a time. Batches are cut within a chunk, in order or, with `shuffle`,
    shuffled within it; the last, smaller batch of a chunk counts. Those of a list are all checked
    and counted before anything changes; an iterator's one by one, before they are trained on.

    Parameters
    ----------
    net : MLP
    source : callable or iterable
    epochs : int
    batch_size : int or None
        None: a chunk is a batch.
    shuffle : bool
    class_weight : dict or None
    """

    def __init__(
        self,
        net: MLP,
        source: Callable[[], Iterable[Any]] | Iterable[Any],
        epochs: int,
        batch_size: int | None,
        shuffle: bool,
        class_weight: Any,
    ) -> None:
        self._net, self._source, self._shuffle = net, source, shuffle
        self.batch_size, self._class_weight = batch_size, class_weight
        self.count: int | None = None
        self.steps: int | None = None
        self.settings: dict[str, Any] = {}
        self.feature_names: tuple[str, ...] | None = net.feature_names
        if isinstance(class_weight, str):
            raise ValueError(f"class_weight: expected a dict with chunks, got {class_weight!r}")
        if isinstance(source, Iterator) and epochs > 1:
            raise TypeError(
                f"X: expected chunks that can be gone through {epochs} times, as a list or a "
                f"function that returns an iterator, got {type(source).__name__}"
            )
        # The first chunk is looked at before anything changes, and then trained on.
        self._begun = self._iterate()
        self._first = self._next(self._begun, 0)
        if self._first is None:
            raise ValueError("X: expected at least one chunk, got none")
        if isinstance(source, Sequence):
            self.measure()

    def measure(self) -> None:
        """Go through the chunks once, without training, to know an epoch's steps."""
        if self.steps is not None:
            return
        if isinstance(self._source, Iterator):
            raise TypeError(
                "X: expected chunks that can be gone through twice, since the schedule needs to "
                f"know their number, got {type(self._source).__name__}"
            )
        self.count = self.steps = 0
        chunk, number = self._first, 0
        self._first = None
        while chunk is not None:
            n = len(chunk[1])
            self.count += n
            self.steps += -(-n // (self.batch_size or n))
            number += 1
            del chunk
            chunk = self._next(self._begun, number)

    def _iterate(self) -> Iterator[Any]:
        source = self._source() if callable(self._source) else self._source
        try:
            return iter(source)
        except TypeError:
            raise TypeError(
                f"X: expected chunks (X, y), got {type(source).__name__} that is no iterable"
            ) from None

    def _next(self, iterator: Iterator[Any], number: int) -> Chunk | None:
        try:
            item = next(iterator)
        except StopIteration:
            return None
        if not isinstance(item, tuple | list) or len(item) not in (2, 3):
            raise TypeError(f"X: expected chunks (X, y), got {type(item).__name__} as one")
        try:
            self.feature_names = self.feature_names or column_names(item[0])
            rows = in_order("X", item[0], self.feature_names)
            X, y, _ = self._net._samples(rows, item[1], None)
            weight = check_sample_weight(item[2] if len(item) == 3 else None, len(y))
            return X, y, combined_weight(self._net, weight, self._class_weight, y)
        except (TypeError, ValueError) as error:
            raise type(error)(f"X: chunk {number}: {error}") from None

    def segments(self) -> Iterator[Segment]:
        """Yield the epoch, a segment per chunk; none may be kept while the next is asked for."""
        iterator, chunk, number = self._begun, self._first, 0
        if chunk is None:
            iterator = self._iterate()
            chunk = self._next(iterator, 0)
            if chunk is None:
                raise ValueError("X: expected at least one chunk in every epoch, got none")
        self._first = None
        while chunk is not None:
            number += 1
            # handed over without a name of its own, so that it goes before the next one comes
            holder = [self._segment(chunk)]
            del chunk
            yield holder.pop()
            chunk = self._next(iterator, number)

    def _segment(self, chunk: Chunk) -> Segment:
        n = len(chunk[1])
        part = ArraySamples(
            self._net, chunk, np.arange(n), self.batch_size, self._shuffle, self.settings
        )
        return next(part.segments())


def make_samples(
    net: MLP,
    source: Any,
    epochs: int,
    batch_size: int | None,
    shuffle: bool,
    class_weight: Any,
) -> Any:
    """Return what goes over chunks; a source with a method of this name knows better."""
    own = getattr(source, "make_samples", None)
    return (own or partial(ChunkSamples, net, source))(epochs, batch_size, shuffle, class_weight)


def combined_weight(
    net: MLP,
    sample_weight: np.ndarray | None,
    class_weight: Any,
    y: np.ndarray,
    rows: np.ndarray | None = None,
) -> np.ndarray | None:
    """Return the product of the samples' weights and their classes', None for all 1.

    Parameters
    ----------
    net : MLP
    sample_weight : ndarray of float64, (n,), or None
    class_weight : dict, "balanced" or None
    y : ndarray
        Checked already.
    rows : integer array, optional
        The samples that "balanced" counts.

    Raises
    ------
    TypeError, ValueError
        If the weights of the classes do not fit, or nothing has a weight above 0.
    """
    a = net.architecture
    by_class = check_class_weight(class_weight, y, a.n_out, a.output, rows)
    if by_class is None:
        return sample_weight
    weight = by_class if sample_weight is None else by_class * sample_weight
    if (weight > MOST_WEIGHT).any():
        raise ValueError(
            f"class_weight: expected at most {MOST_WEIGHT} times sample_weight, got {weight.max()}"
        )
    if not weight.any():
        raise ValueError("class_weight: expected at least one sample with a weight above 0")
    return weight


def chunks_of(X: Any, y: Any) -> bool:
    """Tell whether X brings its targets along: chunks, instead of an array.

    Raises
    ------
    ValueError
        If y is missing beside an array.
    TypeError
        If X is no iterable and no function either.
    """
    if hasattr(X, "make_samples"):
        return True
    if y is not None:
        return False
    if hasattr(X, "shape") or hasattr(X, "columns"):
        raise ValueError("y: expected targets beside an array X, got None")
    if not callable(X) and not isinstance(X, Iterable):
        raise TypeError(f"X: expected an array, or chunks (X, y), got {type(X).__name__}")
    return True


def check_share(n: int, share: float, name: str) -> None:
    """Raise ValueError, naming the argument, where a share of n samples leaves none on one side."""
    if round(n * share) in (0, n):
        raise ValueError(
            f"{name}: expected a share that leaves samples on both sides of {n}, got {share}"
        )


def hold_out(
    rng: RandomSource, y: np.ndarray, share: float, *, by_class: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Draw which samples are held out; return the numbers of the others and theirs, ascending.

    Parameters
    ----------
    rng : Generator or RandomState
    y : ndarray
    share : float
        See `check_share`.
    by_class : bool
        Whether every class gives its share, as near as whole samples can be.
    """
    n = len(y)
    held = round(n * share)
    order = rng.permutation(n)
    if by_class:
        labels = y
        if y.ndim == 2:
            labels = y.argmax(axis=1) if y.shape[1] > 1 else (y[:, 0] > 0.5).astype(np.int64)
        drawn = labels[order]
        # Ranks within the classes run evenly through (0, 1): the least `held` of them are each
        # class's share, to within one sample.
        by_label = np.argsort(drawn, kind="stable")
        counts = np.bincount(drawn)
        # mutant +: the places of all classes move by 2
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        place = np.empty(n)
        place[by_label] = (np.arange(n) - starts + 0.5) / np.repeat(counts, counts)
        order = order[np.argsort(place, kind="stable")]
    return np.sort(order[held:]), np.sort(order[:held])


def dropout_key(rng: RandomSource) -> np.ndarray:
    """Draw an epoch's key from a network's rng: what is saved goes on with the same bits."""
    return np.frombuffer(rng.bytes(8), "<u4").astype(np.uint32)
