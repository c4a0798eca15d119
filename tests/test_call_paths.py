"""The call paths documented in CONTRIBUTING.md are those of a run."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import pytest

import analogpc as apc
from analogpc.devices.arrays import array
from analogpc.devices.crossbars import reading

ROOT = Path(__file__).parents[1]
Call = tuple[str, str]


def documented(title: str) -> list[Call]:
    """Return the calls of one table: file and function, in order."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = text.split(f"**{title}**")[1].split("**")[0]
    found = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", rows, re.MULTILINE)
    return [(file, name) for file, names in found for name in re.findall(r"`([^`]+)`", names)]


def calls(first: str) -> list[Call]:
    """Return the calls of the package that lead here, from the given function on; empty if it is not among them."""
    frames = [(Path(frame.filename), frame.name) for frame in traceback.extract_stack()]
    inside = [(path.relative_to(ROOT).as_posix(), name) for path, name in frames if path.is_relative_to(ROOT)]
    inside = [(path, name) for path, name in inside if not path.startswith("tests/") and not name.startswith("<")]
    start = next((place for place, (_, name) in enumerate(inside) if name == first), len(inside))
    return inside[start:]


@pytest.fixture
def caught(monkeypatch):
    """Record the calls that lead to the first call of a method."""
    found: dict[str, list[Call]] = {}

    def catch(where, name, title, first, own=()):
        wanted = getattr(where, name)

        def recorded(*arguments, **options):
            if title not in found and (path := calls(first)):
                found[title] = [*path, *own]
            return wanted(*arguments, **options)

        monkeypatch.setattr(where, name, recorded)

    catch(reading, "read", "Read", "train")
    catch(array, "apply_batch", "Write", "train")
    catch(array.Array, "_adopt", "Load", "load", [("devices/arrays/array.py", "_adopt")])
    catch(array.Array, "conductance", "Export", "export_crossbars", [("devices/arrays/array.py", "conductance")])
    return found


def test_the_documented_call_paths_are_those_of_a_run(caught, tmp_path):
    network = apc.mlp([64, 10], activation="tanh", substrate=apc.Analog(device="reram-sb"))
    data = apc.load_data("digits").take(8, 4)
    apc.fit(network, "pc", data, epochs=1, batch_size=8, progress=False).save(tmp_path / "run.h5")
    apc.export_crossbars(apc.load(tmp_path / "run.h5"), tmp_path / "crossbars.h5")
    assert caught.keys() == {"Read", "Write", "Load", "Export"}
    for title, found in caught.items():
        assert found == documented(title), title
