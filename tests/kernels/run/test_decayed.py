"""One sample a step with a penalty: whom it is for, and that it takes the steps."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from steps import DATA, LABELS, LAYERS, RNG, N

from fastmlp import MLP, SGD, Adam
from fastmlp.architecture import Architecture
from fastmlp.contract.operations import DataSet, StepSettings
from fastmlp.kernels.run.decayed import DecayedTraining
from fastmlp.kernels.run.source import Source
from fastmlp.kernels.run.training import Training
from fastmlp.optimizers import OptimizerState
from fastmlp.regularization import Regularization
from fastmlp.verification import difference

scipy_sparse = pytest.importorskip("scipy.sparse")


@pytest.mark.parametrize("l2", [0.1, 8.0])
@pytest.mark.parametrize("kind", ["dense", "codes", "values", "sparse"])
def test_decayed_steps_of_scaled_inputs_are_steps(kind, l2):
    """A weak penalty, and one that leaves 0.6 of a weight in a step."""
    left, order, rates = [], np.arange(N), np.full(N, 0.05)
    data = DataSet(DATA[kind], LABELS)
    for make in (functools.partial(Training, threads=1), DecayedTraining):
        parameters = MLP(LAYERS[1], rng=1, dtype="float64", input_scale=4.0)._parameters
        state = OptimizerState()
        settings = StepSettings(SGD(0.05), state, 1, Regularization(l2=l2))
        result = make(parameters, data, settings).train(order, rates)
        left.append([*parameters.weights, *parameters.biases, result.losses])
        assert state.step == N
    assert difference(*left) < 1e-11


def test_decayed_steps_are_for_plain_descent_with_a_penalty_alone():
    parameters, plain = MLP(LAYERS[0])._parameters, SGD(0.1)

    def fits(kind="dense", optimizer=plain, **options) -> bool:
        regularization = Regularization(**{"l2": 0.1, **options})
        settings = StepSettings(optimizer, OptimizerState(), 1, regularization)
        return DecayedTraining.fits(DATA[kind], parameters, settings)

    assert all(fits(kind) for kind in ("dense", "codes", "values", "sparse"))
    assert not fits("converted")
    assert not fits(l2=0.0)
    for other in (SGD(0.1, momentum=0.9), Adam(0.1)):
        assert not fits(optimizer=other)
    for options in ({"dropout": (0.2, 0.2)}, {"l1": 0.1}, {"clip_norm": 1.0}, {"max_norm": 1.0}):
        assert not fits(**options)


def test_decayed_steps_know_the_square_of_every_row():
    X = RNG.standard_normal((2500, 7)) * (RNG.random((2500, 7)) < 0.5)
    X[-20:] = 0
    for scale, expected in ((None, (X**2).sum(axis=1)), (3.0, ((X / 3) ** 2).sum(axis=1))):
        architecture = Architecture((7, 3), input_scale=scale)
        for given in (X, scipy_sparse.csr_array(X)):
            squares = Source(given, architecture).row_squares
            np.testing.assert_allclose(squares, expected, rtol=1e-14)
