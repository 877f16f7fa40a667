"""MNIST itself: the copy inside the package, or one from elsewhere."""

import hashlib
import lzma
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import dtype_argument
from ._files import naming
from ._sets import MNIST
from ._sources import read_sets

ARCHIVE = Path(__file__).with_name("data") / "mnist.xz"
PAYLOAD_SHA256 = "b2d8f5bf39174ee5ffeefa97e42d673c35432b411bb5d1f74fbbeddae7f1690a"

N_TRAIN, N_TEST, N_PIXELS, N_CLASSES = 60_000, 10_000, 784, 10
IMAGE_HEADER, LABEL_HEADER = 16, 8  # bytes before the data of an IDX file of 3 and 1 dims
PAYLOAD_BYTES = (N_TRAIN + N_TEST) * (N_PIXELS + 1) + 2 * (IMAGE_HEADER + LABEL_HEADER)


def load_mnist(
    dtype: str | type | np.dtype[Any] = "float32", *, path: str | os.PathLike[str] | None = None
) -> MNIST:
    """Load the MNIST handwritten digits.

    Without `path` they come from the copy inside the package, whose SHA-256 is checked.

    Parameters
    ----------
    dtype : {"float32", "float64", "uint8"}
        The dtype of the images. The floats are pixels divided by 255, correctly rounded; uint8
        are the pixels themselves, 0 to 255.
    path : str or os.PathLike, optional
        Where to read instead, which may be

        - a folder with the four files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
          `t10k-images-idx3-ubyte`, `t10k-labels-idx1-ubyte`, or with a dot before `idx`, each
          plain or as `.gz`;
        - a folder with `mnist_train.csv` and `mnist_test.csv`, each plain or as `.gz`, in the
          layouts of `load_csv`;
        - an `.npz` as Keras has it, see `load_npz`;
        - one CSV file, whose last seventh (rounded down, at least one row) becomes the test set;
          where rows are sorted by class, so many rows are drawn, the same every time.

    Returns
    -------
    MNIST
        `x_train` (60000, 784), `y_train` (60000,), `x_test` (10000, 784), `y_test` (10000,);
        the labels are int64. From a `path` there may be any number of images. All four arrays
        are writable, and the caller's own.

    Raises
    ------
    FileNotFoundError
        If `path` does not exist.
    TypeError
        If `dtype` or `path` has the wrong type.
    ValueError
        If `dtype` is none of the three; if a file is missing from the folder, damaged or at
        odds with the others, or holds anything but images of 784 whole pixels from 0 to 255
        and labels from 0 to 9.

    Examples
    --------
    >>> x_train, y_train, x_test, y_test = load_mnist("uint8")
    >>> x_train.shape, x_test.shape
    ((60000, 784), (10000, 784))
    >>> y_train[:5]
    array([5, 0, 4, 1, 9])
    """
    wanted = dtype_argument(dtype, ("float32", "float64", "uint8"))
    if path is None:
        raw = _packaged()
    else:
        raw = read_sets(path)
        with naming(Path(path), "MNIST: images of 784 pixels and labels from 0 to 9"):
            raw = _checked(raw)
    if wanted == np.uint8:
        return raw
    return raw._replace(x_train=_scaled(raw.x_train, wanted), x_test=_scaled(raw.x_test, wanted))


def _packaged() -> MNIST:
    with naming(ARCHIVE, "the MNIST that this package was made with (reinstall it)"):
        # The bound keeps a file put in its place from unpacking to more than it should.
        payload = lzma.LZMADecompressor().decompress(ARCHIVE.read_bytes(), PAYLOAD_BYTES + 1)
        found = hashlib.sha256(payload).hexdigest()
        if found != PAYLOAD_SHA256:
            raise ValueError(f"its SHA-256 should be {PAYLOAD_SHA256}, got {found}")
    arrays = []
    offset = 0
    for n in (N_TRAIN, N_TEST):
        for header, width in ((IMAGE_HEADER, N_PIXELS), (LABEL_HEADER, 1)):
            offset += header
            arrays.append(np.frombuffer(payload, np.uint8, n * width, offset))
            offset += n * width
    x_train, y_train, x_test, y_test = arrays
    # Copied, because views of `payload` would be read-only.
    return MNIST(
        x_train.reshape(N_TRAIN, N_PIXELS).copy(),
        y_train.astype(np.int64),
        x_test.reshape(N_TEST, N_PIXELS).copy(),
        y_test.astype(np.int64),
    )


def _checked(sets: MNIST) -> MNIST:
    """Return the sets with their images as uint8, if they can be MNIST."""
    for name, y in (("y_train", sets.y_train), ("y_test", sets.y_test)):
        if y.max() >= N_CLASSES:
            raise ValueError(f"{name} should hold labels from 0 to 9, got {y.max()}")
    return sets._replace(
        x_train=_pixels("x_train", sets.x_train), x_test=_pixels("x_test", sets.x_test)
    )


def _pixels(name: str, x: NDArray[Any]) -> NDArray[np.uint8]:
    if x.shape[1] != N_PIXELS:
        raise ValueError(f"{name} should have {N_PIXELS} columns, got {x.shape[1]}")
    if x.dtype == np.uint8:
        return x
    # NaN fails each of these comparisons.
    if not ((x >= 0) & (x <= 255)).all() or not (np.trunc(x) == x).all():
        raise ValueError(f"{name} should hold whole pixels from 0 to 255, got others")
    return x.astype(np.uint8)


def _scaled(pixels: NDArray[np.uint8], dtype: np.dtype[Any]) -> NDArray[Any]:
    out = np.empty(pixels.shape, dtype)
    # Both operands are exact in float32, so this one rounding gives what rounding the float64
    # quotient gives; the ufunc converts as it goes, without a temporary of the whole.
    np.divide(pixels, dtype.type(255), out=out, dtype=dtype)
    return out
