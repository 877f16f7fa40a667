"""The public operations on both backends: how many times as fast are the kernels?

    python benchmarks/operations.py [OPERATION ...] [--quick] [--threads N] [--json FILE]

Of each the least time of a call counts. Printed are, by
operation, dtype and number of rows, the worst and the median of the reference's time over the
kernels', over all layers and activations for which the reference takes 15 us or more; then the
cases that fall short: of 1.0, of 1.5 from 64 rows on (1.0 where a case is little but a product more
than 512 wide), of 3 for softmax_cross_entropy, and for dense with sigmoid, tanh or gelu, at 1,000
rows of up to 128 outputs.
With ``--threads 1`` the thread's own time is taken, which others' work on the machine hardly moves.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

ROWS = (1, 8, 64, 1000, 10_000)
LAYERS = (
    (8, 8), (64, 64), (20, 100), (784, 10), (784, 128), (300, 300), (512, 512), (1024, 1024),
    (2048, 2048),
)  # fmt: skip
LEAST_SECONDS = 15e-6  # of the reference: shorter calls are Python's time
_LARGEST = 12_000_000_000  # multiplications and additions of a case
_PAUSE = _WARM = 0.1  # seconds
_CURVED = ("sigmoid", "tanh", "gelu")


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes
    ----------
    operation : str
    variant : str
        Activation or optimizer.
    dtype : str
    rows, n_in, n_out : int
    """

    operation: str
    variant: str
    dtype: str
    rows: int
    n_in: int
    n_out: int

    def __str__(self) -> str:
        sizes = f"{self.rows}x{self.n_in}x{self.n_out}"
        return f"{self.operation} {self.variant} {sizes} {self.dtype}".replace("  ", " ")

    @property
    def must(self) -> float:
        """How many times as fast the kernels have to be."""
        few_outputs = self.rows >= 1000 and self.n_out <= 128
        if few_outputs and self.operation == "softmax_cross_entropy":
            return 3.0
        if few_outputs and self.operation == "dense" and self.variant in _CURVED:
            return 3.0
        product = self.operation.startswith("dense") and max(self.n_in, self.n_out) > 512
        return 1.0 if self.rows < 64 or product else 1.5

    def call(self) -> Callable[[Any], Any]:
        """Return what calls the operation of a backend on arrays made for it."""
        import numpy as np

        from fastmlp import Adam

        rng = np.random.default_rng(0)

        def normal(*shape: int) -> Any:
            return rng.standard_normal(shape).astype(self.dtype)

        n, n_in, n_out = self.rows, self.n_in, self.n_out
        if self.operation == "optimizer_step":
            parameters = [normal(n_in, n_out), normal(n_out)]
            gradients, optimizer = [normal(n_in, n_out), normal(n_out)], Adam()
            state = optimizer.start(parameters)
            return lambda b: b.optimizer_step(optimizer, parameters, gradients, state)
        z, labels = normal(n, n_out), rng.integers(0, n_out, n)
        if self.operation == "activate":
            return lambda b: b.activate(z, activation=self.variant)
        if self.operation == "softmax":
            return lambda b: b.softmax(z)
        if self.operation == "softmax_cross_entropy":
            return lambda b: b.softmax_cross_entropy(z, labels)
        x, weights, bias = normal(n, n_in), normal(n_in, n_out), normal(n_out)
        if self.operation == "dense":
            return lambda b: b.dense(x, weights, bias, activation=self.variant)
        return lambda b: b.dense_backward(z, x, weights)


@dataclass
class Measured:
    """What a case took: seconds of the reference and of the kernels."""

    case: Case
    reference: float
    kernels: float

    @property
    def ratio(self) -> float:
        """How many times as fast the kernels are."""
        return self.reference / self.kernels

    @property
    def short(self) -> bool:
        """Whether the case counts, and falls short."""
        return self.reference >= LEAST_SECONDS and self.ratio < self.case.must


def cases(operations: Sequence[str], *, quick: bool = False) -> Iterator[Case]:
    """Return the cases of some operations; of all where none is named."""
    from fastmlp.activations import ACTIVATIONS

    activations = ("identity", "relu", "sigmoid") if quick else ACTIVATIONS
    layers = [(64, 64), (784, 128), (1024, 1024)] if quick else LAYERS
    rows = (1, 64, 1000) if quick else ROWS
    found = []
    for dtype in ("float32", "float64"):
        for n_in, n_out in layers:
            found.append(Case("optimizer_step", "adam", dtype, 64, n_in, n_out))
            for n in rows:
                if n * n_in * n_out > _LARGEST:
                    continue
                found += [Case("dense", name, dtype, n, n_in, n_out) for name in activations]
                found.append(Case("dense_backward", "", dtype, n, n_in, n_out))
        for n_out in (10, 128, 1000):
            for n in rows:
                for operation in ("softmax", "softmax_cross_entropy"):
                    found.append(Case(operation, "", dtype, n, 0, n_out))
                found += [Case("activate", name, dtype, n, 0, n_out) for name in activations]
    return (case for case in found if not operations or case.operation in operations)


def measure(case: Case, seconds: float, clock: Callable[[], float]) -> Measured:
    """Time a case on the reference, then on the kernels, for so many seconds and five calls at
    least.

    A backend makes its calls in a row, once the other's threads are asleep: those of OpenBLAS wait
    for work on their cores for a while, which made kernels on two threads half as fast.
    """
    from fastmlp import kernels, reference

    call = case.call()
    least = [float("inf")] * 2
    for i, backend in enumerate((reference, kernels)):
        time.sleep(_PAUSE)
        end = time.perf_counter() + _WARM
        while time.perf_counter() < end:  # short calls learn whether threads pay
            call(backend)
        end, calls = time.perf_counter() + seconds, 0
        while calls < 5 or time.perf_counter() < end:
            calls += 1
            begun = clock()
            call(backend)
            least[i] = min(least[i], clock() - begun)
    return Measured(case, *least)


def lines(found: Sequence[Measured]) -> list[str]:
    """Return the table: the worst and the median ratio."""
    rows = sorted({m.case.rows for m in found})
    table = [
        "| operation | dtype | " + " | ".join(f"{n:,} row{'s' * (n > 1)}" for n in rows) + " |",
        "|---" * (2 + len(rows)) + "|",
    ]
    for operation, dtype in dict.fromkeys((m.case.operation, m.case.dtype) for m in found):
        cells = []
        for n in rows:
            ratios = [
                m.ratio for m in found if m.reference >= LEAST_SECONDS
                and (m.case.operation, m.case.dtype, m.case.rows) == (operation, dtype, n)
            ]  # fmt: skip
            shown = f"{min(ratios):.1f}, {statistics.median(ratios):.1f}" if ratios else ""
            cells.append(shown)
        table.append(f"| `{operation}` | {dtype} | " + " | ".join(cells) + " |")
    return table


def main() -> int:
    """Measure, and print the table and what falls short."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("operations", nargs="*", metavar="OPERATION")
    parser.add_argument("--quick", action="store_true", help="fewer layers and activations")
    parser.add_argument("--threads", type=int, help="of kernels and BLAS; all by default")
    parser.add_argument("--seconds", type=float, default=0.05, help="of a case")
    parser.add_argument("--json", help="a file for all figures")
    options = parser.parse_args()
    clock = time.perf_counter
    if options.threads:
        for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ[name] = str(options.threads)  # read when NumPy and Numba are loaded
        clock = time.thread_time if options.threads == 1 else clock
    found = []
    for case in cases(options.operations, quick=options.quick):
        found.append(measure(case, options.seconds, clock))
        print(f"{found[-1].ratio:6.2f} {case}", file=sys.stderr)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump([asdict(m) | {"ratio": m.ratio} for m in found], file, indent=1)
    print("\n".join(lines(found)))
    short = sorted((m for m in found if m.short), key=lambda m: m.ratio / m.case.must)
    for m in short:
        print(f"{m.ratio:.2f} of {m.case.must}: {m.case}, {m.reference * 1e6:.0f} us")
    return 1 if short else 0


if __name__ == "__main__":
    raise SystemExit(main())
