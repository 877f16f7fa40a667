"""The cache of machine code on disk: never stale, never foreign, never in the way.

Its folder is named by a hash of every kernel source, the list of activations that they number, the
processor, and the versions of numba, llvmlite, numpy and Python: whatever changes, machine code is
made anew. A file holds the object code of a module behind a digest of it. Where sources change in a
running process, by an update or an edit, it keeps no more: what it has imported is not what the
hash is of.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import llvmlite
import numpy as np

from ...support.notices import notice
from ..emit.target import processor
from .old_caches import remove_old

__all__ = ["announce", "cache_folder", "load_code", "save_code", "why_none"]

_DIGEST = hashlib.sha256().digest_size


def _sources() -> list[Path]:
    here = Path(__file__).parent.parent
    return [*sorted(here.rglob("*.py")), here.parent / "activations.py"]  # whose order is compiled


def _stamps() -> set[tuple[Path, int, int]]:
    """Return when each source was changed, and its size."""
    stamps = set()
    for path in _sources():
        with suppress(OSError):  # it is just being replaced
            told = path.stat()
            stamps.add((path, told.st_mtime_ns, told.st_size))
    return stamps


_IMPORTED = _stamps()


def _changed() -> bool:
    """Tell whether sources are others than those that this process has imported: 1 ms."""
    return _stamps() != _IMPORTED


def _numba_version() -> str:
    """Return it without the quarter of a second that importing Numba takes."""
    loaded = sys.modules.get("numba")
    try:
        return version("numba") if loaded is None else str(loaded.__version__)
    except PackageNotFoundError:
        return "none"


@cache
def _fingerprint() -> str:
    """Hash all that machine code depends on."""
    digest = hashlib.sha256()
    versions = (_numba_version(), llvmlite.__version__, np.__version__, sys.version)
    for text in (*versions, *processor()):
        digest.update(text.encode() + b"\0")
    for path in _sources():
        name = path.relative_to(Path(__file__).parent.parent.parent).as_posix()
        digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()[:20]


def _candidates() -> list[Path]:
    """Return folders in the order in which they are tried; never one below the current folder.

    That is why `tempfile.gettempdir` is not asked: it names the current folder where nothing else
    can be written, and raises where that cannot be either.
    """
    chosen = os.environ.get("FASTMLP_CACHE_DIR")
    if chosen:
        return [Path(chosen)]
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    base = Path(home) if home else Path(os.path.expanduser("~")) / ".cache"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    named = [os.environ.get(name, "") for name in ("TMPDIR", "TEMP", "TMP")]
    places = [Path(name) / f"fastmlp-{user}" for name in (*named, "/tmp", "/var/tmp")]
    return [folder for folder in (base / "fastmlp", *places) if folder.is_absolute()]


def _usable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid"):
            # machine code is only loaded from where no other user can put some
            owners = {folder.stat().st_uid, folder.parent.stat().st_uid}
            if folder.stat().st_uid != os.getuid() or not owners <= {0, os.getuid()}:
                return False
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@cache
def cache_folder() -> Path | None:
    """Return the folder of compiled code, or None where no folder can be written.

    ``FASTMLP_CACHE_DIR`` names another one. Without a folder every process compiles anew; so does
    one whose sources have changed since it has imported them.
    """
    if _changed():
        return None
    for folder in _candidates():
        place = folder / _fingerprint()
        if _usable(place):
            return place
    return None


def why_none() -> str:
    """Return why there is no folder."""
    if _changed():
        return "fastmlp was changed since this process has imported it"
    return "no cache folder can be written, FASTMLP_CACHE_DIR names another"


@cache
def announce() -> None:
    """Say once that what follows is compiled, and whether the next process is spared it."""
    folder = cache_folder()
    if folder is None:
        notice(f"compiling kernels, for this process only: {why_none()}")
    else:
        notice(f"compiling kernels that are new to this processor; kept in {folder}")
        remove_old(folder)


def _file(name: str) -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder / (re.sub(r"\W", "_", name) + ".o")


def _digest(name: str, code: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\0" + code).digest()


def load_code(name: str) -> bytes | None:
    """Return the object code of a module; None where there is none, or none to be trusted."""
    path = _file(name)
    try:
        content = b"" if path is None else path.read_bytes()
    except OSError:
        return None
    digest, code = content[:_DIGEST], content[_DIGEST:]
    return code if code and digest == _digest(name, code) else None


def save_code(name: str, code: bytes) -> None:
    """Keep the object code of a module; where that fails it costs time, never an error."""
    path = _file(name)
    if path is None or _changed():
        return
    with suppress(OSError):
        number, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with open(number, "wb") as file:
                file.write(_digest(name, code) + code)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
