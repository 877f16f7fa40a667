"""What every operation of a step takes, measured while steps are taken.

The executor reads a clock after each operation of a program that is to be profiled; for others it
is one comparison a share.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np

from ..program.listing import Line, lines
from .training import Training

__all__ = ["Timing", "time_steps"]


# the seconds of a tick of the clock: on Windows it is the one that Python's own is read from
_TICK = time.get_clock_info("perf_counter").resolution if sys.platform == "win32" else 1e-9


@dataclass
class Timing:
    """An operation, and the seconds that it takes in a step, all turns."""

    line: Line
    seconds: float


def time_steps(training: Training, order: np.ndarray, rates: np.ndarray) -> list[Timing]:
    """Take steps over whole batches of the samples in `order`, and return what each operation of a
    batch's step takes on average.
    """
    (listed, executable), *_ = training._executables.items()
    times = executable.time()
    training.train(order, rates)
    key = ("step", training.batch_size)
    phases = training.phases(listed, key)
    found = zip(
        lines(phases, training.parameters.dtype.itemsize),
        times[executable.places[key]],
        strict=True,
    )
    return [Timing(line, float(ticks) * _TICK / len(rates)) for line, ticks in found]
