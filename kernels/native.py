"""Sharing of compiled work without the interpreter: helpers take parts of a kernel's work while its caller does.

Every helper is a thread inside one compiled call, `serve`. It looks at its desk for some 50 microseconds after its last task, then
sleeps on a lock of the interpreter, which needs no interpreter to be taken or released. A task is the address of a function of
(frame, first, stop), the address of its frame, and a counter from which caller and helpers take ranges (see `trampolines`).

Desks and tasks are arrays of 64-bit words in memory that is never released, since a helper may look at one after its owner went on.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir

from analogpc.kernels.compiled import compiled, intrinsic

_SPINS = 1 << 16
"""Looks at a desk before a helper sleeps: some 50 microseconds, the pauses between the kernels of a training step."""
TASK, ASLEEP, LOCK, ACQUIRE, RELEASE = range(5)
"""Words of a desk: address of a task, whether its helper sleeps, and its lock with the functions that take and release it."""
FUNCTION, FRAME, LENGTH, SIZE, NEXT, BUSY, WAITING, OWN_LOCK, FAILED, OWN_ACQUIRE, OWN_RELEASE = range(11)
"""Words of a task: function, frame, number of indices, indices per part, next index, helpers that have it, whether its caller sleeps."""
_WORDS = 16
PYTHON = 1
"""In place of the address of a task: work that needs the interpreter."""

_WORD = ir.IntType(64)


def _place(builder: Any, address: Any, word: Any) -> Any:
    return builder.gep(builder.inttoptr(address, _WORD.as_pointer()), [word])


@intrinsic("int64(int64, int64)")
def word_at(builder, address, word):
    """Return the word number ``word`` after an address."""
    return builder.load_atomic(_place(builder, address, word), "seq_cst", 8)


@intrinsic("void(int64, int64, int64)")
def _store(builder, address, word, value):
    builder.store_atomic(value, _place(builder, address, word), "seq_cst", 8)


@intrinsic("int64(int64, int64, int64)")
def _exchange(builder, address, word, value):
    """Store a value and return the former one."""
    return builder.atomic_rmw("xchg", _place(builder, address, word), value, "seq_cst")


@intrinsic("int64(int64, int64, int64)")
def _add(builder, address, word, value):
    """Add a value and return the former one."""
    return builder.atomic_rmw("add", _place(builder, address, word), value, "seq_cst")


@intrinsic("boolean(int64, int64, int64)")
def _take_back(builder, address, word, value):
    """Store 0 if the value is still there, and return whether it was."""
    found = builder.cmpxchg(_place(builder, address, word), value, _WORD(0), "seq_cst", "seq_cst")
    return builder.extract_value(found, 1)


@intrinsic("int64(int64, int64, int64, int64)")
def _call_part(builder, function, frame, first, stop):
    """Call a function of three words that returns a word."""
    kind = ir.FunctionType(_WORD, [_WORD] * 3)
    return builder.call(builder.inttoptr(function, kind.as_pointer()), [frame, first, stop])


@intrinsic("void(int64, int64)")
def _acquire(builder, function, lock):
    flag = ir.IntType(32)
    kind = ir.FunctionType(flag, [_WORD, flag])
    builder.call(builder.inttoptr(function, kind.as_pointer()), [lock, flag(1)])


@intrinsic("void(int64, int64)")
def _release(builder, function, lock):
    kind = ir.FunctionType(ir.VoidType(), [_WORD])
    builder.call(builder.inttoptr(function, kind.as_pointer()), [lock])


@compiled
def serve(desk):
    """Work on the tasks put on a desk, until one needs the interpreter."""
    while True:
        task, spins = 0, 0
        while task == 0 and spins < _SPINS:
            if word_at(desk, TASK) != 0:
                task = _exchange(desk, TASK, 0)
            spins += 1
        if task == 0:
            _store(desk, ASLEEP, 1)
            task = _exchange(desk, TASK, 0)
            # Whoever finds it asleep releases the lock, exactly once.
            if task == 0 or _exchange(desk, ASLEEP, 0) == 0:
                _acquire(word_at(desk, ACQUIRE), word_at(desk, LOCK))
        if task == PYTHON:
            return
        if task != 0:
            _work(task)
            if _add(task, BUSY, -1) == 1 and _exchange(task, WAITING, 0) == 1:
                _release(word_at(task, OWN_RELEASE), word_at(task, OWN_LOCK))


@compiled
def _work(task):
    function, frame = word_at(task, FUNCTION), word_at(task, FRAME)
    length, size = word_at(task, LENGTH), word_at(task, SIZE)
    while True:
        first = _add(task, NEXT, size)
        if first >= length:
            return
        if _call_part(function, frame, first, min(first + size, length)) != 0:
            _store(task, FAILED, 1)


@compiled
def put(desk, task):
    """Put a task, or `PYTHON`, on a desk, and wake its helper if it sleeps."""
    _store(desk, TASK, task)
    if _exchange(desk, ASLEEP, 0) == 1:
        _release(word_at(desk, RELEASE), word_at(desk, LOCK))


@compiled
def _run(task, desks, function, frame, length, size):
    """Do a task together with the helpers of some desks, and return whether a part failed."""
    _store(task, FUNCTION, function)
    _store(task, FRAME, frame)
    _store(task, LENGTH, length)
    _store(task, SIZE, size)
    _store(task, NEXT, 0)
    _store(task, FAILED, 0)
    _store(task, BUSY, len(desks))
    for desk in desks:
        put(desk, task)
    _work(task)
    # Nobody waits for a helper that has not begun.
    for desk in desks:
        if _take_back(desk, TASK, task):
            _add(task, BUSY, -1)
    spins = 0
    while word_at(task, BUSY) != 0 and spins < _SPINS:
        spins += 1
    while word_at(task, BUSY) != 0:
        _store(task, WAITING, 1)
        if word_at(task, BUSY) != 0 or _exchange(task, WAITING, 0) == 0:
            _acquire(word_at(task, OWN_ACQUIRE), word_at(task, OWN_LOCK))
    return word_at(task, FAILED) != 0


@compiled
def run(task, desks, calls, places, values):
    """Call functions one after the other, each together with the helpers of some desks; return whether a part failed.

    Parameters
    ----------
    task : int
        Address of its words.
    desks : (helpers,) int64 array
        Addresses of desks that nobody else uses meanwhile.
    calls : (calls, 4) int64 array
        Addresses of a function and of its frame, number of indices, and of indices per part.
    places, values : (words,) int64 arrays
        Addresses of words, and what is stored there before the first call.
    """
    for i in range(len(places)):
        _store(places[i], 0, values[i])
    failed = False
    for i in range(len(calls)):
        function, frame, length, size = calls[i, 0], calls[i, 1], calls[i, 2], calls[i, 3]
        if size < length:
            failed |= _run(task, desks, function, frame, length, size)
        else:
            failed |= _call_part(function, frame, 0, length) != 0
    return failed


def prepare() -> None:
    """Compile what helpers and their callers need, before the first of them starts."""
    from numba import types

    word = types.int64
    serve.dispatcher.compile((word,))
    put.dispatcher.compile((word, word))
    words = types.Array(word, 1, "C")
    run.dispatcher.compile((word, words, types.Array(word, 2, "C"), words, words))


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _locked() -> int:
    """Return the address of a new lock of the interpreter, taken."""
    api = ctypes.pythonapi
    api.PyThread_allocate_lock.restype, api.PyThread_allocate_lock.argtypes = ctypes.c_void_p, ()
    lock = api.PyThread_allocate_lock()
    if not lock:
        raise MemoryError("no lock for another thread")
    ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(("PyThread_acquire_lock", api))(lock, 0)
    return lock


def _words() -> np.ndarray:
    """Return zeroed words, in cache lines of their own."""
    block = np.zeros(_WORDS + 8, np.int64)
    start = (-block.ctypes.data // 8) % 8
    words = block[start : start + _WORDS]
    _kept.append(words)
    return words


_kept: list[np.ndarray] = []
_ACQUIRE_AT = _address(ctypes.pythonapi.PyThread_acquire_lock)
_RELEASE_AT = _address(ctypes.pythonapi.PyThread_release_lock)


def new_desk() -> int:
    """Return the address of an empty desk."""
    words = _words()
    words[LOCK], words[ACQUIRE], words[RELEASE] = _locked(), _ACQUIRE_AT, _RELEASE_AT
    return int(words.ctypes.data)


def new_task() -> int:
    """Return the address of a task, for one `run` at a time."""
    words = _words()
    words[OWN_LOCK], words[OWN_ACQUIRE], words[OWN_RELEASE] = _locked(), _ACQUIRE_AT, _RELEASE_AT
    return int(words.ctypes.data)
