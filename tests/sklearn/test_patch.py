"""Programs that were not changed: the classes in the place of scikit-learn's."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import os
import pickle
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

import sklearn.neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron

import fastmlp.sklearn
from fastmlp.sklearn import MLPClassifier, MLPRegressor, patch, unpatch

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:.*made classes of:RuntimeWarning"),  # other tests did
]

THEIRS = [sklearn.neural_network.MLPClassifier]  # a list: patch() changes names, not lists
SHORT = {"max_iter": 3, "random_state": 0, "hidden_layer_sizes": 5}


@pytest.fixture
def patched():
    patch()
    yield
    unpatch()


def digits() -> tuple[np.ndarray, np.ndarray]:
    X, y = load_digits(return_X_y=True)
    return X[:300] / 16, y[:300]


# names, calls, kin


def test_every_module_has_the_classes_and_gets_its_own_back():
    theirs = sklearn.neural_network.MLPClassifier, sklearn.neural_network.MLPRegressor
    earlier = types.ModuleType("earlier")
    earlier.Model = theirs[0]
    sys.modules["earlier"] = earlier
    before = dict(vars(fastmlp.sklearn._base.BaseMLP)), dict(vars(theirs[0]))
    try:
        patch()
        patch()  # once is enough
        assert sklearn.neural_network.MLPClassifier is MLPClassifier
        assert sklearn.neural_network.MLPRegressor is MLPRegressor
        assert earlier.Model is MLPClassifier
    finally:
        unpatch()
        del sys.modules["earlier"]
    unpatch()
    assert earlier.Model is theirs[0]
    assert (sklearn.neural_network.MLPClassifier, sklearn.neural_network.MLPRegressor) == theirs
    assert type(THEIRS[0]()) is THEIRS[0]
    assert type(MLPClassifier) is type(THEIRS[0]) is type(BaseMultilayerPerceptron)
    assert not isinstance(MLPClassifier(), (*theirs, BaseMultilayerPerceptron))
    assert set(vars(fastmlp.sklearn._base.BaseMLP)) == set(before[0])
    assert set(vars(theirs[0])) == set(before[1])
    assert not any(type(finder).__module__.startswith("fastmlp") for finder in sys.meta_path)


def test_what_holds_scikit_learn_s_class_makes_ours(patched):
    made = THEIRS[0](7, max_iter=9)
    assert type(made) is MLPClassifier
    assert (made.hidden_layer_sizes, made.max_iter) == (7, 9)
    assert type(clone(made)) is type(copy.deepcopy(made)) is MLPClassifier
    assert "hidden_layer_sizes" in inspect.signature(MLPClassifier).parameters
    assert "hidden_layer_sizes" in inspect.signature(THEIRS[0]).parameters
    with pytest.raises(TypeError, match="no_such"):
        THEIRS[0](no_such=1)


def test_objects_and_classes_of_both_kinds_are_kin():
    X, y = digits()
    old = THEIRS[0](**SHORT).fit(X, y)
    assert not isinstance(MLPClassifier(), THEIRS[0])  # and remembered by abc
    patch()
    try:
        ours = sklearn.neural_network.MLPClassifier()
        assert isinstance(ours, THEIRS[0])
        assert isinstance(ours, BaseMultilayerPerceptron)
        assert isinstance(old, sklearn.neural_network.MLPClassifier)
        assert issubclass(MLPClassifier, THEIRS[0])
        assert issubclass(THEIRS[0], MLPClassifier)
        assert not isinstance(ours, sklearn.neural_network.MLPRegressor)
        assert not isinstance(3, THEIRS[0])
        # what exists stays what it is, its clones are new
        assert type(pickle.loads(pickle.dumps(old))) is THEIRS[0]
        assert (pickle.loads(pickle.dumps(old)).predict(X) == old.predict(X)).all()
        assert type(clone(old)) is MLPClassifier
        kept = pickle.dumps(ours.set_params(**SHORT).fit(X, y))
        assert (pickle.loads(kept).predict(X) == ours.predict(X)).all()
    finally:
        unpatch()
    assert (pickle.loads(kept).predict(X) == ours.predict(X)).all()


def test_classes_of_the_program(patched):
    class Loud(sklearn.neural_network.MLPClassifier):
        def fit(self, X, y):
            self.said = True
            return super().fit(X, y)

    class Old(THEIRS[0]):
        pass

    X, y = digits()
    assert Loud(**SHORT).fit(X, y).said
    assert MLPClassifier in Loud.__mro__
    assert MLPClassifier in Old.__mro__
    assert isinstance(Loud(), THEIRS[0])


def test_what_changes_internals_stays_scikit_learn_s_and_says_why(patched):
    called = []
    with pytest.warns(RuntimeWarning, match="_backprop, which only scikit-learn's own") as found:

        class Own(sklearn.neural_network.MLPClassifier):
            def _backprop(self, *arguments):
                called.append(1)
                return super()._backprop(*arguments)

    assert found[0].filename == __file__
    assert THEIRS[0] in Own.__mro__
    X, y = digits()
    Own(**SHORT).fit(X, y)
    assert called


def test_a_parameter_of_another_scikit_learn_is_left_to_it(patched, monkeypatch):
    def newer(self, hidden_layer_sizes=(100,), *, newest=1):
        self.hidden_layer_sizes, self.newest = hidden_layer_sizes, newest

    monkeypatch.setattr(THEIRS[0], "__init__", newer)
    with pytest.warns(RuntimeWarning, match="'newest'.* stays scikit-learn's"):
        made = sklearn.neural_network.MLPClassifier(newest=2)
    assert type(made) is THEIRS[0]
    sklearn.neural_network.MLPClassifier(newest=2)  # said once


def test_classes_made_before_stay_and_are_named():
    earlier = types.ModuleType("earlier")
    earlier.MLPClassifier = THEIRS[0]
    earlier.Own = type("Own", (THEIRS[0],), {"__module__": "earlier"})
    sys.modules["earlier"] = earlier
    try:
        with pytest.warns(RuntimeWarning, match="earlier.* made classes of MLPClassifier"):
            patch()
        assert earlier.MLPClassifier is THEIRS[0]  # which Own may call by its name
        assert type(earlier.Own()) is earlier.Own
    finally:
        unpatch()
        del sys.modules["earlier"], earlier.Own


def test_without_our_own_classes_everything_stays(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastmlp.sklearn._base", None)
    monkeypatch.delattr(fastmlp.sklearn, "_base")
    try:
        with pytest.warns(RuntimeWarning, match="everything stays scikit-learn's"):
            patch()
        assert sklearn.neural_network.MLPClassifier is THEIRS[0]
    finally:
        unpatch()


def test_what_programs_read_beside_the_documented_is_there(patched):
    X, y = digits()
    model = THEIRS[0](**SHORT).fit(X, y)
    np.testing.assert_allclose(model._forward_pass_fast(X), model.predict_proba(X), rtol=1e-12)
    assert (model._predict(X) == model.predict(X)).all()


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("module", ["sklearn", r"sklearn\.neural_network"])
def test_filters_that_name_scikit_learn_hold(solver, module):
    X, y = digits()
    model = MLPClassifier(solver=solver, **SHORT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning):
            model.fit(X, y)
        warnings.filterwarnings("ignore", category=ConvergenceWarning, module="numpy")
        with pytest.raises(ConvergenceWarning):
            model.fit(X, y)
        warnings.filterwarnings("ignore", category=ConvergenceWarning, module=module)
        model.fit(X, y)


def test_wrong_arguments():
    with pytest.raises(TypeError, match="verbose: expected True or False, got 'yes'"):
        patch(verbose="yes")
    with pytest.raises(AttributeError, match="nothing"):
        fastmlp.sklearn.nothing  # noqa: B018


# whole programs


def run(folder: Path, *arguments: str, program: str | None = None) -> subprocess.CompletedProcess:
    if program is not None:
        (folder / "program.py").write_text(program, encoding="utf-8")
    root = str(Path(fastmlp.__file__).parents[1])
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, text=True, capture_output=True, timeout=120,
        env={**os.environ, "PYTHONPATH": root}, check=False,
    )  # fmt: skip


SAME = {
    "itself": "import sys\nprint(sys.argv, sys.path[0], __name__, __file__, __spec__)\n"
    "print(__package__)\n"
    "print(sys.modules['__main__'].__dict__ is globals(), 'numpy' in sys.modules)\n"
    "class A: pass\nimport pickle\nprint(type(pickle.loads(pickle.dumps(A()))) is A, __doc__)\n"
    "import atexit, threading, time\natexit.register(lambda: print('end', pickle.dumps(A)))\n"
    "threading.Thread(target=lambda: (time.sleep(.1), print(A.__module__))).start()\n",
    "code": "import sys\nsys.exit(3)\n",
    "text": "raise SystemExit('no')\n",
    "traceback": "def f():\n    return 1 / 0\ntry:\n    f()\nexcept ZeroDivisionError as e:\n"
    "    raise ValueError('é') from e\n",
    "hook": "import sys\nsys.excepthook = lambda *a: print('mine', a[0], len(a))\n1 / 0\n",
    "syntax": "x = (\n",
    "coding": "# coding: latin-1\nprint('a')\n",
    "interrupt": "raise KeyboardInterrupt\n",
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_a_program_behaves_as_with_python_alone(name, tmp_path):
    plain = run(tmp_path, "program.py", "a", "--b", program=SAME[name])
    ours = run(tmp_path, "-m", "fastmlp.sklearn", "program.py", "a", "--b")
    assert ours.returncode == plain.returncode
    assert ours.stdout == plain.stdout
    assert ours.stderr == plain.stderr


def test_a_module_runs_as_with_m(tmp_path):
    program = "import sys\nprint(sys.argv, sys.path[0], __name__, __spec__.name)\nsys.exit(4)\n"
    plain = run(tmp_path, "-m", "program", "-x", program=program)
    ours = run(tmp_path, "-m", "fastmlp.sklearn", "-m", "program", "-x")
    assert (ours.returncode, ours.stdout) == (4, plain.stdout)


FITS = """
import sys
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
X, y = load_digits(return_X_y=True)
model = MLPClassifier(5, max_iter=2, random_state=0)
for _ in range(2):
    model.fit(X[:100], y[:100])
class Own(MLPClassifier):
    def _init_coef(self, *arguments):
        return super()._init_coef(*arguments)
Own(5, max_iter=1, random_state=0).fit(X[:100], y[:100]).predict(X)
print(model.score(X, y))
"""


@pytest.mark.slow
def test_verbose_says_who_serves_a_call(tmp_path):
    plain = run(tmp_path, "-W", "ignore", "program.py", program=FITS)
    ours = run(tmp_path, "-W", "ignore", "-m", "fastmlp.sklearn", "--verbose", "program.py")
    assert ours.stdout == plain.stdout
    place = f"fastmlp: {tmp_path / 'program.py'}"
    assert ours.stderr.splitlines() == [
        f"{place}:8: MLPClassifier.fit: by fastmlp",
        f"{place}:12: Own.fit: by scikit-learn",
        f"{place}:12: Own.predict: by scikit-learn",
        f"{place}:13: MLPClassifier.predict: by fastmlp",
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "expected a program"),
        (["-m"], "expected a program"),
        (["--loud", "program.py"], "--loud: no such option"),
        (["missing.py"], "missing.py: "),
        (["."], "a folder"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, text, tmp_path):
    done = run(tmp_path, "-m", "fastmlp.sklearn", *arguments)
    assert done.returncode == 2
    assert text in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


WORKERS = """
import multiprocessing, sys
def kind(number):
    from sklearn.neural_network import MLPClassifier
    return MLPClassifier.__module__
if __name__ == "__main__":
    if sys.argv[1] == "loky":
        from joblib import Parallel, delayed
        found = Parallel(n_jobs=2)(delayed(kind)(i) for i in range(2))
    else:
        with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
            found = pool.map(kind, [0])
    print(*set(found))
"""


STARTS = ["loky", *multiprocessing.get_all_start_methods()]


@pytest.mark.parametrize(
    "start",
    [pytest.param(s, marks=pytest.mark.slow) if s != "spawn" else s for s in STARTS],
)
def test_processes_that_a_program_starts_have_it_too(start, tmp_path):
    done = run(tmp_path, "-m", "fastmlp.sklearn", "program.py", start, program=WORKERS)
    assert (done.stdout.strip(), done.stderr) == ("fastmlp.sklearn._classifier", "")


@pytest.mark.slow
def test_workers_that_joblib_keeps_are_changed_with_patch(tmp_path):
    program = """
import fastmlp.sklearn
from joblib import Parallel, delayed
def kind(number):
    from sklearn.neural_network import MLPClassifier
    return MLPClassifier.__module__.split(".")[0]
def kinds():
    return set(Parallel(n_jobs=2)(delayed(kind)(i) for i in range(2)))
found = [kinds()]
fastmlp.sklearn.patch()
found.append(kinds())
fastmlp.sklearn.unpatch()
found.append(kinds())
print(found)
"""
    done = run(tmp_path, "program.py", program=program)
    assert done.stdout.strip() == "[{'sklearn'}, {'fastmlp'}, {'sklearn'}]", done.stderr
