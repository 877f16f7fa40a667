"""What the commands do. They speak through a `Console` that `fastmlp.cli` hands them."""

from __future__ import annotations

import csv
import io
import json
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..network import MLP
from ..support.atomic import is_stream, replacing
from ..support.validation import check_finite
from ..support.wording import counted
from .cache import cache
from .console import Console, percent, say_confusion
from .files import (
    are_pixels,
    check_outputs,
    check_picture,
    data_source,
    divided,
    is_table,
    is_table_model,
    read_data,
    read_features,
    read_named,
    read_test,
    write_json,
)
from .train import train

__all__ = [
    "bench",
    "cache",
    "evaluate",
    "info",
    "predict",
    "profile",
    "report",
    "reproduce",
    "train",
    "verify",
]

_LINES = 1000  # written at a time


def _scaled(net: MLP, X: Any, given: float | None, pixels: bool, console: Console) -> Any:
    """Return X as the network wants it.

    A network that `train` has written divides itself. Of others nothing says what they were
    trained on: images are divided by 255, as `load_mnist` does, and nothing else is.
    """
    own = net.architecture.input_scale
    if own is not None:
        if given is not None:
            raise ValueError(f"--input-scale: not for this model, it divides by {own:g} itself")
        return X
    if given is None and pixels:
        console.note("the model does not say what its input is divided by: pixels by 255 "
                     "(--input-scale)")  # fmt: skip
    scale = given if given is not None else 255.0 if pixels else None
    return X if scale is None else divided(X, scale, net.dtype)


def evaluate(args: Namespace, console: Console) -> int:
    """Print accuracy, loss and confusion matrix of a model on DATA's test set."""
    if is_table_model(args.model):
        from .table import evaluate_table

        return evaluate_table(args, console, _table_source(args))
    net = MLP.load(args.model, backend=args.backend, threads=args.threads)
    source = data_source(args)
    if net.feature_names is not None and is_table(source):
        X, y = read_named(source, net, labels=True)
    else:
        data = read_data(source)
        X, y = data.x_test, data.y_test
        X = _scaled(net, X, args.input_scale, are_pixels(source, X), console)
    check_finite("x_test", X)
    figures = net.evaluate(X, y)
    console.say(f"samples  {len(y):,}")
    if "accuracy" in figures:
        console.say(f"accuracy {percent(figures['accuracy'])}")
    console.say(f"loss     {figures['loss']:.6g}")
    n_out = net.architecture.n_out
    if net.architecture.output == "identity" or n_out == 1:
        return 0
    names = list(net.class_names or map(str, range(n_out)))
    say_confusion(console, y, net.predict_proba(X).argmax(axis=1), names)
    return 0


def _table_source(args: Namespace) -> str:
    if args.data is None and args.data_option is None:
        raise ValueError("DATA: expected a table, as the model is one's")
    return data_source(args)


def predict(args: Namespace, console: Console) -> int:
    """Print the labels and probabilities that a model gives to the samples of INPUT, as CSV."""
    if is_table_model(args.model):
        from .table import predict_table

        return predict_table(args, console)
    net = MLP.load(args.model, backend=args.backend, threads=args.threads)
    if net.feature_names is not None and is_table(args.input):
        X, _ = read_named(args.input, net)
    else:
        X, images = read_features(args.input, net.architecture.n_in)
        X = _scaled(net, X, args.input_scale, images and X.dtype == np.uint8, console)
    check_finite("INPUT", X)
    outputs = net.predict_proba(X)
    n_out = net.architecture.n_out
    if net.architecture.output == "identity":
        header, columns = [f"y{i}" for i in range(n_out)], []
    else:
        names = net.class_names
        header = ["label", *(f"p{i}" for i in range(n_out))]
        places = outputs.argmax(axis=1) if n_out > 1 else net.predict(X).ravel()
        columns = [places]
        if names is not None:
            columns = [np.array([_cell(name) for name in names], object)[places]]
            if n_out > 1:
                header[1:] = [_cell(f"p_{name}") for name in names]
    console.say(",".join(header), exact=True)
    # str() of a float is the shortest text that reads back as the same number.
    lines = [",".join(map(str, cells)) for cells in zip(*columns, *outputs.T, strict=True)]
    for start in range(0, len(lines), _LINES):
        console.say("\n".join(lines[start : start + _LINES]), exact=True)
    return 0


def _cell(text: str) -> str:
    """Return a text as a cell of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([text])
    return line.getvalue()


def _reportdata_source(args: Namespace, net: MLP) -> str | None:
    """Return where the test set comes from: MNIST unless the model is for something else."""
    if args.data is None and args.data_option is None:
        fits = net.layer_sizes[0] == 784 and net.architecture.n_out == 10
        return "mnist" if fits and net.architecture.output != "identity" else None
    source = data_source(args)
    return None if source == "none" else source


def report(args: Namespace, console: Console) -> int:
    """Write a report of a model, and of what it makes of DATA's test set, as one HTML file."""
    from ..persistence import saved_with
    from ..report import write_report

    read = [args.model, *(name for name in (args.data, args.data_option) if name is not None)]
    check_outputs(read=read, out=args.out)
    if is_table_model(args.model):
        from .table import report_table

        none = args.data is None and args.data_option is None
        source = None if none else data_source(args)
        return report_table(args, console, None if source == "none" else source)
    net = MLP.load(args.model, backend=args.backend, threads=args.threads)
    source = _reportdata_source(args, net)
    X = y = None
    if source is None:
        console.note("no test set: the report is of the model and its training only")
    else:
        X, y = read_test(source, net.architecture.output)
        X = _scaled(net, X, args.input_scale, are_pixels(source, X), console)
    write_report(
        net, args.out, X, y, title=f"Report of {Path(args.model).name}", data_name=source or "",
        class_names=args.class_names or net.class_names, image_shape=args.image_shape,
        saved_with=saved_with(args.model),
    )  # fmt: skip
    if not is_stream(args.out):
        console.tell(f"written: {args.out}")
    return 0


def _rows(published: dict[str, Any], measured: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield figure, published, measured; lists that were published item by item."""
    for name in [*published, *(name for name in measured if name not in published)]:
        theirs, ours = published.get(name), measured.get(name)
        if isinstance(theirs, list):
            ours = [*(ours or []), *[None] * len(theirs)]
            for i, item in enumerate(theirs):
                yield f"{name}[{i}]", repr(item), "-" if ours[i] is None else repr(ours[i])
        elif isinstance(ours, dict):
            yield from _rows({}, {f"{name}.{key}": value for key, value in ours.items()})
        else:
            yield name, _shown(theirs), _shown(ours)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return " ".join(map(_shown, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def reproduce(args: Namespace, console: Console) -> int:
    """Run published experiments; return 1 where one falls short."""
    from ..recipes import RECIPES
    from ..recipes import reproduce as run

    names = list(RECIPES) if args.all or not args.names else list(dict.fromkeys(args.names))
    for name in names:
        if name not in RECIPES:
            raise ValueError(f"NAME: expected some of {', '.join(RECIPES)}, got {name!r}")
    check_outputs(json=args.json)
    results = []
    for name in names:
        console.say(f"{name}: {RECIPES[name].description}")
        (result,) = run([name], backend=args.backend, seed=args.seed)
        results.append(result.as_dict())
        rows = [("", "published", "measured"), *_rows(result.published, result.measured)]
        first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
        for figure, theirs, ours in rows:
            console.say(f"  {figure:{first}}  {theirs:{second}}  {ours}")
        verdict = "ok" if result.ok else "FALLS SHORT"
        console.say(f"  {verdict} in {result.seconds:.1f} s ({result.note})")
    if args.json is not None:
        write_json(args.json, results)
    fine = sum(result["ok"] for result in results)
    console.say(f"{fine} of {len(results)} ok")
    return 0 if fine == len(results) else 1


def bench(args: Namespace, console: Console) -> int:
    """Compare with the installed peers; ratios above 1 say that fastmlp is faster."""
    from ..bench import WORKLOADS, compare, save_speed, with_precision

    works = dict(WORKLOADS)
    if args.precision is not None:
        works = with_precision(args.precision)
    names = list(dict.fromkeys(args.names)) or list(works)
    for name in names:
        if name not in works:
            raise ValueError(f"WORKLOAD: expected some of {', '.join(works)}, got {name!r}")
    check_outputs(json=args.json, plot=args.plot)
    if args.plot is not None:
        check_picture(args.plot)
    rows = []
    for name in names:
        row = compare(works[name], rounds=args.rounds)
        rows.append(row)
        ratios = ", ".join(f"{peer} {ratio:.1f}" for peer, ratio in row.ratios.items())
        console.say(
            f"{name}: {row.microseconds:.3f} us a sample, {row.share_of_peak:.0%} of the peak "
            f"({row.peak / 1e9:.0f} GFLOP/s); peers' time over it: {ratios}"
        )
    if args.json is not None:
        write_json(args.json, {"rows": [row.as_dict() for row in rows]})
    if args.plot is not None:
        with replacing(args.plot) as temporary:
            save_speed(rows, temporary)
    return 0


def profile(args: Namespace, console: Console) -> int:
    """Print what the operations of a step take."""
    from ..bench import profile_step

    check_outputs(json=args.json)
    profiles = profile_step(
        args.layers, batch_size=args.batch_size, activation=args.activation,
        optimizer=args.optimizer, dtype=args.dtype, threads=args.threads,
        precision=args.precision or "highest",
    )  # fmt: skip
    for found in profiles:
        console.say(
            f"{counted(found.threads, 'thread')}: {found.microseconds:.1f} us a "
            f"step, peak {found.peak_gflops:.0f} GFLOP/s"
        )
        width = max(len(row.shape) for row in found.rows)
        console.say(f"  {'phase':8} {'operation':16} {'shape':{width}} {'us':>9} GFLOP/s   peak")
        for row in found.rows:
            rate = "" if row.gflops is None else f"{row.gflops:7.1f}"
            share = "" if row.share_of_peak is None else f"{row.share_of_peak:6.0%}"
            console.say(
                f"  {row.phase:8} {row.operation:16} {row.shape:{width}} {row.microseconds:9.2f} "
                f"{rate:7} {share:6}".rstrip()
            )
    if args.json is not None:
        write_json(args.json, [found.as_dict() for found in profiles])
    return 0


def verify(args: Namespace, console: Console) -> int:
    """Check this machine: parity, gradients, threads; exit code 1 where one falls short."""
    from ..verification.checks import verify as findings

    check_outputs(json=args.json)
    found = []
    for finding in findings(args.names):
        found.append(finding)
        if not finding.ok:
            error, allowed = finding.error, finding.allowed
            console.say(f"FAILED {finding.name}: difference {error:.1e}, allowed {allowed:.1e}")
    failed = sum(not finding.ok for finding in found)
    if args.json:
        write_json(args.json, [{**asdict(finding), "ok": finding.ok} for finding in found])
    console.say(f"{len(found) - failed} of {len(found)} checks passed")
    return 1 if failed else 0


def info(args: Namespace, console: Console) -> int:
    """Print versions, processor, vector path, threads and cache folder."""
    from ..support.environment import environment

    found = environment()
    if args.json:
        console.say(json.dumps(found, indent=2, allow_nan=False))
        return 0
    width = max(map(len, found))
    for name, value in found.items():
        console.say(f"{name.replace('_', ' '):{width}}  {'-' if value is None else value}")
    return 0
