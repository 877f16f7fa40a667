"""Opening files nobody vouches for: paths, gzip, bounded reads, and errors that name the file."""

import gzip
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

GZIP_MAGIC = b"\x1f\x8b"

FREE_BYTES, UNPACKED_RATIO = 64 << 20, 100
"""What is compressed may unpack to so many bytes, or to so many times its length if that is more:
MNIST's pixels have 5 for a byte, a bomb 1,000. Uncompressed files may have any size."""

_CHUNK = 1 << 20


@contextmanager
def naming(path: Path, expected: str) -> Iterator[None]:
    """Turn the many errors of damaged input into one ValueError that names the file.

    OSError stays as it is, apart from gzip's own: it already carries the file name, and a
    missing file should be a FileNotFoundError.
    """
    try:
        yield
    except (
        ValueError,
        EOFError,
        RuntimeError,
        OverflowError,
        struct.error,
        zlib.error,
        gzip.BadGzipFile,
        lzma.LZMAError,
        zipfile.BadZipFile,
    ) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path}: expected {expected}; {reason}") from error


@contextmanager
def open_binary(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular, non-empty file; yields the stream and its length in bytes."""
    with _no_folder(path), open(path, "rb") as stream:
        length = os.fstat(stream.fileno()).st_size
        if length == 0:
            raise ValueError("got an empty file")
        yield stream, length


@contextmanager
def open_unpacked(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a file, through gzip where its first bytes say so, whatever it is called.

    Yields the stream and the most bytes that should be read from it.
    """
    with open_binary(path) as (stream, length):
        magic = stream.read(len(GZIP_MAGIC))
        stream.seek(0)
        if magic == GZIP_MAGIC:
            with gzip.GzipFile(fileobj=stream, mode="rb") as unpacked:
                yield cast(BinaryIO, unpacked), unpacked_bytes(length)
        else:
            yield stream, length


def unpacked_bytes(length: int) -> int:
    """Return the most bytes that a compressed file of that length may unpack to."""
    return max(FREE_BYTES, UNPACKED_RATIO * length)


class Unpacking:
    """Refuses a gzip file that unpacks to too much, before the work goes into what it unpacks to.

    Its last bytes state the length of its last part, which is all of most files. Where that is
    too much, or less than what comes, it is measured: unpacking takes a twentieth of the time of
    reading numbers from text.

    Parameters
    ----------
    path : Path
    most : int
        Bytes that it may unpack to.

    Raises
    ------
    ValueError
        Now or from `check`, if it unpacks to more.
    """

    def __init__(self, path: Path, most: int) -> None:
        self._path, self._most = path, most
        self._known = most
        with open(path, "rb") as stream:
            if stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - 4))
                self._known = int.from_bytes(stream.read(4), "little")
        if self._known > most:
            self._measure()

    def _refuse(self, length: int) -> None:
        if length > self._most:
            raise ValueError(f"it goes beyond the length allowed, {self._most} characters")

    def _measure(self) -> None:
        self._known = 0
        with gzip.open(self._path) as stream:
            while chunk := stream.read(_CHUNK):
                self._known += len(chunk)
                self._refuse(self._known)

    def check(self, read: int) -> None:
        """Raise if there is too much, given how much was read so far."""
        self._refuse(read)
        if read > self._known:
            self._measure()


def read_exactly(stream: BinaryIO, n_bytes: int, what: str) -> bytearray:
    """Read `n_bytes`, which must be all that is left of the stream.

    The buffer grows with what really arrives, so a false size allocates nothing.
    """
    data = bytearray()
    while len(data) < n_bytes:
        chunk = stream.read(min(_CHUNK, n_bytes - len(data)))
        if not chunk:
            raise ValueError(f"{what} should hold {n_bytes} bytes, got only {len(data)}")
        data += chunk
    # This read also lets gzip and zip reach their end, where they compare the checksum.
    if stream.read(1):
        raise ValueError(f"{what} should hold {n_bytes} bytes, got more")
    return data


@contextmanager
def _no_folder(path: Path) -> Iterator[None]:
    """Refuse folders, pipes and devices before opening: opening a pipe would wait for ever."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise ValueError("got a folder")
    if not stat.S_ISREG(mode):
        raise ValueError("got something that is not a regular file")
    yield
