"""``apc.assess``: run the protocol on a device, and access the results."""

from __future__ import annotations

import functools
import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analogpc.assessment.doubts import doubts
from analogpc.assessment.findings import Learning, Limit, best_learning, learnings, limits, plain
from analogpc.assessment.keeping import Kept, kept
from analogpc.assessment.protocol import AS_IT_IS, NONE_LEFT, QUICK, Protocol, learning_plan, limits_plan, schemes
from analogpc.assessment.tolerances import Placed, place_on_curves
from analogpc.devices.device import Device
from analogpc.devices.presets import preset
from analogpc.devices.substrate import Analog
from analogpc.devices.texts import parse_json, read_text
from analogpc.files.atomic import make_folder, replace_file
from analogpc.kernels.gpu.arrays import Backend
from analogpc.studies.api import SweepResult, run_plan
from analogpc.studies.plan import Plan
from analogpc.studies.sweep import Means
from analogpc.studies.workers import available_processors

_LONGEST_NAME = 80
"""Most characters of a folder's name, which is made from that of the device."""


@dataclass(frozen=True, eq=False)
class Assessment:
    """Results of the protocol for a device.

    Attributes
    ----------
    device : Device
    protocol : Protocol
    quick : bool
        Whether this was the short mode, whose numbers are not meaningful for the device.
    folder : Path
        Folder with both sweeps, ``assessment.json`` and the page ``report/report.html``.
    learning : list of Learning
        Rules and schemes on the device, the best first.
    twins : list of Learning
        The same rules in exact arithmetic.
    limits : list of Limit
        Gain of the device without each of its imperfections, for the rule and the scheme ``limited``.
    limited : Learning or None
    kept : list of Kept
        Accuracy of a digitally trained network on the device, immediately and later.
    found : dict of SweepResult
        Underlying sweeps.
    """

    device: Device
    protocol: Protocol
    quick: bool
    folder: Path
    learning: list[Learning]
    twins: list[Learning]
    limits: list[Limit]
    limited: Learning | None
    kept: list[Kept]
    found: dict[str, SweepResult] = field(repr=False)

    @property
    def page(self) -> Path:
        """Path of the report."""
        return self.folder / "report" / "report.html"

    @property
    def best(self) -> Learning | None:
        """Rule and scheme with the best validation accuracy; None if nothing finished."""
        finished = [one for one in self.learning if math.isfinite(one.validation)]
        return max(finished, key=lambda one: one.validation, default=None)

    @property
    def worst_limit(self) -> Limit | None:
        """Imperfection whose removal regains most accuracy; None if no removal regains any."""
        single = [one for one in self.limits if one.without not in (AS_IT_IS, NONE_LEFT) and one.gained.mean > 0]
        return max(single, key=lambda one: one.gained.mean, default=None)

    @functools.cached_property
    def placed(self) -> list[Placed]:
        """Position of the device on the tolerance curves, on default crossbars; empty for devices without pulses."""
        return place_on_curves(Analog(device=self.device))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as printed by the command line as JSON."""
        best, worst = self.best, self.worst_limit
        return {
            "device": self.device.name,
            "quick": self.quick,
            "protocol": self.protocol.to_dict(),
            "best": plain(best) if best else None,
            "learning": [plain(one) for one in self.learning],
            "digital_twins": [plain(one) for one in self.twins],
            "limited": plain(self.limited) if self.limited else None,
            "limits": [plain(one) for one in self.limits],
            "worst_limit": plain(worst) if worst else None,
            "kept": [plain(one) for one in self.kept],
            "tolerances": [
                {
                    "nonideality": one.name,
                    "amount": one.amount,
                    "judged": one.judged,
                    "knees": {rule: curve.knees for rule, curve in one.curves.items()},
                }
                for one in self.placed
            ],
        }


def assess(
    device: str | Path | Device,
    *,
    out: str | Path | None = None,
    quick: bool = False,
    workers: int | None = None,
    technology: str = "",
    seed: int = 0,
    backend: Backend = "cpu",
    progress: bool = True,
    command: str = "",
) -> Assessment:
    """Assess a device: rules and schemes that learn on it, difference from digital, limits and costs.

    A repeated call resumes an interrupted assessment.

    Parameters
    ----------
    device : str, path or Device
        Name of a preset, a device file (.toml), or a device.
    out : path
        Folder for the sweeps and the page; by default the name of the device with "-assessment" in the current folder.
    quick : bool
        Short mode of seconds, a test without results about the device.
    workers : int
        Number of worker processes; by default one per processor; 0: compute in this process.
    technology : str
        Technology that prices energy and time: a name or a file; default "isaac-32nm".
    seed : int
        First seed.
    backend : "cpu" or "gpu"
    progress : bool
        Show the progress on standard error.
    command : str
        Command that reproduces the assessment, for its page.

    Raises
    ------
    ValueError, OSError, ImportError
        If the assessment cannot start or continue; finished trials are kept.

    Examples
    --------
    >>> found = assess("reram-sb", quick=True, out=folder, workers=0)  # doctest: +SKIP
    >>> found.best.title, found.worst_limit, found.page  # doctest: +SKIP
    """
    from analogpc.devices.costs.technology import technology as technology_named

    made = device if isinstance(device, Device) else preset(str(device))
    protocol = (QUICK if quick else Protocol()).but(seed=seed)
    if technology:
        technology_named(technology)
        protocol = protocol.but(technology=technology)
    folder = Path(out) if out is not None else Path(f"{_as_file(made.name)}-assessment")
    _check(folder, made, quick, seed)
    if progress:
        for sentence in doubts(made):
            print(sentence, file=sys.stderr)
    count = available_processors() if workers is None else workers
    run = _Runs(folder, count, backend, progress, command)
    found = {"learning": run.sweep(learning_plan(made, protocol))}
    learning, twins = learnings(found["learning"], judged=not quick)
    limited = _limited(made, learning)
    limits_found: list[Limit] = []
    if limited is not None:
        found["limits"] = run.sweep(limits_plan(made, protocol, limited.rule, limited.scheme))
        limits_found = limits(found["limits"])
    assessment = Assessment(
        made, protocol, quick, folder, learning, twins, limits_found, limited, kept(made, found["learning"], backend), found
    )
    _write(assessment, command)
    return assessment


@dataclass(frozen=True)
class _Runs:
    """Computation of the sweeps of an assessment."""

    folder: Path
    workers: int
    backend: Backend
    progress: bool
    command: str

    def sweep(self, plan: Plan) -> SweepResult:
        means = Means(min(self.workers, plan.trials), backend=self.backend)
        return run_plan(plan, self.folder / plan.name, means, progress=self.progress, command=self.command)


def _limited(device: Device, learning: list[Learning]) -> Learning | None:
    """Return the setting for the limits: the best rule with the first finished scheme, which relies most on the devices."""
    for scheme in schemes(device):
        if (best := best_learning(learning, scheme)) is not None:
            return best
    return None


def _check(folder: Path, device: Device, quick: bool, seed: int) -> None:
    """Refuse a folder with other content, and record the content of this one."""
    file = folder / "device.json"
    if folder.exists():
        if not folder.is_dir() or (any(folder.iterdir()) and not file.exists()):
            raise ValueError(f"{folder} exists and is not the folder of an assessment: name another folder with --out")
        # Compare devices, not texts: files of earlier versions lack fields that now have defaults.
        kept = _held(file) if file.exists() else None
        if kept is not None and kept != (device, quick, seed):
            raise ValueError(f"{folder} holds an assessment of another device, mode or seed: name another folder with --out")
    make_folder(folder)
    replace_file(file, json.dumps({"device": device.to_toml(), "quick": quick, "seed": seed}).encode())


def _held(file: Path) -> tuple[Device, Any, Any]:
    """Read the device, mode and seed of an assessment."""
    try:
        kept = parse_json(read_text(file))
        return Device.from_toml(kept["device"]), kept["quick"], kept.get("seed", 0)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{file} is not a valid assessment file: name another folder with --out") from None


def _write(assessment: Assessment, command: str) -> None:
    from analogpc.report.assessment import write_page
    from analogpc.report.plain import plain as storable

    text = json.dumps(storable(assessment.to_dict()), allow_nan=False, indent=1)
    replace_file(assessment.folder / "assessment.json", text.encode())
    write_page(assessment, command)


def _as_file(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)[:_LONGEST_NAME] or "device"
