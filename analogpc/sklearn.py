"""Estimators for scikit-learn: networks trained by predictive coding and related rules, digital or on memristor crossbars."""

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
    """Common base of both estimators: their parameters, and the training of a perceptron."""

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
        """Return the seed of ``random_state``; None gives 0, since no global generator is used."""
        given = 0 if self.random_state is None else self.random_state
        if isinstance(given, numbers.Integral):
            return int(given)
        return int(check_random_state(given).randint(2**31))

    def _train(self, x: np.ndarray, y: np.ndarray, outputs: int, **options: Any) -> Run:
        """Train a perceptron and return the run."""
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
        """Store the results; with a validation part, keep the network of the best epoch."""
        if run.best is not None:
            run.network = run.best_network
        self.run_, self.n_iter_ = run, len(run.history["epoch"])
        self.loss_curve_ = run.history["train_loss"]
        return self

    def _asked(self, x: Any) -> np.ndarray:
        """Check that the estimator is fitted, and return the samples as an array."""
        check_is_fitted(self)
        return validate_data(self, x, reset=False, dtype=[np.float64, np.float32])


class PCClassifier(ClassifierMixin, _Estimator):
    """A classifier trained by predictive coding or any other rule, digital or on memristor crossbars.

    It passes scikit-learn's ``check_estimator``. On crossbars two of its checks fail, since read noise depends on the
    position of a sample in the batch: predictions then depend, within that noise, on the order and choice of the samples.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the hidden layers.
    rule : str or Rule
        "s+f", "pc", "ep", "bp" or any other (see ``docs/rules.md``).
    device : str or Device
        "digital", or the name of a preset (`analogpc.presets`) for the devices of the crossbars.
    substrate : Digital or Analog
        Substrate with all its options, in place of ``device``.
    activation : str
    epochs, batch_size : int
    optimiser : SGD, AdamW, "sgd" or "adamw"
    learning_rate : float
        Optimiser and learning rate; by default chosen by rule and substrate.
    normalisation : str or (mean, std)
        Normalisation of the features (see `Dataset.from_arrays`).
    validation_fraction : float
        Fraction of the samples that is held out to choose the best epoch; 0: use the last epoch.
    patience : int
        Stop after this many epochs without improvement.
    random_state : int, RandomState or None
        Seed of weights, devices, noise and the order of the samples; None is 0.
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
        Training loss of each epoch.
    run_ : Run
        The training run, with its network, history and study.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> bool(PCClassifier(hidden=(16,)).fit(x, y).score(x, y) > 0.9)
    True
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Train the network.

        Parameters
        ----------
        X : (n, features) array
        y : (n,) array
            Class labels of any kind that scikit-learn accepts.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        return self._learnt(self._train(X, codes.astype(np.int64), len(self.classes_), division=self._division(codes)))

    def _division(self, codes: np.ndarray) -> Any:
        return "stratified" if self.validation_fraction and np.bincount(codes).min() > 1 else "random"

    def predict(self, X: Any) -> np.ndarray:
        """Predict the most probable label of each sample: (n, features) -> (n,)."""
        X = self._asked(X)
        return self.classes_[self.run_.predict(X)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the class probabilities, in the order of ``classes_``: (n, features) -> (n, classes)."""
        X = self._asked(X)
        return self.run_.predict_proba(X)


class PCRegressor(RegressorMixin, _Estimator):
    """A regressor trained by predictive coding or any other rule, digital or on memristor crossbars.

    Targets are standardised to mean 0 and standard deviation 1 for training; predictions are scaled back.

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
        """Train the network.

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
        """Predict the targets of each sample: (n, features) -> (n,) or (n, outputs)."""
        X = self._asked(X)
        found = self.run_.predict(X).astype(np.float64) * self._std + self._mean
        return found[:, 0] if self._flat else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
