"""Teachers: trained predictive networks whose states are matched by other networks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BeforeValidator, StringConstraints, model_validator

from analogpc.devices.specification import Specification
from analogpc.devices.substrate import Digital
from analogpc.files.atomic import StorageError
from analogpc.kernels.gpu.arrays import Backend, backend_of
from analogpc.networks.base import ArchitectureBase
from analogpc.networks.network import Network

# Specifications hold no arrays. The networks are cached here by fingerprint, as ideal digital networks, and are never changed.
_KNOWN: dict[str, Network] = {}
_ASKED: dict[str, str] = {}
"""Fingerprints of files that were given without one."""
_MOVED: dict[tuple[str, Backend], Network] = {}
"""Copies on the GPU of the teachers used there."""


class TeacherError(ValueError):
    """Raised if a teacher is not available; the message gives the reason."""


class Teacher(Specification):
    """A trained predictive network, given by its fingerprint and its file.

    The fingerprint identifies the network: architecture, weights and stored statistics. Any copy of the run file can be used, or a
    network with that fingerprint passed to `Teacher.of` before; the file is read at the first use of the teacher. The teacher is
    evaluated as an ideal digital network in evaluation mode, with the weights stored in its substrate.

    Attributes
    ----------
    path : str
        Path of a run file; empty for a teacher given as a network.
    fingerprint : str
        SHA-256 of the network. If empty, the network in the file at the first use; a run records its fingerprint, and resumes only
        with the same network.

    Examples
    --------
    >>> from analogpc.networks import MLP
    >>> teacher = Teacher.of(Network(MLP(widths=(4, 8, 3))))
    >>> [vectors.shape for vectors in teacher.vectors(np.ones((5, 4)), (1, 2))]
    [(5, 8), (5, 3)]
    """

    path: str = ""
    fingerprint: Annotated[str, StringConstraints(pattern="^([0-9a-f]{64})?$")] = ""

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        if not (self.path or self.fingerprint):
            raise ValueError("a teacher needs the path of a run file, or the fingerprint of a network known to this process")
        return self

    @classmethod
    def of(cls, source: Network | str | Path) -> Self:
        """Create a teacher from the current state of a network, or from a run file.

        Raises
        ------
        TeacherError
            If the network is not a predictive network.
        StorageError
            If the file cannot be used.
        """
        path = "" if isinstance(source, Network) else str(source)
        return cls(path=path, fingerprint=_remember(source if isinstance(source, Network) else _load(path)))

    def network(self) -> Network:
        """Return the network, which must not be changed.

        Raises
        ------
        TeacherError
            If the file is missing or unusable, or holds another network; or if there is no file and the network is unknown here.
        """
        if self.fingerprint in _KNOWN:
            return _KNOWN[self.fingerprint]
        if not self.fingerprint:
            return self._by_file().network()
        again = "put its run file there, or pass the same network to Teacher.of(...) first"
        if not self.path:
            raise TeacherError(
                f"the teacher {self.fingerprint[:12]} was given as a network and is not known to this process: "
                "pass the same network to Teacher.of(...) first"
            )
        try:
            found = _remember(_load(self.path))
        except StorageError as error:
            raise TeacherError(f"the teacher cannot be loaded: {error}; {again}") from None
        if found != self.fingerprint:
            raise TeacherError(
                f"{self.path} holds another network ({found[:12]}) than the teacher that was chosen ({self.fingerprint[:12]}); {again}"
            )
        return _KNOWN[found]

    def _by_file(self) -> Teacher:
        """Return the teacher in the file at its first use in this process."""
        if _ASKED.get(self.path) not in _KNOWN:
            try:
                _ASKED[self.path] = Teacher.of(self.path).fingerprint
            except StorageError as error:
                raise TeacherError(f"the teacher cannot be loaded: {error}") from None
        return Teacher(path=self.path, fingerprint=_ASKED[self.path])

    def vectors(self, x: np.ndarray, numbers: Sequence[int]) -> list[np.ndarray]:
        """Return some states of the teacher; for images, means over all positions.

        Parameters
        ----------
        x : (n, ...) array
            Samples with the number of values that the teacher takes.
        numbers : sequence of int
            Numbers of the states: n is the output of layer n.

        Returns
        -------
        list of (n, channels) arrays

        Raises
        ------
        ValueError
            If the teacher lacks a state, or takes samples of another size.
        """
        self.widths(numbers)
        network = self._beside(x)
        states = [network.inputs(x)]
        for layer in network.layers[: max(numbers, default=0)]:
            states.append(layer.infer(states[-1]))
        return [channel_means(states[number]) for number in numbers]

    def _beside(self, x: np.ndarray) -> Network:
        """Return the network on the backend of ``x``; it is moved once."""
        place = (self if self.fingerprint else self._by_file()).fingerprint, backend_of(x)
        if place[1] == "cpu":
            return self.network()
        if place not in _MOVED:
            _MOVED[place] = self.network().to(place[1])
        return _MOVED[place]

    def widths(self, numbers: Sequence[int]) -> list[int]:
        """Return the number of values per sample of each of the `vectors`."""
        layers = self.network().layers
        for number in numbers:
            if not 1 <= number <= len(layers):
                raise ValueError(
                    f"teacher_states = {tuple(numbers)} must be numbers of layers of the teacher, 1 to {len(layers)}"
                )
        return [layers[number - 1].output_shape[-1] for number in numbers]


def _by_path(value: Any) -> Any:
    """Interpret a string as the path of a run file."""
    return {"path": str(value)} if isinstance(value, (str, Path)) else value


NamedTeacher = Annotated[Teacher, BeforeValidator(_by_path)]
"""A teacher, or the path of its run file."""


def channel_means(state: np.ndarray) -> np.ndarray:
    """(n, ..., channels) -> (n, channels): means over all positions; vectors are unchanged."""
    return state.reshape(len(state), -1, state.shape[-1]).mean(axis=1)


def fingerprint(network: Network) -> str:
    """Return the SHA-256 of the architecture, the weights stored in the substrate, and other block state."""
    digest = hashlib.sha256(network.architecture.to_toml().encode())
    for name, array in sorted({**{n: m.weights() for n, m in network.matrices().items()}, **network.buffers()}.items()):
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _load(path: str) -> Network:
    # Imported here: run files need the studies, which need the rules.
    from analogpc.training.run_file import load

    return load(path)


def _remember(network: Network) -> str:
    """Cache an ideal digital copy of the current network; return its fingerprint."""
    if type(network.architecture).predict is not ArchitectureBase.predict:
        raise TeacherError(f"a teacher is a predictive network, not one of the architecture '{network.architecture.kind}'")
    twin = network.copy(trained=True, backend="cpu").on(Digital())
    found = fingerprint(twin)
    _KNOWN.setdefault(found, twin)
    return found
