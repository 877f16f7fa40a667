"""Some samples on their way through the network: which ones, and in which rows."""

from __future__ import annotations

from dataclasses import dataclass

from .job import Job
from .operation import At, Slot

__all__ = ["Samples"]


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
    """

    first: int
    row: int
    count: int
    step: int = 0
    turn: int = 0
    row_turn: int = 0
    depth: int = 0

    def of(self, slot: Slot, bytes_each: int = 8) -> At:
        """Return the address of the first one's element in an array that is in order."""
        return At(slot, self.first * bytes_each, self.step * bytes_each, self.turn * bytes_each)

    def at(self, rows: At, stride: int) -> At:
        """Return the address of the first one's row."""
        moved = rows + self.row * stride
        return moved.moving(turn=self.row_turn * stride) if self.row_turn else moved

    def tiles(self, job: Job) -> int:
        """Return how many tiles hold their rows."""
        return -(-self.count // job.tile_rows)
