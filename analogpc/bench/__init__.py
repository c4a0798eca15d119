"""Benchmarks: every workload next to the plain matrix product of the same shape, in the same process, alternately."""

from analogpc.bench.comparison import compare, comparison_table, loads, read_bench
from analogpc.bench.results import Result, load_average, record, table
from analogpc.bench.runner import run_bench
from analogpc.bench.timing import Times, take_turns
from analogpc.bench.workloads import WORKLOADS, Workload

__all__ = [
    "WORKLOADS",
    "Result",
    "Times",
    "Workload",
    "compare",
    "comparison_table",
    "load_average",
    "loads",
    "read_bench",
    "record",
    "run_bench",
    "table",
    "take_turns",
]
