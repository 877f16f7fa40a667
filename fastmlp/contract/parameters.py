"""The flat parameter buffer and the views of it that users see."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, SupportsIndex

import numpy as np

from ..activations import ZERO_AT
from ..architecture import Architecture
from ..initializers import Initializer, RandomSource
from ..optimizers import most_slots

__all__ = ["ParameterViews", "Parameters", "aligned_zeros", "replace", "row_length"]

_LINE = 64  # bytes: one cache line, a whole number of vectors on every processor
_ROWS = 16  # rows of a weight matrix are padded to whole tiles of every processor


def row_length(n: int, itemsize: int) -> int:
    """Return the elements of a padded row of n.

    Whole cache lines; one more where rows would lie a multiple of 1 KB apart, since such rows
    share the same few sets of the first-level cache.
    """
    size = -(-n * itemsize // _LINE) * _LINE
    if size % 1024 == 0:
        size += _LINE
    return size // itemsize


def aligned_zeros(n: int, dtype: Any) -> np.ndarray:
    """Return n zeros that begin on a page; pages that nobody writes cost no memory."""
    dtype = np.dtype(dtype)
    page = 4096
    raw = np.zeros(n * dtype.itemsize + page, np.uint8)
    start = -raw.ctypes.data % page
    return raw[start : start + n * dtype.itemsize].view(dtype)


class ParameterViews(list[np.ndarray]):
    """A list of live arrays: assigning an item, or a slice, writes into the network.

    Parameters
    ----------
    name : str
        What messages call it.
    arrays : sequence of ndarray
    """

    def __init__(self, name: str, arrays: Sequence[np.ndarray]) -> None:
        super().__init__(arrays)
        self._name = name

    def __setitem__(self, index: SupportsIndex | slice, value: Any) -> None:
        """Copy `value` into what is at `index`; shapes have to be the arrays'."""
        if isinstance(index, slice):
            replace(self._name, self[index], value)
        else:
            replace(f"{self._name}[{operator.index(index)}]", [self[index]], [value])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as a plain list of arrays: what is copied is in no network."""
        return list, (list(self),)

    def _fixed(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"{self._name}: expected as many arrays as there are layers, always")

    append = clear = extend = insert = pop = remove = reverse = sort = _fixed
    __delitem__ = __iadd__ = __imul__ = _fixed


def replace(name: str, targets: list[np.ndarray], values: Sequence[Any]) -> None:
    """Copy arrays into all of `targets`, or into none.

    Raises
    ------
    TypeError, ValueError
        If the values are no arrays of real numbers of the targets' shapes; `name` is the argument.
    """
    try:
        arrays = [np.array(value) for value in values]  # copies: a value may be a live view
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a sequence of arrays, got {values!r}") from None
    wanted, shapes = [t.shape for t in targets], [a.shape for a in arrays]
    if shapes != wanted:
        raise ValueError(f"{name}: expected shapes {wanted}, got {shapes}")
    if any(a.dtype.kind not in "biuf" for a in arrays):
        raise TypeError(f"{name}: expected arrays of real numbers")
    for target, array in zip(targets, arrays, strict=True):
        target[...] = array


class Parameters:
    """Weights, biases and optimizer state of one network in one buffer.

    The buffer holds the parameters, then stretches of the same layout for what optimizers
    remember, as many as any of them needs. A layer is its weight rows, padded to whole cache lines
    and 16 rows, and its bias row. Padding columns and rows of weights are zero and stay zero: their
    gradients are zero.

    Attributes
    ----------
    weights, biases : list of ndarray
        Writable views without the padding. `biases` is empty for a network without biases.
    flat : ndarray, (size,)
        The padded parameters.
    slots : list of ndarray, (size,)
        The padded state.
    prepared : object
        What a backend keeps ready for calls with a few samples.
    """

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.dtype = np.dtype(architecture.dtype)
        self.weight_offsets: list[int] = []
        self.bias_offsets: list[int] = []
        size = 0
        for n_in, n_out in architecture.layers:
            row = row_length(n_out, self.dtype.itemsize)
            self.weight_offsets.append(size)
            size += -(-n_in // _ROWS) * _ROWS * row
            self.bias_offsets.append(size)
            size += row
        self.size = size
        stretches = 1 + most_slots()
        self._buffer = aligned_zeros(size * stretches, self.dtype)
        self.flat, *self.slots = (self._buffer[i * size : (i + 1) * size] for i in range(stretches))
        self.weights, self.biases = self.views(self.flat)
        self.prepared: Any = None  # what a backend keeps ready for small calls
        for i, name in enumerate(architecture.activations):
            start, n_out = self.bias_offsets[i], architecture.layer_sizes[i + 1]
            end = start + row_length(n_out, self.dtype.itemsize)
            # A padding column has to come out as 0, or it would give the padding rows of the next
            # layer's W a gradient.
            self.flat[start + n_out : end] = ZERO_AT.get(name, 0.0)

    @property
    def state(self) -> np.ndarray:
        """The parameters and slots, all that steps change, as one array."""
        return self._buffer

    @property
    def finite(self) -> bool:
        """Whether no parameter is NaN or infinite (nor so large that their sum is)."""
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.isfinite(self.flat.sum()))

    def views(self, flat: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the weights and biases that lie in a buffer of this layout."""
        weights, biases = [], []
        for i, (n_in, n_out) in enumerate(self.architecture.layers):
            row = row_length(n_out, self.dtype.itemsize)
            start = self.weight_offsets[i]
            weights.append(flat[start : start + n_in * row].reshape(n_in, row)[:, :n_out])
            start = self.bias_offsets[i]
            biases.append(flat[start : start + n_out])
        return weights, biases if self.architecture.bias else []

    def slot_views(self, count: int) -> list[list[np.ndarray]]:
        """Return the first `count` slots as lists shaped as ``[*weights, *biases]``.

        Raises
        ------
        ValueError
            If there are fewer: the optimizer came after the network.
        """
        if count > len(self.slots):
            raise ValueError(f"optimizer: the network has {len(self.slots)} slots, not {count}")
        return [[*weights, *biases] for weights, biases in map(self.views, self.slots[:count])]

    def clear_slots(self) -> None:
        """Set what optimizers remember to zero."""
        for slot in self.slots:
            slot[:] = 0

    def draw(self, initializer: Initializer, rng: RandomSource) -> None:
        """Draw the parameters, layer by layer, weights before biases."""
        for i, layer in enumerate(self.architecture.layers):
            targets = [self.weights[i]]
            if self.biases and initializer.biases:
                targets.append(self.biases[i])
            for target in targets:
                drawn = np.asarray(initializer.draw(rng, target.shape, *layer))
                if drawn.shape != target.shape:
                    raise ValueError(
                        f"init: expected {initializer!r} to draw an array of shape {target.shape}, "
                        f"got {drawn.shape}"
                    )
                with np.errstate(over="ignore"):
                    target[...] = drawn
        if not np.isfinite(self.flat).all():
            raise ValueError(
                f"init: expected {initializer!r} to draw numbers that {self.dtype} can hold"
            )

    def assign(self, weights: Iterable[np.ndarray], biases: Iterable[np.ndarray]) -> None:
        """Copy arrays of the views' shapes into the buffer."""
        for target, array in zip([*self.weights, *self.biases], [*weights, *biases], strict=True):
            target[...] = array
