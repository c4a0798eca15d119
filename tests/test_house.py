"""Structure of the package: packaging, import levels, start-up."""

import ast
import configparser
import functools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import analogpc

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import rooms  # noqa: E402

FLOORS = {"kernels": 1, "devices": 2, "analogpc": 3}


def sources():
    return [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]


@functools.cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path):
    """Yield the analogpc modules that a file imports, at any place."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("analogpc"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("analogpc"):
            yield node.module


def test_a_floor_imports_only_from_floors_below():
    for path in sources():
        own = FLOORS[path.relative_to(ROOT).parts[0]]
        for module in imported(path):
            part = ([*module.split("."), ""])[1]
            assert FLOORS.get(part, 3) <= own, f"{path.relative_to(ROOT)} imports {module}"


def test_no_circle_of_imports_among_rooms():
    graph = rooms.drawn()
    assert len(graph) > 40
    assert rooms.circles(graph) == []


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}
    assert rooms.circles(graph) == [["a", "b", "c"]]


def test_every_package_is_installed():
    configuration = configparser.ConfigParser()
    configuration.read(ROOT / "setup.cfg")
    listed = set(configuration["options"]["packages"].split())
    folders = {path.parent.relative_to(ROOT) for path in sources() if path.name == "__init__.py"}
    found = {
        ".".join(("analogpc", *folder.parts)) if folder.parts[0] != "analogpc" else ".".join(folder.parts) for folder in folders
    }
    assert listed == found


def test_every_kernel_is_compiled_in_the_one_way_that_needs_no_cache():
    for path in sources():
        if path.name == "dispatchers.py" or "bench" in path.parts:
            continue
        for node in ast.walk(parsed(path)):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            reported = f"{path.relative_to(ROOT)}: use analogpc.kernels.compiled.compiled"
            assert name not in {"njit", "jit", "vectorize", "guvectorize", "generated_jit"}, reported


def test_every_test_has_a_time_limit(request):
    assert 0 < float(request.config.getini("timeout")) <= 600
    assert request.config.pluginmanager.hasplugin("timeout")


def test_promised_names_are_there():
    for name in analogpc.__all__:
        assert getattr(analogpc, name) is not None
    with pytest.raises(AttributeError, match="analogpc has no 'nothing'"):
        _ = analogpc.nothing


def test_importing_loads_neither_kernels_nor_plots():
    code = "import sys, analogpc; print(*(m for m in ('numba', 'numpy', 'matplotlib', 'sklearn', 'h5py') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_what_training_imports_needs_neither_numba_nor_hdf5():
    """They are imported at the first call of a kernel and for the first file, so that errors in the input are reported earlier."""
    code = (
        "import sys, analogpc.commands.app, analogpc.training.fit, analogpc.training.study_data, analogpc.training.study_fields\n"
        "print(*(m for m in ('numba', 'h5py', 'scipy', 'matplotlib', 'sklearn', 'pandas') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_no_kernel_compiles_at_import():
    code = (
        "from numba.core import event\n"
        "listener = event.RecordingListener()\n"
        "event.register('numba:compile', listener)\n"
        "import analogpc.training.run, analogpc.files.export, analogpc.training.run_file\n"
        "print(len(listener.buffer))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "0"


def test_ruff_is_content():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_types_are_consistent(tmp_path):
    """mypy on the package as it installs, since it does not know the mapping of the folders."""
    package = tmp_path / "analogpc"
    shutil.copytree(ROOT / "analogpc", package, ignore=shutil.ignore_patterns("__pycache__"))
    for floor in ("kernels", "devices"):
        shutil.copytree(ROOT / floor, package / floor, ignore=shutil.ignore_patterns("__pycache__"))
    # A cache in the checkout makes the second run quick; mypy itself finds out what has changed.
    cache = f"--cache-dir={ROOT / '.mypy_cache'}"
    command = [sys.executable, "-m", "mypy", "--package", "analogpc", "--ignore-missing-imports", cache]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_the_readme_example_is_short_and_runs(tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    monkeypatch.chdir(tmp_path)
    # The same lines on a small data set, for one epoch.
    example = (
        example.replace("fashion-mnist", "digits")
        .replace("784, 256, 256", "64, 16, 16")
        .replace("epochs=5", "epochs=1, progress=False")
    )
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert (tmp_path / "crossbars.h5").exists()
