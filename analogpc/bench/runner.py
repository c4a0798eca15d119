"""Runner of workloads: ours in this process, those of other libraries in separate processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numba

from analogpc.bench.growth import growth_of
from analogpc.bench.results import PeerTime, Result
from analogpc.bench.timing import loaded_ratios, take_turns
from analogpc.bench.workloads import WORKLOADS
from analogpc.kernels.blas_threads import one_blas_thread
from analogpc.kernels.gpu import arrays as gpu
from analogpc.kernels.gpu.arrays import Backend
from analogpc.kernels.gpu.graphs import synchronize, working_stream

PEERS = Path(__file__).parent / "peers"


def peer_names() -> list[str]:
    """Return the names of the libraries with a script."""
    return sorted(path.stem for path in PEERS.glob("[!_]*.py"))


def run_bench(
    names: Sequence[str] = (),
    *,
    threads: Sequence[int] = (1, 2),
    seconds: float = 2.0,
    backend: Backend = "cpu",
    peers: Mapping[str, str] | None = None,
    busy: int = 0,
    growth: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> list[Result]:
    """Measure workloads.

    Parameters
    ----------
    names : sequence of str
        Names in `WORKLOADS`; all if empty.
    threads : sequence of int
        Numbers of threads; every workload runs once with each.
    seconds : float
        Approximate time per workload and number of threads.
    backend : "cpu" or "gpu"
        On a GPU every workload runs once, with one CPU thread, and other libraries are not measured.
    peers : dict of str by str
        Python executables of other libraries, by name.
    busy : int
        Number of other processes that compute without a pause; every call is timed beside them, too. 0: none.
    growth : bool
        Whether to measure, with one thread, which work more threads would share.
    report : function of str
        Called with a description of each measurement.

    Raises
    ------
    ValueError
        If a name, a number of threads or a library is invalid.
    GpuError
        If ``backend = "gpu"`` and there is no GPU.
    """
    unknown = sorted(set(names) - set(WORKLOADS))
    if unknown:
        raise ValueError(f"there is no workload '{unknown[0]}'; the workloads are {', '.join(WORKLOADS)}")
    elsewhere = [name for name in names if backend not in WORKLOADS[name].backends]
    if elsewhere:
        raise ValueError(
            f"the workload '{elsewhere[0]}' has no backend '{backend}', only {', '.join(WORKLOADS[elsewhere[0]].backends)}"
        )
    if backend == "gpu":
        if peers:
            raise ValueError("peers are measured on the processor: leave --peer out, or --backend gpu")
        if busy:
            raise ValueError("busy processes are for measurements on the processor: leave --busy out, or --backend gpu")
        if growth:
            raise ValueError("growth with threads is measured on the processor: leave --growth out, or --backend gpu")
        gpu.cupy()
        threads = (1,)
    chosen = names or [name for name, workload in WORKLOADS.items() if backend in workload.backends]
    most = numba.get_num_threads()
    if growth and 1 not in threads:
        raise ValueError(f"--growth is measured with one thread: add --threads 1 to {', '.join(map(str, threads))}")
    for count in threads:
        if not 1 <= count <= most:
            raise ValueError(f"threads = {count} is not allowed: from 1 to {most} on this machine")
    found: dict[tuple[str, int], dict[str, PeerTime]] = {}
    for peer, python in (peers or {}).items():
        for count in threads:
            report(f"{peer}, {count} thread(s)")
            for workload, time in _peer_times(peer, python, count, seconds, list(names)).items():
                found.setdefault((workload, count), {})[peer] = time
    results = []
    before = numba.get_num_threads()
    try:
        for name in chosen:
            for count in threads:
                report(f"{name}, {count} thread(s)")
                numba.set_num_threads(count)
                with one_blas_thread:
                    results.append(_measured(name, count, seconds, backend, found.get((name, count), {}), busy, growth))
    finally:
        numba.set_num_threads(before)
    return results


def _measured(
    name: str, threads: int, seconds: float, backend: Backend, peers: dict[str, PeerTime], busy: int, growth: bool
) -> Result:
    workload = WORKLOADS[name]
    with working_stream(backend):
        calls = workload.make(backend)
        every = {"floor": calls.floor, **calls.work}
        times = take_turns(every, seconds, finish=synchronize if backend == "gpu" else None)
        loaded = loaded_ratios(every, busy) if busy else {}
        grown = growth_of(every, seconds) if growth and threads == 1 else {}
    return Result(name, workload.title, workload.floor, workload.aim, threads, times, calls.items, peers, loaded, grown)


def _peer_times(peer: str, python: str, threads: int, seconds: float, names: list[str]) -> dict[str, PeerTime]:
    """Run the script of a library in its environment; return the times by workload."""
    script = PEERS / f"{peer}.py"
    if not script.exists():
        raise ValueError(f"there is no peer '{peer}'; the peers are {', '.join(peer_names())}")
    command = [python, str(script), str(threads), str(seconds), *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ValueError(f"the peer '{peer}' cannot be started with {python}: {error.strerror}") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"the peer '{peer}' failed with {python}: {last}")
    # A library may have printed other lines before.
    return {workload: PeerTime(**time) for workload, time in json.loads(done.stdout.splitlines()[-1]).items()}
