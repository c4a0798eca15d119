"""Jobs that run separate programs: tests and benchmarks."""

from __future__ import annotations

import json
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from queue_machine import Budget, described, run_python, without_places
from queue_page import BenchJob, PytestJob, State

_RESERVE = 20.0
"""Seconds reserved for interrupting a program and writing its results."""


@dataclass(frozen=True)
class Outcome:
    """Result of a job: its new state, a summary in one line, and the record to store."""

    state: State
    remark: str
    record: dict[str, Any]


def run_tests(job: PytestJob, budget: Budget) -> Outcome:
    """Run pytest and count the outcomes; the job fails if a test fails or no test was selected."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        arguments = ["-m", "pytest", *job.arguments, "-p", "no:cacheprovider", f"--junitxml={report}"]
        ended = run_python(arguments, budget.left - _RESERVE)
        counted = count_tests(report.read_text(encoding="utf-8")) if report.exists() else {}
    record = {
        "command": ["python", "-m", "pytest", *job.arguments],
        "machine": described(job.backend),
        "seconds": round(ended.seconds, 1),
        "exit_status": ended.status,
        "stopped_by_budget": ended.stopped,
        **counted,
    }
    numbers = ", ".join(f"{counted[name]} {name}" for name in ("passed", "failed", "skipped")) if counted else "no report"
    if ended.stopped:
        return Outcome("begun", f"stopped after {ended.seconds:.0f} s ({numbers}); needs a larger budget", record)
    if ended.status == 0 and counted.get("passed"):
        return Outcome("done", numbers, record)
    return Outcome("failed", numbers, {**record, "tail": ended.tail})


def count_tests(report: str) -> dict[str, Any]:
    """Read test counts, names and messages of failures, and reasons of skips from pytest's JUnit XML."""
    failures, reasons = [], Counter[str]()
    suites = ElementTree.fromstring(report)
    for case in suites.iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}::{case.get('name')}"
        faults = [fault for kind in ("failure", "error") for fault in case.findall(kind)]
        skip = case.find("skipped")
        if faults:
            message = (faults[0].get("message") or "").strip()
            failures.append({"test": name, "message": without_places(message.splitlines()[0] if message else "")})
        elif skip is not None:
            reasons[without_places(skip.get("message") or "")] += 1
    # An interrupted test looks like a passed one, but is missing in the counts of the suite.
    ended = sum(int(suite.get("tests", 0)) for suite in suites.iter("testsuite"))
    return {
        "passed": ended - len(failures) - reasons.total(),
        "failed": len(failures),
        "skipped": reasons.total(),
        "failures": failures,
        "skip_reasons": dict(reasons),
    }


def run_program(job: BenchJob, budget: Budget) -> Outcome:
    """Run a benchmark; the JSON file that it writes is the record."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        ended = run_python([argument.replace("{out}", str(out)) for argument in job.arguments], budget.left - _RESERVE)
        written = json.loads(out.read_text(encoding="utf-8")) if out.exists() else None
    origin = {"queue": {"seconds": round(ended.seconds, 1), "machine": described(job.backend)}}
    if ended.status == 0 and isinstance(written, dict):
        return Outcome("done", f"{ended.seconds:.0f} s", {**written, **origin})
    record = {**(written if isinstance(written, dict) else {}), **origin, "exit_status": ended.status, "tail": ended.tail}
    if ended.stopped:
        return Outcome("begun", f"stopped after {ended.seconds:.0f} s; needs a larger budget", record)
    last = ended.tail[-1] if ended.tail else "no message"
    return Outcome("failed", last if ended.status else "it wrote no results", record)
