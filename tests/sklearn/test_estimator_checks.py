"""Every check that scikit-learn has for estimators."""

from __future__ import annotations

import pytest

pytest.importorskip("sklearn", minversion="1.9")

from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmlp.sklearn import MLPClassifier, MLPRegressor


@pytest.mark.filterwarnings("ignore::Warning")
@parametrize_with_checks([MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)])
def test_estimator_check(estimator, check):
    check(estimator)
