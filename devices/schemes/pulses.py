"""Plain in-situ learning: every sample's outer product is applied as it comes, by coincident pulses on the lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import override

from analogpc.devices.costs.schedule import at_once
from analogpc.devices.device import Device
from analogpc.devices.mappings import Mapping
from analogpc.devices.matrix import NonFiniteError, TwoPhases, UnsupportedUpdateError
from analogpc.devices.schemes.base import Scheme, refuse_pulses
from analogpc.kernels.gpu.arrays import on_gpu, to_host
from analogpc.kernels.gpu.graphs import capturing
from analogpc.kernels.words import MAX_LENGTH

if TYPE_CHECKING:
    from analogpc.devices.matrix import Products
    from analogpc.devices.protocols import PulsedLegs, PulsedMatrix


class StochasticPulses(Scheme):
    """Pulse trains whose coincidences realise ``rate * pre * post``: on average, or in rounded numbers.

    In each of BL slots the row fires with probability A |pre|, the column with probability B |post|, where
    A B = rate / (BL * granularity): the expected number of coincidences times the granularity is the wanted change, exactly, as
    long as no probability exceeds 1 (those that do are clipped and counted). With p = A B |pre post| their number is binomial, so
    that a weight changes by granularity * BL p on average, with the variance granularity^2 BL (p (1 - p) + p s^2), s being the
    cycle-to-cycle deviation of a step (of the sum of the steps, where several devices of a weight move).

    Attributes
    ----------
    trains : "stochastic" or "deterministic"
        Random trains, drawn once for each line and shared by its crosspoints; or trains of a fixed number of pulses, whose
        coincidences are the product of the two values, each rounded to BL levels, rounded again (see `schemes.words`). What is
        below half a coincidence is then lost, sample by sample.
    length : int
        BL, the slots of a train, 1 to 31; with length management the most that a train may use.
    update_management : bool
        Split the rate so that the largest row and the largest column value get the same probability, instead of A = B.
    length_management : bool
        Use only as many slots as the largest wanted change of the product needs: min(ceil(changes), length).
    bound_management : "none", "spare-pre" or "repeat"
        What happens when the largest wanted change of a product exceeds BL coincidences: both sides are clipped; or the
        probabilities of the rows are kept at 1 at most, so that only columns are clipped (aihwkit's update management); or the
        product is sent as several trains of equal rate, one after the other.
    most_trains : int
        The most that "repeat" sends for a product.
    directions : "together" or "separate"
        Pulses upwards and downwards in the same slots; or, as most hardware does it, first all pulses upwards of the products that
        are handed over together, then all those downwards, in two passes for each polarity of the inputs. A device gets the same
        pulses in another order, which matters only where steps depend on the state.
    phases : "trains" or "twin"
        What becomes of products of two phases (`TwoPhases`, equilibrium propagation). As two opposite trains, the noise of both
        adds, although they nearly cancel: with rate = eta / (2 beta) the variance of a change is 2 |s s^T| granularity
        eta / (2 beta) for small probabilities. As twins, each phase goes to one device of every pair alone, at the same
        time, and the pair takes the difference: with half the step of a pair and as many pulses for each device the variance is
        half as large, but the spread between the two devices leaves a part of what should cancel, and both move in the same
        direction, towards their bounds. Products of Hopfield networks, s s^T in each phase, are far larger than their difference,
        and drive most devices there within a few epochs unless something takes the common part back, which no scheme here does.

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
    most_trains: Annotated[int, Field(ge=1)] = 8
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
        """The products, and which devices each of them goes to."""
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
        """Pulse n products (n, n_in), (n, n_out), times the rate, into the weights or into extra cells of that name."""
        granularity = matrix.granularity if legs == "all" else matrix.granularity / 2
        # The inputs of each block are on arrays of their own.
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
            "stochastic pulses apply each product as it comes and cannot write a digitally formed change: use an optimiser that "
            "needs none (plain SGD), or another update scheme"
        )

    def gains(
        self, pre: np.ndarray, post: np.ndarray, steps: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """Pulse probabilities per unit and train lengths of n rank-one products.

        They are computed in main memory (one synchronisation with the GPU); in a captured graph they stay on the GPU.

        Parameters
        ----------
        pre, post : (n, n_in) and (n, n_out) arrays
        steps : float
            Device steps wanted per unit of pre * post: the rate over the granularity.

        Returns
        -------
        gain_pre, gain_post : (n,) float64 arrays
        length : (n,) int64 array
        trains : (n,) int64 array or None
            How often each product is sent, if not once.
        """
        largest = np.stack([np.abs(pre).max(axis=1), np.abs(post).max(axis=1)])
        if not capturing():
            largest, steps = to_host(largest), float(steps)
        largest_pre, largest_post = (side.astype(np.float64) for side in largest)
        wanted = abs(steps) * largest_pre * largest_post
        if not capturing() and not np.isfinite(wanted).all():
            raise NonFiniteError("an update product is not finite")
        trains = None
        if self.bound_management == "repeat" and wanted.max(initial=0.0) > self.length:
            trains = np.clip(np.ceil(wanted / self.length), 1, self.most_trains).astype(np.int64)
            wanted = wanted / trains
        some = wanted > 0
        length = np.minimum(np.ceil(wanted), self.length) if self.length_management else np.full_like(wanted, self.length)
        length = np.where(some, length, 0.0)
        each = abs(steps) if trains is None else abs(steps) / trains
        share = np.where(length > 0, np.sqrt(each / np.where(length > 0, length, 1.0)), 0.0)
        balance = np.ones_like(share)
        if self.update_management:
            balance = np.where(some, largest_post / np.where(some, largest_pre, 1.0), 1.0)
            if self.bound_management == "spare-pre":
                balance *= np.where(some, np.minimum(1.0, length / np.where(some, wanted, 1.0)), 1.0)
            balance = np.sqrt(balance)
        return share * balance, share / balance, length.astype(np.int64), trains
