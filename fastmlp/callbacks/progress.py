"""The progress bar."""

from __future__ import annotations

from typing import Any

from .base import Callback, Logs

__all__ = ["ProgressBar"]

_FORMAT = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}, {rate_fmt}{postfix}"
_ENDLESS = "{desc}{n_fmt}{unit} {elapsed}, {rate_fmt}{postfix}"  # chunks that nobody has counted
_SHOWN = ("loss", "accuracy", "val_loss", "val_accuracy")


class ProgressBar(Callback):
    """A bar over all epochs, on standard error: epoch, samples per second, the latest numbers.

    ``fit(..., progress=True)`` adds one; by default `fit` does so when someone is watching.
    """

    _bar: Any = None

    def on_train_begin(self, logs: Logs) -> None:
        """Open the bar."""
        from tqdm.auto import tqdm

        samples, epochs = self.params["samples"], self.params["epochs"]
        self._bar = tqdm(
            total=None if samples is None else samples * epochs,
            initial=(samples or 0) * len(self.net.history), unit=" samples", unit_scale=True,
            dynamic_ncols=True, bar_format=_ENDLESS if samples is None else _FORMAT,
        )  # fmt: skip

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Name the epoch."""
        self._bar.set_description(f"epoch {epoch + 1}/{self.params['epochs']}", refresh=False)

    def on_batch_group_end(self, step: int, logs: Logs) -> None:
        """Move on."""
        self._bar.update(int(logs["samples"]))

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Show the epoch's numbers."""
        self._bar.set_postfix({name: f"{logs[name]:.4f}" for name in _SHOWN if name in logs})

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
