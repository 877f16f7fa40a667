"""A network that is reported on."""

from __future__ import annotations

import pytest
from reports import X, Y, trained


@pytest.fixture(scope="module")
def net():
    made, fit = trained(64, 9, 3, activation="relu", input_scale=255.0)
    made.fit(X, Y, validation_split=0.2, schedule="cosinedecay", **fit)
    return made
