"""Workloads of convolutional networks on crossbars, beside the same training step with digital matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from analogpc.bench.preparation import Calls, rule_step
from analogpc.devices.substrate import Analog, Digital
from analogpc.kernels.gpu.arrays import Backend
from analogpc.networks.zoo import vgg
from analogpc.rules import PredictiveCoding

_BATCH = 128
_RATE = 0.05
"""Learning rate of plain SGD, at which these networks train on devices."""


def convolutional(width: float, device: str, backend: Backend) -> Calls:
    """Prepare training steps of S+F for VGG5 on images of 32 x 32 pixels, exactly written and with stochastic pulses.

    Parameters
    ----------
    width : float
        Factor of the numbers of channels.
    device : str
        Name of a preset.
    backend : "cpu" or "gpu"
    """
    rule = PredictiveCoding(steps=5, step_size=0.8, momentum=0.1, nesterov=True, precision="spiking", update="forward")

    def step(substrate: Digital | Analog) -> Callable[[], Any]:
        return rule_step(vgg(5, width=width, activation="gelu", substrate=substrate).to(backend), rule, _BATCH, _RATE)[0]

    exact, pulsed = Analog(device=device, scheme={"kind": "ideal"}), Analog(device=device)
    return Calls(step(Digital()), {"exact writing": step(exact), "pulses": step(pulsed)})
