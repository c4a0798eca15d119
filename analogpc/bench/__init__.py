"""Benchmarks: every workload next to the plain matrix product of the same shape, in the same process, alternately.

Contains the workloads, their floors, and the timing; experiments about speed belong in ``experiments/benchmarks``.
A new workload is an entry in `workloads`, a script for another library one file in `peers`.
"""

from analogpc.bench.comparison import compare, comparison_table, loads, read_bench
from analogpc.bench.growth import Growth, growth_table
from analogpc.bench.results import Result, load_average, record, table
from analogpc.bench.runner import run_bench
from analogpc.bench.timing import Times, take_turns
from analogpc.bench.workloads import WORKLOADS, Workload

__all__ = [
    "WORKLOADS",
    "Growth",
    "Result",
    "Times",
    "Workload",
    "compare",
    "comparison_table",
    "growth_table",
    "load_average",
    "loads",
    "read_bench",
    "record",
    "run_bench",
    "table",
    "take_turns",
]
