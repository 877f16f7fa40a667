"""What may be typed: commands, their arguments and their help."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from .. import __version__
from ..activations import ACTIVATIONS
from ..architecture import PRECISIONS
from ..optimizers import OPTIMIZERS
from ..schedules import SCHEDULES
from ..support.validation import check_integer, check_number

__all__ = ["UsageError", "build_parser"]

_DATA_HELP = (
    "mnist (default, comes with the package), or a path: a table as CSV or Parquet, a folder of "
    "IDX files or of mnist_train.csv and mnist_test.csv, an .npz with x_train, y_train, x_test, "
    "y_test"
)


class UsageError(Exception):
    """What was typed makes no command."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, printed by `fastmlp.cli.main`; no option is guessed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def _checked(convert: Callable[[str], Any], check: Callable[[Any], Any], expected: str) -> Any:
    def parse(text: str) -> Any:
        try:
            return check(convert(text))
        except (TypeError, ValueError):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None

    return parse


def _integer(low: int) -> Any:
    return _checked(int, lambda n: check_integer("n", n, low=low), f"an integer from {low}")


def _number(expected: str, **bounds: float) -> Any:
    return _checked(float, lambda x: check_number("x", x, **bounds), expected)


_FROM_0 = _number("a number of at least 0", low=0.0)
_ABOVE_0 = _number("a number above 0", above=0.0)
_SHARE = _number("a share from 0 to below 1", low=0.0, below=1.0)


def _layer_sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if len(sizes) < 2 or min(sizes) < 1:
        raise argparse.ArgumentTypeError(
            f"expected at least two sizes of at least 1, as 784,128,10, got {text!r}"
        )
    return sizes


def _batch_size(text: str) -> int | str:
    if text == "full":
        return text
    size: int = _checked(int, lambda n: check_integer("n", n, low=1), "an integer from 1 or full")(
        text
    )
    return size


def _test_size(text: str) -> int | float:
    expected = "a share below 1, or a whole number of rows"
    if text.isdecimal():
        rows: int = _checked(int, lambda n: check_integer("n", n, low=1), expected)(text)
        return rows
    share: float = _number(expected, above=0.0, below=1.0)(text)
    return share


def _image_shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"expected height and width, as 28x28, got {text!r}")
    return shape


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="?", metavar="DATA", help=_DATA_HELP)
    parser.add_argument("--data", dest="data_option", metavar="PATH", help="the same as DATA")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a file that train or MLP.save has written")


def _add_scale(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--input-scale", type=_ABOVE_0, metavar="DIVISOR",
        help="divides the input of a model that was saved without an input scale (default: "
        "255 for images, else 1)",
    )  # fmt: skip


def _add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend", choices=("numba", "numpy"), default="numba",
        help="compiled (default), or the reference in NumPy",
    )  # fmt: skip


def _add_machine(parser: argparse.ArgumentParser) -> None:
    _add_backend(parser)
    parser.add_argument(
        "--threads", type=_integer(1), metavar="N",
        help="at most so many threads (default: chosen from the work; the result is the same)",
    )  # fmt: skip


def _add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=PRECISIONS,
        help="how wide layers of float32 multiply in training: float32 (highest, the default), "
        "three products of bfloat16 parts, or one of bfloat16 (medium)",
    )  # fmt: skip


def _add_table(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("tables (CSV, Parquet)")
    group.add_argument(
        "--label", metavar="COLUMN",
        help="the label's column, by name or by number from 0 (default: the one called label, "
        "class, target or y)",
    )  # fmt: skip
    group.add_argument(
        "--regression", action=argparse.BooleanOptionalAction,
        help="the label holds values, not classes (default: where it has many different numbers)",
    )  # fmt: skip
    group.add_argument(
        "--test-size", type=_test_size,
        metavar="SIZE", help="rows to test on, a share or a number, drawn class by class "
        "(default: 0.2)",
    )  # fmt: skip
    group.add_argument(
        "--shuffle", action=argparse.BooleanOptionalAction,
        help="draw the rows to test on; --no-shuffle takes the last ones, as for time series "
        "(default: draw)",
    )  # fmt: skip
    group.add_argument(
        "--header", action=argparse.BooleanOptionalAction,
        help="the first line has the columns' names (default: found out)",
    )  # fmt: skip


def _add_train(commands: Any) -> None:
    p = commands.add_parser(
        "train",
        help="train on images or a table, and test",
        description="Train a network on MNIST, on arrays or on a table, save it, draw its loss "
        "curves, test it.",
        epilog="example: fastmlp train people.csv --label income",
    )
    _add_data(p)
    _add_table(p)
    p.add_argument(
        "--layers", type=_layer_sizes, metavar="SIZES",
        help="features, hidden layers, classes, as 784,200,100,50,10 (default: 200,100,50 "
        "between what DATA has)",
    )  # fmt: skip
    p.add_argument("--activation", choices=ACTIVATIONS, help="default: relu")
    p.add_argument(
        "--epochs",
        type=_integer(1),
        metavar="N",
        help="default: 10; for a table 10 to 200, the fewer the more rows",
    )
    p.add_argument(
        "--batch-size", type=_batch_size, metavar="N",
        help="samples of a step, or full (default: 128, for fewer than 2,000 rows of a table 32)",
    )  # fmt: skip
    p.add_argument("--optimizer", choices=tuple(OPTIMIZERS), help="default: adam")
    p.add_argument(
        "--learning-rate", type=_FROM_0, metavar="RATE", help="default: the optimizer's own"
    )
    p.add_argument("--schedule", choices=tuple(SCHEDULES), help="default: cosinedecay")
    p.add_argument(
        "--l2", type=_FROM_0, default=0.0, metavar="FACTOR",
        help="penalty on the weights (default: 0)",
    )  # fmt: skip
    p.add_argument(
        "--l1", type=_FROM_0, default=0.0, metavar="FACTOR",
        help="penalty on the weights' absolute values (default: 0)",
    )  # fmt: skip
    p.add_argument(
        "--dropout", type=_SHARE, default=0.0,
        metavar="SHARE", help="of hidden activations left out in a step (default: 0)",
    )  # fmt: skip
    p.add_argument(
        "--label-smoothing", type=_SHARE,
        default=0.0, metavar="SHARE", help="of a target, spread over all classes (default: 0)",
    )  # fmt: skip
    p.add_argument(
        "--clip-norm", type=_ABOVE_0, metavar="NORM",
        help="the most that a gradient's norm may be (default: no bound)",
    )  # fmt: skip
    p.add_argument(
        "--max-norm", type=_ABOVE_0, metavar="NORM",
        help="the most that the norm of a neuron's weights may be (default: no bound)",
    )  # fmt: skip
    p.add_argument("--class-weight", choices=("balanced",), help="rare classes count for more")
    p.add_argument(
        "--early-stopping", type=_integer(1), nargs="?", const=10, metavar="EPOCHS",
        help="end after so many epochs without a better validation loss (default: 10) and go back "
        "to the best",
    )  # fmt: skip
    p.add_argument(
        "--checkpoint", metavar="FILE",
        help="where the model goes after every epoch; {epoch} in the name is its number",
    )  # fmt: skip
    p.add_argument(
        "--resume", metavar="MODEL",
        help="go on with the run that has left this file: --epochs is the whole length; network, "
        "optimizer, schedule and random state come from the file, all else is to be given as "
        "before. From a checkpoint it ends with the bits of the run that was never broken off",
    )  # fmt: skip
    p.add_argument(
        "--on-divergence", choices=("raise", "restore", "ignore"), default="raise",
        help="where the loss is no finite number: end with an error (default), go back to the last "
        "finite parameters and end, or go on",
    )  # fmt: skip
    p.add_argument(
        "--seed", type=_integer(0), metavar="N", help="the same seed, the same network (default: 0)"
    )
    p.add_argument("--dtype", choices=("float32", "float64"), help="default: float32")
    _add_precision(p)
    p.add_argument(
        "--validation-split", type=_SHARE,
        metavar="SHARE", help="of the training samples, held out (default: a twelfth)",
    )  # fmt: skip
    p.add_argument(
        "--input-scale", type=_ABOVE_0, metavar="DIVISOR",
        help="divides the input (default: 255 for pixels, else none)",
    )  # fmt: skip
    p.add_argument(
        "--out",
        metavar="FILE",
        help="where the model goes (default: model.npz, of a table model.skops; none: nowhere; the "
        "picture goes where --plot says)",
    )
    p.add_argument(
        "--plot", metavar="FILE",
        help="where the picture of the loss curves goes (default: loss.png, if matplotlib is "
        "installed; none: nowhere)",
    )  # fmt: skip
    p.add_argument("--json", metavar="FILE", help="where history and test figures go")
    p.add_argument("--quiet", action="store_true", help="print the test accuracy only")
    _add_machine(p)


def _add_model_commands(commands: Any) -> None:
    p = commands.add_parser(
        "evaluate",
        help="accuracy, loss and confusion matrix of a model",
        description="Print accuracy, loss and confusion matrix of a model on DATA's test set.",
        epilog="example: fastmlp evaluate model.npz mnist",
    )
    _add_model(p)
    _add_data(p)
    _add_scale(p)
    _add_machine(p)
    p = commands.add_parser(
        "predict",
        help="labels and probabilities as CSV",
        description="Print a line of label and probabilities for each sample of INPUT, as CSV.",
        epilog="example: fastmlp predict model.npz digits.csv > labels.csv",
    )
    _add_model(p)
    p.add_argument(
        "input", metavar="INPUT",
        help="for a table's model a table; else a CSV of features (a column named label, or one "
        "more in front, is left out), an .npy array, or IDX images",
    )  # fmt: skip
    _add_scale(p)
    _add_machine(p)


def _add_report(commands: Any) -> None:
    p = commands.add_parser(
        "report",
        help="a model, its training and its test as one HTML file",
        description="Write what was trained and how, and what the model makes of DATA's test set, "
        "into one HTML file that opens without a connection.",
        epilog="example: fastmlp report model.npz mnist -o report.html",
    )
    _add_model(p)
    p.add_argument(
        "data", nargs="?", metavar="DATA",
        help=f"{_DATA_HELP}; for labels that are not exclusive, and for values, an .npz with "
        "x_test and y_test; none: no test (default: mnist where the model has its inputs and "
        "classes, else none)",
    )  # fmt: skip
    p.add_argument("--data", dest="data_option", metavar="PATH", help="the same as DATA")
    p.add_argument(
        "-o", "--out", default="report.html", metavar="FILE",
        help="where the report goes (default: report.html)",
    )  # fmt: skip
    p.add_argument(
        "--class-names", type=lambda text: text.split(","), metavar="NAMES",
        help="what the classes are called, as cat,dog (default: their numbers)",
    )  # fmt: skip
    p.add_argument(
        "--image-shape", type=_image_shape, metavar="SHAPE",
        help="height and width of a sample, as 28x28 (default: the square, from 64 pixels on)",
    )  # fmt: skip
    _add_scale(p)
    _add_machine(p)


def _add_profile(commands: Any) -> None:
    p = commands.add_parser(
        "profile",
        help="what each operation of a training step takes",
        description="Take training steps on random data and print what each operation takes, on "
        "one thread and on several, its GFLOP/s (zeros included) and share of this processor's own "
        "multiply-add peak.",
        epilog="example: fastmlp profile --layers 784,256,10 --batch-size 64 --json step.json",
    )
    p.add_argument(
        "--layers", type=_layer_sizes, default=(784, 200, 100, 50, 10), metavar="SIZES",
        help="inputs, hidden layers, classes (default: 784,200,100,50,10)",
    )  # fmt: skip
    p.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="default: relu")
    p.add_argument(
        "--batch-size", type=_integer(1), default=128, metavar="N",
        help="samples of a step (default: 128)",
    )  # fmt: skip
    p.add_argument("--optimizer", choices=tuple(OPTIMIZERS), default="adam", help="default: adam")
    p.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="default: float32"
    )
    p.add_argument(
        "--threads", type=_integer(1), metavar="N",
        help="of the second profile (default: as many as there are)",
    )  # fmt: skip
    _add_precision(p)
    p.add_argument("--json", metavar="FILE", help="where the figures go")


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="fastmlp",
        description="Train multilayer perceptrons on a CPU.",
        epilog="example: fastmlp train    (trains on MNIST for ten epochs)",
    )
    parser.add_argument("--version", action="version", version=f"fastmlp {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _add_train(commands)
    _add_model_commands(commands)
    _add_report(commands)
    p = commands.add_parser(
        "reproduce",
        help="run the published experiments",
        description="Run published experiments on MNIST and print what was published beside what "
        "came out. Exit code 1 where one falls short.",
        epilog="example: fastmlp reproduce numpy-ann simple-nn --json results.json",
    )
    p.add_argument(
        "names", nargs="*", metavar="NAME",
        help="numpy-ann, from-scratch, simple-nn, dnn-sgd, dnn-torch, dnn-keras (default: all)",
    )  # fmt: skip
    p.add_argument("--all", action="store_true", help="every experiment")
    p.add_argument("--json", metavar="FILE", help="where the figures go")
    p.add_argument("--seed", type=_integer(0), default=0, metavar="N", help="default: 0")
    _add_backend(p)
    p = commands.add_parser(
        "verify",
        help="on this machine: both backends agree, gradients are right, threads change no bit",
        description="Check on this machine that compiled operations agree with the reference, "
        "that gradients are those of the losses (finite differences), and that the number of "
        "threads changes no bit. Exit code 1 where a check fails.",
        epilog="example: fastmlp verify threads",
    )
    p.add_argument(
        "names", nargs="*", metavar="CHECK", help="parity, gradients, threads (default: all)"
    )
    p.add_argument("--json", metavar="FILE", help="where the findings go")
    p = commands.add_parser(
        "bench",
        help="this machine against every peer that is installed",
        description="Train and ask the same networks with fastmlp and every peer that is "
        "installed, in turns, and print the peers' time over fastmlp's, and fastmlp's share of "
        "this processor's own multiply-add peak.",
        epilog="example: fastmlp bench mini-batch wide --json bench.json",
    )
    p.add_argument(
        "names", nargs="*", metavar="WORKLOAD",
        help="mini-batch, one-sample, full-batch, full-batch-uint8, full-batch-deep, wide, "
        "wide-float64, small, relu-adam, adam-batch-32, momentum-batch-20, adam-float64, "
        "2048-wide, middle, table, deep-narrow, predict-32, predict-row, predict (default: all)",
    )  # fmt: skip
    p.add_argument("--rounds", type=_integer(1), default=3, metavar="N", help="default: 3")
    p.add_argument(
        "--precision", choices=("high", "medium"),
        help="the same of fastmlp, PyTorch and JAX, beside fastmlp's highest and PyTorch's "
        "autocast (default workloads: those of wide layers)",
    )  # fmt: skip
    p.add_argument("--json", metavar="FILE", help="where the figures go")
    p.add_argument("--plot", metavar="FILE", help="where a picture of the ratios goes")
    _add_profile(commands)
    p = commands.add_parser(
        "cache",
        help="the folder of compiled code, its size, and what may go",
        description="Print the folder of compiled code and what versions have left there. Caches "
        "into which nothing was compiled for a year go by themselves.",
        epilog="example: fastmlp cache --clear --old",
    )
    p.add_argument("--clear", action="store_true", help="remove all of it")
    p.add_argument("--old", action="store_true", help="with --clear: what other versions have left")
    p = commands.add_parser(
        "info",
        help="versions, processor, vector path, threads, cache folder",
        description="Print what fastmlp finds on this machine.",
        epilog="example: fastmlp info --json",
    )
    p.add_argument("--json", action="store_true", help="as a JSON object")
    return parser
