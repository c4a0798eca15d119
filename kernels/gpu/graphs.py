"""Work of the GPU that is captured once, as a CUDA graph, and then repeated with one call, without Python in between."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np

from analogpc.kernels.gpu import arrays as gpu
from analogpc.kernels.gpu.arrays import Backend, copied
from analogpc.kernels.gpu.steps import MovingStep

T = TypeVar("T")


@functools.cache
def _stream() -> Any:
    """The one stream on which all long work is done: the default one cannot be captured."""
    return gpu.cupy().cuda.Stream(non_blocking=True)


def synchronize() -> None:
    """Wait until all is done that was begun on the stream of long work."""
    _stream().synchronize()


@contextmanager
def working_stream(backend: Backend) -> Iterator[None]:
    """Do everything within the block on the stream that graphs run on, and wait for it at the end; nothing of all this on the CPU."""
    if backend == "cpu":
        yield
        return
    # What was begun elsewhere, on another stream, comes first.
    gpu.cupy().cuda.runtime.deviceSynchronize()
    with _stream():
        yield
    synchronize()


_capturing = False


def capturing() -> bool:
    """Whether a graph is being captured: then nothing may wait for the GPU."""
    return _capturing


class Graph(Generic[T]):
    """Work that is repeated in the same memory.

    Within `working_stream` only. The work must neither wait for the GPU nor read numbers of the host that change, except for the
    steps of random streams: what else changes from one time to the next stands in arrays that are written to before. It must have been
    done once before, so that all kernels are compiled, and whatever it keeps is made. Capturing does not do it.

    Parameters
    ----------
    work : function
        Without arguments; what it returns is kept, arrays whose contents each `launch` renews.
    counters : sequence of (object, str)
        Attributes of objects, or entries of dictionaries, that are whole numbers of the host, which the work advances and from which it
        takes the steps of random streams. Every launch advances them as the work would, and draws at their steps.

    Attributes
    ----------
    result
        What ``work`` returned.
    """

    def __init__(self, work: Callable[[], T], counters: Sequence[tuple[Any, str]] = ()) -> None:
        # All memory of the graph comes from a pool of its own, which lives as long as the graph; nothing else writes there.
        self._pool = gpu.cupy().cuda.MemoryPool()
        self._counters = list(counters)
        self._first = [_read(*counter) for counter in self._counters]
        self._moved = copied(np.zeros(len(self._first), np.uint64), "gpu")
        with gpu.cupy().cuda.using_allocator(self._pool.malloc):
            self._capture(work)
        self._expected = list(self._first)

    def _capture(self, work: Callable[[], T]) -> None:
        global _capturing
        stream = _stream()
        for place, (counter, first) in enumerate(zip(self._counters, self._first, strict=True)):
            _write(*counter, MovingStep(first, self._moved[place : place + 1]))
        stream.begin_capture()
        _capturing = True
        try:
            self.result = work()
            self._advance = [_read(*counter) - first for counter, first in zip(self._counters, self._first, strict=True)]
            for place, advance in enumerate(self._advance):
                self._moved[place : place + 1] += np.uint64(advance)
        finally:
            _capturing = False
            self._graph = stream.end_capture()
            for counter, first in zip(self._counters, self._first, strict=True):
                _write(*counter, first)

    def launch(self) -> T:
        """Do the work once more, after all that was begun before; the result, in the memory that the next launch writes to."""
        now = [_read(*counter) for counter in self._counters]
        if now != self._expected:
            # Other work has advanced the counters since the last launch.
            self._moved.set(np.array([step - first for step, first in zip(now, self._first, strict=True)], np.uint64))
        self._graph.launch(_stream())
        self._expected = [step + advance for step, advance in zip(now, self._advance, strict=True)]
        for counter, step in zip(self._counters, self._expected, strict=True):
            _write(*counter, step)
        return self.result


def _read(holder: Any, name: str) -> int:
    return int(holder[name] if isinstance(holder, dict) else getattr(holder, name))


def _write(holder: Any, name: str, value: int) -> None:
    if isinstance(holder, dict):
        holder[name] = value
    else:
        setattr(holder, name, value)
