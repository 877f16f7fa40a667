"""What the operations of a training step take, beside what the processor could do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..architecture import Architecture
from ..contract.operations import DataSet, StepSettings
from ..contract.parameters import Parameters
from ..initializers import get_initializer
from ..optimizers import OptimizerState, get_optimizer
from ..support.validation import check_integer

__all__ = ["Profile", "ProfileRow", "profile_step"]

_SAMPLES = 4096
_ROUNDS = 5
_TILES = 20_000  # some 15 ms: launching threads takes little beside


@dataclass
class ProfileRow:
    """One operation of a step.

    Attributes
    ----------
    phase, operation, shape : str
        The shape is that of the first share's part, padded.
    microseconds : float
        In a step, of the share that needs longest.
    gflops : float or None
        Of all shares together, zeros included; None where an operation sums no products.
    share_of_peak : float or None
        Of what as many threads could do, measured in turns with the steps.
    """

    phase: str
    operation: str
    shape: str
    microseconds: float
    gflops: float | None = None
    share_of_peak: float | None = None


@dataclass
class Profile:
    """A step on so many threads.

    Attributes
    ----------
    threads : int
    microseconds : float
        A whole step, waiting for one another and the clock's own time included.
    peak_gflops : float
    rows : list of ProfileRow
    """

    threads: int
    microseconds: float
    peak_gflops: float
    rows: list[ProfileRow]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON holds them."""
        return asdict(self)

    def _repr_html_(self) -> str | None:
        from ..report._notebook import profile_html

        return profile_html(self)


class Profiles(list[Profile]):
    """Profiles of one step on different numbers of threads; a notebook shows them all."""

    def _repr_html_(self) -> str | None:
        return "".join(profile._repr_html_() or "" for profile in self) or None


def profile_step(
    layer_sizes: Sequence[int], *, batch_size: int = 128, activation: str = "relu",
    optimizer: str = "adam", dtype: str = "float32", threads: int | None = None,
    precision: str = "highest",
) -> list[Profile]:  # fmt: skip
    """Return what each operation of a training step takes, on one thread and on several.

    Parameters
    ----------
    layer_sizes : sequence of int
        Inputs, hidden layers, classes.
    batch_size : int, default 128
    activation : str, default "relu"
    optimizer : str, default "adam"
    dtype : {"float32", "float64"}
    threads : int, optional
        How many the second profile uses: by default as many as the process may use.

    Returns
    -------
    list of Profile
        For one thread and, where a step can use more, for `threads`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of that kind.

    Examples
    --------
    >>> from fastmlp.bench import profile_step
    >>> profiles = profile_step((20, 16, 3), batch_size=32, threads=1)
    >>> [row.operation for row in profiles[0].rows][:3]
    ['gather_f32', 'forward', 'forward']
    """
    from ..kernels.jit.threading_layer import thread_limit

    batch_size = check_integer("batch_size", batch_size, low=1)
    most = thread_limit() if threads is None else check_integer("threads", threads, low=1)
    architecture = Architecture(
        layer_sizes, activation=activation, dtype=dtype, precision=precision
    )
    alone = _profile(architecture, batch_size, optimizer, 1)
    if most == 1:
        return Profiles([alone])
    together = _profile(architecture, batch_size, optimizer, most)
    return Profiles([alone, together] if together.threads > 1 else [alone])


def _profile(architecture: Architecture, batch_size: int, optimizer: str, threads: int) -> Profile:
    from ..kernels.run.peak import tiles
    from ..kernels.run.profiler import time_steps
    from ..kernels.run.training import Training

    rng = np.random.default_rng(0)
    parameters = Parameters(architecture)
    parameters.draw(get_initializer("glorot_uniform"), rng)
    steps = max(1, _SAMPLES // batch_size)
    X = rng.standard_normal((steps * batch_size, architecture.n_in)).astype(architecture.dtype)
    y = rng.integers(0, architecture.n_out, len(X))
    rule = get_optimizer(optimizer)
    settings = StepSettings(rule, OptimizerState(), batch_size)
    training = Training(parameters, DataSet(X, y), settings, threads=threads)
    order, rates = np.arange(len(X), dtype=np.int64), np.full(steps, 1e-4)
    threads = training.threads  # steps of one sample are one thread's
    work, run_tiles = tiles(architecture.dtype, threads, depth=128, repeats=_TILES)
    rounds, whole, peaks = [], [], []
    for _ in range(_ROUNDS + 1):
        begun = time.perf_counter()
        run_tiles()
        peaks.append(work / (time.perf_counter() - begun))
        begun = time.perf_counter()
        lines, seconds = time_steps(training, order, rates)
        rounds.append(seconds)
        whole.append((time.perf_counter() - begun) / steps)
    peak = float(np.median(peaks[1:]))
    seconds = np.median(rounds[1:], axis=0)
    return Profile(
        threads, float(np.median(whole[1:])) * 1e6, peak / 1e9, _rows(lines, seconds, peak)
    )


def _rows(lines: list[Any], seconds: np.ndarray, peak: float) -> list[ProfileRow]:
    """Put the shares' parts of an operation together."""
    found: dict[tuple[Any, ...], list[tuple[Any, float]]] = {}
    seen: dict[tuple[Any, ...], int] = {}
    for line, took in zip(lines, seconds, strict=True):
        place = seen.setdefault((line.phase, line.share, line.kernel), 0)
        seen[line.phase, line.share, line.kernel] += 1
        found.setdefault((line.phase, line.kernel, place), []).append((line, float(took)))
    rows = []
    for (phase, kernel, _), parts in found.items():
        longest = max(took for _, took in parts)
        flops = sum(line.flops * line.turns for line, _ in parts)
        rate = flops / longest if flops and longest > 0 else None
        rows.append(
            ProfileRow(
                phase, kernel, parts[0][0].shape, longest * 1e6, rate and rate / 1e9,
                rate and rate / peak,
            )
        )  # fmt: skip
    return rows
