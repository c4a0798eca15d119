"""Every update scheme on every backend: the same writes as on the CPU, bit-identical if products are computed on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from matrix_pairs import PROGRAMMED, TILES, agree, inputs, made, pair, same_state

from analogpc.devices.mappings import DifferentialPair
from analogpc.devices.matrix import NonFiniteError, TwoPhases
from analogpc.devices.nonidealities import UniformSpread
from analogpc.devices.responses import LinearStep, PiecewiseStep, PowerStep, SoftBoundsReference
from analogpc.devices.schemes import (
    Agad,
    ChoppedTikiTaka,
    IdealUpdate,
    MixedPrecision,
    ProgramVerify,
    SignPulses,
    StochasticPulses,
    TikiTaka,
    TikiTakaV2,
)
from analogpc.devices.substrate import Analog
from analogpc.kernels.gpu.arrays import in_tree, to_host

EXACT_PULSES = StochasticPulses(trains="deterministic", directions="separate")
SCHEMES: dict[str, Analog] = {
    "repeat": Analog(
        device=made(),
        scheme=StochasticPulses(length=5, bound_management="repeat"),
        mapping=DifferentialPair(scaling="column"),
        **TILES,
    ),
    "spare-pre": Analog(device=made(), scheme=StochasticPulses(bound_management="spare-pre", length_management=False), **TILES),
    "deterministic": Analog(device=made(), scheme=EXACT_PULSES, **TILES),
    "twin": Analog(device=made(), scheme=StochasticPulses(phases="twin", update_management=False), **TILES),
    "power": Analog(device=made(PowerStep(dw_min=0.01, pow_gamma=1.3, dw_min_std=0.2, reference_std=0.02)), **TILES),
    "piecewise": Analog(device=made(PiecewiseStep(dw_min=0.01, nodes_up=(1.2, 1.0, 0.4), nodes_down=(0.3, 1.0, 1.1))), **TILES),
    "additive": Analog(device=made(LinearStep(dw_min=0.01, gamma_up=0.3, gamma_down=0.2, dw_min_std=0.3, mult_noise=False)), **TILES),
    "exact-writes": Analog(device=made(), scheme=IdealUpdate(), **TILES),
    "mixed": Analog(device=made(), scheme=MixedPrecision(pre_bins=15, post_bins=15), mapping=DifferentialPair(scaling="column"), **TILES),
    "mixed-lines": Analog(device=made(), scheme=MixedPrecision(lines=4, every=2, most_pulses=3), **TILES),
    "sign": Analog(device=made(), scheme=SignPulses(threshold=0.5, pulses=2, every=2), **TILES),
    "sign-rms": Analog(device=made(), scheme=SignPulses(threshold=0.5, threshold_unit="rms"), **TILES),
    "tiki-taka": Analog(device=made(), scheme=TikiTaka(gamma=0.3, lines=5), **TILES),
    "tiki-taka-v2": Analog(
        device=made(SoftBoundsReference(dw_min=0.01, subtract_symmetry_point=True)),
        scheme=TikiTakaV2(fast_rate=4.0, fast_scaling="auto", threshold=0.2, unit="product", every=4, lines=3),
        **TILES,
    ),
    "chopped": Analog(
        device=made(),
        scheme=ChoppedTikiTaka(zero_pulses=6, reference_std=0.01, output_chop_probability=0.5, lines=4),
        mapping=DifferentialPair(scaling="column"),
        **TILES,
    ),
    "regular": Analog(device=made(), scheme=ChoppedTikiTaka(regular=True, lines=0), **TILES),
    "agad": Analog(device=made(), scheme=Agad(chop_probability=0.5, lines=7), **TILES),
    "verified": Analog(device=made(), scheme=ProgramVerify(budget=6), mapping=DifferentialPair(scaling="column"), **TILES),
    "programmed": Analog(
        device=made(PROGRAMMED, programming=UniformSpread(half_width_siemens=5e-7)),
        scheme=ProgramVerify(unit="siemens", tolerance=3e-7, budget=4),
        **TILES,
    ),
}  # fmt: skip

ROUNDED = ("programmed",)
"""Schemes with a function that rounds differently even on the emulated GPU: erf."""
CASES = [(name, np.float32) for name in SCHEMES] + [(name, np.float64) for name in ("twin", "mixed", "tiki-taka-v2", "verified")]
"""Every scheme in one type; those that write by products, accumulators, transfers and verification in the other."""


pytestmark = pytest.mark.usefixtures("no_shortcuts", "whole_products")


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_scheme_learns_as_on_the_cpu(exact, name, kind) -> None:
    here, there = pair(SCHEMES[name], kind)
    exact = exact and name not in ROUNDED
    like, scheme, first_weights = there.anchor, here.substrate.scheme, here.weights()
    for turn in range(6):
        (x, g), (y, h) = inputs(kind, turn), inputs(kind, 10 + turn)
        moved = [np.asarray(values, like=like) for values in (x, g, y, h)]
        first, second = [(x, g)], [(y, h)]
        if turn % 2:
            here.learn(TwoPhases(first, second), 0.03)
            there.learn(TwoPhases([tuple(moved[:2])], [tuple(moved[2:])]), 0.03)
        else:
            here.learn(first + second, 0.02)
            there.learn([tuple(moved[:2]), tuple(moved[2:])], 0.02)
        if scheme.takes_increments:
            change = (h.T @ y) * kind(0.004)
            here.increment(change)
            there.increment(np.asarray(change, like=like))
        agree(there.weights(), here.weights(), exact, 3e-2)
    assert np.abs(here.weights() - first_weights).max() > 0.01
    agree(there.forward(moved[0]), here.forward(x), exact, 3e-2)
    same_state(in_tree(to_host, there.snapshot()), here.snapshot(), exact)


def test_products_that_are_no_numbers_are_refused_there(device) -> None:
    for name in ("mixed", "repeat"):
        there = pair(SCHEMES[name])[1]
        x, g = (np.asarray(values, like=there.anchor) for values in inputs(np.float32))
        x[0, 0] = np.nan
        with pytest.raises(NonFiniteError, match="an update product is not finite"):
            there.learn([(x, g)], 0.1)
