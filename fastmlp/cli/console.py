"""Where commands write, and how they show figures."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from ..diagnostics import confusion_matrix

__all__ = ["Console", "percent", "say_confusion"]

_MOST_CLASSES = 50  # of a confusion matrix that is still readable

# what a write to a pipe that nobody reads fails with
_NOBODY_READS = {errno.EPIPE} | ({errno.EINVAL} if sys.platform == "win32" else set())


class Console:
    """Standard output for results, standard error for what is said beside them.

    Attributes
    ----------
    when_interrupted : callable
        What a command does when it is interrupted; returns the line that is then said.
    """

    def __init__(self) -> None:
        self.when_interrupted: Callable[[], str] = lambda: "interrupted"

    def say(self, text: str, *, exact: bool = False) -> None:
        """Write a line to standard output.

        Parameters
        ----------
        text : str
        exact : bool
            Whether a letter that the output's encoding lacks is an error; else it is escaped.

        Raises
        ------
        BrokenPipeError
            If nobody reads any more.
        OSError
            If it cannot be written, naming standard output.
        ValueError
            If it has to be exact, and the encoding lacks a letter.
        """
        try:
            print(text, flush=True)
        except UnicodeEncodeError as error:
            encoding = sys.stdout.encoding
            if exact:
                raise ValueError(
                    f"standard output is in {encoding}, which has no "
                    f"{error.object[error.start]!r}; set PYTHONIOENCODING=utf-8"
                ) from None
            self.say(text.encode(encoding, "backslashreplace").decode(encoding), exact=True)
        except OSError as error:
            if error.errno in _NOBODY_READS:
                raise BrokenPipeError(*error.args) from None
            raise OSError(error.errno, error.strerror, "standard output") from None

    def tell(self, text: str) -> None:
        """Write a line to standard output; where nobody reads any more, the work goes on."""
        try:
            self.say(text)
        except BrokenPipeError:
            self.close()

    def note(self, text: str) -> None:
        """Write a line to standard error, whatever it holds on one line."""
        with suppress(OSError):
            print(f"fastmlp: {' '.join(text.split())}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Let go of a pipe that nobody reads: nothing is left to be flushed when Python ends."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def percent(share: float) -> str:
    """Return a share as a figure in percent."""
    return f"{100 * share:.2f} %"


def say_confusion(
    console: Console, truth: np.ndarray, predicted: np.ndarray, names: list[str]
) -> None:
    """Print a confusion matrix, its classes by name."""
    if len(names) > _MOST_CLASSES:
        console.note(f"no confusion matrix: {len(names)} classes are more than {_MOST_CLASSES}")
        return
    matrix = confusion_matrix(truth, predicted, len(names))
    console.say("confusion matrix (rows: the label, columns: what was predicted)")
    first = max(5, *map(len, names))
    width = max(5, len(str(matrix.max())) + 1, *(len(name) + 1 for name in names))
    console.say(" " * first + "".join(f"{name:>{width}}" for name in names))
    for name, row in zip(names, matrix, strict=True):
        console.say(f"{name:>{first}}" + "".join(f"{count:{width}}" for count in row))
