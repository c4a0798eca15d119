"""Read sessions of a network: blocks in which the noise streams and meters of its matrices are exchanged for others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from analogpc.devices.costs.meter import Meter
from analogpc.devices.matrix import Matrix, ReadStream
from analogpc.kernels.random.streams import Key


class Sessions:
    """Noise streams and meters of a network's own session while another one is in use."""

    def __init__(self) -> None:
        self._outside: dict[str, tuple[ReadStream, Meter]] | None = None

    @contextmanager
    def isolated(self, matrices: Mapping[str, Matrix], key: Key) -> Iterator[dict[str, Meter]]:
        """Isolate the reads in this block: noise from streams of ``key``, counts in separate meters."""
        meters = {name: Meter() for name in matrices}
        former = {name: m.swap_session(ReadStream(key.fold(name)), meters[name]) for name, m in matrices.items()}
        outermost = self._outside is None
        if outermost:
            self._outside = former
        try:
            yield meters
        finally:
            if outermost:
                self._outside = None
            for name, matrix in matrices.items():
                matrix.swap_session(*former[name])

    @contextmanager
    def suspended(self, matrices: Mapping[str, Matrix]) -> Iterator[None]:
        """Return to the network's own session in this block."""
        if self._outside is None:
            yield
            return
        inner = {name: matrix.swap_session(*self._outside[name]) for name, matrix in matrices.items()}
        try:
            yield
        finally:
            for name, matrix in matrices.items():
                matrix.swap_session(*inner[name])
