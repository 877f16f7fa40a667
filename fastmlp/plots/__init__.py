"""Pictures of training, of data and of networks; needs the ``plot`` extra.

`plot_history`, `plot_network`, `plot_images`, `plot_weights`, `plot_confusion_matrix`,
`plot_mistakes`, `plot_calibration`, `plot_predictions` and `plot_residuals`: each draws into the
Axes that it is given, or into a new figure, and returns the Axes. Nothing is told by colour alone,
and ink follows matplotlib's style, so dark ones work too. `fastmlp.report` puts them on one page.
"""

from __future__ import annotations

from ._diagram import plot_network
from ._history import plot_history, save_history
from ._images import plot_images, plot_mistakes, plot_weights
from ._judgement import plot_calibration, plot_confusion_matrix, plot_predictions, plot_residuals

__all__ = [
    "plot_calibration",
    "plot_confusion_matrix",
    "plot_history",
    "plot_images",
    "plot_mistakes",
    "plot_network",
    "plot_predictions",
    "plot_residuals",
    "plot_weights",
    "save_history",
]
