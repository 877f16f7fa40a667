"""How many threads steps are quickest on, learned from what they take."""

from __future__ import annotations

import math

from . import choose

__all__ = ["Autotuner"]


class Autotuner:
    """How many threads take steps: one of `levels`, `choose.thread_levels` or a user's number.

    What more threads bring, and what they cost at every barrier, depends on the processor and on
    what else runs on it: two of a virtual machine's cores may be threads of one, for good or for
    some minutes. So a few steps are taken on twice or half as many threads now and then, ever more
    rarely while that changes nothing. It changes no bit of what comes out. The `first` number is 1
    for steps so short that a fit may be over before it would be known.
    """

    def __init__(self, levels: list[int], first: int) -> None:
        self._levels, self._level = levels, levels.index(first)
        self._trial: int | None = None  # the level that is tried now
        self._up = first < levels[-1]  # where the next trial goes
        self._failed = 0  # directions that were tried since something changed
        self._seconds = math.inf  # of a step, on as many threads as now
        self._period = choose.FIRST_TRIAL
        self._left = 0.0 if first == 1 else choose.FIRST_TRIAL

    @property
    def threads(self) -> int:
        """How many threads take the steps that come now."""
        return self._levels[self._level if self._trial is None else self._trial]

    def _neighbour(self) -> int:
        level = self._level + (1 if self._up else -1)
        if not 0 <= level < len(self._levels):
            self._up = not self._up
            level = self._level + (1 if self._up else -1)
        return level

    def steps(self, most: int) -> int:
        """Return how many of `most` steps to take before `note` is called; sets `threads`."""
        due = self._left <= 0 and len(self._levels) > 1
        known = self._seconds <= choose.LONGEST_STEP and most * self._seconds >= choose.TRIAL
        self._trial = self._neighbour() if due and known else None
        if self._trial is None:
            return most
        return min(most, math.ceil(choose.TRIAL / self._seconds))

    def note(self, seconds: float, steps: int) -> None:
        """Learn what so many steps took, and choose how many threads take those that follow."""
        pace = seconds / steps
        if self._trial is not None:
            self._judge(self._trial, pace)
        elif seconds >= choose.SHORTEST_RUN:
            slower = pace > choose.SLOWER * self._seconds
            self._seconds, self._left = pace, 0.0 if slower else self._left - seconds
        self._trial = None

    def _judge(self, level: int, pace: float) -> None:
        both = 0 < self._level < len(self._levels) - 1
        if pace <= choose.BETTER * self._seconds:
            self._level, self._seconds, self._failed = level, pace, 0
            self._period = choose.FIRST_TRIAL
            # further the same way at once; where that ends, what is left is known
            further = 0 <= level + (1 if self._up else -1) < len(self._levels)
            self._left = 0.0 if further else self._period
            return
        self._failed, self._up = self._failed + 1, not self._up
        if both and self._failed < 2:
            self._left = 0.0  # the other way is tried as well
            return
        self._failed = 0
        self._period = min(2 * self._period, choose.LAST_TRIAL)
        self._left = self._period
