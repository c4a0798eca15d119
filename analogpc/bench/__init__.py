"""Benchmarks: every workload next to the plain matrix product of the same shape, in the same process, alternately."""

from analogpc.bench.results import Result, record, table
from analogpc.bench.runner import run_bench
from analogpc.bench.timing import Times, take_turns
from analogpc.bench.workloads import WORKLOADS, Workload

__all__ = ["WORKLOADS", "Result", "Times", "Workload", "record", "run_bench", "table", "take_turns"]
