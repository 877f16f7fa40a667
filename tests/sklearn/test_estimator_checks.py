"""Every check that scikit-learn has for estimators."""

from __future__ import annotations

import pytest

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmlp.sklearn import MLPClassifier, MLPRegressor

CHECKS = parametrize_with_checks([MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)])
NAMES, CASES = CHECKS.args  # a generator in scikit-learn 1.7, of which pytest warns


@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize(NAMES, list(CASES), **CHECKS.kwargs)
def test_estimator_check(estimator, check):
    check(estimator)
