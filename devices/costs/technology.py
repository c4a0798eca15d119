"""Technologies: costs of events in energy, time and area, from files in which every entry has a value, a unit and a source."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, FiniteFloat, model_validator

from analogpc.devices.bounds import NonNegative, NonNegativeInteger
from analogpc.devices.specification import Specification


class TechnologyError(ValueError):
    """A technology lacks an entry, or a file is not a technology; the message gives the details."""


ENTRIES: dict[str, tuple[str, str]] = {
    "array.read_voltage": ("V", "on a line that carries the value 1"),
    "array.read_time": ("s", "of one read of an array: one vector, or one bit of it if inputs are bit-serial"),
    "array.cell_energy": ("J", "of a cell in one read, lines included: instead of voltage, conductance and capacitance"),
    "array.wire_capacitance": ("F/m", "of a line"),
    "array.cell_pitch": ("m", "distance of two cells along a line"),
    "array.cell_capacitance": ("F", "of a cell at its line"),
    "array.columns_per_adc": ("1", "sensed lines that share a converter"),
    "array.power": ("W", "of an array with its converters, busy or idle"),
    "array.cell_area": ("m^2", "of a device with its selector"),
    "dac.energy": ("J", "of driving a line with one value"),
    "dac.area": ("m^2", "of the driver of a line"),
    "adc.energy": ("J", "of a conversion"),
    "adc.time": ("s", "of a conversion"),
    "adc.area": ("m^2", "of a converter"),
    "sums.energy": ("J", "of scaling a converted value and adding it to a digital sum"),
    "sums.area": ("m^2", "of the scaling and adding unit of a converter"),
    "buffer.energy": ("J/bit", "of fetching an input of a read, or storing an output"),
    "buffer.area": ("m^2/bit", "of the memory of inputs, outputs and states"),
    "digital.mac_energy": ("J", "of a multiply-add of digital numbers besides the arrays"),
    "digital.memory_energy": ("J/bit", "of reading or writing states, errors and accumulators"),
    "digital.word": ("bit", "size of these numbers"),
    "digital.lanes": ("1", "values that the digital unit of a matrix processes in parallel"),
    "digital.clock": ("Hz", "of the digital unit"),
    "digital.lane_area": ("m^2", "of a lane"),
    "write.pulse_voltage": ("V", "across a device that is selected by its row and its column"),
    "write.pulse_time": ("s", "of a time slot of update pulses"),
    "write.program_energy": ("J", "of programming or resetting a device"),
    "write.program_time": ("s", "of programming a word line"),
    "twin.mac_energy": ("J", "of a multiply-add of the digital twin"),
    "twin.memory_energy": ("J/bit", "of reading or writing the memory of the digital twin"),
    "twin.word": ("bit", "size of the numbers of the digital twin"),
    "twin.reuse": ("1", "vectors for which the digital twin fetches a weight once"),
    "twin.lanes": ("1", "multiply-adds that the digital twin performs in parallel"),
    "twin.clock": ("Hz", "of the digital twin"),
    "twin.lane_area": ("m^2", "of a multiply-add unit of the digital twin"),
    "twin.memory_area": ("m^2/bit", "of the memory of the digital twin"),
}
"""All entries that a bill may use: unit and meaning."""

Ability = Literal["reads both ways", "reads while written", "converts while reading"]


class Bits(NamedTuple):
    """Resolution of the values that drive the lines, and of the conversions, in bits."""

    inputs: float
    outputs: float


class Entry(Specification):
    """One number of a technology.

    Attributes
    ----------
    value : float
        Value of the entry; negative with ``values``.
    values : dict of float
        Values by "bits of inputs/bits of outputs", instead of a single value.
    unit : str
        Any unit of the right dimension, such as "pJ", "fF/um" or "GHz".
    source : str
        Source of the number.
    bits : int
        Resolution for which the value holds; 0 if it holds for any.
    law : "given" or "linear" or "exponential"
        Scaling to other resolutions b: none; by b / bits (one step per bit, as in successive approximation); or by 2^(b - bits) (the
        Walden figure of merit is constant).
    """

    value: FiniteFloat = -1.0
    values: dict[str, NonNegative] = Field(default_factory=dict)
    unit: str
    source: Annotated[str, Field(min_length=1)]
    bits: NonNegativeInteger = 0
    law: Literal["given", "linear", "exponential"] = "given"

    @model_validator(mode="after")
    def _has_one_kind_of_value(self) -> Entry:
        if (self.value < 0) == (not self.values):
            raise ValueError("an entry has either a nonnegative value or values by bits")
        if self.law != "given" and (self.bits == 0 or self.values):
            raise ValueError(f"law = '{self.law}' needs a value and its bits")
        return self


class Technology(Specification):
    """A set of entries; see `ENTRIES` for the possible ones.

    Attributes
    ----------
    name, description : str
    include : str
        Another technology, shipped or a file in the same folder, that provides missing entries; empty for none.
    abilities : tuple of str
        Concurrency that its arrays support: "reads both ways" (forwards and backwards), "reads while written" (a layer is read while
        it learns), "converts while reading" (the outputs of a read are converted during the next one).
    entries : dict of Entry

    Examples
    --------
    >>> technology("isaac-32nm").quantity("adc.energy", Bits(8, 8))
    1.667e-12
    """

    name: str
    description: str = ""
    include: str = ""
    abilities: tuple[Ability, ...] = ()
    entries: dict[str, Entry]

    @model_validator(mode="after")
    def _entries_are_known(self) -> Technology:
        for name, entry in self.entries.items():
            if name not in ENTRIES:
                raise ValueError(f"there is no entry '{name}'; the entries are {', '.join(ENTRIES)}")
            _factor(name, entry.unit)
        return self

    def quantity(self, name: str, bits: Bits | None = None) -> float:
        """Return the value of an entry in SI units (energies and areas of memory per bit).

        Parameters
        ----------
        name : str
        bits : Bits
            Resolution of the converters, if the entry depends on it.

        Raises
        ------
        TechnologyError
            If there is no such entry, or none for these bits.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise TechnologyError(
                f"the technology '{self.name}' has no entry '{name}' ({ENTRIES[name][1]}, in {ENTRIES[name][0]})"
            )
        return _value(self.name, name, entry, bits) * _factor(name, entry.unit)

    def has(self, name: str) -> bool:
        """Whether the entry exists."""
        return name in self.entries

    def changed(self, **values: float) -> Technology:
        """Return a copy with other values of some entries, in their units; names may be written with "_" instead of ".".

        Raises
        ------
        TechnologyError
            If there is no such entry, or it has values by bits.
        """
        entries = dict(self.entries)
        for given, value in values.items():
            name = given if given in entries else given.replace("_", ".", 1)
            if name not in entries or entries[name].values:
                raise TechnologyError(f"the technology '{self.name}' has no entry '{given}' with a single value")
            was = entries[name]
            entries[name] = was.but(value=value, source=f"set by hand; was {was.value:g} ({was.source})")
        return self.but(entries=entries)


def _value(technology: str, name: str, entry: Entry, bits: Bits | None) -> float:
    if entry.values:
        key = "" if bits is None else f"{bits.inputs:g}/{bits.outputs:g}"
        if key not in entry.values:
            raise TechnologyError(
                f"the entry '{name}' of '{technology}' is known for bits of inputs/outputs {', '.join(entry.values)}, "
                f"not for {key or 'none'}: choose such converters, or another technology"
            )
        return entry.values[key]
    if entry.bits == 0:
        return entry.value
    own = entry.bits if bits is None else bits.inputs if name.startswith("dac.") else bits.outputs
    if own == float("inf"):
        raise TechnologyError(
            f"the entry '{name}' of '{technology}' needs converters with finite bits, and these have infinitely many"
        )
    if entry.law == "given" and own != entry.bits:
        raise TechnologyError(
            f"the entry '{name}' of '{technology}' is known for {entry.bits} bits, not for {own:g}, "
            "and gives no law to go from one to the other"
        )
    return entry.value * {"given": 1.0, "linear": own / entry.bits, "exponential": 2.0 ** (own - entry.bits)}[entry.law]


@functools.lru_cache(maxsize=1)
def _units() -> Any:
    import pint

    return pint.UnitRegistry()


@functools.lru_cache(maxsize=256)
def _factor(name: str, unit: str) -> float:
    """Return the conversion factor from ``unit`` to the unit of an entry."""
    import pint

    wanted = ENTRIES[name][0]
    try:
        return float(_units().Quantity(1.0, unit).to(wanted).magnitude)
    except (pint.errors.PintError, ValueError, TypeError, AttributeError, AssertionError):
        raise ValueError(f"the entry '{name}' is a quantity in {wanted}, not in '{unit}'") from None


def technologies() -> list[str]:
    """Return the names of the shipped technologies."""
    return sorted(one.name.removesuffix(".toml") for one in _shipped().iterdir() if one.name.endswith(".toml"))


def _shipped() -> Any:
    return resources.files("analogpc.devices.costs") / "technologies"


def technology(source: str | Path | Technology, **values: float) -> Technology:
    """Return a technology with all entries that it includes.

    Parameters
    ----------
    source : str, path or Technology
        A name of `technologies`, or a TOML file.
    **values : float
        Replaced values of some entries; see `Technology.changed`.

    Raises
    ------
    TechnologyError
        If there is no such technology, or the file is not a technology.
    """
    if not isinstance(source, Technology):
        source = _read(source, None, ()) if str(source).endswith(".toml") else _named(str(source))
    return source.changed(**values) if values else source


@functools.cache
def _named(name: str) -> Technology:
    return _read(name, None, ())


def _read(source: str | Path, beside: Path | None, seen: tuple[str, ...]) -> Technology:
    path = Path(source) if str(source).endswith(".toml") else None
    if path is not None and beside is not None and not path.is_absolute():
        path = beside / path
    if path is None and str(source) not in technologies():
        raise TechnologyError(
            f"there is no technology '{source}'; shipped are {', '.join(technologies())}, and FILE.toml is a file"
        )
    if str(source) in seen:
        raise TechnologyError(f"the technology '{source}' includes itself")
    try:
        text = (path or _shipped() / f"{source}.toml").read_text(encoding="utf-8")
        fields = tomllib.loads(text)
    except OSError as error:
        raise TechnologyError(f"{path} cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TechnologyError(f"{path or source} is not TOML: {error}") from None
    try:
        own = Technology.from_dict(_flat(fields))
    except (ValueError, TypeError) as error:
        raise TechnologyError(f"{path or source} is no technology: {error}") from None
    if not own.include:
        return own
    base = _read(own.include, path.parent if path is not None else None, (*seen, str(source)))
    borrowed = {
        name: one.but(source=f"{base.name}: {one.source}") for name, one in base.entries.items() if name not in own.entries
    }
    return own.but(entries={**own.entries, **borrowed})


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a file, with its tables of entries merged into one dictionary."""
    plain = {name: value for name, value in fields.items() if not isinstance(value, dict)}
    groups = {name: value for name, value in fields.items() if isinstance(value, dict)}
    return {
        **plain,
        "entries": {f"{group}.{name}": entry for group, entries in groups.items() for name, entry in entries.items()},
    }
