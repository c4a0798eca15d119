"""Distribution of rows over threads from Python, for kernels that take seconds to compile.

With ``parallel=True`` Numba compiles the body of a loop and all that it calls four times (the loop, two wrappers, the function). A kernel
that processes a range of rows and releases the interpreter lock (``nogil=True``) is compiled once; distributing it costs some ten
microseconds.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numba

from analogpc.kernels.pulses.planes import STRIP

_PARTS = 4
"""Parts per thread, since some threads may be slower than others."""
_pools: list[ThreadPoolExecutor] = []
# Threads do not survive a fork; without this, the child would wait for them.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)


def over_rows(kernel: Callable[..., Any], height: int, room: Callable[[], Any], *arguments: Any) -> None:
    """Call ``kernel(first, stop, room(), *arguments)`` for parts of the rows 0 to ``height``, in `numba.get_num_threads` threads.

    Parameters
    ----------
    kernel : function
        Compiled with ``nogil=True``; its effect on a row must not depend on the part.
    height : int
    room : function
        Allocates the working space of a thread.
    arguments
        Further arguments of the kernel.
    """
    threads = max(1, min(numba.get_num_threads(), -(-height // STRIP)))
    size = STRIP * -(-height // (STRIP * _PARTS * threads)) if threads > 1 else height
    parts = deque(range(0, height, max(size, 1)))

    def work() -> None:
        space = room()
        while parts:
            try:
                first = parts.popleft()
            except IndexError:  # another thread was faster
                return
            kernel(first, min(first + size, height), space, *arguments)

    if not _pools and threads > 1:
        _pools.append(ThreadPoolExecutor(os.cpu_count()))
    others = [_pools[0].submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        # Even after an exception in this thread, no other thread writes to the rows after this function returns.
        parts.clear()
        wait(others)
    for other in others:
        other.result()
