"""scikit-learn's own tests of its two perceptrons, with our classes in their place."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("sklearn", minversion="1.6")

pytestmark = pytest.mark.filterwarnings("ignore::Warning")

# What reaches into private attributes that have no counterpart here, and why it has none.
LEFT_OUT = {
    "test_gradient": "calls _loss_grad_lbfgs with scikit-learn's own lists of work arrays; "
    "test_solvers.py holds the compiled gradient against finite differences",
}


def _module() -> dict:
    path = Path(find_spec("sklearn.neural_network.tests").origin).parent / "test_mlp.py"
    source = path.read_text("utf-8")
    ours = "from fastmlp.sklearn import MLPClassifier, MLPRegressor"
    source, replaced = re.subn(
        r"from sklearn\.neural_network import MLPClassifier, MLPRegressor", ours, source
    )
    assert replaced == 1
    names = {"__name__": "sklearn_test_mlp", "__file__": str(path)}
    exec(compile(source, str(path), "exec"), names)
    return names


OWN = {name: test for name, test in _module().items() if name.startswith("test_")}
globals().update({name: test for name, test in OWN.items() if name not in LEFT_OUT})


@pytest.fixture
def global_random_seed():
    return 42


def test_what_is_left_out_is_there():
    assert set(LEFT_OUT) < set(OWN)
    assert len(OWN) >= 39
