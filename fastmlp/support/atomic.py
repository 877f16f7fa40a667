"""Files that are replaced whole or not at all, whatever stops the process or the machine."""

from __future__ import annotations

import glob
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .validation import check_path

__all__ = ["replacing"]

_STALE_SECONDS = 3600.0  # no file takes an hour to write: its process was killed


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give the name of a new file in the folder of `path` that takes its place after the block.

    The new file is on the disk before it has the name, and has the old file's mode. A symbolic
    link stays one. What a killed process has left is removed an hour later by the next call.

    Parameters
    ----------
    path : str or os.PathLike

    Yields
    ------
    str
        An empty file to be written; its name ends as that of `path` does.

    Raises
    ------
    OSError
        If the file cannot be made or written, naming `path`. An older file of that name stays as
        it was, and nothing is left beside it.

    Examples
    --------
    >>> import os, tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "figures.csv")
    ...     with replacing(path) as name:
    ...         _ = Path(name).write_text("1,2")
    ...     path.read_text(), os.listdir(folder)
    ('1,2', ['figures.csv'])
    """
    target = Path(os.path.realpath(check_path(path)))
    prefix = f".{target.stem[:40]}.partial-"
    name = None
    try:
        descriptor, name = tempfile.mkstemp(target.suffix, prefix, target.parent)
        os.close(descriptor)
        yield name
        with open(name, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(name, _mode(target))
        os.replace(name, target)
    except BaseException as error:
        if name is not None:
            os.unlink(name)
        ours = name is None or getattr(error, "filename", "") in (None, name)
        if isinstance(error, OSError) and error.errno and ours:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    _after(target, prefix)


def _mode(target: Path) -> int:
    with suppress(FileNotFoundError):
        return target.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def _after(target: Path, prefix: str) -> None:
    """Bring the new name to the disk, and sweep; not every file system and folder allows it."""
    with suppress(OSError):
        if os.name == "posix":
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        pattern = glob.escape(prefix) + "*" + glob.escape(target.suffix)
        for left in target.parent.glob(pattern):
            if left.stat().st_mtime < time.time() - _STALE_SECONDS:
                left.unlink()
