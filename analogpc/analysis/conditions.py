"""Evaluation of a saved run under other conditions: after time, on other hardware, with other noise, on other samples."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from analogpc.devices.substrate import Analog, Digital
from analogpc.kernels.checks import LONGEST_SECONDS, passing_seconds, several, whole_number
from analogpc.kernels.random.streams import Key
from analogpc.training.evaluation import answers_of, in_batches, outputs_of
from analogpc.training.metrics import Answers, Confusion, measured, metrics_for
from analogpc.training.perplexity import Perplexity, perplexity

if TYPE_CHECKING:
    from analogpc.data import Dataset
    from analogpc.data.text import TextData
    from analogpc.networks.network import Network
    from analogpc.training.language import LanguageRun
    from analogpc.training.run import Run

T = TypeVar("T")
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "mo": 2629800.0, "y": 31557600.0}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Results of a network under one condition.

    Attributes
    ----------
    after_seconds : float
        Time since the run was saved.
    compensated : bool
        Whether outputs were scaled by global drift compensation.
    values : dict of lists
        Metrics by name, one value for each noise sample.
    confusion : Confusion or None
        Confusion matrix, summed over the noise samples; None for regression.
    """

    after_seconds: float
    compensated: bool
    values: dict[str, list[float]]
    confusion: Confusion | None

    def mean(self, name: str) -> float:
        """Return the mean of a metric over the noise samples."""
        return float(np.mean(self.values[name]))

    def deviation(self, name: str) -> float:
        """Return the standard deviation of a metric over the noise samples; NaN for one sample."""
        values = self.values[name]
        return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def seconds_of(text: str) -> float:
    """Parse a duration such as 30d, 1.5h, 10min, 1y or 0, in seconds.

    Raises
    ------
    ValueError
        If ``text`` is not a duration.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*([a-z]*)\s*", text.lower())
    if not found or (found[2] or "s") not in _UNITS or not math.isfinite(float(found[1])):
        raise ValueError(f"{text!r} is not a duration: a number and one of {', '.join(_UNITS)}, as in 30d or 1.5h")
    seconds = float(found[1]) * _UNITS[found[2] or "s"]
    if seconds > LONGEST_SECONDS:
        raise ValueError(f"{text!r} is not allowed: that is longer than the age of the universe, {LONGEST_SECONDS:g} s")
    return seconds


def evaluate_conditions(
    run: Run,
    data: Dataset | tuple[Any, Any] | None = None,
    *,
    after: Sequence[float] = (0.0,),
    compensation: Sequence[bool] | None = None,
    substrate: Analog | Digital | None = None,
    samples: int = 1,
    seed: int = 0,
) -> list[Evaluation]:
    """Evaluate the network of a run under other conditions; the run is unchanged.

    Parameters
    ----------
    run : Run
    data : Dataset or (x, y)
        Data set (its test part is used), or raw samples and labels, which are normalised like the training samples; by default the data
        of the run.
    after : sequence of float
        Time in seconds before each evaluation, since the run was saved (or its weights programmed).
    compensation : sequence of bool
        Whether outputs are scaled to compensate the drift of the matrices (global drift compensation); by default set by the substrate.
    substrate : Analog or Digital
        Other hardware, onto which the weights are programmed.
    samples : int
        Number of evaluations, each with new read noise and, on other hardware, new devices.
    seed : int
        Seed of noise and devices.

    Returns
    -------
    list of Evaluation
        One entry for each time and compensation.

    Raises
    ------
    ValueError
        If ``after`` is given for a digital network.
    """
    found = _conditions(run.network, _asked(run, data), after, compensation, substrate, samples, seed)
    return [_judged(run, time, wanted, answers) for time, wanted, answers in found]


def evaluate_text(
    run: LanguageRun,
    data: TextData,
    *,
    after: Sequence[float] = (0.0,),
    compensation: Sequence[bool] | None = None,
    substrate: Analog | Digital | None = None,
    samples: int = 1,
    seed: int = 0,
) -> list[Evaluation]:
    """Compute perplexity and bits per character of the best network of a language model, on the test part of a text.

    Parameters
    ----------
    run : LanguageRun
    data : TextData
        Text with the tokens of the run.
    after, compensation, substrate, samples, seed
        See `evaluate_conditions`.

    Raises
    ------
    ValueError
        If ``after`` is given for a digital network.
    """

    def ask(network: Network, key: Key) -> Perplexity:
        return perplexity(network, data, "test", key=key)

    found = _conditions(run.speaking, ask, after, compensation, substrate, samples, seed)
    return [
        Evaluation(
            time,
            wanted,
            {"perplexity": [one.value for one in said], "bits_per_character": [one.bits_per_character for one in said]},
            None,
        )
        for time, wanted, said in found
    ]


def _conditions(
    network: Network,
    ask: Callable[[Network, Key], T],
    after: Sequence[float],
    compensation: Sequence[bool] | None,
    substrate: Analog | Digital | None,
    samples: int,
    seed: int,
) -> list[tuple[float, bool, list[T]]]:
    """Yield the evaluations for every time, compensation and noise sample."""
    samples = whole_number(samples, "samples", 1)
    times = sorted({passing_seconds(time, "after") for time in several(after)})
    programmed = [_placed(network, substrate, number, seed) for number in range(samples if substrate is not None else 1)]
    here = programmed[0].substrate
    if isinstance(here, Digital) and any(times):
        raise ValueError("a digital network does not age: --after needs a run on crossbars, or --device")
    answered = []
    for wanted in _compensations(here, compensation):
        networks = [_aging(one, wanted) for one in programmed]
        age = 0.0
        for time in times:
            for one in networks if time > age else ():
                one.elapse(time - age)
            age = max(age, time)
            answered.append(
                (time, wanted, [ask(networks[n % len(networks)], Key(seed).fold("conditions", n)) for n in range(samples)])
            )
    return answered


def _compensations(substrate: Analog | Digital, given: Sequence[bool] | None) -> Sequence[bool]:
    if isinstance(substrate, Digital):
        return (False,)
    return (substrate.drift_compensation,) if given is None else given


def _placed(network: Network, substrate: Analog | Digital | None, number: int, seed: int) -> Network:
    """Return the network, or a copy programmed onto new devices."""
    if substrate is None:
        return network
    twin = network.copy(trained=True)
    twin.seed = seed + number
    return twin.on(substrate)


def _aging(network: Network, compensated: bool) -> Network:
    """Return an independent network in the same device state, with or without drift compensation."""
    from analogpc.networks.network import Network as Made

    substrate = network.substrate
    if isinstance(substrate, Digital) or substrate.drift_compensation == compensated:
        return network.copy(trained=True)
    specification = network.specification | {"substrate": substrate.but(drift_compensation=compensated)}
    return Made.from_snapshot(specification, network.held(), network.backend)


def _asked(run: Run, data: Dataset | tuple[Any, Any] | None) -> Callable[[Network, Key], Answers]:
    """Return the evaluation function: on the test part of a data set, or on raw samples."""
    from analogpc.data import Dataset
    from analogpc.training.study_data import study_data

    if data is None:
        data = study_data(run.study)
    if isinstance(data, Dataset):
        whole = data
        return lambda network, key: answers_of(network, whole, "test", key=key, output=run.output)
    x, y = data
    labels = run.data.targets.encode(y, "the labels")
    inputs = run.data.inputs(x, run.network.dtype)
    if len(labels) != len(inputs):
        raise ValueError(f"there are {len(inputs)} samples and {len(labels)} labels")
    return lambda network, key: Answers(outputs_of(network, in_batches(inputs), key), labels, run.data.targets, run.output)


def _judged(run: Run, time: float, compensated: bool, answers: list[Answers]) -> Evaluation:
    task = answers[0].targets.task
    further = ["calibration"] if task == "classification" else []
    metrics = metrics_for([*(one for one in run.metrics if one not in further), *further], task)
    each = [measured(one, metrics) for one in answers]
    values = {name: [one[name] for one in each] for name in each[0]}
    if task != "classification":
        return Evaluation(time, compensated, values, None)
    parts = [Confusion.of(one) for one in answers]
    return Evaluation(time, compensated, values, Confusion(np.sum([part.counts for part in parts], axis=0), parts[0].classes))
