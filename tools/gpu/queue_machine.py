"""Shared code of jobs: time budgets, description of the machine, and running programs with a time limit."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analogpc.kernels.gpu.arrays import Backend
from analogpc.training.environment import describe_environment

ROOT = Path(__file__).resolve().parents[2]
_KEPT_LINES = 60
_STOPPING_SECONDS = 15.0
"""Seconds that an interrupted program has to end by itself."""


@dataclass
class Budget:
    """A time budget that starts when it is created.

    Attributes
    ----------
    seconds : float
    clock : function
        Returns seconds since an arbitrary start.
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    @property
    def left(self) -> float:
        """Remaining seconds; negative if the budget is exceeded."""
        return self.seconds - (self.clock() - self.began)


def described(backend: Backend) -> dict[str, Any]:
    """Describe the machine and the versions."""
    return {"system": platform.system(), "processors": os.cpu_count(), **describe_environment(backend)}


def without_places(text: str) -> str:
    """Remove local paths from a text."""
    places = {str(ROOT): ".", sys.prefix: "PYTHON", str(Path.home()): "~"}
    for place in sorted(filter(lambda one: len(one) > 1, places), key=len, reverse=True):
        text = text.replace(place, places[place])
    return text


@dataclass(frozen=True)
class Ended:
    """Result of a program.

    Attributes
    ----------
    status : int
        Exit status of the program.
    stopped : bool
        Whether it was interrupted at its time limit.
    tail : list of str
        Last lines of its output.
    seconds : float
    """

    status: int
    stopped: bool
    tail: list[str]
    seconds: float


def run_python(arguments: list[str], seconds: float) -> Ended:
    """Run Python in the root of the repository, copy its output to standard error, and interrupt it after the given seconds."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    relay = threading.Thread(target=_relay, args=(process, lines), daemon=True)
    relay.start()
    try:
        process.wait(max(0.0, seconds))
        stopped = False
    except subprocess.TimeoutExpired:
        _stop(process)
        stopped = True
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    relay.join(_STOPPING_SECONDS)
    return Ended(process.returncode, stopped, [without_places(line) for line in list(lines)], time.monotonic() - began)


def _relay(process: subprocess.Popen[str], lines: deque[str]) -> None:
    if process.stdout is None:
        return
    with process.stdout as printed:
        for line in printed:
            sys.stderr.write(line)
            lines.append(line.rstrip())


def _stop(process: subprocess.Popen[str]) -> None:
    """Send SIGINT, as from the keyboard, so that pytest still reports its results."""
    if os.name == "posix":
        process.send_signal(signal.SIGINT)
    else:
        process.terminate()
    try:
        process.wait(_STOPPING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
