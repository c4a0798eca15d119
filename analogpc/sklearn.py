"""Estimators for scikit-learn: networks that learn by predictive coding and its relatives, digital or on memristor crossbars."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from analogpc.devices.substrate import substrate as named_substrate
from analogpc.networks.zoo import mlp
from analogpc.training.fit import fit as train
from analogpc.training.run import Run

__all__ = ["PCClassifier", "PCRegressor"]


class _Estimator(BaseEstimator):
    """What both estimators share: their parameters, and a perceptron that learns."""

    def __init__(
        self,
        hidden: Sequence[int] = (64, 64),
        rule: Any = "s+f",
        device: Any = "digital",
        *,
        substrate: Any = None,
        activation: str = "leaky_relu",
        epochs: int = 100,
        batch_size: int = 32,
        optimiser: Any = None,
        learning_rate: float | None = None,
        normalisation: Any = "standard",
        validation_fraction: float = 0.0,
        patience: int = 0,
        random_state: Any = None,
        dtype: str = "float64",
        backend: str = "cpu",
        verbose: bool = False,
    ) -> None:
        self.hidden = hidden
        self.rule = rule
        self.device = device
        self.substrate = substrate
        self.activation = activation
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimiser = optimiser
        self.learning_rate = learning_rate
        self.normalisation = normalisation
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.dtype = dtype
        self.backend = backend
        self.verbose = verbose

    def _seed(self) -> int:
        """The seed that a random state stands for; None is 0, since nothing here draws from a global generator."""
        given = 0 if self.random_state is None else self.random_state
        if isinstance(given, numbers.Integral):
            return int(given)
        return int(check_random_state(given).randint(2**31))

    def _train(self, x: np.ndarray, y: np.ndarray, outputs: int, **options: Any) -> Run:
        """A trained run."""
        where = named_substrate(self.device) if self.substrate is None else self.substrate
        seed = self._seed()
        widths = [x.shape[1], *self.hidden, outputs]
        net = mlp(widths, activation=self.activation, dtype=self.dtype, substrate=where, seed=seed)
        return train(
            net,
            self.rule,
            (x, y),
            normalisation=self.normalisation,
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=seed,
            optimiser=self.optimiser,
            learning_rate=self.learning_rate,
            holdout=self.validation_fraction,
            patience=self.patience,
            keep="best" if self.validation_fraction else "last",
            progress=self.verbose,
            backend=self.backend,  # type: ignore[arg-type]
            **options,
        )

    def _learnt(self, run: Run) -> Self:
        """Keep what was learnt: of several epochs the best, where a part was set apart to judge them."""
        if run.best is not None:
            run.network = run.best_network
        self.run_, self.n_iter_ = run, len(run.history["epoch"])
        self.loss_curve_ = run.history["train_loss"]
        return self

    def _asked(self, x: Any) -> np.ndarray:
        """Samples as an array, once the estimator is fitted."""
        check_is_fitted(self)
        return validate_data(self, x, reset=False, dtype=[np.float64, np.float32])


class PCClassifier(ClassifierMixin, _Estimator):
    """A classifier that learns by predictive coding, or by any other rule, digital or on memristor crossbars.

    It passes scikit-learn's ``check_estimator``. On crossbars two of its checks do not hold, since the noise of a read belongs to the
    place of a sample in the batch: predictions then depend, within that noise, on the order and the choice of the samples asked about.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the hidden layers.
    rule : str or Rule
        "s+f", "pc", "ep", "bp" or any other (see ``docs/rules.md``).
    device : str or Device
        "digital", or the name of a preset (`analogpc.presets`) of whose devices the crossbars are made.
    substrate : Digital or Analog
        In place of ``device``, with all its options.
    activation : str
    epochs, batch_size : int
    optimiser : SGD, AdamW, "sgd" or "adamw"
    learning_rate : float
        Usual ones for the rule and the substrate if not given.
    normalisation : str or (mean, std)
        Of the features (see `Dataset.from_arrays`).
    validation_fraction : float
        Of the samples, set apart to choose the best epoch; 0 for none, and the last epoch.
    patience : int
        Stop after this many epochs without improvement.
    random_state : int, RandomState or None
        Weights, devices, noise and order of the samples; None is 0.
    dtype : "float64" or "float32"
        Floating type of the network.
    backend : "cpu" or "gpu"
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    classes_ : (classes,) array
    n_features_in_, n_iter_ : int
    loss_curve_ : list of floats
        Loss of the training samples by epoch.
    run_ : Run
        The run, with its network, history and study.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> bool(PCClassifier(hidden=(16,)).fit(x, y).score(x, y) > 0.9)
    True
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Learn.

        Parameters
        ----------
        X : (n, features) array
        y : (n,) array
            Labels of any kind that scikit-learn takes.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        return self._learnt(self._train(X, codes.astype(np.int64), len(self.classes_), division=self._division(codes)))

    def _division(self, codes: np.ndarray) -> Any:
        return "stratified" if self.validation_fraction and np.bincount(codes).min() > 1 else "random"

    def predict(self, X: Any) -> np.ndarray:
        """The most likely label of each sample: (n, features) -> (n,)."""
        X = self._asked(X)
        return self.classes_[self.run_.predict(X)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, in the order of ``classes_``: (n, features) -> (n, classes)."""
        X = self._asked(X)
        return self.run_.predict_proba(X)


class PCRegressor(RegressorMixin, _Estimator):
    """A regressor that learns by predictive coding, or by any other rule, digital or on memristor crossbars.

    Targets are brought to mean 0 and standard deviation 1 for learning, and predictions back to their scale.

    Parameters
    ----------
    hidden, rule, device, substrate, activation, epochs, batch_size, optimiser, learning_rate, normalisation, validation_fraction, \
patience, random_state, dtype, backend, verbose
        See `PCClassifier`.

    Attributes
    ----------
    n_features_in_, n_iter_, loss_curve_, run_
        See `PCClassifier`.

    Examples
    --------
    >>> x = np.linspace(-1, 1, 100)[:, None]
    >>> bool(PCRegressor(hidden=(16,)).fit(x, x[:, 0] ** 2).score(x, x[:, 0] ** 2) > 0.8)
    True
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Learn.

        Parameters
        ----------
        X : (n, features) array
        y : (n,) or (n, outputs) array
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True)
        rows = np.asarray(y, np.float64).reshape(len(y), -1)
        self._flat = np.ndim(y) == 1
        spread = rows.std(axis=0)
        self._mean, self._std = rows.mean(axis=0), np.where(spread > 0, spread, 1.0)
        return self._learnt(self._train(X, (rows - self._mean) / self._std, rows.shape[1], task="regression"))

    def predict(self, X: Any) -> np.ndarray:
        """The numbers for each sample: (n, features) -> (n,) or (n, outputs)."""
        X = self._asked(X)
        found = self.run_.predict(X).astype(np.float64) * self._std + self._mean
        return found[:, 0] if self._flat else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
