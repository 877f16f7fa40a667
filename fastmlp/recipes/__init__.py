"""The published experiments: one file each, with its configuration, figures and rule.

Four tutorials show how to write such networks by hand. ``fastmlp reproduce`` runs their experiments
on real MNIST and prints what they published beside what comes out here; ``--all`` runs every one,
``--json FILE`` keeps the figures. ``benchmarks/README.md`` has a run of them.

`RECIPES` holds them by the name that ``fastmlp reproduce`` takes; `reproduce` runs them.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import dnn_keras, dnn_sgd, dnn_torch, from_scratch, numpy_ann, simple_nn
from ._base import Recipe, Result, Settings

__all__ = ["RECIPES", "Recipe", "Result", "Settings", "reproduce"]

RECIPES: dict[str, Recipe] = {
    module.RECIPE.name: module.RECIPE
    for module in (numpy_ann, from_scratch, simple_nn, dnn_sgd, dnn_torch, dnn_keras)
}


def reproduce(
    names: Sequence[str] | None = None,
    backend: str = "numba",
    seed: int = 0,
    progress: bool | None = None,
    *,
    epochs: int | None = None,
    samples: int | None = None,
) -> list[Result]:
    """Run published experiments on MNIST.

    Parameters
    ----------
    names : sequence of str, optional
        Of `RECIPES`; all by default.
    backend : {"numba", "numpy"}, default "numba"
    seed : int, default 0
        For what the experiments draw at random.
    progress : bool, optional
        A progress bar; by default when standard error is a terminal.
    epochs, samples : int, optional
        At most so many of each: a trial run, whose results are never ok.

    Returns
    -------
    list of Result
        In the order of `names`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of that kind; nothing has been run then.

    Examples
    --------
    >>> from fastmlp.recipes import reproduce
    >>> (result,) = reproduce(["simple-nn"], backend="numpy", epochs=1, samples=64)
    >>> result.name, result.published["test_accuracy"], result.ok, result.note
    ('simple-nn', 0.9671, False, 'shortened: not judged')
    """
    settings = Settings(backend, seed, epochs, samples, progress)
    if isinstance(names, str):
        raise TypeError(f"names: expected a sequence of names, got the one name {names!r}")
    chosen = list(RECIPES) if names is None else list(names)
    for name in chosen:
        if name not in RECIPES:
            raise ValueError(f"names: expected some of {', '.join(RECIPES)}, got {name!r}")
    return [RECIPES[name].run(settings) for name in chosen]
