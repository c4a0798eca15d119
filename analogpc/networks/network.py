"""A network: states connected by blocks with matrices on one substrate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np

from analogpc.blocks import Block, MatrixMaker
from analogpc.blocks.value_node import ValueNodeBlock
from analogpc.devices.costs.meter import Meter
from analogpc.devices.crossbars.builder import blank_matrix, make_matrix
from analogpc.devices.matrix import Matrix
from analogpc.devices.specification import SpecificationError
from analogpc.devices.state import StateError, Tree, copied_tree
from analogpc.devices.substrate import Analog, Digital, as_substrate
from analogpc.kernels.checks import whole_number
from analogpc.kernels.gpu.arrays import Backend, as_backend, copied, in_tree, to_host
from analogpc.kernels.random.streams import Key
from analogpc.networks import Architecture
from analogpc.networks.base import ArchitectureBase
from analogpc.networks.network_state import fitted_state
from analogpc.networks.sample_format import SampleFormat
from analogpc.networks.sessions import Sessions


class Network:
    """A sequence of layers with a state (a value node of predictive coding) between each pair.

    Parameters
    ----------
    architecture : Architecture
        `MLP`, `VGG` or `Layers`.
    substrate : Digital, Analog or str
        Substrate of the weight matrices, or its short name; ideal digital by default. Biases, and the scales of normalisations, are
        digital on every substrate.
    seed : int
        Seed of the initial weights and, on an analog substrate, of the devices.

    Attributes
    ----------
    layers : list of Block
        Layer l maps state l to the prediction of state l + 1; state 0 is the input.
    extras : dict of Block by name
        Additional blocks of the architecture that read states.
    carried : list of arrays
        States that a rule carries over to the next batch; usually empty. Saved and copied with the network.
    tokeniser : Tokeniser or None
        Tokeniser of a network trained on a text; see `generate` and `fill`.
    backend : "cpu" or "gpu"
        Backend of the arrays: NumPy in main memory, or CuPy on a GPU. Networks are created in main memory; `to` moves them.
    """

    def __init__(self, architecture: Architecture, substrate: Digital | Analog | str | None = None, seed: int = 0) -> None:
        if not isinstance(architecture, ArchitectureBase):
            raise SpecificationError(
                f"architecture = {architecture!r} is not allowed: use an architecture such as MLP(widths=(64, 10))"
            )
        chosen = Digital() if substrate is None else as_substrate(substrate)
        self._describe(architecture, chosen, whole_number(seed, "seed", 0, 2**63 - 1))
        self._build(None)
        self._untrained = True

    def _describe(self, architecture: Architecture, substrate: Digital | Analog, seed: int) -> None:
        self.architecture, self.substrate, self.seed = architecture, substrate, seed
        self.input_shape = architecture.input_shape
        self.dtype = np.dtype(architecture.dtype)
        self.layers: list[Block] = []
        self.extras: dict[str, Block] = {}
        self.carried: list[np.ndarray] = []
        self._sessions = Sessions()
        # A Tokeniser, not imported because `data` imports this package.
        self.tokeniser: Any = None
        self._place("cpu")

    def _place(self, backend: Backend) -> None:
        self.backend: Backend = backend
        # Reference array of the backend, for NumPy functions that take ``like``.
        self._anchor = copied(np.empty(0, self.dtype), backend)

    def _build(self, given: Iterable[np.ndarray] | None) -> None:
        """Build the layers with the weights of ``given``, in order, or with drawn weights."""
        numbers, weights = count(), None if given is None else iter(given)

        def make(role: str, _: tuple[int, int], drawn: Callable[[], np.ndarray]) -> Matrix:
            key = Key(self.seed).fold("matrix", next(numbers))
            return make_matrix(self._substrate_of(role), drawn() if weights is None else next(weights), key)

        self._assemble(make)

    def _substrate_of(self, role: str) -> Digital | Analog:
        return self.substrate if role == "weight" else Digital()

    def _assemble(self, make: MatrixMaker) -> None:
        """Build the layers."""
        root, shapes = Key(self.seed), [self.input_shape]
        for number, specification in enumerate(self.architecture.layers(), start=1):
            self.layers.append(specification.build(shapes[-1], make, root.fold("weights", number), self.dtype))
            shapes.append(self.layers[-1].output_shape)
        self.architecture.join(self.layers)
        for name, (number, specification) in self.architecture.extras().items():
            self.extras[name] = specification.build(shapes[number], make, root.fold(name), self.dtype)

    def _named(self) -> dict[str, Block]:
        return {f"layer{number}": layer for number, layer in enumerate(self.layers, start=1)} | self.extras

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the prediction of one sample."""
        return self.architecture.predicted_shape or self.layers[-1].output_shape

    def matrices(self) -> dict[str, Matrix]:
        """Return all matrices by name, in layer order: "layer1.0.weight" is that of block 0 in the first layer."""
        return {f"{place}.{name}": matrix for place, block in self._named().items() for name, matrix in block.matrices.items()}

    def buffers(self) -> dict[str, np.ndarray]:
        """Return other arrays of the blocks, such as running statistics, by name."""
        return {f"{place}.{name}": kept for place, block in self._named().items() for name, kept in block.buffers.items()}

    @property
    def recordable(self) -> bool:
        """Whether all blocks are `Block.recordable`."""
        return all(block.recordable for block in (*self.layers, *self.extras.values()))

    @property
    def swept(self) -> bool:
        """Whether the states are value nodes inside the layers; see `SweepRelaxation`."""
        return self.architecture.swept

    @property
    def nodes(self) -> list[ValueNodeBlock]:
        """Value nodes inside the layers, in the order of a sweep."""
        return [node for layer in self.layers for node in layer.nodes()]

    @property
    def energies(self) -> int:
        """Number of energies that a rule reports per batch: one for each layer, or for each node inside the layers and the output."""
        return len(self.nodes) + 1 if self.swept else len(self.layers)

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """Convert a batch of samples to the input shape and type of the network, without changing values.

        Networks of tokens take integers.

        Raises
        ------
        ValueError
            If the samples are not finite real numbers, or have another shape; flat samples, flat networks and axes of size 1 match by
            their number of values.
        """
        return self.brought(self.samples.checked(x, self.dtype))

    def refuse_samples(self, shape: tuple[int, ...]) -> None:
        """Refuse samples of another shape than that of the network, so that no pixel is misplaced."""
        self.samples.refuse(shape)

    def brought(self, x: np.ndarray) -> np.ndarray:
        """Return samples as a contiguous array of the type and backend of the network."""
        return self.samples.brought(x, self._anchor)

    @property
    def samples(self) -> SampleFormat:
        """Shape and type of the samples that the network takes."""
        return SampleFormat(self.input_shape, self.architecture.tokens)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Compute the prediction for a batch of finite real numbers: (n, *input_shape) -> (n, *output_shape).

        This is one feed-forward pass, which for predictive coding is inference without a label: its energy is zero; or, for a
        Hopfield network, a free relaxation.
        """
        return self.architecture.predict(self.layers, self.extras, self.inputs(x))

    def generate(self, prompt: str = "", *, tokens: int = 30, temperature: float = 1.0, seed: int = 0) -> str:
        """Continue a text, token by token, with a conditional language model.

        Parameters
        ----------
        prompt : str
            Text to continue; may be empty.
        tokens : int
            Maximum number of tokens.
        temperature : float
            Tokens are drawn with probabilities proportional to exp(logit / temperature); 0: the most probable token.
        seed : int
            Seed of sampling and read noise.

        Returns
        -------
        str
            Prompt and continuation.

        Raises
        ------
        DataError
            If the network was not trained on a text, is a masked language model, or an argument is invalid.
        """
        from analogpc.training.generation import generate, words_of

        return generate(self, words_of(self), prompt, tokens=tokens, temperature=temperature, key=Key(seed))

    def fill(self, text: str) -> str:
        """Fill in the ``<mask>`` tokens of a text, each with the most probable token, by a masked language model.

        Raises
        ------
        DataError
            If the network was not trained on a text, is a conditional model, nothing is masked, or the text is too long.
        """
        from analogpc.training.generation import fill, words_of

        return fill(self, words_of(self), text)

    def on(self, substrate: Digital | Analog | str) -> Network:
        """Return the network on another substrate, which may be given by its short name.

        An untrained network starts there from its exact initial weights; a trained one from the
        weights stored in its devices.
        """
        twin = self._unbuilt(as_substrate(substrate))
        # Initial weights are drawn again from the seed.
        twin._build(None if self._untrained else (to_host(matrix.weights()) for matrix in self.matrices().values()))
        twin._untrained = self._untrained
        for name, kept in twin.buffers().items():
            kept[...] = to_host(self.buffers()[name])
        twin.tokeniser = self.tokeniser
        return twin.to(self.backend)

    def _unbuilt(self, substrate: Digital | Analog) -> Network:
        """Return a network of the same architecture and seed without layers; nothing is drawn or programmed."""
        twin = Network.__new__(Network)
        twin._describe(self.architecture, substrate, self.seed)
        return twin

    def copy(self, *, trained: bool = False, backend: Backend | None = None) -> Network:
        """Return an independent network in the same state.

        Parameters
        ----------
        trained : bool
            Mark the copy as trained.
        backend : "cpu" or "gpu"
            Backend of the copy; by default that of this network.
        """
        backend = self.backend if backend is None else as_backend(backend)
        twin = self._unbuilt(self.substrate)
        twin._place(backend)
        twin._untrained = self._untrained and not trained
        twin.layers = [layer.copy(backend) for layer in self.layers]
        twin.architecture.join(twin.layers)
        twin.extras = {name: block.copy(backend) for name, block in self.extras.items()}
        twin.carried = [copied(state, backend) for state in self.carried]
        twin.tokeniser = self.tokeniser
        return twin

    def to(self, backend: Backend) -> Network:
        """Return this network on a backend: itself if it is there, else an independent network in the same state.

        All devices, weights, states and random draws are the same on both; products of matrices, and functions such as exp, round
        differently.

        Raises
        ------
        GpuError
            If there is no GPU.
        """
        return self if backend == self.backend else self.copy(backend=backend)

    def key_streams(self, key: Key) -> None:
        """Draw all future read, pulse and write noise from streams of ``key``; the devices are unchanged."""
        for name, matrix in self.matrices().items():
            matrix.key_streams(key.fold(name))

    @contextmanager
    def isolated_reads(self, key: Key) -> Iterator[dict[str, Meter]]:
        """Isolate the reads in this block: noise from streams of ``key``, counts in separate meters."""
        with self._sessions.isolated(self.matrices(), key) as meters:
            yield meters

    @contextmanager
    def own_session(self) -> Iterator[None]:
        """Suspend `isolated_reads` in this block, to save or bill with the network's own noise streams and counts."""
        with self._sessions.suspended(self.matrices()):
            yield

    def elapse(self, seconds: float) -> None:
        """Advance the time of every device."""
        for matrix in self.matrices().values():
            matrix.elapse(seconds)

    def held(self) -> Tree:
        """Return the state of all matrices and buffers by name, and the carried states, if there are any.

        The arrays are in main memory; they are not copied if the network is there.
        """
        kept: Tree = {name: {"values": array} for name, array in self.buffers().items()}
        if self.carried:
            kept["carried"] = {str(number): state for number, state in enumerate(self.carried)}
        with self.own_session():
            tree = {name: matrix.held() for name, matrix in self.matrices().items()} | kept
        return tree if self.backend == "cpu" else in_tree(to_host, tree)

    def snapshot(self, into: Tree | None = None) -> Tree:
        """Return a copy of the network state in main memory, independent of further training.

        Parameters
        ----------
        into : dict
            An earlier snapshot, whose arrays are reused where they match.
        """
        return copied_tree(self.held(), into)

    @classmethod
    def from_snapshot(cls, specification: Mapping[str, Any], tree: Tree, backend: Backend = "cpu") -> Network:
        """Create a network from a result of `held` or `snapshot`; the weights count as trained.

        Parameters
        ----------
        specification : dict
            "architecture", "substrate" and "seed".
        tree : dict
            State; its arrays may be loaded lazily (see `state.fitted`).
        backend : "cpu" or "gpu"

        Raises
        ------
        StateError
            If it is not a state of such a network; the message names the entry.
        """
        network = cls.__new__(cls)
        network._describe(**specification)
        network._assemble(lambda role, shape, _: blank_matrix(network._substrate_of(role), shape, network.dtype))
        network.restore(tree)
        return network.to(backend)

    @property
    def specification(self) -> dict[str, Any]:
        """Return the specification that `from_snapshot` needs besides a state."""
        return {"architecture": self.architecture, "substrate": self.substrate, "seed": self.seed}

    def __repr__(self) -> str:
        from analogpc.plot.html import network_text

        return network_text(self)

    def _repr_html_(self) -> str:
        from analogpc.plot.html import network_html

        return network_html(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a network as its specification and state."""
        return _restored, (self.specification, self.held(), self._untrained, self.backend, self.tokeniser)

    def fitted(self, state: dict[str, Any]) -> dict[str, Any]:
        """Check a state from elsewhere, such as a file, and read all its arrays.

        Raises
        ------
        StateError
            If it is not a state of this network; the message names the entry.
        """
        return fitted_state(state, self.matrices(), self.buffers(), [layer.output_shape for layer in self.layers], self.dtype)

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a result of `held` or `snapshot`; the weights then count as trained.

        Raises
        ------
        StateError
            If it is not a state of this network, or contains an invalid number; the message names the entry. In the latter case the
            network must not be used any more.
        """
        state = self.fitted(state)
        for name, matrix in self.matrices().items():
            matrix.restore(state[name], self.backend)
            try:
                matrix.refuse_state()
            except StateError as error:
                raise StateError(f"{name}: {error}") from None
        for name, kept in self.buffers().items():
            kept[...] = copied(state[name]["values"], self.backend)
        carried = state.get("carried", {})
        self.carried = [copied(carried[str(number)], self.backend) for number in range(len(carried))]
        self._untrained = False


def _restored(specification: Mapping[str, Any], tree: Tree, untrained: bool, backend: Backend, tokeniser: Any) -> Network:
    """Restore a pickled network."""
    network = Network.from_snapshot(specification, tree)
    network._untrained, network.tokeniser = untrained, tokeniser
    return network.to(backend)
