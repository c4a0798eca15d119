"""Plain in-situ learning: every sample's outer product is applied at once, by coincident pulses on the lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from analogpc.devices.device import Device
from analogpc.devices.mappings import Mapping
from analogpc.devices.matrix import NonFiniteError, UnsupportedUpdateError
from analogpc.devices.responses import PulseResponse
from analogpc.devices.schemes.base import Scheme
from analogpc.kernels.pulses import MAX_LENGTH

if TYPE_CHECKING:
    from analogpc.devices.crossbar_matrix import CrossbarMatrix
    from analogpc.devices.matrix import Products


class StochasticPulses(Scheme):
    """Stochastic pulse trains whose coincidences realise ``rate * pre * post`` on average.

    In each of BL slots the row fires with probability A |pre|, the column with probability B |post|, where
    A B = rate / (BL * granularity): the expected number of coincidences times the granularity is the wanted change, exactly, as
    long as no probability exceeds 1 (those that do are clipped and counted).

    Attributes
    ----------
    length : int
        BL, the slots of a train, 1 to 31; with length management the most that a train may use.
    update_management : bool
        Split the rate so that the largest row and the largest column value get the same probability, instead of A = B.
    length_management : bool
        Use only as many slots as the largest wanted change of the product needs: min(ceil(changes), length).

    References
    ----------
    Gokmen and Vlasov, Front. Neurosci. 10:333 (2016); update management: Gokmen, Onen and Haensch, Front. Neurosci. 11:538
    (2017).
    """

    kind: Literal["stochastic-pulses"] = "stochastic-pulses"
    takes_increments: ClassVar[bool] = False
    length: Annotated[int, Field(ge=1, le=MAX_LENGTH)] = 31
    update_management: bool = True
    length_management: bool = True

    @override
    def refuse(self, device: Device, mapping: Mapping) -> str:
        if not isinstance(device.response, PulseResponse):
            return f"the device '{device.name}' does not answer to pulses; use the scheme 'ideal'"
        if not mapping.takes_pulses:
            return f"weights of the mapping '{mapping.kind}' are programmed, not pulsed; use the scheme 'ideal'"
        return ""

    @override
    def learn(self, matrix: CrossbarMatrix, products: Products, rate: float) -> None:
        for pre, post in products:
            matrix.meter.updates += len(pre)
            for inputs, scale in matrix.blocks():
                driven = pre[:, inputs]
                wanted = post if scale is None else post / scale
                gain_pre, gain_post, length = self.gains(driven, wanted, rate / matrix.granularity)
                matrix.pulse(inputs, driven, np.sign(rate) * wanted if rate < 0 else wanted, gain_pre, gain_post, length)

    @override
    def increment(self, matrix: CrossbarMatrix, change: np.ndarray) -> None:
        raise UnsupportedUpdateError(
            "stochastic pulses apply each product as it comes and cannot write a digitally formed change: use an optimiser that "
            "needs none (plain SGD), or another update scheme"
        )

    def gains(self, pre: np.ndarray, post: np.ndarray, steps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pulse probabilities per unit and train lengths of n rank-one products.

        Parameters
        ----------
        pre, post : (n, n_in) and (n, n_out) arrays
        steps : float
            Device steps wanted per unit of pre * post: the rate over the granularity.

        Returns
        -------
        gain_pre, gain_post : (n,) float64 arrays
        length : (n,) int64 array
        """
        largest_pre = np.abs(pre).max(axis=1).astype(np.float64)
        largest_post = np.abs(post).max(axis=1).astype(np.float64)
        wanted = abs(steps) * largest_pre * largest_post
        if not np.isfinite(wanted).all():
            raise NonFiniteError("an update product is not finite")
        length = np.minimum(np.ceil(wanted), self.length) if self.length_management else np.full(len(pre), float(self.length))
        length = np.where(wanted > 0, length, 0.0)
        share = np.sqrt(np.divide(abs(steps), length, out=np.zeros_like(length), where=length > 0))
        balance = np.ones_like(share)
        if self.update_management:
            np.divide(largest_post, largest_pre, out=balance, where=wanted > 0)
            balance = np.sqrt(balance)
        return share * balance, share / balance, length.astype(np.int64)
