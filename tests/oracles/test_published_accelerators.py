"""Published energy and speed of accelerators, computed from technology entries; every test names its source."""

import pytest

from analogpc.devices.costs.bill import bill
from analogpc.devices.costs.hardware import Hardware
from analogpc.devices.costs.ledger import Tally
from analogpc.devices.costs.meter import Meter
from analogpc.devices.costs.paths import Path
from analogpc.devices.costs.technology import Bits, Technology, technology

ANALOG = ("arrays", "drivers", "converters", "sums")


def product(own: Hardware, prices: Technology, vectors: int = 1):
    """The bill of reading one matrix."""
    tiles = -(-own.shape[0] // own.columns)
    meter = Meter(
        forward_reads=vectors,
        conversions_in=vectors * own.shape[1] * tiles * own.planes,
        conversions_out=vectors * own.shape[0] * -(-own.shape[1] // own.rows) * own.planes * own.groups,
    )
    path = Path()
    path.terms["forward", "m"] = vectors
    return bill(Tally(vectors, 1, {"m": meter}, path), {"m": own}, prices)


def tops_per_watt(own: Hardware, billed) -> float:
    joules = sum(charge.joules for charge in billed.charges if charge.part in ANALOG)
    return 2 * own.size * billed.samples / joules / 1e12


@pytest.mark.parametrize(
    ("inputs", "outputs", "published", "micro_seconds", "tops"),
    [(4, 6, 15.95, 4.23, 0.744), (8, 10, 6.44, 11.9, 0.264), (1, 3, 43.08, 1.48, 2.12)],
)
def test_neurram(inputs, outputs, published, micro_seconds, tops):
    """Wan et al., Nature 608:504 (2022): 48 cores of 256 x 256 cells, 256 x 128 weights; energy for each cell by its three parts."""
    core = Hardware((128, 256), rows=256, columns=128, devices=2, bits=Bits(inputs, outputs))
    billed = product(core, technology("neurram-130nm"), 10)
    assert tops_per_watt(core, billed) == pytest.approx(published, rel=0.02)
    seconds = billed.seconds / 10
    assert seconds == pytest.approx(micro_seconds * 1e-6, rel=0.005)
    assert 48 * 2 * core.size / seconds / 1e12 == pytest.approx(tops, rel=0.005)


def test_neurram_is_not_known_for_other_bits():
    core = Hardware((128, 256), rows=256, columns=128, devices=2, bits=Bits(4, 7))
    with pytest.raises(ValueError, match=r"'array.cell_energy' .* known for bits of inputs/outputs 4/6, 8/10, 1/3, not for 4/7"):
        product(core, technology("neurram-130nm"))


HERMES = Hardware((256, 256), rows=256, columns=256, devices=2, bits=Bits(8, 8))


def test_hermes_core():
    """Khaddam-Aljameh et al., JSSC 57:1027 (2022): 10.5 TOPS/W and 1.59 TOPS/mm2, a converter for each column."""
    billed = product(HERMES, technology("hermes-14nm"))
    assert tops_per_watt(HERMES, billed) == pytest.approx(10.5, rel=0.01)
    core = sum(area.square_metres for area in billed.areas if area.part == "arrays")
    assert 2 * HERMES.size / billed.seconds / 1e12 / (core * 1e6) == pytest.approx(1.59, rel=0.01)


@pytest.mark.parametrize(("phases", "tops", "published"), [(1, 63.1, 9.76), (4, 16.1, 2.48)])
def test_hermes_chip_from_the_core(phases, tops, published):
    """Le Gallo et al., Nat. Electron. 6:680 (2023): 64 such cores, read in one phase or in four.

    Energy is that of the core of the year before: the chip adds links and digital units, which cost it 7 % in one phase. Four phases
    are taken as four reads; the chip is 2 % faster and 6 % less efficient than that.
    """
    billed = product(HERMES, technology("hermes-14nm"))
    assert 64 * 2 * HERMES.size / (phases * billed.seconds) / 1e12 == pytest.approx(tops, rel=0.025)
    assert tops_per_watt(HERMES, billed) / phases == pytest.approx(published, rel=0.08)
    watts = 64 * billed.joules / billed.seconds
    assert watts == pytest.approx(6.5, rel=0.08)


@pytest.mark.parametrize(
    ("volts", "adc", "array", "published"), [(0.85, 1.79, 9.7, 400), (1.2, 3.56, 20.4, 192)], ids=["0.85V", "1.2V"]
)
def test_jia(volts, adc, array, published):
    """Jia et al., JSSC 55:2609 (2020), 65 nm, charge domain: columns of 2304 cells of 1 bit; picojoules of a column."""
    entries = {
        "array.cell_energy": (array / 2304, "pJ"),
        "array.read_time": (1, "us"),
        "array.columns_per_adc": (1, "1"),
        "array.power": (0, "W"),
        "adc.energy": (adc, "pJ"),
        "adc.time": (0, "s"),
        "dac.energy": (0, "pJ"),
        "sums.energy": (0, "pJ"),
        "buffer.energy": (0, "pJ/bit"),
        "digital.word": (1, "bit"),
    }
    prices = Technology(
        name=f"jia-{volts}",
        entries={name: {"value": value, "unit": unit, "source": "Jia 2020"} for name, (value, unit) in entries.items()},
    )
    column = Hardware((1, 2304), rows=2304, columns=1, bits=Bits(1, 8))
    billed = product(column, prices)
    assert tops_per_watt(column, billed) == pytest.approx(published, rel=0.01)
    assert billed.by_part()["converters"] == pytest.approx(adc * 1e-12)
    assert billed.by_part()["arrays"] == pytest.approx(array * 1e-12)


def test_isaac_reads_cost_more_in_converters_than_in_arrays():
    """Shafiee et al., ISCA 2016, by the constants of the entries: 213 pJ, 53 pJ and 30 pJ a read of 128 columns."""
    own = Hardware((128, 128), rows=128, columns=128, devices=1, bits=Bits(8, 8))
    parts = product(own, technology("isaac-32nm")).by_part()
    assert parts["converters"] == pytest.approx(213e-12, rel=0.005)
    assert parts["drivers"] == pytest.approx(53e-12, rel=0.01)
    assert product(own, technology("isaac-32nm")).seconds == pytest.approx(200e-9, rel=1e-9)
