"""Many steps in one call."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import MLP, SGD, Adam
from fastmlp.contract.operations import DataSet, StepSettings
from fastmlp.kernels.run import training
from fastmlp.optimizers import OptimizerState
from fastmlp.reference.dropout import key_words
from fastmlp.regularization import Regularization

CASES = {
    "batches": (16, Adam(0.01), Regularization(l2=0.01, dropout=(0.3,))),
    "one sample a step": (1, SGD(0.01), Regularization()),
    "full batch": (90, SGD(0.1, momentum=0.9), Regularization(l1=0.01)),
}


@pytest.mark.parametrize("name", CASES)
def test_hyperparameters_made_for_some_steps_at_a_time_leave_the_same(name, monkeypatch):
    batch_size, optimizer, regularization = CASES[name]
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 7)).astype(np.float32), rng.integers(0, 3, 100)
    order, n_steps = rng.permutation(100), -(-100 // batch_size)
    rates = np.linspace(0.01, 0.02, n_steps)
    words = (
        key_words(np.array([5, 6], np.uint32), 0, n_steps, 1) if regularization.dropout else None
    )
    left = []
    for rows in (4096, 3, 1):
        monkeypatch.setattr(training, "_ROWS", rows)
        net = MLP((7, 9, 3), rng=1)
        state = OptimizerState(0, net._parameters.slot_views(optimizer.slots))
        settings = StepSettings(optimizer, state, batch_size, regularization)
        data = DataSet(X, y, rng.random(100) if not left else left[0][0])
        made = training.Training(net._parameters, data, settings, threads=2)
        result = made.train(order, rates, words)
        assert state.step == n_steps
        numbers = net._parameters.flat.copy(), result.loss, result.accuracy, result.samples
        left.append((data.sample_weight, *numbers))
    for other in left[1:]:
        for ours, theirs in zip(left[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)
