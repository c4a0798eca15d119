"""Interpretation of column names: quantity, unit, and the factor to SI units."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PREFIXES = {"p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_BASES = {
    "S": "conductance",
    "A": "current",
    "V": "volts",
    "ohm": "resistance",
    "\u03a9": "resistance",
    "\u2126": "resistance",
    "s": "seconds",
}
_SPECIAL = {"min": ("seconds", 60.0), "h": ("seconds", 3600.0), "d": ("seconds", 86400.0), "days": ("seconds", 86400.0)}
_NORMALISED = {"normalised", "normalized", "a.u.", "au", "arb", "arb.", "1", "-", "norm"}
_NAMES = {
    "pulse": (
        "pulse",
        "pulses",
        "pulsenumber",
        "pulseno",
        "pulseindex",
        "npulse",
        "n",
        "numberofpulses",
        "#",
        "index",
        "k",
        "step",
    ),
    "conductance": ("conductance", "g", "cond", "conductivity", "gread", "meanconductance"),
    "resistance": ("resistance", "r", "res", "rread"),
    "current": ("current", "i", "iread", "readcurrent", "id", "ids"),
    "volts": ("volts", "v", "voltage", "readvoltage", "vread", "bias", "vapp", "appliedvoltage"),
    "pulse_volts": ("pulsevoltage", "pulseamplitude", "vpulse", "amplitude", "pulsevolts", "vprog", "writevoltage"),
    "direction": ("direction", "dir", "polarity", "sign", "ltpltd", "operation", "pulsetype", "type", "setreset"),
    "device": ("device", "dev", "cell", "deviceid", "sample", "die"),
    "cycle": ("cycle", "cycles", "ramp", "run", "sweep", "repetition", "loop"),
    "seconds": ("seconds", "time", "t", "elapsed", "delay", "timesinceprogramming", "sec", "baketime", "duration"),
    "target": ("target", "targetconductance", "gtarget", "wanted", "desired"),
    "result": ("result", "programmed", "achieved", "gresult", "actual", "measured", "final"),
    "before": ("before", "beforebake", "conductancebefore", "gbefore", "initial"),
    "after": ("after", "afterbake", "conductanceafter", "gafter"),
    "read": ("read", "readnumber", "readno", "readindex"),
    "level": ("level", "state", "stateindex"),
    "stuck_low": ("stucklow", "fractionstucklow", "stuckatlow", "sa0", "stuckoff", "lrsfail"),
    "stuck_high": ("stuckhigh", "fractionstuckhigh", "stuckathigh", "sa1", "stuckon", "hrsfail"),
    "normalised": ("normalisedconductance", "normalizedconductance", "weight", "normconductance", "gnorm", "w"),
}
_ROLE = {name: role for role, names in _NAMES.items() for name in names}
_UNIT = re.compile(r"[\[(]\s*([^\])]*?)\s*[\])]\s*$")
_SUFFIX = re.compile(r"^(.*?)[ _/]+(?:in[ _]+)?([pnuµμmkMG]?(?:S|A|V|ohm|Ω|s)|min|h|days|d)$")


@dataclass(frozen=True)
class Column:
    """Interpretation of a header.

    Attributes
    ----------
    role : str
        Quantity; empty if the name is not known.
    factor : float
        Factor to siemens, ohms, amperes, volts or seconds.
    unit : str
        Unit as written; empty if there is none.
    """

    role: str
    factor: float
    unit: str


def unit_of(text: str) -> tuple[str, float] | None:
    """Return the quantity of a unit and its factor to SI; None if it is not known.

    >>> unit_of("uS"), unit_of("kΩ")
    (('conductance', 1e-06), ('resistance', 1000.0))
    """
    text = text.strip()
    if text.lower() in _NORMALISED:
        return "normalised", 1.0
    if text in _SPECIAL:
        return _SPECIAL[text]
    for base, role in _BASES.items():
        for written in {base, base.lower(), base.capitalize()} if len(base) > 1 else {base}:
            prefix = text.removesuffix(written).strip()
            if text.endswith(written) and prefix in _PREFIXES and not (base == "s" and prefix in ("k", "M", "G")):
                return role, _PREFIXES[prefix]
    # Headers in any case: us, UA.
    loose = {"us": "uS", "ms": "mS", "ns": "nS", "ua": "uA", "na": "nA", "ma": "mA", "mv": "mV", "a": "A", "siemens": "S"}
    loose |= {
        "microsiemens": "uS",
        "ohms": "ohm",
        "kohms": "kohm",
        "v": "V",
        "sec": "s",
        "seconds": "s",
        "amperes": "A",
        "volts": "V",
    }
    return unit_of(loose[text.lower()]) if text.lower() in loose and loose[text.lower()] != text else None


def column_of(name: str) -> Column:
    """Return the interpretation of a header.

    >>> column_of("Conductance [uS]").role, column_of("G(nS)").factor, column_of("conductance_us").unit
    ('conductance', 1e-09, 'us')
    """
    text, unit = name.strip(), ""
    if found := _UNIT.search(text):
        unit, text = found.group(1), text[: found.start()].strip()
    else:
        role = _role(text)
        if not role and (found := _SUFFIX.match(text) or _SUFFIX.match(_recased(text))):
            text, unit = found.group(1), found.group(2)
    role = _role(text)
    known = unit_of(unit) if unit else None
    if known is not None and role in ("seconds", "") and known[0] == "conductance" and unit.lower() in ("s", "ms", "us", "ns"):
        # Times are written in s, ms, us, ns; "S" alone means siemens.
        known = ("seconds", known[1]) if role == "seconds" else known
    if known is not None and role in ("conductance", "target", "result", "before", "after") and known[0] == "seconds":
        known = unit_of(unit[:-1] + "S") if unit.lower().endswith("s") else None
    if known is None:
        return Column(role, 1.0, unit)
    quantity, factor = known
    if not role:
        role = quantity
    if quantity == "normalised" and role == "conductance":
        role = "normalised"
    return Column(role, factor, unit)


def _recased(text: str) -> str:
    """Convert a lower-case suffix to a unit: conductance_us, current_ua."""
    stem, _, last = text.rpartition("_")
    known = {"us": "uS", "ms": "mS", "ns": "nS", "s": "S", "ua": "uA", "na": "nA", "ma": "mA", "a": "A", "mv": "mV", "v": "V"}
    known |= {"ohm": "ohm", "ohms": "ohm", "kohm": "kohm", "mohm": "Mohm", "siemens": "S", "seconds": "s"}
    if stem and last.lower() in known:
        if _role(stem) == "seconds":
            return f"{stem}_{last}"
        return f"{stem}_{known[last.lower()]}"
    return text


def _role(text: str) -> str:
    return _ROLE.get(re.sub(r"[\s_\-./]+", "", text.lower()), "")
