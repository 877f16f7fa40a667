"""Caches of machine code that other versions have left, and what becomes of them."""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["cache_folders", "remove_old"]

_NAME = re.compile(r"[0-9a-f]{20}")  # as `cache` names them
_MOST_SECONDS = 365 * 24 * 3600.0


def cache_folders(parent: Path) -> dict[Path, int]:
    """Return the folders of compiled code in a folder, of one version on one processor each, and
    the bytes of their files.

    Links and other users' are left out. There are none where the folder is missing or may not be
    read.
    """
    found: dict[Path, int] = {}
    try:
        paths = sorted(parent.iterdir())
    except OSError:
        return found
    for path in paths:
        with suppress(OSError):
            told = path.lstat()
            own = not hasattr(os, "getuid") or told.st_uid == os.getuid()
            if own and stat.S_ISDIR(told.st_mode) and _NAME.fullmatch(path.name):
                found[path] = sum(file.lstat().st_size for file in path.iterdir())
    return found


def remove_old(present: Path) -> None:
    """Remove the folders beside the present one into which nothing was compiled for a year."""
    since = time.time() - _MOST_SECONDS
    for path in cache_folders(present.parent):
        with suppress(OSError):
            if path != present and path.stat().st_mtime < since:
                shutil.rmtree(path, ignore_errors=True)
