"""The IDX format of the original MNIST distribution."""

import math
import os
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..support.validation import check_path
from ._files import naming, open_unpacked, read_exactly

DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
"""The third byte of the magic number, and the big-endian numbers it announces."""

_MAX_DIMS = 64  # numpy's own limit


def load_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read one IDX file, plain or gzip.

    An IDX file is two zero bytes, a byte for the dtype, a byte for the number of dimensions,
    one big-endian uint32 for each dimension, and the numbers, big-endian, in C order. The
    header is checked against the length of the file before anything is allocated.

    Parameters
    ----------
    path : str or os.PathLike
        The file. Gzip is recognised by its first bytes, not by the name.

    Returns
    -------
    ndarray
        Writable and C-contiguous, of the shape the header gives; uint8, int8, int16, int32,
        float32 or float64, in the machine's own byte order.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If `path` is not a path.
    ValueError
        If the file is not IDX, is damaged, is shorter or longer than its header says, or is gzip
        that unpacks to more than 100 times its size and 64 MiB.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "labels-idx1-ubyte")
    ...     _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    ...     load_idx(file)
    array([5, 0, 4], dtype=uint8)
    """
    file = check_path(path)
    with naming(file, "an IDX file"), open_unpacked(file) as (stream, most):
        magic = stream.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES:
            codes = ", ".join(f"{code:02x}" for code in DTYPES)
            raise ValueError(
                f"should begin with 00 00, a dtype byte ({codes}) and the number of "
                f"dimensions, got {magic.hex(' ')}"
            )
        dtype, n_dims = DTYPES[magic[2]], magic[3]
        if n_dims > _MAX_DIMS:
            raise ValueError(f"should have at most {_MAX_DIMS} dimensions, got {n_dims}")
        sizes = stream.read(4 * n_dims)
        if len(sizes) < 4 * n_dims:
            raise ValueError(f"the header ends before the sizes of its {n_dims} dimensions")
        shape = struct.unpack(f">{n_dims}I", sizes)
        n_bytes = math.prod(shape) * dtype.itemsize
        if len(magic) + len(sizes) + n_bytes > most:
            raise ValueError(
                f"the header claims shape {shape}, {n_bytes} bytes, more than this file may hold"
            )
        if math.prod(size for size in shape if size) * dtype.itemsize >= 2**63:
            raise ValueError(f"the header claims shape {shape}, which no array can have")
        data = read_exactly(stream, n_bytes, f"shape {shape} of {dtype.name}")
    array = np.frombuffer(data, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)
