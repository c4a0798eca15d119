"""Mutation testing of the core: insert one small fault at a time and run the tests of that module.

python experiments/benchmarks/mutations.py --mutants 120 --out experiments/benchmarks/results/mutations.json
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COPIED = ("analogpc", "devices", "kernels", "tests", "experiments/benchmarks", "setup.cfg", "pyproject.toml")

TESTS = {
    "analogpc/dynamics/relaxation.py": (
        "oracles/test_predictive_coding.py",
        "analogpc/test_rules_predictive_coding.py",
        "analogpc/test_norm_rules.py",
    ),
    "analogpc/rules/predictive_coding.py": ("oracles/test_predictive_coding.py", "oracles/test_pc_schedules.py"),
    "analogpc/rules/clamped.py": ("oracles/test_pc_schedules.py", "analogpc/test_rules_predictive_coding.py"),
    "analogpc/rules/incremental.py": ("oracles/test_pc_rules.py",),
    "analogpc/rules/zil.py": ("oracles/test_pc_rules.py",),
    "analogpc/rules/equilibrium.py": ("oracles/test_equilibrium.py", "analogpc/test_equilibrium_rules.py"),
    "analogpc/training/step.py": ("analogpc/test_training.py",),
    "analogpc/training/run.py": ("analogpc/test_training.py", "analogpc/test_resuming.py", "analogpc/test_fit_options.py"),
    "analogpc/training/rollback.py": ("analogpc/test_interrupts.py",),
    "analogpc/training/optimisers.py": ("analogpc/test_optimisers.py",),
    "analogpc/training/schedules.py": ("analogpc/test_optimisers.py",),
    "devices/crossbars/reading.py": ("devices/test_reading.py", "devices/test_matrices.py"),
    "devices/crossbars/read_path.py": ("devices/test_matrices.py", "devices/test_mappings.py"),
    "devices/crossbars/crossbar_matrix.py": ("devices/test_matrices.py", "devices/test_time.py"),
    "devices/schemes/pulses.py": ("devices/test_schemes_pulses.py",),
    "devices/schemes/mixed_precision.py": ("devices/test_schemes_digital.py",),
    "devices/schemes/program_verify.py": ("devices/test_schemes_digital.py",),
    "devices/schemes/tiki_taka.py": ("devices/test_schemes_transfer.py",),
    "devices/schemes/transfer.py": ("devices/test_schemes_transfer.py",),
    "kernels/descent.py": ("kernels/test_descent.py", "oracles/test_predictive_coding.py"),
    "analogpc/files/atomic.py": ("analogpc/test_atomic.py", "analogpc/test_storage.py"),
    "analogpc/files/storage.py": ("analogpc/test_storage.py", "analogpc/test_files.py"),
    "analogpc/training/run_file.py": ("analogpc/test_files.py", "analogpc/test_resuming.py"),
}
"""Modules of the core, and the tests that cover each."""

SELECTED = "not random_moments"
"""All of these tests except the slow one that sends signals to processes."""

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Return all nodes whose change can have an effect: no texts, annotations, error messages or monitoring code."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)) or _only_watches(child):
            continue
        if isinstance(child, ast.arg) or child in (getattr(tree, "annotation", None), getattr(tree, "returns", None)):
            continue
        yield child
        yield from statements(child)


def faults(tree: ast.Module) -> list[tuple[int, str]]:
    """List all possible faults of a module: number of the node, and kind of mutation."""
    found = []
    for number, node in enumerate(statements(tree)):
        if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in SWAPS:
            found.append((number, "operator"))
        elif isinstance(node, ast.BoolOp):
            found.append((number, "and, or"))
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            found.append((number, "comparison"))
        elif isinstance(node, (ast.If, ast.IfExp, ast.While)) and not _only_for_types(node):
            found.append((number, "condition turned"))
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            found.append((number, "number"))
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            found.append((number, "truth value"))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            found.append((number, "call left out"))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
            found.append((number, "sign"))
    return found


def _only_watches(node: Any) -> bool:
    """Whether a statement only counts operations (``work``) or passes states to an observer of a relaxation (``show``)."""
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and getattr(call.func, "attr", getattr(call.func, "id", "")) in ("work", "show")


def _only_for_types(node: Any) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def put(tree: ast.Module, number: int) -> tuple[int, str, str]:
    """Insert a fault into a module; return its line, and the code before and after."""
    node: Any = list(statements(tree))[number]
    before = ast.unparse(node).splitlines()[0]
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)):
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Compare):
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, ast.Expr):
        node.value = ast.Constant(None)
    else:
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not()
        if isinstance(node.op, ast.Not):
            node.operand = ast.UnaryOp(ast.Not(), node.operand)
    return node.lineno, before, ast.unparse(ast.fix_missing_locations(node)).splitlines()[0]


def run_tests(folder: Path, names: Iterable[str], seconds: float) -> tuple[str, float]:
    """Run the given tests; return the result ("passed", "failed" or "too long") and the time in seconds."""
    tests = [str(folder / "tests" / name) for name in names]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "0",
        "-x",
        "-p",
        "no:cacheprovider",
        "--hypothesis-seed=0",
        "-k",
        SELECTED,
        *tests,
    ]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    began = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            found = "passed" if process.wait(seconds) == 0 else "failed"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            found = "too long"
    return found, time.perf_counter() - began


def chosen(count: int, seed: int) -> list[tuple[str, int, str]]:
    """Sample faults (module, number of the node, kind) in random order, in proportion to those of each module, at least one each."""
    rng = random.Random(seed)
    everything = {module: faults(ast.parse((ROOT / module).read_text(encoding="utf-8"))) for module in TESTS}
    total = sum(map(len, everything.values()))
    sample = []
    for module, there in everything.items():
        share = max(1, round(count * len(there) / total))
        sample += [(module, *fault) for fault in rng.sample(there, min(share, len(there)))]
    rng.shuffle(sample)
    return sample


def measure(sample: list[tuple[str, int, str]], longest: float) -> Iterator[dict[str, Any]]:
    """Insert the faults, one at a time, in a copy of the source tree."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pyc"))
            else:
                shutil.copy(ROOT / name, folder / name)
        found, _ = run_tests(folder, sorted({name for module, *_ in sample for name in TESTS[module]}), 3600)
        if found != "passed":
            raise RuntimeError(f"the tests {found} without any fault")
        for module, number, kind in sample:
            path = folder / module
            right = path.read_text(encoding="utf-8")
            tree = ast.parse(right)
            line, before, after = put(tree, number)
            path.write_text(ast.unparse(tree), encoding="utf-8")
            found, took = run_tests(folder, TESTS[module], longest)
            path.write_text(right, encoding="utf-8")
            entry = {"module": module, "number": number, "line": line, "kind": kind, "before": before, "after": after}
            yield entry | {"tests": found, "seconds": round(took, 1)}


def main() -> None:
    """Insert faults and report which were detected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=600.0, help="seconds for the tests of one fault")
    parser.add_argument("--out", type=Path, help="what it holds already is not computed again")
    options = parser.parse_args()
    rows = json.loads(options.out.read_text(encoding="utf-8")) if options.out and options.out.exists() else []
    known = {(row["module"], row["number"]) for row in rows}
    sample = [one for one in chosen(options.mutants, options.seed) if one[:2] not in known]
    for row in measure(sample, options.longest):
        rows.append(row)
        print(f"{row['tests']:8} {row['module']}:{row['line']}  {row['before']}  ->  {row['after']}", flush=True)
        if options.out:
            options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    found = Counter(row["tests"] for row in rows)
    print(f"noticed {len(rows) - found['passed']} of {len(rows)}: {dict(found)}")


if __name__ == "__main__":
    main()
