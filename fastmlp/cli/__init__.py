"""The command line: the only place that prints.

``fastmlp train [DATA]``
    Trains, and ends with the test accuracy (or R2). Of a table: ``--label COLUMN``,
    ``--regression``, ``--test-size``, ``--no-shuffle``. Of any: ``--out model.npz``, ``--plot
    loss.png``, ``--json run.json``, ``--early-stopping``, ``--dropout 0.5``, ``--checkpoint
    net.npz``, ``--resume net.npz`` ...
``fastmlp evaluate MODEL [DATA]``
    Loss, accuracy and confusion matrix.
``fastmlp predict MODEL INPUT``
    Labels and probabilities as CSV.
``fastmlp report MODEL [DATA] -o report.html``
    A model, its training and its test as one HTML file; ``--class-names cat,dog``,
    ``--image-shape 28x28``.
``fastmlp reproduce [NAME ...]``
    The published experiments (`fastmlp.recipes`); exit 1 where one falls short.
``fastmlp verify [CHECK ...]``
    On your machine: parity of every operation, finite-difference gradients, the same bits for any
    number of threads; exit 1 where one fails.
``fastmlp bench [WORKLOAD ...]``
    This machine against every peer that is installed, in turns in one run.
``fastmlp profile [--layers SIZES] [--batch-size N] [--optimizer NAME]``
    What each operation of a training step takes, on one thread and on several, with its GFLOP/s and
    share of the processor's peak.
``fastmlp cache [--clear] [--old]``
    The folder of compiled code, its size, and what other versions have left there; that goes by
    itself after a year.
``fastmlp info``
    Versions, processor, vector path, threads, cache folder and its size.

DATA is ``mnist``, or a path: a table (`fastmlp.tables`), a folder of IDX files, a Keras ``.npz``.

**Exit codes**: 0 done, 1 a check fell short, 2 wrong usage or unreadable input (one line, no
traceback), 130 on Ctrl-C, 143 on SIGTERM and 129 on SIGHUP, with what was trained so far saved to
``--out``. The third signal ends the process within a second.

Only regular files are replaced, never a device, pipe or folder; ``/dev/stdout`` and ``/dev/fd/N``
are written to. In a container without a place for compiled code, or with one thread, it trains all
the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from .console import Console
from .signals import Signals

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        What was typed behind ``fastmlp``; by default the process's own arguments.

    Returns
    -------
    int
        0 done, 1 a check fell short, 2 wrong usage or unreadable input; 130 interrupted, 143 and
        129 ended by SIGTERM and SIGHUP.

    Examples
    --------
    >>> from fastmlp.cli import main
    >>> main(["--version"])  # doctest: +ELLIPSIS
    fastmlp ...
    0
    """
    console = Console()
    with Signals(last=argv is None) as signals:
        try:
            from .run import run  # loads NumPy, which takes a while

            return run(argv, console)
        except KeyboardInterrupt as stop:
            console.note(str(stop) or console.when_interrupted())
            return signals.exit_code
