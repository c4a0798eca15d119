"""CUDA graphs: GPU work that is captured once and then repeated with one call, without Python in between."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np

from analogpc.kernels.gpu import arrays as gpu
from analogpc.kernels.gpu.arrays import Backend, copied
from analogpc.kernels.gpu.steps import MovingStep, read_counter, write_counter

T = TypeVar("T")


@functools.cache
def _stream() -> Any:
    """Return the stream of all long work; the default stream cannot be captured."""
    return gpu.cupy().cuda.Stream(non_blocking=True)


def synchronize() -> None:
    """Wait until all work on the stream of long work has finished."""
    _stream().synchronize()


@contextmanager
def working_stream(backend: Backend) -> Iterator[None]:
    """Run the block on the stream of graphs, and synchronise at the end; has no effect on the CPU."""
    if backend == "cpu":
        yield
        return
    # Work started before, on another stream, comes first.
    gpu.cupy().cuda.runtime.deviceSynchronize()
    with _stream():
        yield
    synchronize()


_capturing = False


def capturing() -> bool:
    """Whether a graph is being captured; synchronisation with the GPU is then not allowed."""
    return _capturing


class Graph(Generic[T]):
    """Work that is repeated in the same memory.

    For use within `working_stream` only. The work must neither synchronise with the GPU nor read host numbers that change, except for the
    steps of random streams: other changing values are in arrays that are written before each launch. The work must have run once before,
    so that all kernels are compiled and all caches are filled. Capturing does not execute it.

    Parameters
    ----------
    work : function
        Function without arguments; it returns arrays whose contents each `launch` renews. The graph keeps it, and with it the arrays that
        it reads: their memory must not be used for anything else while the graph can be launched.
    counters : sequence of (object, str)
        Attributes of objects, or entries of dictionaries, that are host integers, which the work increments and uses as steps of random
        streams. Every launch increments them as the work would, and draws at their steps.

    Attributes
    ----------
    result
        Return value of ``work``.
    """

    def __init__(self, work: Callable[[], T], counters: Sequence[tuple[Any, str]] = ()) -> None:
        # All memory of the graph comes from its own pool, which exists as long as the graph; nothing else writes there.
        self._pool = gpu.cupy().cuda.MemoryPool()
        self._work = work
        self._counters = list(counters)
        self._first = [read_counter(*counter) for counter in self._counters]
        self._moved = copied(np.zeros(len(self._first), np.uint64), "gpu")
        with gpu.cupy().cuda.using_allocator(self._pool.malloc):
            self._capture()
        self._expected = list(self._first)

    def _capture(self) -> None:
        global _capturing
        stream = _stream()
        for place, (counter, first) in enumerate(zip(self._counters, self._first, strict=True)):
            write_counter(*counter, MovingStep(first, self._moved[place : place + 1]))
        stream.begin_capture()
        _capturing = True
        try:
            self.result = self._work()
            self._advance = [read_counter(*counter) - first for counter, first in zip(self._counters, self._first, strict=True)]
            for place, advance in enumerate(self._advance):
                self._moved[place : place + 1] += np.uint64(advance)
        finally:
            _capturing = False
            self._graph = stream.end_capture()
            for counter, first in zip(self._counters, self._first, strict=True):
                write_counter(*counter, first)

    def launch(self) -> T:
        """Repeat the work, after all work started before; return the result, in memory that the next launch overwrites."""
        now = [read_counter(*counter) for counter in self._counters]
        if now != self._expected:
            # Other work has incremented the counters since the last launch.
            self._moved.set(np.array([step - first for step, first in zip(now, self._first, strict=True)], np.uint64))
        self._graph.launch(_stream())
        self._expected = [step + advance for step, advance in zip(now, self._advance, strict=True)]
        for counter, step in zip(self._counters, self._expected, strict=True):
            write_counter(*counter, step)
        return self.result
