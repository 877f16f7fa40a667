"""Whether a change leaves results as they were, to the last bit.

    python benchmarks/same_bits.py record bits.json      # before the change
    python benchmarks/same_bits.py compare bits.json     # after it

``record`` runs small jobs that between them go through every optimizer, activation, loss, kind of
step and kind of data, and keeps a digest of each result: parameters, what the optimizer
remembers, the history, outputs. ``compare`` runs them again, prints a line for each job that came
out otherwise, and ends with 1 if there are any. Put another version first on PYTHONPATH to hold it
against this one. Digests are comparable on one kind of processor, with one NumPy and Numba. What
differs by the number of threads alone has to agree; both say so where it does not. Needs SciPy and
pandas. ``--only TEXT`` keeps to the jobs that have TEXT in their names, ``--list`` prints these.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba
import numpy as np
import pandas as pd
import scipy.sparse

import fastmlp
from fastmlp import SGD, AdaGrad, Adam, AdamW, RMSProp
from fastmlp.activations import ACTIVATIONS
from fastmlp.initializers import INITIALIZERS, Normal, Uniform
from fastmlp.losses import OUTPUTS
from fastmlp.schedules import SCHEDULES

Digests = dict[str, str]
Settings = dict[str, Any]


def digest(values: Any) -> str:
    """Return a digest of numbers, in nested lists too; one NaN is as good as another."""
    if isinstance(values, list | tuple):
        return hashlib.sha256(" ".join(map(digest, values)).encode()).hexdigest()
    array = np.array(values)
    if array.dtype.kind == "f":
        array[np.isnan(array)] = np.nan
    if array.dtype.kind == "f":  # compiled steps take subnormal numbers for zero
        array = np.where(np.abs(array) < np.finfo(array.dtype).tiny, 0 * array, array)
    head = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()


def backwards(X: Any) -> Any:
    """Return a sparse matrix whose rows are stored from their ends, some zeros among them."""
    parts = X.data[::-1], X.indices[::-1], X.nnz - X.indptr[::-1]
    return scipy.sparse.csr_array(parts, shape=X.shape)


# What X is handed over as, made of normally distributed numbers and zeros.
FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "float16": lambda X: X.astype(np.float16),
    "float32": lambda X: X.astype(np.float32),
    "float64": lambda X: X,
    "big-endian": lambda X: X.astype(">f4"),
    "uint8": lambda X: np.minimum(80 * abs(X), 255).astype(np.uint8),
    "int16": lambda X: (3 * X).astype(np.int16),
    "int64": lambda X: (3 * X).astype(np.int64),
    "bool": lambda X: X > 0,
    "few values": lambda X: (np.minimum(80 * abs(X), 255) // 1 / 255).astype(np.float32),
    "fortran": lambda X: np.asfortranarray(X),
    "columns apart": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "rows apart": lambda X: np.repeat(X.astype(np.float32), 2, axis=0)[::2],
    "rows backwards": lambda X: X[::-1],
    "list": lambda X: X.tolist(),
    "frame": lambda X: pd.DataFrame(X),
    "csr": lambda X: scipy.sparse.csr_array(X.astype(np.float32)),
    "csr of uint8": lambda X: scipy.sparse.csr_array(FORMS["uint8"](X)),
    "csr out of order": lambda X: backwards(scipy.sparse.csr_array(X).astype(np.int16)),
    "csc": lambda X: scipy.sparse.csc_array(X),
}
# What y may be: labels of so many classes, or rows of so many targets.
TARGETS: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "labels": lambda rng, n, k: rng.integers(0, k, n),
    "shares": lambda rng, n, k: rng.dirichlet(np.ones(k), n),
    "bits": lambda rng, n, k: rng.integers(0, 2, (n, k)),
    "values": lambda rng, n, k: rng.standard_normal((n, k)),
    "counts": lambda rng, n, k: rng.poisson(2.0, (n, k)),
}


def samples(
    sizes: tuple[int, ...], n: int = 203, form: str = "float32", zeros: float = 0.0,
    target: str = "labels", weighted: bool = False, chunks: int = 0,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return X, y and weights for a network of these sizes; or chunks of X and y."""
    rng = np.random.default_rng(n)
    X = rng.standard_normal((n, sizes[0]))
    X[rng.random(X.shape) < zeros] = 0
    X[:, 1:2] *= zeros == 0  # a weight there matters only if it is no finite number
    y, weight = TARGETS[target](rng, n, sizes[-1]), rng.random(n) if weighted else None
    X = FORMS[form](X)
    if chunks:
        return [(X[i : i + chunks], y[i : i + chunks]) for i in range(0, n, chunks)], None, weight
    return X, y, weight


def build(weight: float | None = None, **settings: Any) -> fastmlp.MLP:
    """Return a network, with one `weight` of its first layer set where it is given."""
    net = fastmlp.MLP(**settings)
    if weight is not None:
        net.weights[0][1, -1] = weight
    return net


def results(net: fastmlp.MLP) -> Digests:
    """Return digests of what training has left in a network."""
    history = {name: v for name, v in net.history.as_dict().items() if name != "seconds"}
    slots = net._parameters.slot_views(net.optimizer.slots)
    return {
        "parameters": digest([list(net.weights), list(net.biases)]),
        "optimizer state": digest(slots),
        "history": digest([[name, values] for name, values in sorted(history.items())]),
    }


def train(nets: list[Settings], fit: Settings, data: Settings) -> Digests:
    """Train, many networks at once where there are many; go on from a file to resume."""
    X, y, weight = samples(nets[0]["layer_sizes"], **data)
    fit = {"epochs": 2, "progress": False, "sample_weight": weight} | fit
    trained = [build(**net) for net in nets]
    if len(nets) > 1:
        fastmlp.fit_many(trained, X, y, **fit)
    else:
        if fit.get("resume"):
            trained[0].fit(X, y, **fit | {"epochs": 1, "resume": False})
            with tempfile.TemporaryDirectory() as folder:
                trained[0].save(Path(folder) / "net.npz")
                trained = [fastmlp.MLP.load(Path(folder) / "net.npz")]
        trained[0].fit(X, y, **fit)
    found = {}
    for i, net in enumerate(trained):
        known = results(net)
        if y is not None:
            known["outputs"] = digest(net.predict_proba(X))
            known["evaluation"] = digest(list(net.evaluate(X, y).values()))
        found |= {f"{name} of {i}" if i else name: value for name, value in known.items()}
    return found


def infer(nets: list[Settings], fit: Settings, data: Settings) -> Digests:
    """Go forward only, with few and with many samples; `fit` says with how many."""
    net = build(**nets[0])
    X, _, _ = samples(net.layer_sizes, **{"n": max(fit["rows"])} | data)
    found = {f"{n} rows": digest(net.predict_proba(X[:n])) for n in fit["rows"]}
    return found | {"activations": digest(net.forward(X)), "labels": digest(net.predict(X))}


def gradients(nets: list[Settings], fit: Settings, data: Settings) -> Digests:
    """Measure gradients without a step."""
    net = build(**nets[0])
    X, y, weight = samples(net.layer_sizes, **data)
    loss, found = net.loss_and_gradients(X, y, sample_weight=weight, **fit)
    return {"loss": digest(loss), "gradients": digest([list(found.weights), list(found.biases)])}


class Job(NamedTuple):
    """What is done: a name, the function, and the arguments of MLP, fit and `samples`."""

    name: str
    run: Callable[[list[Settings], Settings, Settings], Digests]
    nets: list[Settings]
    fit: Settings
    data: Settings


def net(*sizes: int, **settings: Any) -> list[Settings]:
    return [{"layer_sizes": sizes, "activation": "relu", "rng": 0} | settings]


SMALL, DEEP, DIGITS, WIDE = (13, 21, 5), (29, 37, 19, 5), (784, 70, 10), (784, 530, 10)
DTYPES = {"float32": 4, "float64": 8}
ADAM, MOMENTUM = Adam(0.003), SGD(0.05, momentum=0.9)
ONE, FULL = {"batch_size": 1, "optimizer": SGD(0.05)}, {"batch_size": None, "epochs": 3}
SPARSE = {"form": "uint8", "zeros": 0.8}
# how: sizes, and arguments of MLP, fit and `samples`; what is changed about them: the same
WAYS: dict[str, tuple[tuple[int, ...], Settings, Settings, Settings]] = {
    "one a step": (SMALL, {}, ONE, {"n": 61}),
    "32 a step": (DEEP, {}, {"batch_size": 32}, {}),
    "full batch": (DEEP, {}, FULL, {"n": 1003}),
    "images": (DIGITS, {"input_scale": 255}, {"optimizer": SGD(0.02)}, {"n": 301} | SPARSE),
}
CHANGES: dict[str, tuple[Settings, Settings, Settings]] = {
    **{str(rule): ({}, {"optimizer": rule}, {}) for rule in (
        SGD(0.05), MOMENTUM, SGD(0.05, 0.9, nesterov=True), AdaGrad(), RMSProp(), ADAM,
        AdamW(0.003))},
    **{name: ({"activation": name}, {}, {}) for name in ACTIVATIONS},
    **{f"{loss} of {output}": ({"output": output, "loss": loss}, {"optimizer": SGD(0.01)}, {
        "target": {"softmax": "labels", "sigmoid": "bits"}.get(output, "counts")})
       for output, losses in OUTPUTS.items() for loss in losses},
    "shares of classes": ({}, {}, {"target": "shares"}),
    "no bias": ({"bias": False}, {}, {}),
    "divided by 130.7": ({"input_scale": 130.7}, {}, {}),
    "sample_weight": ({}, {}, {"weighted": True}),
    **{str(fit): ({}, fit, {}) for fit in (
        {"l1": 1e-3}, {"l2": 1e-2}, {"clip_norm": 0.5}, {"max_norm": 0.8}, {"dropout": 0.3},
        {"l1": 3.1, "l2": 9.3, "optimizer": SGD(1e-5), "epochs": 8}, {"shuffle": False},
        {"label_smoothing": 0.1}, {"class_weight": "balanced"},
        {"l1": 1e-4, "l2": 1e-3, "clip_norm": 0.5, "max_norm": 0.8, "dropout": 0.2,
         "optimizer": ADAM},
        *({"schedule": name, "epochs": 3} for name in SCHEDULES),
        {"validation_split": 0.2, "epochs": 4}, {"early_stopping": True, "epochs": 20},
        {"resume": True, "epochs": 3, "optimizer": ADAM, "dropout": 0.2, "schedule": "stepdecay"})},
    **{f"weights from {init}": ({"init": init}, {}, {})
       for init in (*INITIALIZERS, Normal(0.05), Uniform(-0.1, 0.2))},
    **{f"chunks of {n}": ({}, {}, {"chunks": n}) for n in (37, 600)},
    **{form: ({}, {}, {"form": form, "zeros": 0.5}) for form in FORMS},
    **{f"a weight of {value}, {form}": (
        {"weight": value, "output": "identity"}, {"on_divergence": "ignore"},
        {"target": "values", "form": form, "zeros": 0.8})
       for value in (np.nan, np.inf) for form in ("float32", "csr")},
}  # fmt: skip
JOBS = [
    *(Job(f"{change}, {way}, {dtype}", train, net(*sizes, **{"dtype": dtype} | own | net_),
          fit | fit_, data | data_)
      for change, (net_, fit_, data_) in CHANGES.items() for dtype in DTYPES
      for way, (sizes, own, fit, data) in WAYS.items()),
    *(Job(f"{n} samples, {size} a step, {sizes}, {dtype}", train, net(*sizes, dtype=dtype),
          {"batch_size": size}, {"n": n})
      for n, size, sizes in (
          (61, 2, DEEP), (203, 7, DEEP), (203, 64, DEEP), (1100, 512, DEEP), (1300, 600, DEEP),
          (2100, 1030, DEEP), (1, None, SMALL), (200, None, DEEP), (700, None, SMALL),
          (2100, None, DEEP), (1100, None, (90, 1500, 10)), (61, 1, (13, 5)), (61, 7, (1, 1, 2)))
      for dtype in DTYPES),
    *(Job(f"images of {form}, zeros {zeros}, {size} a step, {dtype}", train,
          net(*DIGITS, dtype=dtype), {"batch_size": size, "l2": 1e-3, "optimizer": SGD(0.001)},
          {"n": n, "form": form, "zeros": zeros})
      for form, zeros in (
          ("uint8", 0.8), ("few values", 0.0), ("few values", 0.8), ("float32", 0.0),
          ("float32", 0.8), ("float64", 0.8), ("float16", 0.8), ("csr", 0.8),
          ("csr of uint8", 0.8), ("csc", 0.8))
      for n, size in ((61, 1), (301, 64), (1500, None)) for dtype in DTYPES),
    *(Job(f"rows of {vectors} vectors, {form}, {size} a step, {dtype}", train,
          net(90, 64 * vectors // item - 3, 10, dtype=dtype, input_scale=255),
          {"batch_size": size, "optimizer": ADAM}, SPARSE | {"n": 600, "form": form})
      for vectors in range(1, 11) for form in ("uint8", "float32") for size in (64, None)
      for dtype, item in DTYPES.items()),
    *(Job(f"{sizes} of {form}, {size} a step threads={threads}", train,
          net(*sizes, threads=threads, input_scale=255 if form == "uint8" else None),
          {"batch_size": size, "optimizer": ADAM, "l2": 1e-4, "clip_norm": 1.0, "dropout": 0.1},
          {"n": n, "form": form, "zeros": 0.8})
      for sizes, form, size, n in (
          (DIGITS, "uint8", 64, 203), (WIDE, "uint8", 100, 350), (WIDE, "csr", 100, 350),
          (WIDE, "float32", 1030, 1030),
          (DIGITS, "uint8", None, 1003), (DIGITS, "float16", 64, 203), (DEEP, "float32", 600, 1300),
          (DEEP, "float64", None, 2100), (SMALL, "float32", 1, 31),
          ((256, 300, 200, 10), "float64", 200, 403))
      for threads in (1, 2, 3, None)),
    Job("activation and dropout per layer", train, net(*DEEP, activation=("gelu", "tanh")),
        {"dropout": (0.5, 0.1)}, {}),
    *(Job(f"many networks of {form}", train,
          [*net(*DIGITS), *net(*DIGITS, rng=1, dtype="float64"), *net(784, 33, 20, 10, rng=2)],
          {"optimizer": [ADAM, MOMENTUM, None], "batch_size": [64, None, 1]},
          {"n": 301, "form": form, "zeros": 0.8}) for form in ("float32", "csr")),
    *(Job(f"inference, {sizes}, {output}, {dtype}, {form}, {weight} threads={threads}", infer,
          net(*sizes, output=output, dtype=dtype, weight=weight, threads=threads),
          {"rows": (1, 3, 4, 5, 100, 2000)}, {"form": form, "zeros": 0.8})
      for sizes, output in ((SMALL, "sigmoid"), (DEEP, "identity"), (DIGITS, "softmax"),
                            ((300, 600, 200, 10), "softmax"))
      for dtype in DTYPES for form in ("float32", "int16", "csr")
      for weight in (None, np.nan) for threads in (None, 2)),
    *(Job(f"gradients, {sizes}, {n} samples, {dtype}, {form}", gradients,
          net(*sizes, dtype=dtype), {"l2": 0.01},
          {"n": n, "form": form, "zeros": 0.5, "weighted": n > 100})
      for sizes, n in ((SMALL, 1), (DEEP, 203), (DEEP, 1300), (DIGITS, 700))
      for dtype in DTYPES for form in ("float32", "float16", "csr")),
]  # fmt: skip


def machine() -> dict[str, str]:
    """Return what bits may hang on, beside the package."""
    features = os.environ.get("NUMBA_CPU_FEATURES") or llvm.get_host_cpu_features().flatten()
    return {
        "processor": f"{platform.machine()} {platform.processor()}",
        "target": os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name(),
        "features": hashlib.sha256(features.encode()).hexdigest()[:16],
        "numpy": np.__version__,
        "numba": numba.__version__,
    }


def disagreeing(found: dict[str, Digests]) -> Iterable[str]:
    """Say which jobs came out otherwise with another number of threads."""
    first: dict[str, tuple[str, Digests]] = {}
    for name, digests in found.items():
        other, expected = first.setdefault(name.partition(" threads=")[0], (name, digests))
        if digests != expected:
            yield f"{name}: not as {other}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("record", "compare"), nargs="?")
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--only", default="", metavar="TEXT")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    jobs = {job.name: job for job in JOBS if arguments.only in job.name}
    if arguments.list:
        print(*jobs, sep="\n")
        return 0
    if arguments.file is None or not jobs:
        parser.error("expected a command, a file, and a TEXT that is in some job's name")
    here, begun, found, told = machine(), time.perf_counter(), {}, []
    known = None
    if arguments.command == "compare":
        recorded = json.loads(arguments.file.read_text(encoding="utf-8"))
        if recorded["machine"] != here:
            parser.error(f"recorded with {recorded['machine']}, this is {here}")
        known = recorded["jobs"]
        told += [f"{name}: no such job" for name in known if name not in {j.name for j in JOBS}]
    print(f"fastmlp {fastmlp.__version__} of {Path(fastmlp.__file__).parent}", *here.items())
    for name, job in jobs.items():
        try:
            found[name] = job.run(job.nets, job.fit, job.data)
        except Exception as error:
            told.append(f"{name}: {type(error).__name__}: {error}")
            continue
        if known is not None:
            expected = known.get(name, {})
            parts = [p for p in expected | found[name] if expected.get(p) != found[name].get(p)]
            if parts:
                told.append(f"{name}: {', '.join(parts)}" if expected else f"{name}: not recorded")
    told += disagreeing(found)
    if known is None:
        record = {"machine": here, "fastmlp": fastmlp.__version__, "jobs": found}
        arguments.file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(*told, sep="\n", end="\n" if told else "")
    print(f"{len(jobs)} jobs in {time.perf_counter() - begun:.0f} s, {len(told)} amiss")
    return int(bool(told))


if __name__ == "__main__":
    sys.exit(main())
