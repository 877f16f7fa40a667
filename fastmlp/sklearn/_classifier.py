"""MLPClassifier."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

from ._base import BaseMLP
from ._callback_support import with_callbacks
from ._epochs import Targets

__all__ = ["MLPClassifier"]


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A multilayer perceptron that classifies: `sklearn.neural_network.MLPClassifier`, fast.

    The parameters up to ``max_fun`` have scikit-learn's names, meanings and defaults.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default (100,)
        Neurons of each hidden layer.
    activation : str or sequence of str, default "relu"
        Of the hidden layers: identity, logistic (or sigmoid), tanh, relu, or another of
        `fastmlp.activations.ACTIVATIONS`; or one for each layer.
    solver : {"lbfgs", "sgd", "adam"}, default "adam"
    alpha : float, default 0.0001
        Adds ``alpha / 2 * sum(W^2) / n`` to the loss of a batch of n samples.
    batch_size : int or "auto", default "auto"
        Samples of a step; "auto" is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        How sgd's rate moves: not at all; ``learning_rate_init / (t + 1) ** power_t`` after t
        samples; divided by 5 whenever training would stop, until it is below 1e-6.
    learning_rate_init : float, default 0.001
    power_t : float, default 0.5
    max_iter : int, default 200
        The most epochs, or iterations of lbfgs.
    shuffle : bool, default True
        Draw a new order of the samples for every epoch.
    random_state : int, RandomState, Generator or None, default None
    tol : float, default 0.0001
        An epoch that improves loss or score by less counts as none.
    verbose : bool, default False
    warm_start : bool, default False
        Go on from the present parameters.
    momentum : float in [0, 1], default 0.9
    nesterovs_momentum : bool, default True
    early_stopping : bool, default False
        Watch the accuracy on held-out samples instead of the loss, and keep the best parameters.
    validation_fraction : float in [0, 1), default 0.1
    beta_1, beta_2 : float in [0, 1), default 0.9 and 0.999
    epsilon : float, default 1e-8
    n_iter_no_change : int, default 10
        Epochs without improvement that are waited for.
    max_fun : int, default 15000
        The most evaluations of lbfgs.
    dtype : {"float32", "float64"}, optional
        The type of parameters and arithmetic; by default float32 for X of float32, else float64.
    threads : int, optional
        How many threads a step may use. The result is the same for any number.
    precision : {"highest", "high", "medium"}, default "highest"
        How wide layers of float32 multiply in steps of sgd and adam; see `fastmlp.MLP`.
    dropout : float in [0, 1) or one per hidden layer, default 0
        The share of hidden activations that a step leaves out; the others are scaled up. Not for
        lbfgs.
    class_weight : dict, list of dict, "balanced" or None, default None
        Weights of classes in the loss, as in scikit-learn's other classifiers.
    optimizer : str or fastmlp optimizer, optional
        Instead of the one that the solver names, with a learning rate of its own.
    schedule : str or fastmlp schedule, optional
        How the learning rate moves.
    progress : bool, default False
        A progress bar over epochs.

    Attributes
    ----------
    classes_ : ndarray or list of ndarray
    loss_, best_loss_ : float
    loss_curve_ : list of float
        The mean loss of every epoch, the penalty included; of every iteration of lbfgs.
    validation_scores_ : list of float or None
        The accuracy on held-out samples after every epoch.
    best_validation_score_ : float or None
    validation_loss_curve_ : list of float or None
        The loss on held-out samples, or on ``validation_data``, without penalty.
    t_ : int
        Samples seen.
    coefs_, intercepts_ : list of ndarray
        Live: what is written into them takes effect.
    learning_rate_ : float
        The present rate.
    n_features_in_, n_iter_, n_layers_, n_outputs_ : int
    feature_names_in_ : ndarray of str
    out_activation_ : str

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastmlp.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(learning_rate_init=0.01, max_iter=500, random_state=0).fit(X, y)
    >>> model.predict(X[:2]).tolist(), model.score(X, y) > 0.95
    ([0, 0], True)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }
    loss = "log_loss"
    _score_name = "accuracy"

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dtype: Any = None,
        threads: int | None = None,
        precision: str = "highest",
        dropout: float = 0.0,
        class_weight: Any = None,
        optimizer: Any = None,
        schedule: Any = None,
        progress: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dtype = dtype
        self.threads = threads
        self.precision = precision
        self.dropout = dropout
        self.class_weight = class_weight
        self.optimizer = optimizer
        self.schedule = schedule
        self.progress = progress

    # what BaseMLP asks for

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Any]:
        X, y = self._check_data(X, y, reset)
        if getattr(y, "ndim", 1) == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
            return X, y
        several = self._label_binarizer.y_type_.startswith("multilabel")
        if (y.ndim == 2) != several:
            what = "a row of 0 and 1" if several else "one label"
            raise ValueError(
                f"y: expected {what} per sample, as the network was fitted with, got an array "
                f"of shape {y.shape}"
            )
        if incremental and self._all_known(y):
            return X, y
        classes = unique_labels(y)
        if self.warm_start and not incremental and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {classes}"
            )
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {classes}."
            )
        return X, y

    def _all_known(self, y: Any) -> bool:
        """Tell whether all labels are classes, where that takes no more than a look."""
        known = self.classes_
        if y.ndim != 1 or y.dtype != known.dtype or y.dtype.kind not in "iub":
            return False
        places = np.searchsorted(known, y)
        return bool((known.take(places, mode="clip") == y).all())

    def _rows(self, y: np.ndarray) -> np.ndarray:
        if self._output() == "softmax":
            return np.searchsorted(self.classes_, y)[:, None]
        if self._label_binarizer.y_type_ == "binary":
            two = len(self.classes_) == 2
            return (y == self.classes_[1])[:, None] if two else np.zeros((len(y), 1), bool)
        return self._label_binarizer.transform(y).astype(bool)

    def _n_outputs(self, rows: np.ndarray) -> int:
        return len(self.classes_) if self._output() == "softmax" else int(rows.shape[1])

    def _targets(self, y: np.ndarray, rows: np.ndarray, dtype: np.dtype) -> Targets:
        if self._output() == "softmax":
            return Targets(np.ascontiguousarray(rows[:, 0], np.int64), self.loss)
        return Targets(rows.astype(dtype), self.loss)

    def _output(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _stratified(self) -> bool:
        return self.n_outputs_ == 1

    # what users call

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_data: Any = None,
        callbacks: Any = None,
    ) -> MLPClassifier:
        """Train.

        Parameters
        ----------
        X : array, frame or sparse matrix, (n_samples, n_features)
        y : array, (n_samples,) or (n_samples, n_labels)
            Labels of any type, or a matrix of 0 and 1.
        sample_weight : array, (n_samples,), optional
        validation_data : (X, y) or (X, y, sample_weight), optional
            Their loss goes into ``validation_loss_curve_``; ``early_stopping`` watches them
            instead of holding samples out.
        callbacks : sequence of Callback or callable, optional
            Objects of `fastmlp.callbacks`, as `MLP.fit` takes them; their ``net`` shares its
            parameters with the estimator. A function is called with the estimator after every
            epoch; a true answer ends training.

        Returns
        -------
        MLPClassifier
            Itself.

        Raises
        ------
        ValueError
            If data or parameters are not of that kind, or parameters became infinite.
        """
        return self._fit(
            X, y, sample_weight, incremental=False, validation_data=validation_data,
            callbacks=callbacks,
        )  # fmt: skip

    @available_if(lambda estimator: estimator._check_solver())
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> MLPClassifier:
        """Train for one epoch, from where the last call ended.

        Parameters
        ----------
        X : array, frame or sparse matrix, (n_samples, n_features)
        y : array, (n_samples,) or (n_samples, n_labels)
        sample_weight : array, (n_samples,), optional
        classes : array, (n_classes,)
            All classes there will be; needed in the first call.

        Returns
        -------
        MLPClassifier
            Itself.
        """
        try:
            if _check_partial_fit_first_call(self, classes):
                multilabel = type_of_target(y).startswith("multilabel")
                self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
            return self._fit(X, y, sample_weight, incremental=True)
        except Exception:
            if "coefs_" not in self.__dict__:  # the next call is the first one still
                for name in ("classes_", "_label_binarizer"):
                    self.__dict__.pop(name, None)
            raise

    def predict(self, X: Any) -> np.ndarray:
        """Return the classes.

        Parameters
        ----------
        X : array, frame or sparse matrix, (n_samples, n_features)

        Returns
        -------
        ndarray, (n_samples,) or (n_samples, n_labels)
            A CSR matrix where labels came as a sparse one.
        """
        outputs = self._outputs(X)
        if self.out_activation_ == "softmax":
            return self.classes_.take(outputs.argmax(axis=1))
        if self.n_outputs_ > 1:
            labels = (outputs > 0.5).astype(int)
            return csr_matrix(labels) if self._label_binarizer.sparse_input_ else labels
        if len(self.classes_) == 1:
            return np.repeat(self.classes_, len(outputs))
        return self.classes_.take(outputs[:, 0] > 0.5)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of classes, or of labels.

        Parameters
        ----------
        X : array, frame or sparse matrix, (n_samples, n_features)

        Returns
        -------
        ndarray, (n_samples, n_classes)
            Classes in the order of ``classes_``.
        """
        outputs = self._outputs(X)
        if self.n_outputs_ > 1:
            return outputs
        return np.concatenate([1 - outputs, outputs], axis=1)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of `predict_proba`.

        Parameters
        ----------
        X : array, frame or sparse matrix, (n_samples, n_features)

        Returns
        -------
        ndarray, (n_samples, n_classes)
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self) -> Any:
        """Return the tags: several labels are welcome."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
