"""Files that nobody vouches for: only regular ones are opened, and what they state is bounded."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["check_directory", "check_regular", "open_regular"]

_END = b"PK\5\6"  # begins a zip file's last record, of 22 bytes and a comment
_END_BYTES = 22 + (1 << 16)
_MOST_DIRECTORY = 8 << 20  # bytes of a zip file's directory: 100,000 arrays, 60 MB once it is read


def check_regular(path: Path) -> None:
    """Raise ValueError for pipes and devices: opening one may wait, and reading never end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a folder's error is the system's
        raise ValueError("it is something else than a regular file")


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file to be read."""
    check_regular(path)
    with open(path, "rb") as file:
        yield file


def check_directory(file: BinaryIO) -> None:
    """Raise ValueError where a zip file's directory would take much memory to be read."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - _END_BYTES))
    tail = file.read()
    at = tail.rfind(_END)
    if at >= 0:
        size = int.from_bytes(tail[at + 12 : at + 16], "little")
        if min(size, length) > _MOST_DIRECTORY:
            raise ValueError(f"its directory states {size} bytes, more than {_MOST_DIRECTORY}")
    file.seek(0)
