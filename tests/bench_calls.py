"""A workload of sleeps, and calls of the command line, for the tests of benchmarks."""

import time

import pytest

from analogpc.bench import Workload
from analogpc.bench.preparation import Calls
from analogpc.commands.app import main

SLEEPS = Workload(
    "Two sleeps",
    "one sleep",
    "≤ 2",
    lambda backend: Calls(lambda: time.sleep(0.02), {"twice": lambda: time.sleep(0.04)}, {"twice": 2}),
)


def ends(arguments):
    """Run a command and return its exit status."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code or 0
