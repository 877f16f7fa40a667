"""Handwritten digits, by the lines of a tutorial and by fastmlp: the same network comes out.

A tutorial writes a network with one hidden layer in a dozen lines of NumPy::

    z1 = X W1 + b1        a1 = sigmoid(z1)
    z2 = a1 W2 + b2       a2 = softmax(z2)

with cross-entropy as loss, so that the error of the output is ``a2 - Y``, and takes steps down the
gradient. `by_hand` is these lines. `MLP` with the same first parameters takes the same steps, in
one call; what differs is time, and rounding.

Examples
--------
>>> from fastmlp.examples.digits_from_scratch import run
>>> figures = run(samples=500, steps=3)
>>> figures["largest difference"] < 1e-12
True
"""

from __future__ import annotations

import time

import numpy as np

import fastmlp
from fastmlp.datasets import load_mnist, one_hot

__all__ = ["by_hand", "run"]


def by_hand(
    X: np.ndarray, y: np.ndarray, parameters: list[np.ndarray], rate: float, steps: int
) -> list[np.ndarray]:
    """Take steps of full-batch gradient descent, as the tutorials write them.

    Parameters
    ----------
    X : ndarray, (n, n_in)
    y : ndarray of int, (n,)
    parameters : list of ndarray
        W1, b1, W2, b2; left as they are.
    rate : float
    steps : int

    Returns
    -------
    list of ndarray
        The parameters after the last step.
    """
    W1, b1, W2, b2 = (p.copy() for p in parameters)
    n, Y = len(X), one_hot(y, len(b2))
    for _ in range(steps):
        a1 = 1 / (1 + np.exp(-(X @ W1 + b1)))
        z2 = a1 @ W2 + b2
        e = np.exp(z2 - z2.max(axis=1, keepdims=True))
        d2 = (e / e.sum(axis=1, keepdims=True) - Y) / n
        d1 = d2 @ W2.T * a1 * (1 - a1)
        W2 -= rate * (a1.T @ d2)
        b2 -= rate * d2.sum(axis=0)
        W1 -= rate * (X.T @ d1)
        b1 -= rate * d1.sum(axis=0)
    return [W1, b1, W2, b2]


def run(samples: int = 20_000, steps: int = 40) -> dict[str, float]:
    """Train both ways from the same first parameters.

    Returns
    -------
    dict
        Seconds of both, the largest difference of a parameter, and the test accuracy.
    """
    data = load_mnist("float64")
    X, y = data.x_train[:samples], data.y_train[:samples]
    net = fastmlp.MLP((784, 30, 10), dtype="float64", rng=0)
    first = [net.weights[0], net.biases[0], net.weights[1], net.biases[1]]

    begun = time.perf_counter()
    theirs = by_hand(X, y, first, 0.5, steps)
    by_hand_seconds = time.perf_counter() - begun

    begun = time.perf_counter()
    net.fit(X, y, epochs=steps, batch_size=None, optimizer=fastmlp.SGD(0.5), progress=False)
    seconds = time.perf_counter() - begun

    ours = [net.weights[0], net.biases[0], net.weights[1], net.biases[1]]
    return {
        "seconds by hand": by_hand_seconds,
        "seconds of fastmlp": seconds,
        "largest difference": max(
            float(abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)
        ),
        "test accuracy": net.evaluate(data.x_test, data.y_test)["accuracy"],
    }


if __name__ == "__main__":
    for name, figure in run().items():
        print(f"{name}: {figure:.4g}")
