"""A stand-in for CuPy without a GPU: arrays as strict as CuPy's, CUDA sources compiled for the processor, graphs that replay.

What tests learn here: that code which is to run on a GPU never mixes its arrays with NumPy's, never waits for the GPU while a graph is
captured, passes every kernel what it takes, and that the CUDA kernels compute what they should. What they can't learn here: whether a
true GPU does, for which the same tests run on one where there is one.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import numpy as np
from emulated_arrays import CREATORS, MACHINE, EmulationError, Tape, ndarray, wait
from emulated_blas import Blas
from emulated_kernels import COMPILER, RawModule

__all__ = ["COMPILER", "MACHINE", "Blas", "module"]


class Stream:
    """A stream; all operations are executed immediately."""

    ptr = 1

    def __init__(self, non_blocking: bool = False) -> None:
        self.non_blocking = non_blocking

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *given: Any) -> None:
        return None

    def begin_capture(self) -> None:
        """Record and execute the following operations."""
        if not self.non_blocking or MACHINE.tape is not None:
            raise EmulationError("capturing needs a non-blocking stream, and one at a time")
        MACHINE.tape = Tape()

    def end_capture(self) -> Tape:
        """Return the recorded graph."""
        if MACHINE.tape is None:
            raise EmulationError("nothing is captured")
        tape, MACHINE.tape = MACHINE.tape, None
        tape.undo()
        return tape

    def synchronize(self) -> None:
        """Wait for all pending operations."""
        wait("synchronize()")


class MemoryPool:
    """A memory pool; allocation is left to the CPU."""

    def malloc(self, size: int) -> Any:
        """Refuse allocation, because NumPy allocates its own memory."""
        raise EmulationError("memory of the emulated GPU is NumPy's own")


class _Generator:
    """The subset of CuPy's random generator that is used for comparison."""

    def __init__(self, bits: np.random.BitGenerator) -> None:
        self._generator = np.random.Generator(bits)

    def standard_normal(self, size: int, dtype: type) -> ndarray:
        """Draw normal numbers."""
        return ndarray(self._generator.standard_normal(size, dtype))


@functools.cache
def _module() -> types.ModuleType:
    made = types.ModuleType("cupy")
    made.ndarray, made.RawModule, made.__version__ = ndarray, RawModule, "emulated"
    for name, create in CREATORS.items():
        setattr(made, name, create)
    made.random = types.SimpleNamespace(Philox4x3210=np.random.Philox, Generator=_Generator)
    made.cuda = types.SimpleNamespace(
        Stream=Stream,
        MemoryPool=MemoryPool,
        using_allocator=lambda allocator: Stream(),
        get_current_stream=lambda: Stream(),
        runtime=types.SimpleNamespace(
            deviceSynchronize=lambda: wait("deviceSynchronize()"),
            getDevice=lambda: 0,
            getDeviceProperties=lambda number: {"name": b"emulated"},
            runtimeGetVersion=lambda: 13000,
        ),
    )
    return made


module = _module()
