"""Files that are replaced whole or not at all, whatever stops the process or the machine."""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .interrupts import CtrlC
from .validation import check_path

__all__ = ["check_target", "is_stream", "replacing"]

_STALE_SECONDS = 3600.0  # no file takes an hour to write: its process was killed
_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}  # and /dev/fd/N, as a shell's >(program) is
# Windows: access denied, sharing or lock violation, a mapped section
_IN_USE = (5, 32, 33, 1224)
_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


def _stream(path: Path) -> int | None:
    """Return the descriptor that a path names; None for what is no open stream of this process."""
    name = os.path.normpath(path)
    numbered = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d{1,9})", name)
    return int(numbered[1]) if numbered else _STREAMS.get(name)


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path names an open stream of this process, as ``/dev/stdout`` does."""
    return _stream(check_path(path)) is not None


def check_target(path: str | os.PathLike[str], *, streams: bool = True) -> None:
    """Raise unless a path names a file that may be replaced, or nothing yet.

    Parameters
    ----------
    path : str or os.PathLike
    streams : bool, default True
        Whether ``/dev/stdout``, ``/dev/stderr`` and ``/dev/fd/N`` are welcome, which are written
        to.

    Raises
    ------
    OSError
        If the file may not be written, or links lead in a circle.
    ValueError
        If a folder, device, pipe or socket has that name, or a link to one.

    Examples
    --------
    >>> from fastmlp.support.atomic import check_target
    >>> check_target("new.npz")
    >>> check_target("/dev")
    Traceback (most recent call last):
    ValueError: path: expected a file or the name of a new one, but /dev is a folder
    """
    target = check_path(path)
    number = _stream(target)
    if number is not None and streams:
        try:
            os.fstat(number)
        except OSError as error:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None
        return
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if number is not None or not stat.S_ISREG(mode):
        kind = "a stream" if number is not None else _KINDS.get(stat.S_IFMT(mode), "no file")
        raise ValueError(f"path: expected a file or the name of a new one, but {target} is {kind}")
    if not (mode & 0o222 and os.access(target, os.W_OK)):  # the first also stops root
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))


@contextmanager
def _sending(number: int) -> Iterator[str]:
    """Give the name of a new file that is written to an open stream after the block."""
    with tempfile.TemporaryDirectory() as folder:
        name = os.path.join(folder, "new")
        with open(name, "wb"):
            pass
        yield name
        for stream in (sys.stdout, sys.stderr):  # what was said before comes before
            if stream is not None:
                stream.flush()
        with open(name, "rb") as file, open(number, "wb", closefd=False) as out:
            shutil.copyfileobj(file, out)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give the name of a new file in the folder of `path` that takes its place after the block.

    Only a regular file is replaced. What ``/dev/stdout`` and ``/dev/fd/N`` name is written to. The
    new file is on the disk before it has the name, and has the old file's mode. A symbolic
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
    ValueError
        If a folder, device, pipe or socket has that name, or a link to one.

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
    check_target(path)
    number = _stream(check_path(path))
    if number is not None:
        with _sending(number) as sent:
            yield sent
        return
    target = Path(os.path.realpath(path))
    prefix = f".{target.stem[:40]}.partial-"
    name = None
    try:
        with CtrlC():
            descriptor, name = tempfile.mkstemp(target.suffix, prefix, target.parent)
            os.close(descriptor)
        yield name
        with open(name, "rb+") as file:
            _bring_to_disk(file.fileno())
        with CtrlC():
            os.chmod(name, _mode(target))
            check_target(target)  # others may have put something there meanwhile
            _replace(name, target)
            name = None
    except BaseException as error:
        if name is not None:
            with CtrlC():
                os.unlink(name)
        ours = name is None or getattr(error, "filename", "") in (None, name)
        if isinstance(error, OSError) and error.errno and ours:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    _after(target, prefix)


def _replace(name: str, target: Path) -> None:
    """Give the new file the old one's name, which Windows refuses while someone has that open."""
    try:
        os.replace(name, target)
    except OSError as error:
        if getattr(error, "winerror", None) not in _IN_USE:
            raise
        reason = "the file is open or mapped, here or in another program; it stays as it was"
        raise PermissionError(errno.EACCES, reason) from error


def _bring_to_disk(descriptor: int) -> None:
    """Return once a file's content is on the disk; on macOS, fsync ends at the drive's cache."""
    with suppress(ImportError, AttributeError, OSError):  # not there, or not on this file system
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined,unused-ignore]
        return
    os.fsync(descriptor)


def _mode(target: Path) -> int:
    with suppress(FileNotFoundError):
        return target.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def _after(target: Path, prefix: str) -> None:
    """Bring the new name to the disk, and sweep; not every file system and folder allows it."""
    with suppress(OSError), CtrlC():
        if os.name == "posix":
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                _bring_to_disk(folder)
            finally:
                os.close(folder)
        pattern = glob.escape(prefix) + "*" + glob.escape(target.suffix)
        for left in target.parent.glob(pattern):
            if left.stat().st_mtime < time.time() - _STALE_SECONDS:
                left.unlink()
