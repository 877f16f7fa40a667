"""What `fastmlp train` does."""

from __future__ import annotations

import time
import warnings
from argparse import Namespace
from functools import partial
from typing import Any

from ..callbacks import EarlyStopping, ModelCheckpoint
from ..datasets import MNIST
from ..network import MLP
from ..optimizers import Optimizer, make_optimizer
from ..schedules import Schedule, get_schedule
from ..support.atomic import is_stream, replacing
from ..support.validation import check_finite
from ..support.wording import counted
from ..training.divergence import DivergenceError
from ..training.history import History
from .console import Console, percent
from .files import (
    check_outputs,
    check_picture,
    data_source,
    is_table,
    looks_like_pixels,
    read_data,
    write_json,
)

__all__ = ["train"]

DEFAULT_PLOT = "loss.png"
EPOCHS, BATCH_SIZE = 10, 128
TABLES_ONLY = ("label", "regression", "test_size", "shuffle", "header")
HIDDEN = (200, 100, 50)
DEFAULTS: dict[str, Any] = {"activation": "relu", "optimizer": "adam", "schedule": "cosinedecay",
            "dtype": "float32", "precision": "highest", "seed": 0}  # fmt: skip


def _outputs(
    args: Namespace, console: Console, source: str, ending: str
) -> tuple[str | None, str | None]:
    """Return where the model and the picture go; None for what was not asked for or cannot be.

    What was asked for by name has to work; the defaults give way with a note. A model's name ends
    in `ending`. No file takes the place of `source`.
    """
    default = f"model{ending}"
    asked = {
        name: None if value == "none" else value
        for name, value in (("out", args.out), ("plot", args.plot), ("json", args.json))
    }
    check_outputs(read=[source], **asked)
    given = asked["out"]
    if given is not None and not given.endswith(ending) and not is_stream(given):
        kind = "a table's" if ending == ".skops" else "this"
        raise ValueError(f"--out: expected a name that ends in {ending} for {kind} model, got "
                         f"{given!r}")  # fmt: skip
    if asked["plot"] is not None:
        check_picture(asked["plot"])
    if args.out is None:
        try:
            check_outputs(read=[source], **asked | {"out": default})
            asked["out"] = default
        except ValueError as error:
            console.note(f"the model will not be saved: {error}")
    if args.plot is None:
        try:
            check_picture(DEFAULT_PLOT)
            check_outputs(read=[source], **asked | {"plot": DEFAULT_PLOT})
            asked["plot"] = DEFAULT_PLOT
        except (ImportError, OSError, ValueError) as error:
            console.note(f"no picture of the loss: {error}")
    return asked["out"], asked["plot"]


def _layers(args: Namespace, data: MNIST) -> tuple[int, ...]:
    n_in = data.x_train.shape[1]
    n_classes = int(max(data.y_train.max(), data.y_test.max())) + 1
    layers: tuple[int, ...] = args.layers or (n_in, *HIDDEN, max(2, n_classes))
    if layers[0] != n_in:
        raise ValueError(f"--layers: expected {n_in}, the features, in front; got {layers[0]}")
    if layers[-1] < n_classes:
        raise ValueError(
            f"--layers: expected at least {n_classes}, the classes, at the end; got {layers[-1]}"
        )
    return layers


def _new(args: Namespace, data: MNIST) -> MLP:
    """Return the network that the arguments describe."""
    chosen = {k: v if getattr(args, k) is None else getattr(args, k) for k, v in DEFAULTS.items()}
    settings = {"name": chosen["optimizer"]}
    if args.learning_rate is not None:
        settings["learning_rate"] = args.learning_rate
    optimizer = make_optimizer(settings)
    scale = args.input_scale
    if scale is None:  # settled here, and in the file: no command looks at other rows for it
        scale = 255.0 if looks_like_pixels(data.x_train) else 1.0
    net = MLP(
        _layers(args, data), activation=chosen["activation"], input_scale=scale,
        dtype=chosen["dtype"], rng=chosen["seed"], backend=args.backend, threads=args.threads,
        precision=chosen["precision"],
    )  # fmt: skip
    net.optimizer = optimizer
    return net


def _loaded(args: Namespace) -> MLP:
    """Return the network of --resume, held against what was asked for beside it."""
    net = MLP.load(args.resume, backend=args.backend, threads=args.threads)
    a, schedule = net.architecture, net._schedule
    if a.output != "softmax":
        raise ValueError(f"--resume: expected a classifier (softmax), {args.resume} is {a.output}")
    has: dict[str, Any] = {
        "layers": net.layer_sizes,
        "activation": ",".join(dict.fromkeys(a.activations)),
        "optimizer": _name(net.optimizer),
        "learning_rate": net.optimizer.learning_rate,
        "schedule": None if schedule is None else _name(schedule),
        "dtype": a.dtype,
        "precision": a.precision,
        "input_scale": a.input_scale,
    }
    for name, value in has.items():
        asked = getattr(args, name)
        if asked is not None and asked != value:
            raise ValueError(
                f"--{name.replace('_', '-')}: expected {value}, as {args.resume} has, got {asked}"
            )
    return net


def _check_fits(net: MLP, data: MNIST, path: str) -> None:
    n_in, n_out = net.layer_sizes[0], net.architecture.n_out
    if data.x_train.shape[1] != n_in:
        raise ValueError(
            f"--resume: {path} takes {n_in} features, DATA has {data.x_train.shape[1]}"
        )
    if (highest := max(data.y_train.max(), data.y_test.max())) >= n_out:
        raise ValueError(f"--resume: {path} has {n_out} classes, DATA a label {highest}")


def _name(part: Optimizer | Schedule) -> str:
    """Return what is typed for an optimizer or a schedule."""
    return type(part).__name__.lower()


def _held_out(args: Namespace, n: int) -> float:
    """Return the share of n training samples that is held out: none where there are few."""
    if args.validation_split is None:
        return 1 / 12 if round(n / 12) else 0.0
    share: float = args.validation_split
    return share


def _plan(args: Namespace, net: MLP, schedule: Schedule, data: MNIST, share: float) -> str:
    n, a = len(data.y_train), net.architecture
    held = round(n * share)
    begin = f"seed {args.seed or 0}"
    if args.resume is not None:
        begin = f"after the {counted(len(net.history), 'epoch')} of {args.resume}"
    kind = a.dtype if a.precision == "highest" else f"{a.dtype} ({a.precision} precision)"
    return (
        f"{'-'.join(map(str, net.layer_sizes))}, {','.join(dict.fromkeys(a.activations))}, "
        f"{_name(net.optimizer)}({net.optimizer.learning_rate:g}), "
        f"{_name(schedule)}, {kind}, {args.backend}, {begin}: "
        f"{counted(args.epochs or EPOCHS, 'epoch')} of {counted(n - held, 'sample')}"
        f", {held:,} for validation, {len(data.y_test):,} for the test"
    )


def _summary(history: History, before: int, seconds: float) -> str:
    validated = ""
    if not history.loss:
        return f"no whole epoch in {seconds:.1f} s"
    if history.val_loss:
        validated = (
            f"; validation loss {history.val_loss[-1]:.4f}, "
            f"accuracy {percent(history.val_accuracy[-1])}"
        )
    return (
        f"{counted(len(history) - before, 'epoch')} in {seconds:.1f} s: "
        f"loss {history.loss[-1]:.4f}, accuracy {percent(history.accuracy[-1])}{validated}"
    )


def _checkpoints(args: Namespace, source: str) -> list[ModelCheckpoint]:
    if args.checkpoint is None:
        return []
    saver = ModelCheckpoint(args.checkpoint)
    try:
        saver.check(list(History().as_dict()))
    except ValueError as error:
        raise ValueError(f"--checkpoint: {str(error).removeprefix('path: ')}") from None
    check_outputs(read=[source], checkpoint=args.checkpoint)
    return [saver]


def _interrupted(net: MLP, out: str | None, step: int) -> str:
    """Save what was trained since that step; return what there is to say."""
    saved = "not saved"
    if out is not None and net._state.step != step:
        net.save(out)
        saved = f"saved to {out}"
    return f"interrupted after {counted(len(net.history), 'whole epoch')}, {saved}"


def train(args: Namespace, console: Console) -> int:
    """Train on DATA, save and draw what was asked for, end with the test accuracy."""
    source = data_source(args)
    asked = [name for name in TABLES_ONLY if getattr(args, name) is not None]
    if is_table(source, asked=bool(asked)):
        from .table import train_table

        return train_table(args, console, source, *_outputs(args, console, source, ".skops"))
    if asked:
        raise ValueError(f"--{asked[0].replace('_', '-')}: for tables, {source} is none")
    out, plot = _outputs(args, console, source, ".npz")
    epochs: int = args.epochs or EPOCHS
    batch_size = args.batch_size or BATCH_SIZE
    stopping = None
    if args.early_stopping is not None:
        stopping = EarlyStopping(patience=args.early_stopping)
    checkpoints = _checkpoints(args, source)
    loaded = None if args.resume is None else _loaded(args)
    data = read_data(source, console)
    for name, X in (("x_train", data.x_train), ("x_test", data.x_test)):
        check_finite(name, X)
    schedule = get_schedule(args.schedule or DEFAULTS["schedule"])
    if loaded is None:
        net = _new(args, data)
    else:
        net, schedule = loaded, loaded._schedule or schedule
        _check_fits(net, data, args.resume)
    before = len(net.history)
    if before >= epochs:
        console.note(
            f"{args.resume} has {counted(before, 'epoch')} behind it, --epochs {epochs} is all"
        )
    share = _held_out(args, len(data.y_train))
    say = (lambda _: None) if args.quiet else console.tell
    console.when_interrupted = partial(_interrupted, net, out, net._state.step)
    begun = time.perf_counter()
    try:
        say(_plan(args, net, schedule, data, share))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="fit was interrupted")  # said below
            history = net.fit(
                data.x_train, data.y_train, epochs=epochs,
                batch_size=None if batch_size == "full" else batch_size,
                schedule=schedule, l1=args.l1, l2=args.l2, dropout=args.dropout,
                clip_norm=args.clip_norm, label_smoothing=args.label_smoothing,
                max_norm=args.max_norm, class_weight=args.class_weight, validation_split=share,
                early_stopping=stopping, callbacks=checkpoints, on_divergence=args.on_divergence,
                resume=loaded is not None, progress=False if args.quiet else None,
            )  # fmt: skip
    except DivergenceError as error:
        console.note(f"error: {error}")
        return 1
    if history.interrupted:
        raise KeyboardInterrupt
    seconds = time.perf_counter() - begun
    if out is not None:
        net.save(out)
    say(_summary(history, before, seconds))
    test = net.evaluate(data.x_test, data.y_test)
    if plot is not None:
        from ..plots import save_history

        with replacing(plot) as name:
            save_history(history, name, f"test accuracy {percent(test['accuracy'])}")
    if args.json is not None:
        figures = {"history": history.as_dict(), "test": test, "seconds": seconds}
        write_json(args.json, figures)
    written = [name for name in (out, plot, args.json) if name is not None]
    if written:
        say(f"written: {', '.join(written)}")
    console.tell(f"test accuracy {percent(test['accuracy'])}, loss {test['loss']:.4f}")
    return 0
