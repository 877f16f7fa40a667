"""Callbacks that write files: checkpoints, and a table of the epochs."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from ..support.atomic import check_target, replacing
from ..support.validation import check_bool, check_path
from .base import Callback, Logs, Monitor

__all__ = ["CSVLogger", "ModelCheckpoint"]


def _check_file(path: str) -> None:
    """Raise unless a file of that name can be written, and be written again."""
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise ValueError(f"path: expected a folder that exists, got {str(Path(path).parent)!r}")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"path: expected a folder that can be written, got {str(folder)!r}")
    try:
        check_target(path, streams=False)
    except OSError as error:
        raise ValueError(f"path: {path!r}: {error.strerror}") from None


class ModelCheckpoint(Callback):
    """Save the network after every epoch, or after every epoch that is the best so far.

    A file holds all that training goes on from, and is written whole or not at all: a run that
    was broken off is taken up with `MLP.load` and the same `fit` with ``resume=True``, and ends
    with the same bits.

    Parameters
    ----------
    path : str or Path
        A pattern of `str.format`: ``"net-{epoch:03d}-{val_loss:.3f}.npz"``. ``epoch`` counts from
        1; the other names are those of the history. Without a name the file is replaced.
    monitor : str, default "val_loss"
        What "best" means.
    mode : {"min", "max"}, optional
        Which way is better; by default it follows from the name.
    best_only : bool, default False

    Attributes
    ----------
    saved : list of str
        The files written by the last fit, in order.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of that kind.

    Examples
    --------
    >>> import numpy as np, fastmlp, tempfile, os
    >>> net = fastmlp.MLP((2, 2), rng=0, backend="numpy")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saver = fastmlp.ModelCheckpoint(os.path.join(folder, "net-{epoch}.npz"))
    ...     history = net.fit(np.eye(2), [0, 1], epochs=2, callbacks=[saver])
    ...     sorted(os.listdir(folder))
    ['net-1.npz', 'net-2.npz']
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        monitor: str = "val_loss",
        mode: str | None = None,
        best_only: bool = False,
    ) -> None:
        check_path(path)
        self.path = os.fspath(path)
        self._monitor = Monitor(monitor, mode)
        self.best_only = check_bool("best_only", best_only)
        self.saved: list[str] = []

    def __repr__(self) -> str:
        """Return what is written, and where the best alone is, by what."""
        watched = f", monitor={self._monitor.name!r}, best_only=True" if self.best_only else ""
        return f"{type(self).__name__}({self.path!r}{watched})"

    def check(self, names: Sequence[str]) -> None:
        """Raise unless the path can be made of `names`, its folder exists, and so on."""
        if self.best_only:
            self._monitor.check(names)
        try:
            path = self.path.format(epoch=1, **dict.fromkeys(names, 0.0))
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"path: expected a pattern of epoch, {', '.join(names)}, got {self.path!r} "
                f"({error})"
            ) from None
        _check_file(path)

    def on_train_begin(self, logs: Logs) -> None:
        """Begin anew, or with the best of the run that is resumed."""
        self._monitor.reset()
        self.saved = []
        if self.best_only:
            history = self.net.history
            for epoch in range(len(history)):
                self._monitor.improved(history.row(epoch))

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Save the network."""
        if self.best_only and not self._monitor.improved(logs):
            return
        path = self.path.format(epoch=epoch + 1, **logs)
        self.net.save(path)
        self.saved.append(path)


class CSVLogger(Callback):
    """Write a line of numbers after every epoch, under a line of their names.

    The file is complete after every epoch and open only while a line is written.

    Parameters
    ----------
    path : str or Path
    separator : str, default ","
    append : bool, default False
        Go on at the end of a file that is there, instead of replacing it.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of that kind.

    Examples
    --------
    >>> import numpy as np, fastmlp, tempfile, os
    >>> from pathlib import Path
    >>> net = fastmlp.MLP((2, 2), rng=0, backend="numpy")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "run.csv")
    ...     _ = net.fit(np.eye(2), [0, 1], epochs=2, callbacks=[fastmlp.callbacks.CSVLogger(path)])
    ...     print(Path(path).read_text().splitlines()[0])
    epoch,loss,accuracy,learning_rate,seconds
    """

    def __init__(
        self, path: str | os.PathLike[str], *, separator: str = ",", append: bool = False
    ) -> None:
        check_path(path)
        self.path = os.fspath(path)
        if not isinstance(separator, str):
            raise TypeError(f"separator: expected one character, got {separator!r}")
        if len(separator) != 1 or separator in '"\r\n':
            raise ValueError(
                f"separator: expected one character, no quote and no line end, got {separator!r}"
            )
        self.separator, self.append = separator, check_bool("append", append)

    def __repr__(self) -> str:
        """Return what is written."""
        return f"{type(self).__name__}({self.path!r})"

    def check(self, names: Sequence[str]) -> None:
        """Raise unless the file can be written."""
        _check_file(self.path)

    def on_train_begin(self, logs: Logs) -> None:
        """Empty the file, unless it is to be gone on with; write again what is resumed."""
        if self.append:
            return
        history = self.net.history
        with replacing(self.path) as name:
            for epoch in range(len(history)):
                self._write(name, epoch, history.row(epoch))

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the epoch's line."""
        self._write(self.path, epoch, logs)

    def _write(self, path: str, epoch: int, logs: Logs) -> None:
        try:
            with open(path, "a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, delimiter=self.separator, lineterminator="\n")
                if file.tell() == 0:
                    writer.writerow(["epoch", *logs])
                writer.writerow([epoch + 1, *logs.values()])
        except OSError as error:  # a full disk's does not name the file
            raise OSError(error.errno, error.strerror, self.path) from None
