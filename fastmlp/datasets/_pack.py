"""Make the package's `mnist.xz`: `python -m fastmlp.datasets._pack FOLDER [OUT]`.

FOLDER holds the four original IDX files, gzip or not. The same files give the same bytes: an xz
stream has no timestamp.
"""

import gzip
import hashlib
import lzma
import sys
from pathlib import Path

from ._files import GZIP_MAGIC, naming
from ._mnist import ARCHIVE, PAYLOAD_SHA256
from ._sources import IDX_NAMES, find_idx_files

# Tried and left out, against 9.11 MB: a delta filter over 1 or 28 bytes (10.6, 12.0 MB), images
# with their columns for rows (9.3 MB), other lc/lp/pb (9.09 to 9.17 MB).
PRESET = 9 | lzma.PRESET_EXTREME


def payload(folder: Path) -> bytes:
    """Return the four unpacked IDX files of `folder`, one after the other, as `IDX_NAMES` has them.

    Raises
    ------
    ValueError
        If a file is missing or damaged, or the whole is not MNIST to the byte.
    """
    with naming(folder, f"a folder with {', '.join(IDX_NAMES)}"):
        files = [file.read_bytes() for file in find_idx_files(folder)]
        if not files:
            raise ValueError("got none of them")
        parts = [gzip.decompress(part) if part[:2] == GZIP_MAGIC else part for part in files]
        joined = b"".join(parts)
        found = hashlib.sha256(joined).hexdigest()
        if found != PAYLOAD_SHA256:
            raise ValueError(f"their SHA-256 should be {PAYLOAD_SHA256}, got {found}")
    return joined


def pack(folder: Path, out: Path = ARCHIVE) -> None:
    """Write the IDX files of `folder` to the xz file `out`; takes about 40 s."""
    out.write_bytes(lzma.compress(payload(folder), preset=PRESET))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m fastmlp.datasets._pack FOLDER [OUT]")
    try:
        pack(*map(Path, sys.argv[1:]))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
