"""Reads and pulsed updates of an analog tile of aihwkit, next to one matrix product of torch; needs a Python with aihwkit.

    PYTHON aihwkit.py THREADS SECONDS [WORKLOAD ...]

The tile is `AnalogTile` on the CPU, 512 x 512, read by 128 vectors together as a module without gradients. Reads: inputs scaled
by their largest magnitude and converted with 7 bits, outputs with 9 bits and a bound of 12 after noise of 0.06; no bound management,
which would repeat saturated reads. Weight noise is additive and constant, which aihwkit draws at the output, as
we do. Updates: stochastic compressed trains of 31 slots, without management of their length, of vectors whose largest element is 1, at a
learning rate equal to the mean step: the largest element of every product gets one pulse on average, as in our first variant. Signs
alternate between calls, so that weights do not drift. Devices have the same spreads as in analogpc, 30 % each.
"""

from itertools import cycle

import _torch_products
import _turns

torch = _turns.library("torch")
configs = _turns.library("aihwkit.simulator.configs")
devices = _turns.library("aihwkit.simulator.configs.devices")
enums = _turns.library("aihwkit.simulator.parameters.enums")
io = _turns.library("aihwkit.simulator.parameters.io")
training = _turns.library("aihwkit.simulator.parameters.training")
tiles = _turns.library("aihwkit.simulator.tiles")

SIZE, LENGTH = 512, 31
SPREADS = {"dw_min_dtod": 0.3, "dw_min_std": 0.3, "w_max_dtod": 0.3, "w_min_dtod": 0.3, "up_down_dtod": 0.0}


def tile(device, **read):
    """Create a tile of such devices with small random weights, for reads or updates."""
    forward = io.IOParameters(
        inp_res=1 / (2**7 - 2),
        out_res=1 / (2**9 - 2),
        out_bound=12.0,
        out_noise=0.06,
        noise_management=enums.NoiseManagementType.ABS_MAX,
        bound_management=enums.BoundManagementType.NONE,
        **read,
    )
    update = training.UpdateParameters(
        desired_bl=LENGTH, pulse_type=enums.PulseType.STOCHASTIC_COMPRESSED, update_bl_management=False, update_management=True
    )
    made = tiles.AnalogTile(SIZE, SIZE, configs.SingleRPUConfig(device=device, forward=forward, update=update))
    made.set_weights(0.1 * torch.randn(SIZE, SIZE))
    return made.eval()


def read(**noise):
    """Read all vectors together."""
    made = tile(devices.ConstantStepDevice(dw_min=0.0002, w_max=1.0, w_min=-1.0, **SPREADS), **noise)
    x, weights = torch.randn(_turns.BATCH, SIZE), 0.1 * torch.randn(SIZE, SIZE)

    def work():
        with torch.no_grad():
            made(x)

    return lambda: x @ weights.T, work


def read_with_weight_noise():
    """Read all vectors together, with weight noise."""
    return read(w_noise=0.005, w_noise_type=enums.WeightNoiseType.ADDITIVE_CONSTANT)


def pulses(device):
    """Apply all products in order."""
    made = tile(device)
    made.set_learning_rate(device.dw_min)
    x, d = (v / v.abs().max(dim=1, keepdim=True).values for v in torch.randn(2, _turns.BATCH, SIZE))
    signs = cycle([d, -d])
    return lambda: x.T @ d, lambda: made.update(x, next(signs))


def pulses_constant():
    """Update devices with constant steps."""
    return pulses(devices.ConstantStepDevice(dw_min=0.0002, w_max=1.0, w_min=-1.0, **SPREADS))


def pulses_soft_bounds():
    """Update devices with soft bounds."""
    return pulses(devices.SoftBoundsDevice(dw_min=0.002, w_max=1.0, w_min=-1.0, **SPREADS))


WORKLOADS = {
    "read": read,
    "read-weight-noise": read_with_weight_noise,
    "pulses-constant": pulses_constant,
    "pulses-soft-bounds": pulses_soft_bounds,
}

if __name__ == "__main__":
    _torch_products.start()
    _turns.measure(WORKLOADS)
