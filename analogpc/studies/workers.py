"""Workers that compute trials: this process, local worker processes, or a Dask cluster."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import time
from abc import abstractmethod
from collections import deque
from pathlib import Path
from typing import Any, Self

from analogpc.studies.trials import Job, Result, compute

ENOUGH_DEATHS = 3
"""Number of worker deaths after which the trial is considered their cause."""


ANSWER_SECONDS = 10
"""Time limit for an answer of a scheduler, in seconds."""


class WorkersError(OSError):
    """Raised if there are no workers; the message gives the reason."""


class Workers:
    """Base class: accept jobs by number, and return results as they finish.

    Attributes
    ----------
    slots : int
        Number of jobs computed in parallel.
    """

    slots = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Release the workers; unfinished jobs are lost."""

    @abstractmethod
    def submit(self, number: int, job: Job) -> None:
        """Submit a job."""

    @abstractmethod
    def next(self, seconds: float) -> tuple[int, Result, bytes] | None:
        """Return a finished job; None if there is none within the given number of seconds."""


class Here(Workers):
    """Computation in this process, one job at a time."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Job]] = deque()

    def submit(self, number: int, job: Job) -> None:
        """See `Workers.submit`."""
        self._waiting.append((number, job))

    def next(self, seconds: float) -> tuple[int, Result, bytes] | None:
        """See `Workers.next`."""
        if not self._waiting:
            return None
        number, job = self._waiting.popleft()
        return (number, *compute(job))


class OnDask(Workers):
    """The workers of a Dask cluster.

    Parameters
    ----------
    address : str
        Address of the scheduler, such as ``tcp://host:8786``.
    gpu : bool
        Whether each trial takes one unit of the worker resource "GPU".

    Raises
    ------
    WorkersError
        If no scheduler answers, or a worker has another version of analogpc.
    """

    def __init__(self, address: str, *, gpu: bool = False) -> None:
        from distributed import Client

        self._resources = {"GPU": 1} if gpu else None
        self._over: queue.Queue[tuple[int, Any]] = queue.Queue()
        self._futures: dict[int, Any] = {}
        self._address = address
        try:
            self._client = Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise WorkersError(f"no Dask scheduler answers at {address}: {error or 'timeout'}") from None

    def __exit__(self, *_: object) -> None:
        """Cancel unfinished jobs and disconnect from the cluster."""
        for future in self._futures.values():
            future.release()
        self._client.close(timeout=2)

    def check(self) -> None:
        """Refuse a cluster without workers or with workers of another version.

        Raises
        ------
        WorkersError
        """
        from analogpc._version import __version__

        try:
            self._client.wait_for_workers(1, timeout=ANSWER_SECONDS)
        except TimeoutError:
            raise WorkersError(
                f"the cluster at {self._address} has no workers: start one with dask worker {self._address} --nthreads 1"
            ) from None
        found = self._client.run(_version_there, on_error="return")
        for worker, version in found.items():
            if version != __version__:
                raise WorkersError(
                    f"the worker {worker} has analogpc {version}, this process {__version__}: the versions must match"
                )

    @property
    def slots(self) -> int:  # type: ignore[override]
        """Total number of worker threads, each computing one trial at a time, or of GPUs."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        if self._resources:
            return max(1, int(sum(worker["resources"].get("GPU", 0) for worker in workers)))
        return max(1, len(workers))

    def submit(self, number: int, job: Job) -> None:
        """See `Workers.submit`."""
        future = self._client.submit(compute, job, key=f"trial-{number}-{time.time_ns()}", pure=False, resources=self._resources)
        self._futures[number] = future
        future.add_done_callback(lambda done: self._over.put((number, done)))

    def next(self, seconds: float) -> tuple[int, Result, bytes] | None:
        """See `Workers.next`."""
        try:
            number, future = self._over.get(timeout=seconds)
        except queue.Empty:
            self._check_connection()
            return None
        del self._futures[number]
        return (number, *self._outcome(future))

    def _check_connection(self) -> None:
        if self._client.status in ("closed", "closing"):
            raise WorkersError(f"the Dask scheduler at {self._address} disconnected; finished trials are kept")

    def _outcome(self, future: Any) -> tuple[Result, bytes]:
        from distributed.scheduler import KilledWorker

        if future.status == "finished":
            return future.result()
        if future.status == "cancelled":
            raise WorkersError(f"the Dask scheduler at {self._address} disconnected; finished trials are kept")
        error = future.exception()
        if isinstance(error, KilledWorker):
            times = error.allowed_failures + 1
            return Result("lost", f"its worker process was killed {times} times, perhaps for lack of memory"), b""
        return Result("lost", f"its worker failed: {' '.join(str(error).split())}"), b""


def _version_there() -> str:
    from analogpc._version import __version__

    return __version__


class LocalWorkers(OnDask):
    """Local worker processes, with a Dask scheduler in this process.

    Each is a new Python process with its share of the processors for kernels. A dead worker is replaced, and all workers end with
    this process, however it ends.

    Parameters
    ----------
    count : int
    folder : Path
        Folder for the output of the workers.
    gpu : bool
        Whether each worker has a GPU.

    Raises
    ------
    WorkersError
        If the workers do not start.
    """

    def __init__(self, count: int, folder: Path, *, gpu: bool = False) -> None:
        import dask
        from distributed import LocalCluster

        self._count, self._gpu, self._log = count, gpu, folder / "workers.log"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._deaths = 0
        with dask.config.set({"distributed.scheduler.allowed-failures": ENOUGH_DEATHS - 1}):
            self._cluster = LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0", host="127.0.0.1", silence_logs=50)
        super().__init__(self._cluster.scheduler_address, gpu=gpu)
        self._processes = [self._started(number) for number in range(count)]

    def __exit__(self, *_: object) -> None:
        """End the workers and their scheduler."""
        for process in self._processes:
            _end(process)
        super().__exit__()
        self._cluster.close(timeout=5)

    @property
    def slots(self) -> int:  # type: ignore[override]
        """Number of workers."""
        return self._count

    def _started(self, number: int) -> subprocess.Popen[bytes]:
        threads = str(max(1, available_processors() // self._count))
        kept = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES" or not self._gpu}
        own = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        if self._gpu:
            own["CUDA_VISIBLE_DEVICES"] = str(number)
        path = os.pathsep.join(one for one in (*sys.path, os.environ.get("PYTHONPATH", "")) if one)
        with open(self._log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "analogpc.studies.worker", self._address, str(int(self._gpu))],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**kept, **own, "PYTHONPATH": path},
                # Ctrl-C at the terminal goes to this process only, which then ends its workers.
                start_new_session=True,
            )

    def next(self, seconds: float) -> tuple[int, Result, bytes] | None:
        """See `Workers.next`."""
        self._replace_dead()
        return super().next(seconds)

    def _replace_dead(self) -> None:
        for number, process in enumerate(self._processes):
            if process.poll() is None:
                continue
            self._deaths += 1
            if self._deaths > ENOUGH_DEATHS * 2 + self._count and not self._over.qsize():
                raise WorkersError(f"worker processes end repeatedly; see their output in {self._log}")
            _end(process)
            self._processes[number] = self._started(number)

    def _outcome(self, future: Any) -> tuple[Result, bytes]:
        self._deaths = 0
        return super()._outcome(future)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a worker and free its resources."""
    process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def available_processors() -> int:
    """Return the number of processors available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
