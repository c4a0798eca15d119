"""Distribution of work over threads: the only pool of this process, for compiled kernels and for products of BLAS.

The threads of other pools wait actively after their work, and a caller of theirs waits for every one of them to begin. As soon as
another process uses a core, each then waits for a thread that has no core: a product of half a millisecond takes ten. Here the calling
thread begins at once, the others join when they get a core, and a caller waits only for parts that somebody is working on. Waiting
threads sleep after some 50 microseconds (see `native`).

Products and kernels are shared in compiled code (see `sharing`); other work by `distribute`, whose parts are calls of Python: a helper
then begins when it gets the interpreter, which kernels release.
"""

from __future__ import annotations

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from typing_extensions import override

from analogpc.kernels import native
from analogpc.kernels.calls import recorded
from analogpc.kernels.gemm import address

_PARTS = 4
"""Parts per thread, since some threads may be slower than others."""
_NO_WORDS = np.zeros(0, np.int64)


class _Task:
    """Parts of a piece of work, taken by the calling thread and by all helpers that come in time.

    Attributes
    ----------
    parts : deque
        Parts that nobody has begun.
    """

    def __init__(self, call: Callable[[Any], None], parts: deque[Any]) -> None:
        self.parts, self._call = parts, call
        self._lock, self._finished = threading.Lock(), threading.Lock()
        self._helpers, self._waiting = 0, False
        self._error: BaseException | None = None
        self._finished.acquire()

    def run(self) -> None:
        """Work on parts until none is left; then wait for the helpers that are working on one."""
        try:
            self._work()
        finally:
            # Even after an exception in this thread, no other thread writes to the arrays after this function returns.
            self.parts.clear()
            with self._lock:
                self._waiting = self._helpers > 0
            if self._waiting:
                self._wait()
        if self._error is not None:
            raise self._error

    def help(self) -> None:
        """Work on parts in another thread."""
        with self._lock:
            if not self.parts:
                return
            self._helpers += 1
        try:
            self._work()
        except BaseException as error:  # The calling thread raises it.
            self.parts.clear()
            self._error = error
        with self._lock:
            self._helpers -= 1
            if self._helpers == 0 and self._waiting:
                self._finished.release()

    def _work(self) -> None:
        parts, call = self.parts, self._call
        while True:
            try:
                part = parts.popleft()
            except IndexError:
                return
            call(part)

    def _wait(self) -> None:
        try:
            self._finished.acquire()
        except BaseException:  # An interrupt, which may stop this wait but not the helpers.
            self._finished.acquire()
            raise


class _Helper(threading.Thread):
    """Thread that does what is put on its desk; see `native`.

    Attributes
    ----------
    desk : int
    """

    def __init__(self, pool: _Pool) -> None:
        super().__init__(name="analogpc", daemon=True)
        self.desk = native.new_desk()
        self._pool = pool

    @override
    def run(self) -> None:
        pool = self._pool
        pool.here.helps = True
        while True:
            native.serve(self.desk)
            for task in list(pool.tasks):
                task.help()
            pool.idle.append(self)


class _Pool:
    """The helpers of this process, and the tasks of all threads that call.

    Attributes
    ----------
    idle : deque of _Helper
        Helpers without a task. A helper that was called for a task of Python and has not got a core yet is not among them, and is not
        called twice.
    tasks : deque of _Task
        Tasks of Python that somebody is working on.
    unused : deque of int
        Addresses of compiled tasks that nobody is working on.
    here : threading.local
        ``helps`` is set in helpers: what they call is not distributed further.
    """

    def __init__(self) -> None:
        self.reset()

    def run(self, call: Callable[[Any], None], parts: deque[Any], threads: int) -> None:
        """Call ``call`` for all parts."""
        task = _Task(call, parts)
        self.tasks.append(task)
        try:
            for helper in self._called(threads - 1):
                native.put(helper.desk, native.PYTHON)
            task.run()
        finally:
            self.tasks.remove(task)

    def run_compiled(
        self, calls: np.ndarray, threads: int, places: np.ndarray = _NO_WORDS, values: np.ndarray = _NO_WORDS
    ) -> None:
        """Perform calls of `native.run`, after words have been stored at some places."""
        helpers, task = self._called(threads - 1), self.unused.pop() if self.unused else native.new_task()
        desks = np.array([helper.desk for helper in helpers], np.int64) if helpers else _NO_WORDS
        try:
            failed = native.run(task, desks, calls, places, values)
        finally:
            self.idle.extend(helpers)
            self.unused.append(task)
        if failed:
            raise RuntimeError("a compiled kernel failed in a thread")

    def _called(self, count: int) -> list[_Helper]:
        """Take up to ``count`` idle helpers; the others are busy, or have been called already."""
        if self._count < count:
            self._grow(count)
        helpers: list[_Helper] = []
        try:
            while len(helpers) < count:
                helpers.append(self.idle.pop())
        except IndexError:
            pass
        return helpers

    def _grow(self, helpers: int) -> None:
        with self._lock:
            native.prepare()
            while self._count < helpers:
                helper = _Helper(self)
                helper.start()
                self.idle.append(helper)
                self._count += 1

    def reset(self) -> None:
        """Begin without helpers, as in a forked process, where none exists."""
        self.idle: deque[_Helper] = deque()
        self.tasks: deque[_Task] = deque()
        self.unused: deque[int] = deque()
        self.here = threading.local()
        self._count, self._lock = 0, threading.Lock()


_pool = _Pool()


class Stopwatch:
    """Times of the work that more threads would share, while one thread does it.

    Attributes
    ----------
    seconds : dict of float by int
        Time in work that up to this number of threads may share.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.seconds: dict[int, float] = {}
        self._clock, self._inside = clock, False

    def time(self, call: Callable[[], Any], most: int) -> None:
        """Run a call, and count its time unless another one that is being timed made it."""
        if self._inside:
            call()
            return
        self._inside, start = True, self._clock()
        try:
            call()
        finally:
            self._inside = False
            self.seconds[most] = self.seconds.get(most, 0.0) + self._clock() - start


_stopwatch: Stopwatch | None = None


@contextmanager
def shared_work(clock: Callable[[], float]) -> Iterator[Stopwatch]:
    """Time what more threads would share by a ``clock``, in a context in which one thread works."""
    global _stopwatch
    before, _stopwatch = _stopwatch, Stopwatch(clock)
    try:
        yield _stopwatch
    finally:
        _stopwatch = before


def thread_count() -> int:
    """Return the number of threads for work of the calling thread: `numba.get_num_threads`; one within the pool."""
    return 1 if getattr(_pool.here, "helps", False) else _threads_of_numba()()


@functools.cache
def _threads_of_numba() -> Callable[[], int]:
    """Return `numba.get_num_threads`, or the part of it that is needed once Numba has started: it takes half as long."""
    import numba

    numba.get_num_threads()
    return getattr(numba.np.ufunc.parallel, "_get_num_threads", numba.get_num_threads)


def distribute(call: Callable[[int, int], Any], length: int, grain: int = 1) -> None:
    """Call ``call(first, stop)`` for ranges that cover 0 to ``length``, in `thread_count` threads.

    Parameters
    ----------
    call : function
        Spends its time in kernels or products; its effect on an index must not depend on the range.
    length : int
    grain : int
        All ranges begin at multiples of this number. The calling thread processes up to twice as many indices alone.
    """
    if (record := recorded()) is not None:
        record.refuse("a part of the work is a call of Python")
    if (sequence := pending()) is not None:
        sequence.perform()
    most = length // grain if length >= 2 * grain else 1
    threads = 1 if most == 1 else min(thread_count(), most)
    if threads == 1:
        if most > 1 and _stopwatch is not None:
            _stopwatch.time(lambda: call(0, length), most)
        elif length > 0:
            call(0, length)
        return
    size = part_size(length, grain, threads)
    _pool.run(lambda first: call(first, min(first + size, length)), deque(range(0, length, size)), threads)


def call_all(calls: np.ndarray, places: np.ndarray = _NO_WORDS, values: np.ndarray = _NO_WORDS) -> None:
    """Perform calls of compiled functions one after the other, each in `thread_count` threads.

    Parameters
    ----------
    calls : (calls, 4) int64 array
        Addresses of a function and of its frame, number of indices, and of indices per part.
    places, values : (words,) int64 arrays
        Addresses of words, and what is stored there before the first call.
    """
    most = int((-(-calls[:, 2] // calls[:, 3])).max()) if len(calls) > 1 else -(-int(calls[0, 2]) // int(calls[0, 3]))
    threads = 1 if most == 1 else min(thread_count(), most)
    if threads > 1 or most == 1 or _stopwatch is None:
        _pool.run_compiled(calls, threads, places, values)
        return
    _pool.run_compiled(calls[:0], 1, places, values)
    for row in range(len(calls)):
        own, parts = calls[row : row + 1], -(-int(calls[row, 2]) // int(calls[row, 3]))
        if parts > 1:
            _stopwatch.time(functools.partial(_pool.run_compiled, own, 1), parts)
        else:
            _pool.run_compiled(own, 1)


class CallSequence:
    """Calls of compiled functions that wait to be performed together."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, np.ndarray, int, int]] = []
        self._kept: list[Any] = []

    def add(self, function: int, frame: np.ndarray, length: int, size: int, kept: Any = ()) -> None:
        """Add a call in the form of `call_all`; ``kept`` is whatever its frame refers to."""
        self._rows.append((function, frame, length, size))
        self._kept.append(kept)

    @property
    def waits(self) -> bool:
        """Whether any call waits. If none does, work for one thread may as well be done at once, which takes less time than to add it."""
        return bool(self._rows)

    def perform(self) -> None:
        """Perform the calls that wait."""
        rows, self._rows = self._rows, []
        if rows:
            call_all(np.array([(function, address(frame), *sizes) for function, frame, *sizes in rows], np.int64))
        self._kept = []


_sequences: dict[int, CallSequence] = {}
"""Waiting calls by the thread whose calls they are."""


def pending() -> CallSequence | None:
    """Return the calls of this thread that wait, within `in_sequence`."""
    return _sequences.get(threading.get_ident()) if _sequences else None


@contextmanager
def in_sequence() -> Iterator[None]:
    """Perform the shared calls of this thread within the context together at its end, so that no Python separates them.

    Nothing within the context may use what `sharing` computes there. What `distribute` shares is not deferred: calls that wait are
    performed before. If an exception leaves the context, they are not performed. Calls do not wait if there is one thread, within another
    such context, while calls are recorded, and if they are work for one thread before any other call waits.
    """
    thread = threading.get_ident()
    if thread in _sequences or recorded() is not None or thread_count() == 1:
        yield
        return
    sequence = _sequences[thread] = CallSequence()
    try:
        yield
    finally:
        del _sequences[thread]
    sequence.perform()


def part_size(length: int, grain: int, threads: int) -> int:
    """Return the number of indices per part."""
    return grain * max(1, length // (grain * _PARTS * threads))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.reset)
