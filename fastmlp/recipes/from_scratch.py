"""from-scratch: two small hidden layers on raw pixels by full-batch gradient descent.

The published run had no seed, so ours is repeated over several and the spread is shown.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..datasets import load_mnist
from ..initializers import Uniform
from ..network import MLP
from ..optimizers import SGD
from ..support.validation import check_integer
from ._base import Recipe, Result, Settings, judge, timed_fit

__all__ = ["RECIPE", "run"]

NAME = "from-scratch"
LAYERS = (784, 16, 16, 10)
N_TRAIN, N_TEST = 30_000, 12_000
LEARNING_RATE, EPOCHS = 0.8, 500
PUBLISHED: dict[str, Any] = {"train_accuracy": 0.8722, "test_accuracy": 0.8565}
# Seeds 0 to 4 gave train 87.4 to 88.7 %, test 85.3 to 86.4 %; other seeds and roundings test 84.2
# to 86.8 %. Pixels up to 255 saturate the first layer, so a run hangs on its draw and rounding.
MEAN_WITHIN, EACH_ABOVE = 0.02, 0.80
RULE = (
    f"the means of train and test accuracy within {100 * MEAN_WITHIN:g} points of published, "
    f"every seed's test accuracy above {EACH_ABOVE:.0%}"
)


def run(settings: Settings, seeds: int = 5) -> Result:
    """Run the experiment with `seeds` consecutive seeds from that of the settings on."""
    check_integer("seeds", seeds, low=1)
    data = load_mnist("uint8")
    n = settings.n_samples(N_TRAIN)
    x_train, y_train = data.x_train[:n], data.y_train[:n]
    held = slice(N_TRAIN, N_TRAIN + N_TEST)
    train, test, seconds = [], [], 0.0
    for seed in range(settings.seed, settings.seed + seeds):
        net = MLP(
            LAYERS, init=Uniform(-0.5, 0.5, biases=True), dtype="float64", rng=seed,
            backend=settings.backend,
        )  # fmt: skip
        _, taken = timed_fit(
            net, x_train, y_train, epochs=settings.n_epochs(EPOCHS), batch_size=None,
            shuffle=False, optimizer=SGD(LEARNING_RATE), progress=settings.progress,
        )  # fmt: skip
        seconds += taken
        train.append(net.evaluate(x_train, y_train)["accuracy"])
        test.append(net.evaluate(data.x_train[held], data.y_train[held])["accuracy"])
    measured = {
        "train_accuracy": float(np.mean(train)),
        "test_accuracy": float(np.mean(test)),
        "train_accuracy_range": [min(train), max(train)],
        "test_accuracy_range": [min(test), max(test)],
        "train_accuracies": train,
        "test_accuracies": test,
    }
    passed = min(test) > EACH_ABOVE and all(
        abs(measured[name] - figure) <= MEAN_WITHIN for name, figure in PUBLISHED.items()
    )
    return judge(settings, NAME, PUBLISHED, measured, seconds, passed=passed, rule=RULE)


RECIPE = Recipe(
    NAME, "784-16-16-10, sigmoid, softmax; raw pixels, full batch, 500 epochs", run, PUBLISHED
)
