"""Benchmarks: every workload beside the plain matrix product of the same shape, in the same process, in turns."""

from analogpc.bench.results import Result, record, table
from analogpc.bench.runner import run_bench
from analogpc.bench.timing import Times, take_turns
from analogpc.bench.workloads import WORKLOADS, Workload

__all__ = ["WORKLOADS", "Result", "Times", "Workload", "record", "run_bench", "table", "take_turns"]
