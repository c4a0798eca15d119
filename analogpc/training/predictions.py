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
    """Predictions of the network of a run for raw samples, which get the normalisation of the training samples.

    Nothing here leaves a trace in the run. Read noise is drawn from ``key``, which is ``Key(0)`` if not given.
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
        """The outputs of the network for raw samples.

        Parameters
        ----------
        x : (n, ...) array
            Samples as they were given for training, without any normalisation.
        key : Key
            Of read noise.

        Returns
        -------
        (n, outputs) array

        Raises
        ------
        DataError
            If the samples have another shape than those of training.
        """
        normalised = self.data.inputs(x, self.network.dtype)
        return outputs_of(self.network, in_batches(normalised), key)

    def predict(self, x: Any, *, key: Key | None = None) -> np.ndarray:
        """What the network takes raw samples for: class numbers or names as they were given, (n,); for regression (n, outputs).

        Parameters
        ----------
        x, key
            See `outputs`.
        """
        outputs = self.outputs(x, key=key)
        targets = self.data.targets
        return targets.decode(outputs.argmax(axis=1)) if targets.classes else outputs

    def predict_proba(self, x: Any, *, key: Key | None = None) -> np.ndarray:
        """Probabilities of the classes, (n, classes), for raw samples; see `probabilities` for how outputs become them.

        Raises
        ------
        ValueError
            If the run learns a regression.
        """
        if not self.data.targets.classes:
            raise ValueError("a regression has no probabilities of classes; predict gives its numbers")
        return probabilities(self.outputs(x, key=key), self.output)

    def evaluate(self, x: Any, y: Any = None, *, metrics: Sequence[Any] = (), key: Key | None = None) -> dict[str, float]:
        """The metrics of raw samples and their labels, or of the test part of a data set.

        Parameters
        ----------
        x : (n, ...) array, or Dataset
        y : (n,) or (n, outputs) array
            Labels as they were given for training.
        metrics : sequence of names, functions or `Metric`
            Besides those of the run.
        key : Key
            Of read noise.

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
        """How often samples of each class were taken for each class; ``x`` and ``y`` as for `evaluate`."""
        return Confusion.of(self.answers(x, y, key=key))

    def answers(self, x: Any, y: Any = None, *, split: Split = "test", key: Key | None = None) -> Answers:
        """What the network answers to samples, beside their labels: for metrics of your own."""
        if isinstance(x, Dataset):
            if y is not None:
                raise ValueError("a Dataset brings its own labels")
            return answers_of(self.network, x, split, key=key, output=self.output)
        if y is None:
            raise ValueError("evaluate takes samples and labels, as in run.evaluate(x, y), or a Dataset")
        labels = self.data.targets.encode(y, "the labels")
        outputs = self.outputs(x, key=key)
        if len(labels) != len(outputs):
            raise ValueError(f"there are {len(outputs)} samples and {len(labels)} labels")
        return Answers(outputs, labels, self.data.targets, self.output)
