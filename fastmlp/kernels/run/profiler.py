"""What every operation of a step takes, measured while steps are taken.

The executor reads a clock after each operation of a program that is to be profiled; for others it
is one comparison a share.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from ..program.listing import Line, lines
from .training import Training

__all__ = ["TICK", "time_steps"]

# the seconds of a tick of the clock: on Windows it is the one that Python's own is read from
TICK = time.get_clock_info("perf_counter").resolution if sys.platform == "win32" else 1e-9


def time_steps(
    training: Training, order: np.ndarray, rates: np.ndarray
) -> tuple[list[Line], np.ndarray]:
    """Take steps over whole batches of the samples in `order`, and return the operations of a
    batch's step, and the seconds that each takes on average, all turns.
    """
    (listed, executable), *_ = training._executables.items()
    times = executable.time()
    training.train(order, rates)
    key = ("step", training.batch_size)
    found = list(lines(training.phases(listed, key), training.parameters.dtype.itemsize))
    return found, times[executable.places[key]] * TICK / len(rates)
