"""Training from a file that is never read whole.

`MLP.fit` reads a `numpy.memmap` as it is: batches are gathered from the file, shuffled over all of
it, and the system keeps as much of it in memory as there is room for. Pixels stay bytes;
``input_scale`` divides them on the way. Where samples come in pieces (files of a day each, a
database), ``fit`` takes a function that returns an iterator of ``(X, y)``: one piece is held at a
time, and shuffling is within it.

Examples
--------
>>> import tempfile
>>> from fastmlp.examples.larger_than_memory import run
>>> with tempfile.TemporaryDirectory() as folder:
...     figures = run(folder, copies=1, samples=1000)
>>> figures["file, MB"]
0.784
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import fastmlp
from fastmlp.datasets import load_mnist

__all__ = ["run", "write"]


def write(file: Path, X: np.ndarray, copies: int) -> None:
    """Write copies of images behind one another, each image moved by some pixels."""
    n, n_in = X.shape
    out = np.memmap(file, X.dtype, "w+", shape=(copies, n, n_in))
    for copy in range(copies):
        for shift in range(copies):
            rows = slice((shift + copy) % copies, None, copies)
            out[copy, rows] = np.roll(X[rows], shift - copies // 2, axis=1)
    out.flush()


def run(folder: str, copies: int = 5, samples: int = 60_000) -> dict[str, float]:
    """Write a file of images and train from it, shuffled as a whole and piece by piece.

    Returns
    -------
    dict
        The file's size, and the test accuracy of both ways after one epoch.
    """
    data = load_mnist("uint8")
    X, y = data.x_train[:samples], data.y_train[:samples]
    file = Path(folder, "images.bin")
    write(file, X, copies)
    labels = np.tile(y, copies)
    images = np.memmap(file, np.uint8, "r").reshape(len(labels), -1)

    def pieces() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for begin in range(0, len(labels), samples):
            yield images[begin : begin + samples], labels[begin : begin + samples]

    nets = [fastmlp.MLP((784, 64, 10), input_scale=255.0, rng=0) for _ in range(2)]
    nets[0].fit(images, labels, epochs=1, optimizer="adam", progress=False)
    nets[1].fit(pieces, epochs=1, optimizer="adam", progress=False)
    whole, piecewise = (net.evaluate(data.x_test, data.y_test)["accuracy"] for net in nets)
    return {
        "file, MB": images.nbytes / 1e6,
        "test accuracy, shuffled as a whole": whole,
        "test accuracy, piece by piece": piecewise,
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        for name, figure in run(place).items():
            print(f"{name}: {figure:.4g}")
