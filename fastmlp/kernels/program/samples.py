"""Some samples on their way through the network: which ones, and in which rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .job import Job
from .operation import At, Value

__all__ = ["Samples"]


@dataclass(frozen=True)
class Samples:
    """Some samples on their way: which ones, and in which rows of the workspace."""

    first: int  # the first one's place in the order of this step
    row: int  # its row, at the beginning of a tile
    count: int
    step: int = 0  # samples by which the place moves with every step
    turn: int = 0  # and with every turn
    depth: int = 0  # samples of the chunk that these are a part of
    # what is entered at a run, in slots beyond those of `Slot`: the slot of an array in order ->
    # that of these samples' part of it, and "count" and "tiles" -> slots of these numbers
    told: Mapping[int | str, int] = field(default_factory=dict)

    def part(self, first: int, last: int) -> Samples:
        """Return those of some rows, of samples that begin in row 0."""
        return replace(self, first=self.first + first, row=first, count=last - first)

    def of(self, slot: int, bytes_each: int = 8) -> At:
        """Return the address of the first one's element in an array that is in order."""
        slot = self.told.get(slot, slot)
        return At(slot, self.first * bytes_each, self.step * bytes_each, self.turn * bytes_each)

    def at(self, rows: At, stride: int) -> At:
        """Return the address of the first one's row."""
        return rows + self.row * stride

    @property
    def rows(self) -> Value:
        """How many they are."""
        return At(self.told["count"]) if "count" in self.told else self.count

    def tiles(self, job: Job) -> Value:
        """Return how many tiles hold their rows."""
        return At(self.told["tiles"]) if "tiles" in self.told else -(-self.count // job.tile_rows)
