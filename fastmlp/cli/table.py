"""What commands do with tables: CSV and Parquet, and models in ``.skops`` files."""

from __future__ import annotations

import csv
import hashlib
import io
import sys
import time
import warnings
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..callbacks import Callback, ProgressBar
from ..optimizers import make_optimizer
from ..schedules import get_schedule
from ..support.atomic import is_stream, replacing
from ..support.extras import require
from ..support.wording import counted
from ..tables import Columns, Table, describe, load_model, read_table, save_model, train_model
from ..tables.cells import categories_of
from ..tables.model import Targets, features_of, targets_of
from ..tables.numerals import Marks
from ..tables.parts import Parts, divide
from ..training.history import History
from .console import Console, percent, say_confusion
from .files import write_json
from .introduction import introduce, note_repeated, notes

__all__ = ["evaluate_table", "predict_table", "report_table", "train_table"]

HIDDEN, TEST_SIZE = (100,), 0.2
# by default, found on scikit-learn's own tables; with more rows fewer epochs see as many samples
_EPOCHS, _EPOCHS_OF_VALUES, _FEWEST_EPOCHS, _SAMPLES = 200, 100, 10, 4_000_000
_RATE, _RATE_OF_VALUES = 0.003, 0.001
_LINES = 1000  # written at a time
_HIGHEST_SEED = 2**32 - 1  # that scikit-learn's estimators take
_NETWORKS_ONLY = {
    "l1": 0.0, "label_smoothing": 0.0, "clip_norm": None, "max_norm": None, "checkpoint": None,
    "resume": None, "on_divergence": "raise", "input_scale": None, "backend": "numba",
}  # fmt: skip


class _Recorder(Callback):
    """Keeps the history of a fit."""

    @property
    def history(self) -> History:
        """Of the last fit, empty before one."""
        return self.net.history if hasattr(self, "net") else History()


def _check_options(args: Namespace) -> None:
    for name, default in _NETWORKS_ONLY.items():
        if getattr(args, name) != default:
            raise ValueError(f"--{name.replace('_', '-')}: not for tables")
    if args.seed is not None and args.seed > _HIGHEST_SEED:
        raise ValueError(f"--seed: expected at most {_HIGHEST_SEED} for a table, got {args.seed}")


def _n_features(columns: Columns, table: Table) -> int:
    return len(columns.numbers) + sum(
        len(set(categories_of(table.frame[name]))) for name in columns.categories
    )


def _hidden(args: Namespace, n_in: tuple[int, ...], n_out: int) -> tuple[int, ...]:
    """Return the hidden layers that --layers asks for, its ends held against the table."""
    if args.layers is None:
        return HIDDEN
    first, *hidden, last = args.layers
    if first not in n_in:
        many = " or ".join(map(str, dict.fromkeys(n_in)))
        raise ValueError(f"--layers: expected {many}, the features, in front; got {first}")
    if last != n_out:
        what = "the classes" if n_out > 1 else "the value"
        raise ValueError(f"--layers: expected {n_out}, {what}, at the end; got {last}")
    if not hidden:
        raise ValueError("--layers: expected a hidden layer between features and classes")
    return tuple(hidden)


def _estimator(args: Namespace, columns: Columns, hidden: tuple[int, ...], n: int) -> Any:
    """Return the estimator that the arguments describe, for n training rows."""
    sklearn = require("fastmlp.sklearn", "table")
    most, rate = (
        (_EPOCHS, _RATE) if not columns.regression else (_EPOCHS_OF_VALUES, _RATE_OF_VALUES)
    )
    epochs = args.epochs or max(_FEWEST_EPOCHS, min(most, round(_SAMPLES / n)))
    settings: dict[str, Any] = {"name": args.optimizer or "adam"}
    if args.learning_rate is not None or args.optimizer is None:
        settings["learning_rate"] = rate if args.learning_rate is None else args.learning_rate
    optimizer = make_optimizer(settings)
    wanted = args.batch_size or (32 if n < 2000 else 128)
    settings = {
        "hidden_layer_sizes": hidden, "activation": args.activation or "relu",
        "alpha": args.l2 * n if args.l2 else 1e-4, "max_iter": epochs,
        "batch_size": n if args.batch_size == "full" else min(wanted, n),
        "optimizer": optimizer, "schedule": args.schedule or "cosinedecay",
        "random_state": args.seed or 0, "dropout": args.dropout, "threads": args.threads,
        "precision": args.precision or "highest",
        "early_stopping": args.early_stopping is not None,
        # without early stopping all epochs are wanted
        "n_iter_no_change": args.early_stopping or np.inf,
    }  # fmt: skip
    if columns.regression:
        if args.class_weight is not None:
            raise ValueError("--class-weight: expected none with --regression")
        lower = settings["precision"] != "highest"  # which float64 has not
        dtype = args.dtype or ("float32" if lower else "float64")
        return sklearn.MLPRegressor(dtype=dtype, **settings)
    return sklearn.MLPClassifier(
        dtype=args.dtype or "float32", class_weight=args.class_weight, **settings
    )


def _plan(args: Namespace, estimator: Any, sizes: list[int], parts: Parts) -> str:
    optimizer, n = estimator.optimizer, len(parts.training)
    return (
        f"{'-'.join(map(str, sizes))}, {estimator.activation}, "
        f"{type(optimizer).__name__.lower()}({optimizer.learning_rate:g}), {estimator.schedule}, "
        f"{estimator.dtype}, seed {args.seed or 0}: {counted(estimator.max_iter, 'epoch')} of "
        f"{counted(n, 'row')}, "
        f"{len(parts.validation):,} for validation, {len(parts.test):,} for the test"
    )


def _figures(model: Any, X: Any, y: np.ndarray) -> dict[str, float]:
    """Return loss and accuracy, or loss, R2 and the usual errors of values, of prepared rows."""
    if model.table_["regression"]:
        error = model[-1].predict(X) - y
        spread = float(((y - y.mean()) ** 2).mean())
        mean = float((error**2).mean())
        r2 = 1 - mean / spread if spread else float("nan")
        return {"loss": mean / 2, "r2": r2, "rmse": mean**0.5, "mae": float(abs(error).mean())}
    p = model[-1].predict_proba(X)
    places = np.searchsorted(model.classes_, y)
    least = np.finfo(p.dtype).tiny
    loss = -np.log(np.maximum(p[np.arange(len(y)), places], least)).mean()
    return {"loss": float(loss), "accuracy": float((p.argmax(axis=1) == places).mean())}


def _score(figures: dict[str, float]) -> str:
    if "accuracy" in figures:
        return f"test accuracy {percent(figures['accuracy'])}, loss {figures['loss']:.4f}"
    return f"test R2 {figures['r2']:.4f}, RMSE {figures['rmse']:.6g}"


def _summary(history: History, seconds: float, regression: bool) -> str:
    if not history.loss:
        return f"no whole epoch in {seconds:.1f} s"
    unit = " of standardized values" if regression else ""
    said = f"{counted(len(history), 'epoch')} in {seconds:.1f} s: loss {history.loss[-1]:.4f}{unit}"
    if history.val_loss:
        said += f", validation loss {history.val_loss[-1]:.4f}"
    if not regression and history.val_accuracy:
        said += f", accuracy {percent(history.val_accuracy[-1])}"
    return said


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _divergence(history: History, estimator: Any) -> str | None:
    """Return what there is to say of a loss that is no number any more, None where it is one."""
    finite = [*np.isfinite(history.loss)]
    if all(finite):
        return None
    epoch = finite.index(False)
    return (
        f"training diverged: the loss is {history.loss[epoch]} in epoch {epoch + 1}; try a smaller "
        f"--learning-rate (it was {estimator.optimizer.learning_rate:g})"
    )


def _interrupted(model: Any, history: History, out: str | None) -> str:
    """Save what was trained in whole epochs; return what there is to say."""
    saved = "not saved"
    if out is not None and len(history):
        save_model(model, out)
        saved = f"saved to {out}"
    return f"interrupted after {counted(len(history), 'whole epoch')}, {saved}"


def train_table(
    args: Namespace, console: Console, source: str, out: str | None, plot: str | None
) -> int:
    """Train on a table, save and draw what was asked for, end with the test's accuracy or R2."""
    test_size = TEST_SIZE if args.test_size is None else args.test_size
    shuffle = args.shuffle is not False
    table = read_table(source, header=args.header, label=args.label)
    columns = describe(table, args.label, regression=args.regression)
    targets = targets_of(table, columns.label, regression=columns.regression)
    _check_options(args)
    say = (lambda _: None) if args.quiet else console.tell
    try:
        parts = divide(
            targets.y, classes=not columns.regression, test_size=test_size,
            validation_size=args.validation_split, shuffle=shuffle, seed=args.seed or 0,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{table.path}: {error}") from None
    frame = features_of(table, columns.numbers, columns.categories).iloc[targets.rows]
    n_out = 1 if columns.regression else len(np.unique(targets.y))
    encoded = _n_features(columns, table)
    hidden = _hidden(args, (len(columns.features), encoded), n_out)
    estimator = _estimator(args, columns, hidden, len(parts.training))
    say(introduce(table, columns, targets))
    notes(table, columns, targets, console)
    say(_plan(args, estimator, [encoded, *hidden, n_out], parts))
    split = {
        "digest": _digest(table.path), "test_size": float(test_size),
        "shuffle": shuffle, "seed": args.seed or 0,
        "header": table.layout is None or table.layout.has_header,
        "decimal": table.marks.decimal, "thousands": table.marks.thousands,
    }  # fmt: skip
    recorder, begun = _Recorder(), time.perf_counter()
    watched = not args.quiet and sys.stderr is not None and sys.stderr.isatty()
    bars = [ProgressBar()] if watched else []
    given = [
        (frame.iloc[rows], targets.y[rows]) if len(rows) else None
        for rows in (parts.training, parts.validation)
    ]
    with warnings.catch_warnings():
        unsaid = "Training interrupted|Stochastic Optimizer|column .* was not trained on"
        warnings.filterwarnings("ignore", message=unsaid)
        assert given[0] is not None
        try:
            model = train_model(estimator, columns, given[0], given[1], [recorder, *bars])
        except ValueError:
            if (reason := _divergence(recorder.history, estimator)) is None:
                raise
            console.note(f"error: {reason}")
            return 1
        X_test = model[0].transform(frame.iloc[parts.test])
    history, seconds = recorder.history, time.perf_counter() - begun
    model.table_["split"] = split
    console.when_interrupted = partial(_interrupted, model, history, out)
    if history.interrupted:
        raise KeyboardInterrupt
    if out is not None:
        save_model(model, out)
    say(_summary(history, seconds, columns.regression))
    test = _figures(model, X_test, targets.y[parts.test])
    if plot is not None:
        from ..plots import save_history

        with replacing(plot) as name:
            save_history(history, name, _score(test).split(",")[0])
    if args.json is not None:
        write_json(args.json, {"history": history.as_dict(), "test": test, "seconds": seconds})
    written = [name for name in (out, plot, args.json) if name is not None]
    if written:
        say(f"written: {', '.join(written)}")
    console.tell(_score(test))
    return 0


def _read_for(model: Any, source: str, console: Console) -> tuple[Table, Any]:
    """Return a table that a model is asked about, and its prepared rows; say what is new there."""
    known = model.table_
    names = [*known["numbers"], *known["categories"]]
    split = known.get("split", {})
    headless = not split.get("header", True)
    marks = Marks(split["decimal"], split["thousands"]) if "decimal" in split else None
    table = read_table(
        source, header=False if headless else None, known=() if headless else names,
        texts=known["categories"], label=known["label"], marks=marks,
    )  # fmt: skip
    if headless:
        _number(table, known)
    missing = [name for name in names if name not in table.frame.columns]
    if missing:
        there = ", ".join(map(repr, list(table.frame.columns)[:8]))
        raise ValueError(
            f"{table.path}: expected the columns that the model was trained on, got none called "
            f"{', '.join(map(repr, missing[:8]))}; the columns are {there}"
        )
    note_repeated(table, console, names)
    frame = features_of(table, known["numbers"], known["categories"])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        X = model[0].transform(frame)
    for warning in told:
        console.note(str(warning.message))
    return table, X.tocsr() if hasattr(X, "tocsr") else X


def _number(table: Table, known: dict[str, Any]) -> None:
    """Give columns without names their places, where the label's is left out."""
    used = [*known["numbers"], *known["categories"], *known["left_out"], known["label"]]
    frame = table.frame
    if frame.shape[1] == len(used) - 1:
        at = int(known["label"].split()[-1])
        frame.columns = [f"column {i}" for i in range(len(used)) if i != at]


def _labels(table: Table, model: Any) -> Targets:
    """Return the labels of a table as the model has them, held against its classes."""
    known = model.table_
    if known["label"] not in table.frame.columns:
        raise ValueError(f"{table.path}: expected the label's column {known['label']!r}, got none")
    targets = targets_of(table, known["label"], regression=known["regression"])
    if known["regression"]:
        return targets
    classes = {str(name): name for name in model.classes_}
    for row, label in zip(targets.rows, targets.y, strict=True):
        if str(label) not in classes:
            shown = ", ".join(list(classes)[:8])
            table.blame(int(row), known["label"], f"one of the classes {shown}", repr(str(label)))
    targets.y = np.array([classes[str(label)] for label in targets.y], model.classes_.dtype)
    return targets


def _loaded(args: Namespace) -> Any:
    if getattr(args, "input_scale", None) is not None:
        raise ValueError("--input-scale: not for a table's model, it scales by itself")
    if args.backend != "numba":
        raise ValueError(f"--backend: expected numba for a table's model, got {args.backend}")
    model = load_model(args.model)
    model[-1].threads = args.threads
    return model


def _tested(model: Any, source: str, console: Console) -> tuple[Any, np.ndarray]:
    """Return prepared rows and labels to test on; of the training table those held out."""
    table, X = _read_for(model, source, console)
    targets = _labels(table, model)
    X, y, split = X[targets.rows], targets.y, model.table_.get("split")
    if split is not None and _digest(table.path) == split["digest"]:
        parts = divide(
            y, classes=not model.table_["regression"], test_size=split["test_size"],
            validation_size=0.0, shuffle=split["shuffle"], seed=split["seed"],
        )  # fmt: skip
        console.note(f"{table.path.name} is what the model was trained on: only the rows that "
                     "were held out for the test count")  # fmt: skip
        return X[parts.test], y[parts.test]
    return X, y


def evaluate_table(args: Namespace, console: Console, source: str) -> int:
    """Print figures and confusion matrix of a table's model."""
    model = _loaded(args)
    X, y = _tested(model, source, console)
    figures = _figures(model, X, y)
    console.say(f"samples  {len(y):,}")
    if model.table_["regression"]:
        for name, key in (("R2", "r2"), ("RMSE", "rmse"), ("MAE", "mae")):
            console.say(f"{name:8} {figures[key]:.6g}")
        console.say(f"loss     {figures['loss']:.6g}")
        return 0
    console.say(f"accuracy {percent(figures['accuracy'])}")
    console.say(f"loss     {figures['loss']:.6g}")
    places = np.searchsorted(model.classes_, y)
    predicted = np.searchsorted(model.classes_, model[-1].predict(X))
    say_confusion(console, places, predicted, [str(name) for name in model.classes_])
    return 0


def predict_table(args: Namespace, console: Console) -> int:
    """Print what a table's model says of each row, as CSV."""
    model = _loaded(args)
    _, X = _read_for(model, args.input, console)
    if model.table_["regression"]:
        header, rows = [model.table_["label"]], [[str(y)] for y in model[-1].predict(X)]
    else:
        p = model[-1].predict_proba(X)
        labels = model.classes_[p.argmax(axis=1)]
        header = ["label", *(f"p_{name}" for name in model.classes_)]
        # str() of a float is the shortest text that reads back as the same number.
        rows = [[label, *map(str, row)] for label, row in zip(labels, p, strict=True)]
    for start in range(0, max(1, len(rows)), _LINES):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([header] * (start == 0) + rows[start : start + _LINES])
        console.say(text.getvalue().rstrip("\n"), exact=True)
    return 0


def _tell_training(net: Any, estimator: Any) -> None:
    """Give a network what its report says of the training."""
    held = estimator.validation_loss_curve_ or []
    for at, loss in enumerate(estimator.loss_curve_):
        net.history.append({"loss": loss} | ({"val_loss": held[at]} if held else {}))
    if estimator.optimizer is not None:
        net.optimizer = estimator.optimizer
    net._schedule = get_schedule(estimator.schedule)
    net._state.step = getattr(estimator, "_solver_state", {"step": 0})["step"]


def report_table(args: Namespace, console: Console, source: str | None) -> int:
    """Write a report of a table's model, and of what it makes of a table."""
    from ..network import MLP
    from ..report import write_report

    model = _loaded(args)
    net = MLP.from_sklearn(model[-1])
    net.feature_names = None  # those of the table become more when they are encoded
    X = y = None
    if source is None:
        console.note("no test set: the report is of the model and its training only")
    else:
        X, y = _tested(model, source, console)
        if not model.table_["regression"]:
            y = np.searchsorted(model.classes_, y)
    _tell_training(net, model[-1])
    names = args.class_names
    if model.table_["regression"] and names is None:
        names = [model.table_["label"]]
    write_report(
        net, args.out, X, y, title=f"Report of {Path(args.model).name}", data_name=source or "",
        class_names=names or net.class_names, image_shape=args.image_shape,
        saved_with={"fastmlp": model.table_["fastmlp"]},
    )  # fmt: skip
    if not is_stream(args.out):
        console.tell(f"written: {args.out}")
    return 0
