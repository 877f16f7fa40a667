"""The progress bar, and how a line of it fits into a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from time import perf_counter
from typing import Any

from .base import Callback, Logs

__all__ = ["ProgressBar", "new_bar"]

_LEFT_OUT = ("learning_rate", "seconds")  # of the logs: a bar has times of its own
_LEAST = 8  # columns of a bar that is worth drawing, its ends included
_STYLES = ((4, "accuracy"), (4, "acc"), (3, "acc"))  # of figures: digits, and a name for one
_SECONDS = 0.1  # between figures that are shown; the last ones are when the bar is closed
# what stands before the figures, the fullest first; "{bar}" takes the columns that are left
_LINES = (
    "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}, {rate_noinv_fmt}",
    "{desc}: {percentage:3.0f}% {elapsed}<{remaining}, {rate_noinv_fmt}",
    "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
    "{desc}: {percentage:3.0f}% {elapsed}<{remaining}",
)
_SHORT = ("{desc}: {percentage:3.0f}% <{remaining}", "{desc}", "")
# chunks that nobody has counted
_ENDLESS = ("{desc}: {n_fmt}{unit} {elapsed}, {rate_noinv_fmt}", "{desc}: {n_fmt}{unit} {elapsed}")
_SHORT_ENDLESS = ("{desc}: {elapsed}", "{desc}", "")


def _said(figures: Mapping[str, float], style: tuple[int, str]) -> str:
    """Return figures with their names; digits that are zero stay, so that the line stands still."""
    digits, accuracy = style
    return " ".join(
        f"{name.replace('accuracy', accuracy)}={value:#.{digits}g}"
        for name, value in figures.items()
    )


@cache
def _bar_class() -> Any:
    """Return tqdm's bar for where this runs, whose line says as much as there is room for."""
    from tqdm.auto import tqdm
    from tqdm.utils import disp_len

    class Bar(tqdm):  # type: ignore[misc]
        """A bar with figures, which have the last columns."""

        figures: Mapping[str, float] = {}

        @property
        def format_dict(self) -> dict[str, Any]:
            """What a line is made of: with the format that fits into the columns."""
            parts = super().format_dict
            counted = bool(parts["total"])
            lines, short = (_LINES, _SHORT) if counted else (_ENDLESS, _SHORT_ENDLESS)
            choices = [(line, style) for style in _STYLES for line in lines]
            choices += [(line, _STYLES[-1]) for line in short]
            for line, style in choices:
                said = _said(self.figures, style).replace("{", "{{").replace("}", "}}")
                parts["bar_format"] = ", ".join(filter(None, (line, said)))
                if parts["ncols"] is None or self._columns(parts) <= parts["ncols"]:
                    break
            return parts

        def _columns(self, parts: dict[str, Any]) -> int:
            """Return how many columns a line needs, a short bar included."""
            line = parts["bar_format"].replace("|{bar}|", "x" * _LEAST)
            return int(disp_len(self.format_meter(**{**parts, "bar_format": line, "ncols": None})))

    return Bar


def new_bar(
    total: int | None, unit: str, desc: str, *, initial: int = 0, scale: float | None = None
) -> Any:
    """Return a bar on standard error, as wide as its terminal, with figures where they are set.

    Parameters
    ----------
    total : int or None
        None where nobody has counted.
    unit : str
        What is counted, in the plural.
    desc : str
        What the line begins with.
    initial : int, default 0
        How many are done already.
    scale : float, optional
        How much of a unit 1 is; by default 1, and large numbers end in k or M.

    Returns
    -------
    tqdm
        With ``figures``, a mapping that is shown at the end of its line.
    """
    return _bar_class()(
        total=total, initial=initial, unit=f" {unit}", desc=desc, dynamic_ncols=True,
        unit_scale=True if scale is None else scale,
    )  # fmt: skip


class ProgressBar(Callback):
    """A bar over all epochs, on standard error: epoch, times, samples per second, latest figures.

    The figures are those of the history, metrics too, with four digits. Where a terminal is narrow
    the bar goes, accuracy becomes ``acc``, figures have three digits, and they go last.

    ``fit(..., progress=True)`` adds one; by default `fit` does so when someone is watching.
    """

    _bar: Any = None
    _shown = 0.0

    def on_train_begin(self, logs: Logs) -> None:
        """Open the bar."""
        samples, epochs = self.params["samples"], self.params["epochs"]
        total, done = None if samples is None else samples * epochs, len(self.net.history)
        self._bar = new_bar(total, "samples", self._named(done), initial=(samples or 0) * done)

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Name the epoch."""
        self._bar.set_description_str(self._named(epoch), refresh=False)

    def _named(self, epoch: int) -> str:
        return f"epoch {min(epoch + 1, self.params['epochs'])}/{self.params['epochs']}"

    def on_batch_group_end(self, step: int, logs: Logs) -> None:
        """Move on."""
        self._bar.update(int(logs["samples"]))

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Show the epoch's numbers."""
        self._bar.figures = {name: logs[name] for name in logs if name not in _LEFT_OUT}
        now = perf_counter()
        if now - self._shown >= _SECONDS:  # a line takes longer than an epoch of a small network
            self._shown = now
            self._bar.refresh()

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
