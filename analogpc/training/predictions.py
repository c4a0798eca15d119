"""Predictions of a run for raw samples: outputs, probabilities, metrics, a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analogpc.data import DataDescription, Dataset
from analogpc.data.dataset import Split
from analogpc.dynamics.relaxation import Output
from analogpc.kernels.random.streams import Key
from analogpc.training.evaluation import answers_of, in_batches, outputs_of
from analogpc.training.metrics import Answers, Confusion, measured, metrics_for, probabilities

if TYPE_CHECKING:
    from analogpc.networks.network import Network
    from analogpc.training.study import Study


class Predictions:
    """Predictions of a run for raw samples, which are normalised like the training samples.

    No method changes the run. Read noise is drawn from ``key``, by default ``Key(0)``.
    """

    study: Study
    network: Network
    data: DataDescription
    metrics: Sequence[Any]

    @property
    def output(self) -> Output:
        """The loss at the output layer, chosen by the rule."""
        return getattr(self.study.rule, "output", "squared-error")

    def outputs(self, x: Any, *, key: Key | None = None) -> np.ndarray:
        """Return the outputs of the network for raw samples.

        Parameters
        ----------
        x : (n, ...) array
            Samples in the form given for training, not normalised.
        key : Key
            Key of the read noise.

        Returns
        -------
        (n, outputs) array

        Raises
        ------
        DataError
            If the shape of the samples differs from that of the training samples.
        """
        normalised = self.data.inputs(x, self.network.dtype)
        return outputs_of(self.network, in_batches(normalised), key)

    def predict(self, x: Any, *, key: Key | None = None) -> np.ndarray:
        """Predict the classes of raw samples, as numbers or names as given for training, (n,); for regression (n, outputs).

        Parameters
        ----------
        x, key
            See `outputs`.
        """
        outputs = self.outputs(x, key=key)
        targets = self.data.targets
        return targets.decode(outputs.argmax(axis=1)) if targets.classes else outputs

    def predict_proba(self, x: Any, *, key: Key | None = None) -> np.ndarray:
        """Predict the class probabilities of raw samples, (n, classes); see `probabilities` for their definition.

        Raises
        ------
        ValueError
            If the task is regression.
        """
        if not self.data.targets.classes:
            raise ValueError("a regression has no class probabilities: use predict")
        return probabilities(self.outputs(x, key=key), self.output)

    def evaluate(self, x: Any, y: Any = None, *, metrics: Sequence[Any] = (), key: Key | None = None) -> dict[str, float]:
        """Compute the metrics of raw samples and their labels, or of the test part of a data set.

        Parameters
        ----------
        x : (n, ...) array, or Dataset
        y : (n,) or (n, outputs) array
            Labels in the form given for training.
        metrics : sequence of names, functions or `Metric`
            Metrics in addition to those of the run.
        key : Key
            Key of the read noise.

        Returns
        -------
        dict of floats by name

        Examples
        --------
        >>> run.evaluate(x_test, y_test, metrics=["top-2"])  # doctest: +SKIP
        {'accuracy': 0.97, 'loss': 0.05, 'top-2': 0.99}
        """
        answers = self.answers(x, y, key=key)
        return measured(answers, metrics_for([*self.metrics, *metrics], answers.targets.task))

    def confusion(self, x: Any, y: Any = None, *, key: Key | None = None) -> Confusion:
        """Return the confusion matrix; ``x`` and ``y`` as for `evaluate`."""
        return Confusion.of(self.answers(x, y, key=key))

    def answers(self, x: Any, y: Any = None, *, split: Split = "test", key: Key | None = None) -> Answers:
        """Return outputs and labels of samples, for user-defined metrics."""
        if isinstance(x, Dataset):
            if y is not None:
                raise ValueError("a Dataset has its own labels: leave out y")
            return answers_of(self.network, x, split, key=key, output=self.output)
        if y is None:
            raise ValueError("evaluate takes samples and labels, as in run.evaluate(x, y), or a Dataset")
        labels = self.data.targets.encode(y, "the labels")
        outputs = self.outputs(x, key=key)
        if len(labels) != len(outputs):
            raise ValueError(f"there are {len(outputs)} samples and {len(labels)} labels")
        return Answers(outputs, labels, self.data.targets, self.output)
