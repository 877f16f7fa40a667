"""A regression that knows when to stop, and how far to trust a value.

One network gives one value. Several, from other first weights and other held-out samples, agree
where there are data and part where there are none: their mean is the better prediction, and their
spread grows with what the model does not know. `fit_many` trains them at once, a core each.
``early_stopping`` ends each when its held-out loss has not improved for a while, and goes back to
the best epoch.

Examples
--------
>>> from fastmlp.examples.uncertain_regression import run
>>> figures = run(networks=2, samples=300, epochs=5)
>>> sorted(figures)[:2]
['R2 of one', 'R2 of the mean']
"""

from __future__ import annotations

import numpy as np

import fastmlp

__all__ = ["curve", "run"]


def curve(x: np.ndarray) -> np.ndarray:
    """Return what is to be learned: a wave that grows."""
    return x * np.sin(2 * x)


def _r2(y: np.ndarray, predicted: np.ndarray) -> float:
    return float(1 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def run(networks: int = 8, samples: int = 2_000, epochs: int = 300) -> dict[str, float]:
    """Train networks on noisy samples between 0 and 4, and ask them there and beyond.

    Returns
    -------
    dict
        R2 of one network and of the mean, their spread within the data and beyond, and how many
        epochs were run.
    """
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 4, samples)
    y = curve(x) + rng.normal(0, 0.3, samples)

    nets = [
        fastmlp.MLP((1, 48, 48, 1), activation="tanh", output="identity", rng=seed)
        for seed in range(networks)
    ]
    histories = fastmlp.fit_many(
        nets, x[:, None], y[:, None], epochs=epochs, batch_size=32,
        optimizer=fastmlp.Adam(0.005), progress=False,
        early_stopping=[fastmlp.EarlyStopping(patience=30) for _ in nets],
        validation_split=0.1,
    )  # fmt: skip

    within, beyond = np.linspace(0, 4, 400), np.linspace(5, 7, 400)
    there = np.stack([net.predict(within[:, None])[:, 0] for net in nets])
    out = np.stack([net.predict(beyond[:, None])[:, 0] for net in nets])
    return {
        "R2 of one": float(np.mean([_r2(curve(within), one) for one in there])),
        "R2 of the mean": _r2(curve(within), there.mean(axis=0)),
        "spread within the data": float(there.std(axis=0).mean()),
        "spread beyond them": float(out.std(axis=0).mean()),
        "epochs": float(np.mean([len(history) for history in histories])),
    }


if __name__ == "__main__":
    for name, figure in run().items():
        print(f"{name}: {figure:.4g}")
