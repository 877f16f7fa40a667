"""Reading a profile: where a step's time goes, and which batch size suits the processor.

`fastmlp.bench.profile_step` takes a step apart. Every line is an operation: ``forward`` and
``backward`` are products of matrices, ``update`` is the gradient of a matrix with the optimizer's
rule in it. GFLOP/s beside the processor's own peak say whether there is something left to gain: a
large layer near the peak is as fast as it gets, and only a smaller network is faster. What is far
below it is mostly small: with few samples in a step, most of its time goes into updating the
parameters, which costs the same for any batch size. So time per *sample* falls with the batch
size, until products of matrices are all there is.

Examples
--------
>>> from fastmlp.examples.reading_a_profile import run
>>> figures = run((20, 16, 3), batch_sizes=(8, 64))
>>> list(figures)[:2]
['ns a sample, batches of 8', 'ns a sample, batches of 64']
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..bench import profile_step

__all__ = ["run"]


def run(
    layer_sizes: Sequence[int] = (784, 256, 128, 10), batch_sizes: Sequence[int] = (8, 64, 512)
) -> dict[str, Any]:
    """Profile steps of several sizes on one thread.

    Returns
    -------
    dict
        Nanoseconds per sample by batch size; of the largest, the operation that takes longest,
        its share of the step and its share of the processor's peak.
    """
    found: dict[str, Any] = {}
    for size in batch_sizes:
        (profile,) = profile_step(layer_sizes, batch_size=size, threads=1)
        found[f"ns a sample, batches of {size}"] = 1e3 * profile.microseconds / size
    longest = max(profile.rows, key=lambda row: row.microseconds)
    found["longest operation"] = f"{longest.operation} {longest.shape}"
    found["its share of the step"] = longest.microseconds / profile.microseconds
    found["its share of the peak"] = longest.share_of_peak
    return found


if __name__ == "__main__":
    for name, figure in run().items():
        print(f"{name}: {figure:.4g}" if isinstance(figure, float) else f"{name}: {figure}")
