"""Plain in-situ learning: the outer product of each sample is applied directly, by coincident pulses on the lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import override

from analogpc.devices.bounds import PositiveInteger
from analogpc.devices.costs.schedule import at_once
from analogpc.devices.device import Device
from analogpc.devices.mappings import Mapping
from analogpc.devices.matrix import NonFiniteError, TwoPhases, UnsupportedUpdateError
from analogpc.devices.schemes.base import Scheme, refuse_pulses
from analogpc.kernels.gpu.arrays import on_gpu, to_host
from analogpc.kernels.gpu.graphs import capturing
from analogpc.kernels.pulses.trains import largest_magnitudes
from analogpc.kernels.words import MAX_LENGTH

if TYPE_CHECKING:
    from analogpc.devices.matrix import Products
    from analogpc.devices.protocols import PulsedLegs, PulsedMatrix


class StochasticPulses(Scheme):
    """Pulse trains whose coincidences implement ``rate * pre * post``, either on average or in rounded numbers.

    In each of BL slots the row fires with probability A |pre| and the column with probability B |post|, where
    A B = rate / (BL * granularity): the expected number of coincidences times the granularity is exactly the requested change, as
    long as no probability exceeds 1 (such probabilities are clipped and counted). With p = A B |pre post| the number of coincidences
    is binomial, so a weight changes by granularity * BL p on average, with variance granularity^2 BL (p (1 - p) + p s^2), where s is
    the cycle-to-cycle deviation of a step (of the sum of the steps if several devices of a weight move).

    Attributes
    ----------
    trains : "stochastic" or "deterministic"
        "stochastic": random trains, drawn once per line and shared by its crosspoints. "deterministic": trains with a fixed number
        of pulses, whose coincidences are the product of the two values, each rounded to BL levels, rounded again (see
        `schemes.deterministic_trains`); contributions below half a coincidence are then lost for each sample.
    length : int
        Number of slots BL of a train, 1 to 31; with length management, the largest number.
    update_management : bool
        Split the rate so that the largest row and column values get the same probability, instead of A = B.
    length_management : bool
        Use only the slots that the largest requested change of the product needs: min(ceil(changes), length).
    bound_management : "none", "spare-pre" or "repeat"
        Treatment of a product whose largest requested change exceeds BL coincidences. "none": both sides are clipped. "spare-pre":
        row probabilities are kept at or below 1, so that only columns are clipped (aihwkit's update management). "repeat": the
        product is sent as several trains of equal rate, one after the other.
    most_trains : int
        Largest number of trains per product with "repeat".
    directions : "together" or "separate"
        "together": pulses in both directions share the slots. "separate": as in most hardware, first all increasing pulses of the
        products of one call, then all decreasing ones, in two passes for each polarity of the inputs. A device gets the same
        pulses in another order, which matters only if steps depend on the state.
    phases : "trains" or "twin"
        Treatment of products of two phases (`TwoPhases`, equilibrium propagation). "trains": two opposite trains, whose noise adds
        although they nearly cancel: with rate = eta / (2 beta) the variance of a change is 2 |s s^T| granularity eta / (2 beta)
        for small probabilities. "twin": each phase goes to one device of every pair only, at the same time, and the pair takes the
        difference. With half the step of a pair and as many pulses per device the variance is halved, but the spread between the
        two devices leaves part of the common component, and both devices move in the same direction, towards their bounds. In
        Hopfield networks the products s s^T of each phase are far larger than their difference and drive most devices to their
        bounds within a few epochs unless the common part is removed, which no scheme here does.

    References
    ----------
    Gokmen and Vlasov, Front. Neurosci. 10:333 (2016); update management: Gokmen, Onen and Haensch, Front. Neurosci. 11:538
    (2017).
    """

    kind: Literal["stochastic-pulses"] = "stochastic-pulses"
    takes_increments: ClassVar[bool] = False
    trains: Literal["stochastic", "deterministic"] = "stochastic"
    length: Annotated[int, Field(ge=1, le=MAX_LENGTH)] = 31
    update_management: bool = True
    length_management: bool = True
    bound_management: Literal["none", "spare-pre", "repeat"] = "none"
    most_trains: PositiveInteger = 8
    directions: Literal["together", "separate"] = "together"
    phases: Literal["trains", "twin"] = "trains"

    @model_validator(mode="after")
    def _rows_are_spared_by_balancing(self) -> StochasticPulses:
        if self.bound_management == "spare-pre" and not self.update_management:
            raise ValueError("bound_management = 'spare-pre' needs update_management = true")
        return self

    @override
    def refuse(self, device: Device, mapping: Mapping) -> str:
        if reason := refuse_pulses(device, mapping):
            return reason
        both = {leg.factor > 0 for leg in mapping.legs} == {True, False}
        if self.phases == "twin" and (mapping.one_sided or not both):
            return "phases = 'twin' needs pairs of devices that are both pulsed up and down"
        return ""

    @property
    @override
    def repeatable(self) -> bool:
        return self.trains == "stochastic" and self.bound_management != "repeat"

    @override
    def learn(self, matrix: PulsedMatrix, products: Products, rate: float) -> None:
        for pre, post, legs in self.parts(products):
            matrix.meter.updates += len(pre)
            self.send(matrix, pre, post, rate, legs=legs)

    def parts(self, products: Products) -> Iterator[tuple[np.ndarray, np.ndarray, PulsedLegs]]:
        """Yield the products, and the devices that each of them reaches."""
        if not isinstance(products, TwoPhases) or self.phases == "trains":
            yield from ((pre, post, "all") for pre, post in products)
            return
        yield from ((pre, post, "plus") for pre, post in products.plus)
        yield from ((pre, -post, "minus") for pre, post in products.minus)

    def send(
        self,
        matrix: PulsedMatrix,
        pre: np.ndarray,
        post: np.ndarray,
        rate: float,
        cells: str | None = None,
        legs: PulsedLegs = "all",
    ) -> None:
        """Send n products (n, n_in), (n, n_out), times the rate, to the weights or to the extra cells with the given name."""
        granularity = matrix.granularity if legs == "all" else matrix.granularity / 2
        # The inputs of each block belong to separate arrays.
        for inputs, scale in at_once(matrix.blocks()):
            driven = pre[:, inputs]
            wanted = post if scale is None else post / scale
            gain_pre, gain_post, length, trains = self.gains(driven, wanted, rate / granularity)
            wanted = np.where(rate < 0, -wanted, wanted) if on_gpu(rate) else -wanted if rate < 0 else wanted
            if trains is not None:
                again = np.asarray(np.repeat(np.arange(len(trains)), trains), like=driven)
                driven, wanted = driven[again], wanted[again]
                gain_pre, gain_post, length = (np.repeat(values, trains) for values in (gain_pre, gain_post, length))
            matrix.pulse(
                inputs,
                driven,
                wanted,
                gain_pre,
                gain_post,
                length,
                cells,
                deterministic=self.trains == "deterministic",
                separate=self.directions == "separate",
                legs=legs,
            )

    @override
    def increment(self, matrix: PulsedMatrix, change: np.ndarray) -> None:
        raise UnsupportedUpdateError(
            "stochastic pulses apply each product as it comes and cannot write a digitally computed change: use an optimiser "
            "that needs none (plain SGD), or another update scheme"
        )

    def gains(
        self, pre: np.ndarray, post: np.ndarray, steps: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """Compute pulse probabilities per unit and train lengths of n rank-one products.

        The computation runs in main memory (one synchronisation with the GPU); in a captured graph it stays on the GPU.

        Parameters
        ----------
        pre, post : (n, n_in) and (n, n_out) arrays
        steps : float
            Requested device steps per unit of pre * post: the rate over the granularity.

        Returns
        -------
        gain_pre, gain_post : (n,) float64 arrays
        length : (n,) int64 array
        trains : (n,) int64 array or None
            Number of trains of each product; None for one.
        """
        largest = np.stack([largest_magnitudes(side) for side in (pre, post)])
        if not capturing():
            largest, steps = to_host(largest), float(steps)
        largest_pre, largest_post = largest.astype(np.float64)
        wanted = abs(steps) * largest_pre * largest_post
        if not capturing() and not np.isfinite(wanted).all():
            raise NonFiniteError("an update product is not finite")
        # Products of zero get ones in between, and no pulses at the end.
        some = wanted > 0
        wanted, largest_pre, largest_post = (np.where(some, one, 1.0) for one in (wanted, largest_pre, largest_post))
        each: Any = abs(steps)
        trains = None
        if self.bound_management == "repeat" and wanted.max(initial=0.0) > self.length:
            trains = np.clip(np.ceil(wanted / self.length), 1, self.most_trains).astype(np.int64)
            wanted, each = wanted / trains, each / trains
        length = np.minimum(np.ceil(wanted), self.length) if self.length_management else np.full_like(wanted, self.length)
        share, whole = np.where(some, np.sqrt(each / length), 0.0), np.where(some, length, 0.0).astype(np.int64)
        if not self.update_management:
            return share, share, whole, trains
        balance = largest_post / largest_pre
        if self.bound_management == "spare-pre":
            balance = balance * np.minimum(1.0, length / wanted)
        balance = np.sqrt(balance)
        return share * balance, share / balance, whole, trains
