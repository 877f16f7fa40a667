"""The `train` command without options is no worse than scikit-learn with its defaults."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastmlp.cli import main
from fastmlp.tables.parts import divide


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


SETS = {
    "iris": datasets.load_iris, "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer, "digits": datasets.load_digits,
    "diabetes": datasets.load_diabetes,
}  # fmt: skip


def assert_no_worse(capsys, frame, preparation, *, values: bool, seeds: int) -> tuple[float, float]:
    """Train on a frame's "target" by the command and by scikit-learn; compare on the same rows."""
    frame.to_csv("t.csv", index=False)
    ours, theirs = [], []
    for seed in range(seeds):
        argv = ["train", "t.csv", "--label", "target", "--seed", str(seed), "--plot", "none"]
        assert main(argv + ["--regression"] * values) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        ours.append(float(re.search(r"(?:accuracy|R2) (-?\d+\.\d+)", last)[1]))
        parts = divide(frame["target"].to_numpy(), classes=not values, seed=seed)
        held = frame.iloc[parts.test]
        rest = frame.drop(index=held.index)
        kind = MLPRegressor if values else MLPClassifier
        other = make_pipeline(preparation, kind(random_state=seed))
        other.fit(rest.drop(columns="target"), rest["target"])
        score = other.score(held.drop(columns="target"), held["target"])
        theirs.append(score if values else 100 * score)
    assert np.mean(ours) >= np.mean(theirs) - (0.02 if values else 2)
    return float(np.mean(ours)), float(np.mean(theirs))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["iris", *(pytest.param(n, marks=pytest.mark.slow) for n in SETS)])
def test_no_worse_than_scikit_learn_without_options(here, capsys, name):
    frame, values = SETS[name](as_frame=True).frame, name == "diabetes"
    ours, _ = assert_no_worse(
        capsys, frame, StandardScaler(), values=values, seeds=3 if name == "iris" else 5
    )
    assert ours > (0.35 if values else 90)


def mixed(n: int, *, values: bool):
    """Return a table of numbers of many scales and of words, with holes in both."""
    rng = np.random.default_rng(n)
    age, income = rng.integers(18, 90, n), rng.lognormal(10, 0.6, n).round(2)
    small, years = rng.normal(0, 1e-4, n), rng.integers(1990, 2025, n)
    city = np.array(["Bonn", "Rom", "Oslo", "Graz", "Lyon"])[rng.integers(0, 5, n)]
    job = np.array(["baker", "clerk", "none", "smith"])[rng.integers(0, 4, n)]
    score = (
        (age - 54) / 20 + np.log(income) - 10 + 5e3 * small
        + 1.5 * np.isin(city, ["Rom", "Lyon"]) - 2 * (job == "smith") * (age > 50)
        + rng.normal(0, 0.3, n)
    )  # fmt: skip
    frame = pd.DataFrame({"age": age.astype(float), "income": income, "small": small,
                          "years": years, "city": city, "job": job})  # fmt: skip
    frame.loc[rng.random(n) < 0.05, "income"] = np.nan
    frame.loc[rng.random(n) < 0.05, "city"] = np.nan
    target = score if values else np.array(["low", "middle", "high"])[np.digitize(score, [-0.7, 1])]
    return frame.assign(target=target)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("n", "values"),
    [
        (400, False), pytest.param(400, True, marks=pytest.mark.slow),
        pytest.param(3000, False, marks=pytest.mark.slow),
        pytest.param(3000, True, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_no_worse_than_scikit_learn_on_words_and_numbers(here, capsys, n, values):
    frame = mixed(n, values=values)
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    preparation = make_column_transformer(
        (numbers, ["age", "income", "small", "years"]),
        (OneHotEncoder(handle_unknown="ignore"), ["city", "job"]),
    )
    seeds = 2 if n == 400 and not values else 5
    ours, theirs = assert_no_worse(capsys, frame, preparation, values=values, seeds=seeds)
    assert ours > (0.8 if values else 70), (ours, theirs)
