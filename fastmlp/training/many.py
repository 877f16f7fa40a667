"""fit_many: many networks trained on the same data at once, one a core."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

import numpy as np

from ..callbacks import EarlyStopping
from ..network import MLP
from ..optimizers import Optimizer
from ..schedules import Schedule
from ..support.frames import in_order
from ..support.notices import notices
from ..support.validation import as_rows, check_integer
from .history import History
from .options import FitOptions
from .pool import Pool, add_bar, report
from .trainer import Plan, prepare

__all__ = ["fit_many"]

T = TypeVar("T")
Each: TypeAlias = T | list[T]

_TIMEOUT = 60.0  # seconds for a scheduler to answer, and for a worker to come


def fit_many(
    nets: Sequence[MLP],
    X: Any,
    y: Any = None,
    *,
    epochs: Each[int] = 10,
    batch_size: Each[int | None] = 64,
    optimizer: Each[Optimizer | str | None] = None,
    schedule: Each[Schedule | str | None] = None,
    l2: Each[float] = 0.0,
    dropout: Each[float | Sequence[float]] = 0.0,
    shuffle: Each[bool] = True,
    validation_data: Each[tuple[Any, Any] | None] = None,
    validation_split: Each[float] = 0.0,
    early_stopping: Any = None,
    callbacks: Each[Sequence[Any]] = (),
    sample_weight: Any = None,
    class_weight: Any = None,
    l1: Each[float] = 0.0,
    clip_norm: Each[float | None] = None,
    label_smoothing: Each[float] = 0.0,
    max_norm: Each[float | None] = None,
    metrics: Each[Sequence[Any]] = (),
    on_divergence: Each[str] = "raise",
    resume: Each[bool] = False,
    workers: int | None = None,
    client: Any = None,
    progress: bool | None = None,
) -> list[History]:
    """Train many networks on the same data at once, each as `MLP.fit` alone would, bit for bit.

    Each network trains on one thread, whatever its ``threads``, and the threads share X and y:
    for a search over seeds, learning rates or architectures.

    **One rule for all arguments** of `MLP.fit`: a list holds one value per network; anything
    else is the value of all. So ``dropout=[0.1, 0.5]`` is for two networks, ``dropout=(0.1, 0.5)``
    for two hidden layers of every network.

    Parameters
    ----------
    nets : sequence of MLP
        Of any architecture, dtype and backend, each with a random generator of its own.
    X, y
        As for `MLP.fit`, and the same for all. Chunks have to be a list, or a function that
        returns an iterator, which several threads then call; each network holds one chunk.
    epochs ... resume
        As for `MLP.fit`, one value or a list of one per network. Callbacks are called on their
        network's thread and serve one network each, so they come as a list of sequences; an
        EarlyStopping for all is copied for each.
    workers : int, optional
        How many networks train at a time: at most, and by default, as many as the process has
        cores.
    client : distributed.Client or str, optional
        Train on the workers of a Dask cluster, or of the scheduler at that address: X and y go
        to each once, then a network to every free thread. Callbacks stay out, and chunks. Needs
        the extra ``dask``.
    progress : bool, optional
        One progress bar over all epochs; by default when standard error is a terminal.

    Returns
    -------
    list of History
        In the order of `nets`; each is also kept as its network's ``history``. Ctrl-C ends all
        after their present step, with a warning and the histories so far; a network that had not
        begun stays as it was, and has an empty history that is marked as interrupted.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of that kind, naming the network; nothing is changed then.
    ExceptionGroup
        If training diverges, or fails as a callback may. The other networks are trained to the
        end first; the message names those that failed, and the group holds their errors.
    fastmlp.distributed.DistributedError
        If there is no scheduler, or no worker.

    Notes
    -----
    Networks with ``backend="numpy"`` and dropout spend their time in NumPy, whose own threads
    and locks they share; they gain little. An index of the non-zeros of X is shared by networks
    of one dtype and about the same first layer.

    Examples
    --------
    >>> import numpy as np, fastmlp
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> rates = [0.001, 0.01, 0.1]
    >>> nets = [fastmlp.MLP((2, 16, 2), rng=0, backend="numpy") for _ in rates]
    >>> optimizers = [fastmlp.Adam(rate) for rate in rates]
    >>> histories = fastmlp.fit_many(nets, X, y, epochs=20, optimizer=optimizers)
    >>> best = int(np.argmin([history.loss[-1] for history in histories]))
    >>> rates[best]
    0.1
    """
    nets = _check_networks(nets)
    if y is None and hasattr(X, "__next__"):
        raise TypeError(
            "X: expected chunks that every network can go through, as a list or a function that "
            f"returns an iterator, got {type(X).__name__}"
        )
    _check_client(client, y, workers, callbacks)
    workers = _check_workers(workers, nets)
    options = FitOptions(
        epochs=epochs, batch_size=batch_size, optimizer=optimizer, schedule=schedule, l2=l2,
        dropout=dropout, shuffle=shuffle, validation_data=validation_data,
        validation_split=validation_split, early_stopping=early_stopping, callbacks=callbacks,
        sample_weight=sample_weight, class_weight=class_weight, l1=l1, clip_norm=clip_norm,
        label_smoothing=label_smoothing, max_norm=max_norm, metrics=metrics,
        on_divergence=on_divergence, resume=resume, progress=False,
    )  # fmt: skip
    each = _per_network(len(nets), options)
    check, plans = _Checked(), []
    for i, (net, own) in enumerate(zip(nets, each, strict=True)):
        try:
            plans.append(prepare(net, X, y, own, check=check))
        except (TypeError, ValueError) as error:
            raise type(error)(f"nets[{i}]: {error}") from None
    _check_callbacks(plans)
    if not plans:
        return []
    if client is not None:
        return _on_cluster(plans, X, y, each, client, progress)
    sharing: AbstractContextManager[None] = nullcontext()
    if any(net.backend == "numba" for net in nets):
        from ..kernels.run.sharing import sharing as shared

        # a worker's non-zeros to train on and to evaluate; those of a sparse X in order
        sharing = shared(check.rows, most=3 * workers)
    with notices(progress), sharing:
        return Pool(plans, workers, add_bar(plans, progress)).run()


def _check_networks(nets: Any) -> list[MLP]:
    if not isinstance(nets, Sequence) or isinstance(nets, str):
        raise TypeError(f"nets: expected a sequence of MLP, got {type(nets).__name__}")
    seen: dict[int, int] = {}
    for i, net in enumerate(nets):
        if not isinstance(net, MLP):
            raise TypeError(f"nets[{i}]: expected an MLP, got {type(net).__name__}")
        rng: Any = net._rng
        other = seen.setdefault(id(rng._bit_generator), i)  # two generators may share it
        if other != i:
            what = "network" if nets[other] is net else "random generator"
            raise ValueError(
                f"nets[{i}]: expected another {what} than that of nets[{other}]: their draws "
                "would depend on who comes first"
            )
    return list(nets)


def _check_client(client: Any, y: Any, workers: Any, callbacks: Any) -> None:
    if client is None:
        return
    for name, given in (("workers", workers is not None), ("callbacks", bool(callbacks))):
        if given:
            raise ValueError(f"{name}: expected none where client trains networks elsewhere")
    if y is None:
        raise ValueError("y: expected targets beside X where client trains networks elsewhere")


def _on_cluster(
    plans: list[Plan], X: Any, y: Any, each: list[FitOptions], client: Any, progress: Any
) -> list[History]:
    from ..distributed._many import train_many

    with notices(progress):
        results = train_many(plans, X, y, each, client=client, timeout=_TIMEOUT, progress=progress)
    report(*results)
    return results[0]


def _check_workers(workers: Any, nets: list[MLP]) -> int:
    """Return how many networks train at a time: the process's cores at most."""
    if any(net.backend == "numba" for net in nets):
        from ..kernels.jit.threading_layer import thread_limit

        most = thread_limit()
    elif hasattr(os, "sched_getaffinity"):
        most = len(os.sched_getaffinity(0))
    else:
        most = os.cpu_count() or 1
    if workers is not None:
        most = min(most, check_integer("workers", workers, low=1))
    return max(1, min(most, len(nets)))


def _per_network(n: int, options: FitOptions) -> list[FitOptions]:
    """Return each network's arguments: a list holds one per network, else one is for all."""
    arguments = vars(options)
    for name, value in arguments.items():
        if isinstance(value, list) and len(value) != n:
            raise ValueError(
                f"{name}: expected a list of {n}, one value per network, got {len(value)}; what "
                "is for all networks is no list, but may be a tuple"
            )
    each = [
        FitOptions(**{name: v[i] if isinstance(v, list) else v for name, v in arguments.items()})
        for i in range(n)
    ]
    if isinstance(options.early_stopping, EarlyStopping):
        each = [replace(own, early_stopping=copy.deepcopy(own.early_stopping)) for own in each]
    return each


def _check_callbacks(plans: list[Plan]) -> None:
    seen: dict[int, int] = {}
    for i, plan in enumerate(plans):
        for callback in plan.settings.callbacks:
            other = seen.setdefault(id(callback), i)
            if other != i:
                name = "early_stopping" if isinstance(callback, EarlyStopping) else "callbacks"
                raise ValueError(
                    f"nets[{i}]: {name}: expected objects of its own, as in a list of one "
                    f"value per network, got the {type(callback).__name__} of nets[{other}]"
                )


class _Checked:
    """Samples and targets as networks check them, once for all that need the same."""

    def __init__(self) -> None:
        self._rows: dict[Any, tuple[Any, Any]] = {}
        self._known: dict[Any, tuple[Any, np.ndarray]] = {}

    @property
    def rows(self) -> list[Any]:
        """The samples that came in."""
        return [rows for _, rows in self._rows.values()]

    def __call__(self, net: MLP, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        came = id(X), net.feature_names
        if came not in self._rows:
            self._rows[came] = X, as_rows("X", in_order("X", X, net.feature_names))
        a = net.architecture
        key = (came, id(y), a.layer_sizes[0], a.n_out, a.output, a.loss, a.dtype)
        if key not in self._known:
            self._known[key] = net._samples(self._rows[came][1], y, None)[:2]
        return self._known[key]
