"""fit: epochs, their pieces, validation, history and progress."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .history import History
from .notices import notices
from .operations import EpochResult
from .optimizers import Optimizer, get_optimizer
from .schedules import Schedule, get_schedule
from .validation import check_integer, check_number, check_sample_weight

if TYPE_CHECKING:
    from .network import MLP

__all__ = ["fit"]

_PIECE_SECONDS = 0.1  # Python is re-entered about this often: progress, Ctrl-C


@dataclass
class _Run:
    """What a fit has checked and prepared."""

    X: Any
    y: np.ndarray
    weight: np.ndarray | None
    rows: np.ndarray | None
    validation: tuple[Any, np.ndarray] | None
    epochs: int
    batch_size: int
    optimizer: Optimizer
    schedule: Schedule
    l2: float
    shuffle: bool

    @property
    def samples(self) -> int:
        return len(self.y) if self.rows is None else len(self.rows)

    @property
    def steps(self) -> int:
        return -(-self.samples // self.batch_size)


def _not_yet(**arguments: Any) -> None:
    for name, given in arguments.items():
        if given:
            raise NotImplementedError(f"{name}: not available in this version, got {given!r}")


def _validation(net: MLP, data: Any) -> tuple[Any, np.ndarray] | None:
    if data is None:
        return None
    if not isinstance(data, Sequence) or len(data) != 2:
        raise TypeError(f"validation_data: expected a pair (X, y), got {type(data).__name__}")
    try:
        X, y, _ = net._samples(data[0], data[1], None)
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation_data: {error}") from None
    return X, y


def _split(net: MLP, X: Any, y: np.ndarray, share: float) -> tuple[np.ndarray, tuple[Any, Any]]:
    """Draw which samples are held out; return the others' numbers and the held-out data."""
    n = len(y)
    held_out = round(n * share)
    if held_out == 0 or held_out == n:
        raise ValueError(
            f"validation_split: expected a share that leaves samples on both sides of {n}, "
            f"got {share}"
        )
    order = net._rng.permutation(n)
    rows, held = np.sort(order[held_out:]), np.sort(order[:held_out])
    return rows, (X[held], y[held])


def _optimizer(net: MLP, optimizer: Any) -> Optimizer:
    return net.optimizer if optimizer is None else get_optimizer(optimizer)


def _install(net: MLP, run: _Run) -> None:
    """Give the network its optimizer and schedule; another one starts afresh."""
    net.optimizer = run.optimizer
    if run.schedule != net._schedule or run.schedule.spans_fit:
        net._schedule, net._schedule_memory = run.schedule, {}


def _pieces(
    train: Callable[[np.ndarray, np.ndarray], EpochResult],
    order: np.ndarray,
    rates: np.ndarray,
    batch_size: int,
    after: Callable[[EpochResult], None],
) -> EpochResult:
    """Train an epoch piece by piece; where it is cut has no influence on the result."""
    done, steps, parts = 0, 1, []
    while done < len(rates):
        begun = time.perf_counter()
        part = slice(done, done + steps)
        samples = slice(done * batch_size, (done + steps) * batch_size)
        parts.append(train(order[samples], rates[part]))
        done += len(rates[part])
        seconds = time.perf_counter() - begun
        steps = max(1, int(min(len(rates[part]) * _PIECE_SECONDS / seconds, 8 * steps)))
        after(parts[-1])
    return EpochResult.join(parts)


def fit(
    net: MLP,
    X: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int | None,
    optimizer: Any,
    schedule: Any,
    l2: float,
    dropout: float,
    shuffle: bool,
    validation_data: Any,
    validation_split: float,
    early_stopping: Any,
    callbacks: Sequence[Any],
    sample_weight: Any,
    class_weight: Any,
    progress: bool | None,
) -> History:
    """Train a network; see `MLP.fit`."""
    _not_yet(
        dropout=dropout, early_stopping=early_stopping, callbacks=callbacks,
        class_weight=class_weight,
    )  # fmt: skip
    epochs = check_integer("epochs", epochs, low=0)
    if batch_size is not None:
        batch_size = check_integer("batch_size", batch_size, low=1)
    if not isinstance(shuffle, bool | np.bool_):
        raise TypeError(f"shuffle: expected True or False, got {shuffle!r}")
    share = check_number("validation_split", validation_split, low=0.0, below=1.0)
    if share and validation_data is not None:
        raise ValueError("validation_split: expected 0 where validation_data is given")
    chosen = _optimizer(net, optimizer)
    plan = get_schedule(schedule)
    l2 = check_number("l2", l2, low=0.0)
    X, targets, _ = net._samples(X, y, None)
    weight = check_sample_weight(sample_weight, X.shape[0])
    validation = _validation(net, validation_data)
    rows = None
    if share:
        rows, validation = _split(net, X, targets, share)
    n = len(targets) if rows is None else len(rows)
    size = n if batch_size is None else min(batch_size, n)
    run = _Run(X, targets, weight, rows, validation, epochs, size, chosen, plan, l2, bool(shuffle))
    _install(net, run)
    net.history = History()
    if epochs:
        with notices(progress):
            _train(net, run, _progress_bar(progress, run))
    return net.history


def _progress_bar(progress: bool | None, run: _Run) -> Any:
    if progress is None:
        progress = sys.stderr is not None and sys.stderr.isatty()
    if not progress:
        return None
    from tqdm.auto import tqdm

    return tqdm(
        total=run.epochs * run.samples, unit=" samples", unit_scale=True, dynamic_ncols=True,
        bar_format="{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}, {rate_fmt}{postfix}",
    )  # fmt: skip


def _train(net: MLP, run: _Run, bar: Any) -> None:
    train = net._backend().trainer(
        net._parameters, run.X, run.y, run.weight, optimizer=run.optimizer, state=net._state,
        batch_size=run.batch_size, l2=run.l2, threads=net.threads,
    )  # fmt: skip
    evaluate = None
    if run.validation is not None:
        evaluate = net._backend().evaluator(
            net._parameters, *run.validation, None, net.threads, repeated=run.epochs > 2
        )
    rows = np.arange(len(run.y)) if run.rows is None else run.rows
    try:
        for epoch in range(run.epochs):
            if bar is not None:
                bar.set_description(f"epoch {epoch + 1}/{run.epochs}", refresh=False)
            _epoch(net, run, train, evaluate, rows, bar)
    finally:
        if bar is not None:
            bar.close()


def _epoch(net: MLP, run: _Run, train: Any, evaluate: Any, rows: np.ndarray, bar: Any) -> None:
    begun = time.perf_counter()
    memory, history = net._schedule_memory, net.history
    done = int(memory.get("epoch", 0))
    rates = run.schedule.rates(run.optimizer.learning_rate, done, run.steps, run.epochs, memory)
    # The full batch sums over all samples: another order would only cost memory accesses.
    shuffled = run.shuffle and run.steps > 1
    order = rows[net._rng.permutation(len(rows))] if shuffled else rows

    def advance(part: EpochResult) -> None:
        if bar is not None:
            bar.update(part.samples)

    result = _pieces(train, order, rates, run.batch_size, advance)
    val_loss, val_accuracy = evaluate() if evaluate is not None else (None, None)
    run.schedule.after_epoch(memory, result.loss, val_loss)
    memory["epoch"] = done + 1
    # Noted when all is known: lists of an interrupted run have one length too.
    history.loss.append(result.loss)
    history.learning_rate.append(float(rates[0]))
    if val_loss is not None:
        history.val_loss.append(val_loss)
    if net.architecture.output != "identity":
        history.accuracy.append(result.accuracy)
        if val_accuracy is not None:
            history.val_accuracy.append(val_accuracy)
    history.seconds.append(time.perf_counter() - begun)
    if bar is not None:
        shown = {name: f"{getattr(history, name)[-1]:.4f}"
                 for name in ("loss", "accuracy", "val_loss", "val_accuracy")
                 if getattr(history, name)}  # fmt: skip
        bar.set_postfix(shown)
    if not np.isfinite(result.loss) and np.isfinite(history.loss[-2:-1]).all():
        warnings.warn(
            f"the loss of epoch {len(history.loss)} is {result.loss}; a smaller learning rate or "
            "scaled inputs may help",
            RuntimeWarning,
            stacklevel=5,
        )
