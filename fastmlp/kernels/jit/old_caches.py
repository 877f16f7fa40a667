"""Caches of machine code that other versions have left, and what becomes of them."""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CacheFolder", "cache_folders", "remove", "remove_old"]

_NAME = re.compile(r"[0-9a-f]{20}")  # as `cache` names them
_MOST_SECONDS = 365 * 24 * 3600.0


@dataclass(frozen=True)
class CacheFolder:
    """A folder of compiled code, of one version on one processor."""

    path: Path
    n_bytes: int  # of its files
    changed: float  # when something was compiled into it last, in seconds as of `time.time`


def cache_folders(parent: Path) -> list[CacheFolder]:
    """Return the folders of compiled code in a folder, apart from links and other users'.

    An empty list where the folder is missing or may not be read.
    """
    try:
        paths = sorted(parent.iterdir())
    except OSError:
        return []
    found = []
    for path in paths:
        with suppress(OSError):
            told = path.lstat()
            own = not hasattr(os, "getuid") or told.st_uid == os.getuid()
            if own and stat.S_ISDIR(told.st_mode) and _NAME.fullmatch(path.name):
                n_bytes = sum(file.lstat().st_size for file in path.iterdir())
                found.append(CacheFolder(path, n_bytes, told.st_mtime))
    return found


def remove(folders: list[CacheFolder]) -> None:
    """Remove folders; who uses one compiles anew."""
    for folder in folders:
        shutil.rmtree(folder.path, ignore_errors=True)


def remove_old(present: Path) -> None:
    """Remove the folders beside the present one into which nothing was compiled for a year."""
    with suppress(OSError):
        since = time.time() - _MOST_SECONDS
        remove(
            [f for f in cache_folders(present.parent) if f.changed < since and f.path != present]
        )
