"""The digital twin of a training run: the same reads and updates on one digital unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from analogpc.devices.costs.hardware import Hardware
from analogpc.devices.costs.ledger import Tally
from analogpc.devices.costs.meter import Meter
from analogpc.devices.costs.paths import BACKWARD, FORWARD, LOOK_UP, MACS


def digital_twin(tally: Tally, hardware: Mapping[str, Hardware]) -> tuple[Tally, dict[str, Hardware]]:
    """Return the same reads and updates performed by one digital unit: tally and hardware for `bill`.

    Operations specific to arrays, such as repeated reads, pulses and accumulators, are left out. The unit works sequentially, with
    all of its lanes.
    """
    twin = Tally(tally.samples, tally.batches, work=Counter(tally.work))
    twin.path.terms.update({(kind, ""): values for kind, values in tally.work.items()})
    for name, meter in tally.meters.items():
        size = hardware[name].size
        macs = meter.digital_macs if hardware[name].digital else meter.updates * size
        words = meter.digital_words if hardware[name].digital else 2 * size * meter.update_cycles
        twin.meters[name] = Meter(
            forward_reads=meter.forward_reads,
            look_ups=meter.look_ups,
            backward_reads=meter.backward_reads,
            updates=meter.updates,
            update_cycles=meter.update_cycles,
            digital_macs=macs,
            digital_words=words,
        )
        forward = meter.forward_reads - meter.look_ups
        for kind, amount in ((FORWARD, forward), (LOOK_UP, meter.look_ups), (BACKWARD, meter.backward_reads), (MACS, macs)):
            twin.path.terms[kind, name] += amount
    return twin, {name: Hardware(own.shape, digital=True, bias=own.bias) for name, own in hardware.items()}
