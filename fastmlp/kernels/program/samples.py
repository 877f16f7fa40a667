"""Some samples on their way through the network: which ones, and in which rows."""

from __future__ import annotations

from dataclasses import dataclass

from .job import Job
from .operation import At, Value

__all__ = ["KnownAtRun", "Samples"]


@dataclass(frozen=True)
class KnownAtRun:
    """What is told of samples when a program is run: slots beyond those of `Slot`.

    Attributes
    ----------
    slots : dict
        A slot of an array in order -> that of these samples' part of it.
    count, tiles : int or None
        Slots of numbers: of samples and of tiles.
    """

    slots: dict[int, int]
    count: int | None = None
    tiles: int | None = None


@dataclass(frozen=True)
class Samples:
    """Some samples on their way: which ones, and in which rows of the workspace.

    Attributes
    ----------
    first : int
        The first one's place in the order of this step.
    row : int
        Its row, at the beginning of a tile.
    count : int
    step, turn : int
        Samples by which the place moves with every step and turn.
    row_turn : int
        Rows by which the row moves with every turn.
    depth : int
        Samples of the chunk that these are a part of.
    known : KnownAtRun, optional
        What else is entered at a run, instead of `count` and of the slots of arrays in order.
    """

    first: int
    row: int
    count: int
    step: int = 0
    turn: int = 0
    row_turn: int = 0
    depth: int = 0
    known: KnownAtRun | None = None

    def of(self, slot: int, bytes_each: int = 8) -> At:
        """Return the address of the first one's element in an array that is in order."""
        if self.known is not None:
            slot = self.known.slots.get(slot, slot)
        return At(slot, self.first * bytes_each, self.step * bytes_each, self.turn * bytes_each)

    def at(self, rows: At, stride: int) -> At:
        """Return the address of the first one's row."""
        moved = rows + self.row * stride
        return moved.moving(turn=self.row_turn * stride) if self.row_turn else moved

    @property
    def rows(self) -> Value:
        """How many they are."""
        count = None if self.known is None else self.known.count
        return self.count if count is None else At(count)

    def tiles(self, job: Job) -> Value:
        """Return how many tiles hold their rows."""
        if self.known is not None and self.known.tiles is not None:
            return At(self.known.tiles)
        return -(-self.count // job.tile_rows)
