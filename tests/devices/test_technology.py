"""Technologies: every entry with unit and source, and refusals that name what is missing."""

import tomllib

import pytest

from analogpc.devices.costs.technology import ENTRIES, Bits, Technology, TechnologyError, technologies, technology

TWO = """
name = "two"
[array]
read_time = { value = 10, unit = "ns", source = "made up" }
[adc]
energy = { value = 2, unit = "pJ", source = "made up", bits = 6, law = "exponential" }
time = { value = 6, unit = "ns", source = "made up", bits = 6, law = "linear" }
area = { value = 3, unit = "um^2", source = "made up", bits = 6 }
"""


@pytest.fixture
def two(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(TWO)
    return path


@pytest.mark.parametrize("name", ["digital-45nm", "hermes-14nm", "isaac-32nm", "neurosim-22nm", "neurram-130nm"])
def test_shipped_technologies_are_whole(name):
    assert name in technologies()
    one = technology(name)
    assert all(entry.source for entry in one.entries.values())
    assert set(one.entries) <= set(ENTRIES)
    assert Technology.from_toml(one.to_toml()) == one
    tomllib.loads(one.to_toml())


def test_units_and_laws(two):
    one = technology(two)
    assert one.quantity("array.read_time") == pytest.approx(1e-8)
    assert one.quantity("adc.energy", Bits(8, 6)) == pytest.approx(2e-12)
    assert one.quantity("adc.energy", Bits(8, 9)) == pytest.approx(16e-12)
    assert one.quantity("adc.time", Bits(8, 9)) == pytest.approx(9e-9)
    assert one.quantity("adc.area", Bits(8, 6)) == pytest.approx(3e-12)


def test_what_is_missing_is_refused_by_name(two):
    one = technology(two)
    with pytest.raises(TechnologyError, match=r"'two' has no entry 'dac.energy' \(of driving a line with one value, in J\)"):
        one.quantity("dac.energy")
    with pytest.raises(TechnologyError, match=r"'adc.area' of 'two' is known for 6 bits, not for 7"):
        one.quantity("adc.area", Bits(8, 7))
    with pytest.raises(TechnologyError, match="needs converters with finite bits"):
        one.quantity("adc.energy", Bits(8, float("inf")))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('[adc]\nenergy = { value = 2, unit = "ns", source = "s" }', "'adc.energy' is a quantity in J, not in 'ns'"),
        ('[adc]\nenergy = { value = 2, unit = "parsnips", source = "s" }', "not in 'parsnips'"),
        ('[adc]\nenergy = { value = -2, unit = "pJ", source = "s" }', "a nonnegative value"),
        ('[adc]\nenergy = { value = 2, unit = "pJ" }', "needs the field"),
        ('[adc]\nenergy = { value = 2, unit = "pJ", source = "" }', "source"),
        ('[adc]\nenergy = { value = 2, unit = "pJ", source = "s", law = "linear" }', "needs a value and its bits"),
        ('[adc]\nsmell = { value = 2, unit = "pJ", source = "s" }', "there is no entry 'adc.smell'"),
        ("[adc]\nenergy = 3", "energy"),
        ("abilities = ['flies']", "flies"),
        ("include = 'nothing'", "there is no technology 'nothing'"),
        ("= 3", "is not TOML"),
    ],
)
def test_bad_files_get_one_sentence(tmp_path, line, reason):
    path = tmp_path / "bad.toml"
    path.write_text(f'name = "bad"\n{line}\n')
    with pytest.raises(TechnologyError) as caught:
        technology(path)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(TechnologyError, match="shipped are digital-45nm"):
        technology("unknown")
    with pytest.raises(TechnologyError, match="cannot be read"):
        technology(tmp_path / "none.toml")


def test_a_technology_includes_another(tmp_path, two):
    other = tmp_path / "other.toml"
    other.write_text('name = "other"\ninclude = "two.toml"\n[array]\nread_time = { value = 1, unit = "us", source = "own" }\n')
    one = technology(other)
    assert one.quantity("array.read_time") == pytest.approx(1e-6)
    assert one.entries["adc.energy"].source == "two: made up"
    two.write_text(TWO.replace('name = "two"', 'name = "two"\ninclude = "other.toml"'))
    with pytest.raises(TechnologyError, match="includes itself"):
        technology(other)


def test_changed_entries_say_so(two):
    changed = technology(two, **{"array.read_time": 20})
    assert changed.quantity("array.read_time") == pytest.approx(2e-8)
    assert "set by hand; was 10" in changed.entries["array.read_time"].source
    with pytest.raises(TechnologyError, match=r"no entry 'array.colour'"):
        technology(two, **{"array.colour": 1})
