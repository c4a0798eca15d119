"""State of a matrix on crossbars: what is saved, loaded, copied and exchanged."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import numpy as np
from typing_extensions import override

from analogpc.devices.arrays.cells import Cells
from analogpc.devices.costs.meter import Meter
from analogpc.devices.crossbars.pulse_writer import PulseWriter
from analogpc.devices.crossbars.read_path import ReadPath
from analogpc.devices.matrix import Matrix, ReadStream
from analogpc.devices.state import Settled, Shaped, Tree
from analogpc.devices.substrate import Analog
from analogpc.kernels.gpu.arrays import Backend, copied, in_tree, to_host
from analogpc.kernels.random.streams import Key


class CrossbarState(Matrix):
    """Base class of `CrossbarMatrix`, whose attributes these are; the subclass reads and writes the devices."""

    # Copies share the converters, which need not be drawn again.
    specified = ("substrate", "shape", "dtype", "_read_path")

    substrate: Analog
    scales: np.ndarray
    cells: Cells
    extra: dict[str, Cells]
    memory: dict[str, Any]
    update_cycles: int
    gain: float
    _reads: ReadStream
    _writer: PulseWriter
    _read_path: ReadPath
    # Mean readout after the last write, with which drift compensation compares; 0 before it is needed.
    _readout: float

    @property
    def _all_cells(self) -> list[Cells]:
        return [self.cells, *self.extra.values()]

    @override
    def held(self) -> Tree:
        return {
            "scales": self.scales,
            "cells": self.cells.held(),
            "extra": {name: cells.held() for name, cells in self.extra.items()},
            "memory": self.memory,
            "read_key": self._reads.key.value,
            "read_step": self._reads.step,
            "update_key": self._writer.key.value,
            "products_done": self._writer.products_done,
            "update_cycles": self.update_cycles,
            "converter_key": self._read_path.ports.key.value,
            "gain": self.gain,
            "readout": self._readout,
            "meter": Settled(self.meter.as_dict()),
        }

    @override
    def _adopt(self, tree: Tree, backend: Backend) -> None:
        self.cells = Cells.from_snapshot(self._of_cells, tree["cells"], backend)
        self.extra = {name: Cells.from_snapshot(self._of_cells, held, backend) for name, held in tree["extra"].items()}
        self.scales = np.array(to_host(tree["scales"]))
        self.memory = in_tree(partial(copied, backend=backend), tree["memory"])
        self._reads = ReadStream(Key(tree["read_key"]), tree["read_step"])
        self._writer = PulseWriter(self.cells, self.extra, Key(tree["update_key"]))
        self._writer.products_done = tree["products_done"]
        self.update_cycles, self.gain, self._readout = tree["update_cycles"], tree["gain"], tree["readout"]
        self.meter = Meter(**tree["meter"])
        self._read_path = self._converters(Key(tree["converter_key"]), backend)

    @property
    def _of_cells(self) -> dict[str, Any]:
        """Return the specification of its cells."""
        return {"substrate": self.substrate, "shape": self.shape[::-1], "dtype": self.dtype}

    def _converters(self, key: Key, backend: Backend) -> ReadPath:
        """Return the converters: the present ones if they belong to that key, otherwise newly drawn ones."""
        former: ReadPath | None = getattr(self, "_read_path", None)
        if former is None or not former.serves(key, self.scales):
            return ReadPath.drawn(self.substrate, self.cells, self.extra, self.scales, key, backend)
        former.forget()
        return former.of(self.cells, self.extra, self.scales, backend)

    @override
    def template(self) -> dict[str, Any]:
        substrate, (n_out, n_in), key = self.substrate, self.shape, 0
        cells = Cells.blank(self._of_cells).template()
        return {
            "scales": Shaped((-(-n_in // substrate.rows), n_out), ("float64",)),
            "cells": cells,
            "extra": dict.fromkeys(substrate.scheme.extra_cells, cells),
            "memory": substrate.scheme.memory(self.shape, np.empty(0, self.dtype)),
            "gain": 1.0,
            "readout": 0.0,
            "meter": Meter().as_dict(),
        } | dict.fromkeys(("read_key", "read_step", "update_key", "products_done", "update_cycles", "converter_key"), key)

    @override
    def copy(self, backend: Backend | None = None) -> Self:
        """Return an independent matrix in the same state, optionally on another backend.

        Raises
        ------
        ValueError
            If the GPU is requested but does not support the substrate (see `Analog.refuse_backend`).
        """
        backend = backend or self.backend
        if reason := self.substrate.refuse_backend(backend):
            raise ValueError(f"the backend '{backend}' cannot hold this matrix: {reason}")
        return super().copy(backend)

    @override
    def key_streams(self, key: Key) -> None:
        self._reads = ReadStream(key.fold("read"))
        self._writer.key, self._writer.products_done = key.fold("update"), 0
        self.cells.key_streams(key)
        for name, cells in self.extra.items():
            cells.key_streams(key.fold(name))

    @override
    def swap_session(self, reads: ReadStream, meter: Meter) -> tuple[ReadStream, Meter]:
        former = self._reads, self.meter
        self._reads, self.meter = reads, meter
        return former
