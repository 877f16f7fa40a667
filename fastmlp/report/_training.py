"""What was trained, and how it went: sections that need the network only."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from ..plots import plot_network, plot_weights
from ..plots._history import draw_curves
from ..support.environment import environment
from ..support.wording import counted
from ._figure import figure, figures
from ._page import Element, element, facts, missing, section, table

if TYPE_CHECKING:
    from ..network import MLP

__all__ = ["curves", "duration", "machine", "network", "number", "percent", "training", "weights"]

_MOST_WEIGHTS = 25


def number(value: float) -> str:
    """Return a number with as many digits as are read."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def percent(share: float) -> str:
    """Return a share as percent; a dash where there is no number."""
    return f"{100 * share:.2f} %" if share == share else "-"


def duration(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    if seconds >= 120:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _settings(config: dict[str, Any] | None) -> str:
    """Return the name and settings of an optimizer or schedule as it is written in a program."""
    if config is None:
        return "none"
    settings = {key: value for key, value in config.items() if key != "name"}
    return f"{config['name']}({', '.join(f'{key}={value}' for key, value in settings.items())})"


def network(net: MLP) -> Element:
    """Return the section on sizes, activations, output and loss."""
    a = net.architecture
    names = [*a.activations, a.output]
    rows = [
        (str(i + 1), number(n_in), number(n_out), name, number(n_in * n_out + a.bias * n_out))
        for i, ((n_in, n_out), name) in enumerate(zip(a.layers, names, strict=True))
    ]
    sizes = "-".join(str(size) for size in a.layer_sizes)
    shown = figure(
        lambda axes: plot_network(net, axes),
        "The first neurons of each layer and the last; the number of neurons stands above, the "
        "activation below.",
        f"Diagram of the network: fully connected layers of {sizes} neurons.",
        (min(9.0, max(4.6, 1.3 * len(a.layer_sizes))), 3.6),
    )
    return section(
        "Network",
        facts([
            ("layers", sizes),
            ("parameters", number(a.n_parameters)),
            ("loss", a.loss.replace("_", " ")),
            ("biases", "yes" if a.bias else "no"),
            ("input divided by", "-" if a.input_scale is None else number(a.input_scale)),
            ("type of numbers", a.dtype),
            *([] if a.precision == "highest" else [("precision of products", a.precision)]),
        ]),
        figures(
            shown,
            table("Layers of weights", ("layer", "inputs", "outputs", "activation", "parameters"),
                  rows),
        ),
    )  # fmt: skip


def training(net: MLP) -> Element:
    """Return the section on optimizer, schedule, curves and time."""
    history = net.history
    pairs = [
        ("optimizer", _settings(net.optimizer.config())),
        ("schedule", _settings(None if net._schedule is None else net._schedule.config())),
        ("steps taken", number(net._state.step)),
    ]
    if not history.loss:
        return section(
            "Training",
            facts(pairs),
            missing(
                "The model carries no history: it has not been trained, or what trained it kept "
                "none. Curves and times are missing here."
            ),
        )
    pairs.append(("epochs", number(len(history))))
    pairs.append(("training loss", number(history.loss[-1])))
    if history.accuracy:
        pairs.append(("training accuracy", percent(history.accuracy[-1])))
    if history.val_loss:
        best = min(range(len(history.val_loss)), key=history.val_loss.__getitem__)
        pairs.append(("validation loss", number(history.val_loss[-1])))
        pairs.append(("lowest validation loss", f"{history.val_loss[best]:.4g}, epoch {best + 1}"))
    if history.val_accuracy:
        pairs.append(("validation accuracy", percent(history.val_accuracy[-1])))
    if history.seconds:
        pairs.append(("time per epoch", f"{duration(median(history.seconds))} (median)"))
        pairs.append(("time of all epochs", duration(sum(history.seconds))))
    without = None
    if not history.val_loss:
        without = missing("There was no validation data: the curves are of the training data only.")
    return section(
        "Training",
        facts(pairs),
        *curves(history),
        without,
    )


def curves(history: Any) -> list[Element]:
    """Return the curves of a history and, folded, its numbers."""
    drawn = figures(
        _curves("Loss", history.loss, history.val_loss),
        _curves("Accuracy", history.accuracy, history.val_accuracy),
        _rates(history.learning_rate),
    )
    numbers = element("details", element("summary", "Every epoch in numbers"), _epochs(history))
    return [numbers] if drawn is None else [drawn, numbers]


def _ends(values: Sequence[float]) -> str:
    return f"from {values[0]:.4g} to {values[-1]:.4g}"


def _curves(name: str, trained: list[float], validated: list[float]) -> Element | None:
    if not trained:
        return None
    epochs = counted(len(trained), "epoch")
    alt = f"Curve of the training {name.lower()} over {epochs}, {_ends(trained)}"
    if validated:
        alt += f", and of the validation {name.lower()}, {_ends(validated)}"
    return figure(
        lambda axes: draw_curves(
            axes, {"training": trained, "validation": validated}, name.lower()
        ),
        f"{name}, epoch by epoch." if not validated else
        f"{name}, epoch by epoch: training as a line, validation dashed.",
        alt + ".",
    )  # fmt: skip


def _rates(rates: list[float]) -> Element | None:
    if len(set(rates)) < 2:
        return None
    return figure(
        lambda axes: draw_curves(axes, {"first step": rates}, "learning rate"),
        "Learning rate at the first step of each epoch.",
        f"Curve of the learning rate over {counted(len(rates), 'epoch')}, {_ends(rates)}.",
    )


def _epochs(history: Any) -> Element:
    lists = {
        name.replace("val_", "validation ").replace("_", " "): values
        for name, values in history.as_dict().items()
        if isinstance(values, list) and len(values) == len(history)
    }
    rows = [
        (str(i + 1), *(f"{values[i]:.4g}" for values in lists.values()))
        for i in range(len(history))
    ]
    return table("Epochs", ("epoch", *lists), rows)


def weights(net: MLP, image_shape: tuple[int, ...] | None) -> Element:
    """Return the section with the first layer's weights as images."""
    title = "First layer"
    if image_shape is None:
        return section(
            title,
            missing(
                f"The {net.architecture.n_in} inputs are not taken for the pixels of an image, so "
                "the weights are not drawn; the argument image_shape says what they are."
            ),
        )
    n = min(_MOST_WEIGHTS, net.layer_sizes[1])
    if not np.isfinite(net.weights[0]).all():
        return section(title, missing("Some weights are not finite numbers: training diverged."))
    shown = figure(
        lambda axes: plot_weights(net, axes, image_shape=image_shape, n_images=n),
        "Each image is what one neuron multiplies the input with: white is positive, black "
        "negative, the middle grey zero.",
        f"The weights of {n} neurons of the first layer, each drawn as an image.",
        (5.0, 5.0),
    )
    return section(title, shown)


def machine(saved_with: dict[str, str] | None) -> Element:
    """Return the section on versions and processor."""
    found = environment()
    here = [(name, found[name]) for name in
            ("fastmlp", "python", "numpy", "numba", "platform", "processor")]  # fmt: skip
    with_what = None
    if saved_with:
        named = ", ".join(f"{name} {version}" for name, version in saved_with.items())
        with_what = element("p", f"The model was saved with {named}.")
    else:
        with_what = missing("The model does not say which versions it was saved with.")
    return section(
        "Versions",
        with_what,
        element("p", "This report was made with:"),
        facts([(name, "-" if value is None else str(value)) for name, value in here]),
    )
