"""Out to ONNX, run there by another program, and back into a network that trains on.

`MLP.to_onnx` writes a file that any ONNX runtime reads; scaling is inside, so that it takes raw
pixels. The layers' matrices and biases are the file's initializers, in order: assigned to a new
network's live arrays they give the same network again. Needs the ``export`` extra and onnxruntime.

Examples
--------
>>> import tempfile
>>> from fastmlp.examples.onnx_round_trip import run
>>> with tempfile.TemporaryDirectory() as folder:
...     figures = run(folder, samples=500)
>>> figures["largest difference of a probability"] < 1e-5, figures["same labels after the way back"]
(True, 1.0)
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import fastmlp
from fastmlp.datasets import load_mnist

from ..support.extras import require

__all__ = ["read", "run"]


def read(file: Path, net: fastmlp.MLP) -> None:
    """Give a network of the same layers the parameters of an ONNX file."""
    onnx = require("onnx", "export")
    helper = require("onnx.numpy_helper", "export")
    graph = onnx.load(file).graph
    arrays = [helper.to_array(one) for one in graph.initializer]
    for parameters, ndim in ((net.weights, 2), (net.biases, 1)):
        found = [array for array in arrays if array.ndim == ndim and array.size > 1]
        for own, array in zip(parameters, found, strict=True):
            own[...] = array


def run(folder: str, samples: int = 20_000) -> dict[str, float]:
    """Train, write, run elsewhere, read and train on.

    Returns
    -------
    dict
        The largest difference between both programs' probabilities, the share of labels that the
        network has again, and the test accuracy before and after training on.
    """
    runtime = require("onnxruntime", "test")
    data = load_mnist("uint8")
    X, y = data.x_train[:samples], data.y_train[:samples]
    net = fastmlp.MLP((784, 64, 10), activation="relu", input_scale=255.0, rng=0)
    net.fit(X, y, epochs=2, optimizer="adam", progress=False)

    file = Path(folder, "digits.onnx")
    net.to_onnx(file, input_dtype="uint8")
    (there,) = runtime.InferenceSession(str(file)).run(None, {"X": data.x_test})

    again = fastmlp.MLP(net.layer_sizes, activation="relu", input_scale=255.0, rng=1)
    read(file, again)
    same = float((again.predict(data.x_test) == net.predict(data.x_test)).mean())
    before = again.evaluate(data.x_test, data.y_test)["accuracy"]
    again.fit(X, y, epochs=2, optimizer="adam", progress=False)
    return {
        "largest difference of a probability": float(
            np.abs(there - net.predict_proba(data.x_test)).max()
        ),
        "same labels after the way back": same,
        "test accuracy": before,
        "test accuracy after training on": again.evaluate(data.x_test, data.y_test)["accuracy"],
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        for name, figure in run(place).items():
            print(f"{name}: {figure:.4g}")
