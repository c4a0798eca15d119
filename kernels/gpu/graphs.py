"""Work of the GPU that is captured once, as a CUDA graph, and then repeated with one call, without Python in between."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from analogpc.kernels.gpu import arrays as gpu
from analogpc.kernels.gpu.arrays import Backend

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


class Graph(Generic[T]):
    """Work that is repeated in the same memory.

    Within `working_stream` only. The work must neither wait for the GPU nor read numbers of the host that change: what changes from one
    time to the next stands in arrays that are written to before. It must have been done once before, so that all kernels are
    compiled, and whatever it keeps is made. Capturing does not do it.

    Parameters
    ----------
    work : function
        Without arguments; what it returns is kept, arrays whose contents each `launch` renews.

    Attributes
    ----------
    result
        What ``work`` returned.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        # All memory of the graph comes from a pool of its own, which lives as long as the graph: nobody else writes there.
        self._pool = gpu.cupy().cuda.MemoryPool()
        stream = _stream()
        with gpu.cupy().cuda.using_allocator(self._pool.malloc):
            stream.begin_capture()
            try:
                self.result = work()
            finally:
                self._graph = stream.end_capture()

    def launch(self) -> T:
        """Do the work once more, after all that was begun before; the result, in the memory that the next launch writes to."""
        self._graph.launch(_stream())
        return self.result
