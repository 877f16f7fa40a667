"""Which samples a group has: the cut of every batch, the same for any number of workers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """Batches of consecutive samples, each cut into groups of whole blocks.

    Partition k holds group k of every batch: the atom of what a worker keeps, and what it gives
    one sum for in a step.

    Attributes
    ----------
    samples, batch_size : int
    groups : int
        The most groups of a batch.
    block : int
        Samples of a block.

    Examples
    --------
    >>> from fastmlp.distributed._layout import Layout
    >>> layout = Layout(samples=700, batch_size=300, groups=2, block=64)
    >>> layout.steps, layout.group_samples, layout.partitions
    (3, 192, 2)
    >>> [layout.rows(1, step) for step in range(3)]
    [range(192, 300), range(492, 600), range(700, 700)]
    """

    samples: int
    batch_size: int
    groups: int
    block: int

    @property
    def group_samples(self) -> int:
        """The most samples of a group."""
        return -(-self.batch_size // (self.groups * self.block)) * self.block

    @property
    def partitions(self) -> int:
        """How many groups a whole batch has."""
        return -(-self.batch_size // self.group_samples)

    @property
    def steps(self) -> int:
        """How many batches there are."""
        return -(-self.samples // self.batch_size)

    def size(self, step: int) -> int:
        """Return how many samples a batch has."""
        return min(self.batch_size, self.samples - step * self.batch_size)

    def groups_of(self, step: int) -> range:
        """Return the groups of a batch that have samples."""
        return range(-(-self.size(step) // self.group_samples))

    def rows(self, partition: int, step: int) -> range:
        """Return the samples of one group, by their place among all."""
        first = step * self.batch_size
        end = first + self.size(step)
        start = first + partition * self.group_samples
        return range(min(start, end), min(start + self.group_samples, end))

    def part(self, partition: int, step: int) -> slice:
        """Return where one group lies in its partition: only the last batch is smaller."""
        each = len(self.rows(partition, 0))
        return slice(step * each, step * each + len(self.rows(partition, step)))

    def cut(self, first: int, count: int) -> dict[int, list[slice]]:
        """Return which of `count` samples from `first` on go to which partition, in order."""
        found: dict[int, list[slice]] = {}
        for partition, rows in self._groups(first, first + count):
            start, stop = max(rows.start, first) - first, min(rows.stop, first + count) - first
            found.setdefault(partition, []).append(slice(start, stop))
        return found

    def _groups(self, first: int, end: int) -> Iterator[tuple[int, range]]:
        """Yield the groups that have samples of first .. end."""
        while first < end:
            step, place = divmod(first, self.batch_size)
            partition = place // self.group_samples
            rows = self.rows(partition, step)
            yield partition, rows
            first = rows.stop

    def order(self, partition: int, key: np.ndarray | None) -> np.ndarray:
        """Return the order in which a partition's samples come in an epoch.

        Parameters
        ----------
        partition : int
        key : ndarray of uint32, (2,), or None
            The epoch's draw; None: as they are.
        """
        n = sum(len(self.rows(partition, step)) for step in range(self.steps))
        if key is None:
            return np.arange(n)
        return np.random.Generator(np.random.PCG64([*key, partition])).permutation(n)
