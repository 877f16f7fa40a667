"""NumPy archives in the layout of Keras's `mnist.npz`."""

import math
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..support.sources import check_directory
from ..support.validation import check_path
from ._checks import HIGHEST_LABEL, whole_labels
from ._files import naming, open_binary, read_exactly, unpacked_bytes
from ._sets import MNIST, check_sets


def load_npz(path: str | os.PathLike[str]) -> MNIST:
    """Read a training and a test set from one `.npz`, such as Keras's `mnist.npz`.

    Parameters
    ----------
    path : str or os.PathLike
        An archive of `numpy.savez` or `numpy.savez_compressed` with the arrays `x_train`,
        `y_train`, `x_test` and `y_test`. `x_*` have one sample in each row: (n, 28, 28), or
        (n, ...) in general; `y_*` are labels of shape (n,) or (n, 1). Other arrays in the
        file are left alone.

    Returns
    -------
    MNIST
        `x_*` flattened to (n, 784), with the dtype they have in the file; `y_*` as int64.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If `path` is not a path.
    ValueError
        If the file is damaged, lacks an array, or holds one that needs pickle, is not
        numeric, or does not fit the others; if labels are not whole numbers from 0 to 65535; if
        the arrays together unpack to more than 100 times the file's size and 64 MiB.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> images, labels = np.zeros((6, 28, 28), np.uint8), np.arange(6)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "mnist.npz")
    ...     np.savez(file, x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])
    ...     sets = load_npz(file)
    >>> sets.x_train.shape, sets.y_test
    ((6, 784), array([0, 1]))
    """
    file = check_path(path)
    with naming(file, "an .npz archive with x_train, y_train, x_test and y_test"):
        arrays = read_arrays(file, MNIST._fields)
        rows = {name: _flat(name, arrays[name]) for name in ("x_train", "x_test")}
        labels = {name: _labels(name, arrays[name]) for name in ("y_train", "y_test")}
        sets = MNIST(rows["x_train"], labels["y_train"], rows["x_test"], labels["y_test"])
        check_sets(sets)
    return sets


def read_arrays(file: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Return arrays of numbers by name; ValueError where one is missing or damaged."""
    with open_binary(file) as (stream, length):
        check_directory(stream)
        with zipfile.ZipFile(stream) as archive:
            return _read_members(archive, names, length)


def _read_members(
    archive: zipfile.ZipFile, names: tuple[str, ...], length: int
) -> dict[str, NDArray[Any]]:
    members = {member.filename: member for member in archive.infolist()}
    missing = [name for name in names if f"{name}.npy" not in members]
    if missing:
        present = ", ".join(sorted(members)[:8]) or "nothing"
        raise ValueError(f"{', '.join(missing)} missing, the archive holds {present}")
    arrays, room = {}, unpacked_bytes(length)
    for name in names:
        member = members[f"{name}.npy"]
        most = min(room, length) if member.compress_type == zipfile.ZIP_STORED else room
        if member.file_size > most:
            raise ValueError(f"{name}.npy claims {member.file_size} bytes, more than {most}")
        arrays[name] = _read_array(archive, member, length)
        room -= member.file_size
    return arrays


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, length: int) -> NDArray[Any]:
    name = member.filename
    if not 0 <= member.header_offset < length:
        # The operating system's error for such a seek would not name the file.
        raise ValueError(f"{name} should begin within the {length} bytes of the file")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} should be stored or deflated, as numpy.savez writes it")
    with archive.open(member) as opened:
        stream = cast(BinaryIO, opened)
        shape, fortran_order, dtype = _read_header(stream, name)
        if dtype.hasobject:
            raise ValueError(f"{name} holds Python objects; pickle is never read")
        if dtype.kind not in "biuf":
            raise ValueError(f"{name} should be numeric, got dtype {dtype}")
        n_bytes = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or stream.tell() + n_bytes != member.file_size:
            raise ValueError(
                f"{name} claims shape {shape} of {dtype}, which its {member.file_size} bytes "
                f"do not hold"
            )
        data = read_exactly(stream, n_bytes, name)
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_header(stream: BinaryIO, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        # Version 3 exists for structured dtypes with non-Latin field names only.
        raise ValueError(f"{name} should have .npy version 1.0 or 2.0, got {version}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        return read(stream)
    except Exception as error:
        # NumPy hands the text to literal_eval and to tokenize, and theirs come through: TypeError,
        # TokenError, MemoryError and more.
        raise ValueError(f"{name} has a damaged header ({error})") from error


def _flat(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim < 2:
        raise ValueError(f"{name} should have shape (n, 28, 28), got {array.shape}")
    return np.ascontiguousarray(array.reshape(len(array), math.prod(array.shape[1:])))


def _labels(name: str, array: NDArray[Any]) -> NDArray[np.int64]:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    return whole_labels(array, name, HIGHEST_LABEL)
