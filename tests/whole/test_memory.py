"""A fit from the whole of MNIST as uint8 takes the data's memory and at most 50 MB more."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import pytest

from fastmlp import MLP, SGD, Adam
from fastmlp.datasets import load_mnist

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
