"""A search by cross-validation: scikit-learn's tools, with fastmlp's estimator in the pipeline.

Nothing is new here: `fastmlp.sklearn.MLPClassifier` takes the place of scikit-learn's, and
searches, pipelines and scorers know no difference. ``n_jobs`` spreads the fits over cores, each of
which then trains on one thread. Needs the ``sklearn`` extra.

Examples
--------
>>> from fastmlp.examples.search import run
>>> found = run(candidates=1, max_iter=2, n_jobs=1)
>>> 0 <= found["test accuracy"] <= 1
True
"""

from __future__ import annotations

import warnings
from typing import Any

from ..support.extras import require

__all__ = ["run"]


def run(candidates: int = 12, max_iter: int = 60, n_jobs: int | None = -1) -> dict[str, Any]:
    """Search sizes, penalty and learning rate for scikit-learn's 1,797 small digits.

    Returns
    -------
    dict
        The best parameters, their accuracy in cross-validation, and that on a test set.
    """
    require("sklearn", "sklearn")
    from scipy.stats import loguniform
    from sklearn.datasets import load_digits
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import RandomizedSearchCV, train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from ..sklearn import MLPClassifier

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
    search = RandomizedSearchCV(
        make_pipeline(StandardScaler(), MLPClassifier(max_iter=max_iter, random_state=0)),
        {
            "mlpclassifier__hidden_layer_sizes": [(32,), (100,), (64, 32)],
            "mlpclassifier__alpha": loguniform(1e-5, 1e0),
            "mlpclassifier__learning_rate_init": loguniform(3e-4, 1e-2),
        },
        n_iter=candidates,
        cv=3,
        n_jobs=n_jobs,
        random_state=0,
    )
    with warnings.catch_warnings():  # some rates are too low for so few epochs
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(X_train, y_train)
    best = {name.split("__")[1]: value for name, value in search.best_params_.items()}
    return {
        **best,
        "accuracy in cross-validation": float(search.best_score_),
        "test accuracy": float(search.score(X_test, y_test)),
    }


if __name__ == "__main__":
    for name, figure in run().items():
        print(f"{name}: {figure:.4g}" if isinstance(figure, float) else f"{name}: {figure}")
