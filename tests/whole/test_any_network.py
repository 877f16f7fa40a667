"""Any network trains to the same bits on any number of threads, and on any layer of them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile

import numba
import numpy as np
import pytest
from fits import OPTIMIZERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastmlp import MLP, SGD
from fastmlp.activations import ACTIVATIONS
from fastmlp.callbacks import Callback
from fastmlp.kernels.jit import threading_layer as kernel_threads
from fastmlp.verification import TOLERANCE, difference

DTYPES = ("float32", "float64")
MOSTLY_SINGLE = ["float32", pytest.param("float64", marks=pytest.mark.slow)]
FULL = bool(os.environ.get("FASTMLP_FULL_TESTS"))


def outcome(net: MLP, history) -> list[np.ndarray]:
    """Return the bits of everything that training leaves."""
    arrays = [*net.weights, *net.biases, *(a for slot in net._state.slots for a in slot)]
    seen = np.array([history.loss, history.learning_rate])
    return [*(a.copy() for a in arrays), seen, np.array(history.val_loss)]


def assert_same(ours, theirs) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert a.tobytes() == b.tobytes()


# any network


@st.composite
def networks(draw):
    sizes = draw(st.lists(st.integers(1, 70), min_size=2, max_size=5))
    n = draw(st.integers(2, 90))
    return {
        "layers": sizes,
        "activation": [draw(st.sampled_from(ACTIVATIONS)) for _ in sizes[2:]],
        "output": draw(st.sampled_from(["softmax", "sigmoid", "identity"])),
        "bias": draw(st.booleans()),
        "dtype": draw(st.sampled_from(DTYPES)),
        "n": n,
        "zeros": draw(st.sampled_from([0.0, 0.9])),
        "input": draw(st.sampled_from(["float64", "float32", "uint8", "int16", "csr"])),
        "dropout": draw(st.sampled_from([0.0, 0.0, 0.3])),
        "through": draw(st.booleans()),
        "batch_size": draw(st.one_of(st.none(), st.integers(1, n + 5))),
        "optimizer": draw(st.sampled_from(list(OPTIMIZERS.values()))),
        "l2": draw(st.sampled_from([0.0, 0.1])),
        "more": draw(
            st.sampled_from([{}, {}, {"l1": 0.01}, {"clip_norm": 0.1}, {"max_norm": 0.5}])
        ),
        "shuffle": draw(st.booleans()),
    }


EXAMPLES: list[dict] = []
BITS = hashlib.sha256()


class Nothing(Callback):
    """Is there, and does nothing."""


def one_network_trains_to_the_same_bits_on_any_number_of_threads(case):
    """With and without callbacks and progress, through, resumed, or saved, loaded and resumed."""
    EXAMPLES.append(case)
    rng = np.random.default_rng(0)
    n, n_in, n_out = case["n"], case["layers"][0], case["layers"][-1]
    X = rng.normal(size=(n, n_in)) * 20 * (rng.random((n, n_in)) >= case["zeros"])
    if case["input"] == "csr":
        X = pytest.importorskip("scipy.sparse").csr_matrix(X)
    else:
        X = X.clip(0 if case["input"] == "uint8" else -99, 99).astype(case["input"])
    y = rng.integers(0, n_out, n) if case["output"] == "softmax" else rng.random((n, n_out))
    options = {name: case[name] for name in ("activation", "output", "bias", "dtype")}
    results = []
    for threads in (1, 2, 3, 8):
        net = MLP(case["layers"], rng=1, threads=threads, input_scale=50.0, **options)
        split = threads > 1 and not case["through"]
        fit = {"batch_size": case["batch_size"], "l2": case["l2"],
               "dropout": case["dropout"] if case["layers"][1:-1] else 0.0,
               **case["more"], "shuffle": case["shuffle"],
               "callbacks": [Nothing()] * (threads % 3)}  # fmt: skip
        fit["progress"] = threads == 3
        history = net.fit(X, y, epochs=1 if split else 2, optimizer=case["optimizer"], **fit)
        losses = list(history.loss)
        if split and threads == 8:
            with tempfile.TemporaryDirectory() as folder:
                net.save(f"{folder}/net.npz")
                net = MLP.load(f"{folder}/net.npz", threads=threads)
        if split:
            losses += net.fit(X, y, epochs=1, **fit).loss
        results.append([*outcome(net, history)[:-2], np.array(losses)])
    for other in results[1:]:
        assert_same(other, results[0])
    for array in results[0]:
        BITS.update(array.tobytes())


def any_networks(count: int) -> int:
    """Go through so many networks, the same in every process; return how many there were."""
    before = len(EXAMPLES)
    check = given(networks())(one_network_trains_to_the_same_bits_on_any_number_of_threads)
    settings(
        max_examples=count, derandomize=True, deadline=None,
        suppress_health_check=list(HealthCheck),
    )(check)()  # fmt: skip
    return len(EXAMPLES) - before


@pytest.mark.slow
def test_any_network_trains_to_the_same_bits_on_any_number_of_threads(count):
    done = any_networks(300)
    assert done >= 300
    count("random networks, each on 1, 2, 3 and 8 threads", done)


def networks_on_a_layer(examples: str) -> None:
    numba.get_num_threads()  # loads the layer, or says that there is none
    running, layers = set(), kernel_threads._parallel_for()
    kernel_threads._parallel_for = lambda: lambda *of: running.add(of[-1]) or layers(*of)
    kernel_threads.thread_limit = lambda: 8  # else no more than there are cores
    done = any_networks(int(examples))
    assert {2, 3, 8} <= running, running
    print(numba.threading_layer(), done, BITS.hexdigest())


def test_any_network_trains_to_the_same_bits_on_any_layer(count):
    """With eight real threads, and on every threading layer that can be loaded: one outcome."""
    shown = {}
    for layer in ("omp", "workqueue", "tbb"):
        environment = {
            **os.environ, "NUMBA_NUM_THREADS": "8", "NUMBA_THREADING_LAYER": layer,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, __file__, "300" if FULL else "16"], env=environment,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if layer != "workqueue" and "No threading layer could be loaded" in done.stderr:
            continue
        assert done.returncode == 0, done.stderr[-2000:]
        name, networks_done, shown[layer] = done.stdout.split()
        assert name == layer
        count(f"of them on {layer} with 8 real threads", int(networks_done), 300)
    assert len(set(shown.values())) == 1


@settings(
    max_examples=60 if FULL else 20,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(networks())
def test_any_network_trains_to_the_same_bits_and_like_the_reference(case):
    rng = np.random.default_rng(0)
    n, n_in, n_out = case["n"], case["layers"][0], case["layers"][-1]
    X = rng.normal(size=(n, n_in)) * (rng.random((n, n_in)) >= case["zeros"])
    y = rng.integers(0, n_out, n) if case["output"] == "softmax" else rng.random((n, n_out))
    options = {name: case[name] for name in ("activation", "output", "bias", "dtype")}
    results = []
    for backend, threads in (("numpy", 1), ("numba", 1), ("numba", 3)):
        net = MLP(case["layers"], rng=1, backend=backend, threads=threads, **options)
        history = net.fit(
            X, y, epochs=2, batch_size=case["batch_size"], l2=case["l2"],
            optimizer=SGD(0.01) if backend == "numpy" else case["optimizer"],
        )  # fmt: skip
        results.append(outcome(net, history))
        if backend == "numba" and threads == 1:
            twin = MLP(case["layers"], rng=1, **options)
            history = twin.fit(X, y, epochs=2, batch_size=case["batch_size"], l2=case["l2"],
                               optimizer=SGD(0.01))  # fmt: skip
            gap = difference(outcome(twin, history), results[0])
            assert gap <= 50 * TOLERANCE[case["dtype"]]
    assert_same(results[1], results[2])


if __name__ == "__main__":
    networks_on_a_layer(sys.argv[1])
