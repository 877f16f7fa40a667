"""The course of the loss, as scikit-learn's displays draw theirs."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import check_is_fitted

from ..support.extras import require

__all__ = ["LossCurveDisplay"]


class LossCurveDisplay:
    """Losses over epochs.

    Best made with `from_estimator`.

    Parameters
    ----------
    loss : sequence of float
        The training loss of every epoch.
    validation_loss : sequence of float, optional
    validation_scores : sequence of float, optional
    estimator_name : str, optional
        Shown in the legend.

    Attributes
    ----------
    ax_, figure_, lines_
        Where it was drawn; once `plot` was called.

    Examples
    --------
    >>> from fastmlp.sklearn import LossCurveDisplay
    >>> LossCurveDisplay([1.0, 0.5]).loss
    [1.0, 0.5]
    """

    def __init__(
        self,
        loss: Any,
        *,
        validation_loss: Any = None,
        validation_scores: Any = None,
        estimator_name: str | None = None,
    ) -> None:
        self.loss = list(loss)
        self.validation_loss = validation_loss
        self.validation_scores = validation_scores
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Any = None, **line_kw: Any
    ) -> LossCurveDisplay:
        """Draw the loss of a fitted estimator; the last step of a Pipeline counts.

        Parameters
        ----------
        estimator : MLPClassifier, MLPRegressor or Pipeline
            scikit-learn's own are welcome too.
        name : str, optional
            Instead of the class's name.
        ax : matplotlib Axes, optional
        **line_kw
            For ``Axes.plot``.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator has no ``loss_curve_``.
        """
        model = estimator[-1] if hasattr(estimator, "steps") else estimator
        check_is_fitted(model, "loss_curve_")
        display = cls(
            model.loss_curve_,
            validation_loss=getattr(model, "validation_loss_curve_", None),
            validation_scores=getattr(model, "validation_scores_", None),
            estimator_name=type(model).__name__ if name is None else name,
        )
        return display.plot(ax=ax, **line_kw)

    def plot(self, ax: Any = None, *, name: str | None = None, **line_kw: Any) -> LossCurveDisplay:
        """Draw; needs the ``plot`` extra.

        Parameters
        ----------
        ax : matplotlib Axes, optional
        name : str, optional
        **line_kw
            For ``Axes.plot``.

        Returns
        -------
        LossCurveDisplay
        """
        plt = require("matplotlib.pyplot", "plot")
        if ax is None:
            _, ax = plt.subplots()
        name = self.estimator_name if name is None else name
        label = "training" if name is None else name
        epochs = range(1, len(self.loss) + 1)
        self.lines_ = ax.plot(epochs, self.loss, **{"label": label, **line_kw})
        curves = [(self.validation_loss, "validation loss")]
        for values, what in curves:
            if values:
                start = len(self.loss) - len(values) + 1
                color = self.lines_[0].get_color()
                places = range(start, start + len(values))
                self.lines_ += ax.plot(places, values, "--", color=color, label=f"{label}, {what}")
        ax.set(xlabel="epoch", ylabel="loss")
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self
