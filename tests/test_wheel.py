"""The wheel contains every module, kernel source and data file of the package, and nothing else."""

import email
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("setuptools_scm")

ROOT = Path(__file__).parents[1]
FLOORS = {"kernels": "analogpc/kernels", "devices": "analogpc/devices", "analogpc": "analogpc"}
GENERATED = "analogpc/_built_version.py"


def built(folder, source, **environment):
    """Build the wheel of a source folder."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-q",
        "-w",
        folder,
        source,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def checkout(folder):
    """Copy the files of the repository as in a source archive, without history, tags and ignored files."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and Path(name).parts[0] not in ("tests", "experiments", "docs"):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    return folder


def test_the_wheel_of_a_source_archive_is_complete(tmp_path):
    source = checkout(tmp_path / "source")
    with zipfile.ZipFile(built(tmp_path, source)) as wheel:
        names = set(wheel.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        described = email.message_from_bytes(wheel.read(metadata))
        version = re.search(r'__version__ = version = [\'"](.*)[\'"]', wheel.read(GENERATED).decode())[1]
    expected = {
        f"{place}/{path.relative_to(source / floor).as_posix()}"
        for floor, place in FLOORS.items()
        for path in (source / floor).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {name for name in names if ".dist-info/" not in name}
    assert held - {GENERATED} == expected - {GENERATED}
    assert {path.rsplit(".", 1)[-1] for path in expected} >= {"py", "pyi", "cu", "cuh", "toml", "html", "typed"}
    assert described["Version"] == version == "0.1.0"
    assert any(name.endswith("LICENSE") for name in names)


def test_the_version_follows_the_tag(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(source)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)

    def version():
        command = [sys.executable, "-m", "setuptools_scm"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=source)
        return done.stdout.strip()

    assert re.match(r"0\.1\.1\.dev1\+g", version())
    subprocess.run([*git, "tag", "v0.3.0"], check=True)
    assert version() == "0.3.0"
