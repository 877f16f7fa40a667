"""A fit from the whole of MNIST as uint8 takes the data's memory and at most 50 MB more; a step
allocates nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from fastmlp import MLP, SGD, Adam
from fastmlp.contract.operations import DataSet, StepSettings
from fastmlp.datasets import load_mnist
from fastmlp.kernels.run.training import Training
from fastmlp.regularization import Regularization

LIMIT = 50e6
TUTORIAL, DNN = (784, 200, 100, 50, 10), (784, 128, 64, 10)
FITS = {
    "numpy-ann": ((784, 5, 10), "float64", None, SGD(0.5)),
    "from-scratch": ((784, 16, 16, 10), "float64", None, SGD(0.8)),
    "simple-nn": (TUTORIAL, "float32", 64, SGD(0.1)),
    "dnn-sgd": (DNN, "float32", 1, SGD(0.001)),
    "dnn-keras": (DNN, "float32", 32, SGD(0.01)),
    "train": (TUTORIAL, "float32", 128, Adam()),
    "float64": (TUTORIAL, "float64", 64, Adam()),
    "full batch": (TUTORIAL, "float32", None, SGD(0.1)),
}


@pytest.fixture(scope="module")
def mnist():
    return load_mnist("uint8")


QUICK = "from-scratch", "train", "full batch"


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name, marks=() if name in QUICK else pytest.mark.slow)
     for name, case in FITS.items()],
)  # fmt: skip
def test_arrays_of_a_fit(mnist, case):
    layers, dtype, batch_size, optimizer = case
    net = MLP(layers, dtype=dtype, input_scale=255.0, rng=0)
    options = {"batch_size": batch_size, "optimizer": optimizer, "epochs": 1}
    net.fit(mnist.x_train[:600], mnist.y_train[:600], **options)  # what is compiled is not counted
    tracemalloc.start()
    try:
        net.fit(
            mnist.x_train, mnist.y_train, validation_data=(mnist.x_test, mnist.y_test), **options
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 20e6 < peak < LIMIT  # a list of MNIST's non-zeros alone takes more than 20 MB


WHOLE_PROCESS = """
from fastmlp import MLP
from fastmlp.datasets import load_mnist

def kilobytes(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))

data = load_mnist("uint8")
for n in (600, 60000):
    net = MLP((784, 200, 100, 50, 10), input_scale=255.0, rng=0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak so far is forgotten
    before = kilobytes("VmRSS")
    net.fit(data.x_train[:n], data.y_train[:n], epochs=2)
print(1024 * (kilobytes("VmHWM") - before))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of a process")
def test_the_process_itself():
    done = subprocess.run(
        [sys.executable, "-c", WHOLE_PROCESS], capture_output=True, text=True, timeout=120,
        check=True,
    )  # fmt: skip
    assert 10e6 < int(done.stdout) < LIMIT


# a step allocates nothing


def trained(steps: int, threads: int, case: dict) -> tuple[Training, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    net = MLP((256, 128, 10), rng=1)
    X, y = rng.normal(size=(640, 256)), rng.integers(0, 10, 640)
    X = (X * (rng.random(X.shape) < case.get("filled", 1.0))).astype(case["X"])
    net._state.slots = net._parameters.slot_views(2)
    step = StepSettings(
        case.get("optimizer", Adam(1e-4)), net._state, case["batch"],
        Regularization(l2=case.get("l2", 0.01)),
    )  # fmt: skip
    training = Training(net._parameters, DataSet(X, y), step, threads=threads)
    assert (training._index is not None) == ("filled" in case)
    assert (training._mode == "single") == (case["batch"] == 1)
    order = np.arange(steps * case["batch"]) % 640
    return training, order, np.full(steps, 1e-4)


ALLOCATING = {
    "batches": {"X": "float32", "batch": 64},
    "full batch": {"X": "float32", "batch": 600},
    "zeros": {"X": "float32", "batch": 64, "filled": 0.2},
    "full batch of zeros": {"X": "float32", "batch": 600, "filled": 0.2},
    "one at a time": {"X": "float32", "batch": 1, "optimizer": SGD(1e-4), "l2": 0.0},
    "converted": {"X": "int16", "batch": 16},
}


@pytest.mark.parametrize("name", ALLOCATING)
def test_memory_does_not_grow_with_the_steps(name):
    """Beside one number per sample or step, which an epoch returns, nothing is kept."""
    case, peaks = ALLOCATING[name], []
    for steps in (20, 20, 400):
        training, order, rates = trained(steps, 1, case)
        kept = training._workspace.layers, training._workspace.address
        training.train(order[: case["batch"]], rates[:1])
        tracemalloc.start()
        try:
            training.train(order, rates)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert (training._workspace.layers, training._workspace.address) == kept
    grown = (peaks[2] - peaks[1]) / 380
    per_step = 1024 + 16 * case["batch"]  # hyperparameters; a loss and a hit per sample
    converted = 8 * case["batch"] + 4 * 256 * case["batch"] if name == "converted" else 0
    assert grown <= per_step + converted
    assert grown < 4 * case["batch"] * 256 or name == "converted"  # not even a batch's inputs
