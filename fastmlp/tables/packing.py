"""Files as bytes: what packs them, and what they are where they hold no text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..datasets._files import open_binary, unpacked_bytes

__all__ = ["kind_of_file", "open_plain"]

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
_REFUSED = {
    b"\x28\xb5\x2f\xfd": "Zstandard is not read; gzip, bzip2 and xz are",
    b"7z\xbc\xaf": "7z is not read; gzip, bzip2 and xz are",
    b"Rar!": "RAR is not read; gzip, bzip2 and xz are",
    b"\xd0\xcf\x11\xe0": "it is an Excel workbook; save the sheet as CSV",
    b"\x89HDF": "HDF5 is not read; CSV and Parquet are",
    b"ARROW1": "Arrow's own format is not read; CSV and Parquet are",
    b"%PDF": "it is a PDF document",
    b"SQLite": "it is an SQLite database; save the table as CSV",
}
_TEXT_MEMBERS = (".csv", ".tsv", ".txt", ".data")
_MAGIC_BYTES = 8


def _zip_kind(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if not name.endswith("/")]
    if any(name.endswith(".npy") for name in members):
        return "npz"
    if "[Content_Types].xml" in members:
        raise ValueError("it is an Excel workbook; save the sheet as CSV")
    tables = [name for name in members if name.lower().endswith(_TEXT_MEMBERS)]
    if len(tables) != 1:
        raise ValueError(f"expected one table in the zip archive, got {len(members)} files")
    return "zip"


def kind_of_file(path: Path) -> str:
    """Return what a file's first bytes say that it is.

    Returns
    -------
    {"text", "gzip", "bzip2", "xz", "zip", "parquet", "npz", "idx"}

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is empty, or of a kind that is known and not read.
    """
    with open_binary(path) as (stream, _):
        magic = stream.read(_MAGIC_BYTES)
    for start, kind in _PACKED.items():
        if magic.startswith(start):
            return kind
    for start, message in _REFUSED.items():
        if magic.startswith(start):
            raise ValueError(message)
    if magic.startswith(b"PAR1"):
        return "parquet"
    if magic[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _zip_kind(path)
    return "idx" if magic[:2] == b"\0\0" and magic[2:4] != b"\xfe\xff" else "text"


class _Bounded(io.RawIOBase):
    """A stream that unpacks to no more than a file of that length may."""

    def __init__(self, stream: Any, most: int) -> None:
        self._stream, self._left = stream, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("it unpacks to more than 100 times its length")
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def open_plain(path: Path, kind: str) -> Iterator[BinaryIO]:
    """Open a file of text, unpacked where it is packed.

    Parameters
    ----------
    path : Path
    kind : str
        As `kind_of_file` returns it.
    """
    with open_binary(path) as (stream, length):
        if kind == "text":
            yield stream
            return
        unpacked: Any
        if kind == "zip":
            archive = zipfile.ZipFile(stream)
            (name,) = [n for n in archive.namelist() if n.lower().endswith(_TEXT_MEMBERS)]
            unpacked = archive.open(name)
        else:
            opener: Any = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}[kind]
            unpacked = opener(stream)
        with unpacked:
            bounded = io.BufferedReader(_Bounded(unpacked, unpacked_bytes(length)), 1 << 18)
            yield cast(BinaryIO, bounded)
