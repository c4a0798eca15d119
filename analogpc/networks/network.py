"""A network: states joined by blocks, whose matrices live on one substrate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from analogpc.blocks import Block
from analogpc.blocks.value_node import ValueNodeBlock
from analogpc.devices.costs.meter import Meter
from analogpc.devices.crossbars.builder import make_matrix
from analogpc.devices.matrix import Matrix, ReadStream
from analogpc.devices.specification import SpecificationError
from analogpc.devices.state import Shaped, StateError, Tree, Varying, copied_tree, fitted
from analogpc.devices.substrate import Analog, Digital, as_substrate
from analogpc.kernels.checks import real_array, whole_number
from analogpc.kernels.gpu.arrays import Backend, as_backend, copied, in_tree, on_gpu, to_host
from analogpc.kernels.random.streams import Key
from analogpc.networks import Architecture
from analogpc.networks.base import ArchitectureBase


class Network:
    """A sequence of layers; between two layers lies a state (a value node of predictive coding).

    Parameters
    ----------
    architecture : Architecture
        `MLP`, `VGG` or `Layers`.
    substrate : Digital, Analog or str
        Where the weight matrices live, or its short name; ideal-digital if not given. Biases, and the scales of normalisations, are
        digital on every substrate.
    seed : int
        Chooses the initial weights and, on an analog substrate, the devices.

    Attributes
    ----------
    layers : list of Block
        Layer l maps state l to the prediction of state l + 1; state 0 is the input.
    extras : dict of Block by name
        Blocks besides the layers, which read states, too: whatever the architecture asks for.
    carried : list of arrays
        States that a rule carries over to the next batch; empty unless one does. Saved and copied with the network.
    tokeniser : Tokeniser or None
        What its tokens stand for, once a text has taught it; see `generate` and `fill`.
    backend : "cpu" or "gpu"
        Where its arrays are: in main memory as NumPy's, or on a GPU as CuPy's. Networks are made in main memory; `to` moves them.
    """

    # Within `isolated_reads`: the noise streams and meters that the network goes on with afterwards.
    _outside: dict[str, tuple[ReadStream, Meter]] | None = None

    def __init__(self, architecture: Architecture, substrate: Digital | Analog | str | None = None, seed: int = 0) -> None:
        if not isinstance(architecture, ArchitectureBase):
            raise SpecificationError(f"architecture = {architecture!r} is not allowed: it is one such as MLP(widths=(64, 10))")
        chosen = Digital() if substrate is None else as_substrate(substrate)
        self._describe(architecture, chosen, whole_number(seed, "seed", 0, 2**63 - 1))
        self._initial: list[np.ndarray] | None = self._build(None)

    def _describe(self, architecture: Architecture, substrate: Digital | Analog, seed: int) -> None:
        self.architecture, self.substrate, self.seed = architecture, substrate, seed
        self.input_shape = architecture.input_shape
        self.dtype = np.dtype(architecture.dtype)
        self.layers: list[Block] = []
        self.extras: dict[str, Block] = {}
        self.carried: list[np.ndarray] = []
        # A Tokeniser: the room of the data imports from this one.
        self.tokeniser: Any = None
        self._place("cpu")

    def _place(self, backend: Backend) -> None:
        self.backend: Backend = backend
        # Stands for all arrays there, wherever NumPy wants to know where to make one.
        self._anchor = copied(np.empty(0, self.dtype), backend)

    def _build(self, given: list[np.ndarray] | None) -> list[np.ndarray]:
        """Make the layers, with the weights of `given` or else those that the blocks draw; return the weights, in order."""
        root = Key(self.seed)
        used: list[np.ndarray] = []

        def make(role: str, drawn: np.ndarray) -> Matrix:
            weights = drawn if given is None else given[len(used)]
            key = root.fold("matrix", len(used))
            used.append(weights)
            return make_matrix(self.substrate if role == "weight" else Digital(), weights, key)

        shapes = [self.input_shape]
        for number, specification in enumerate(self.architecture.layers(), start=1):
            self.layers.append(specification.build(shapes[-1], make, root.fold("weights", number), self.dtype))
            shapes.append(self.layers[-1].output_shape)
        self.architecture.join(self.layers)
        for name, (number, specification) in self.architecture.extras().items():
            self.extras[name] = specification.build(shapes[number], make, root.fold(name), self.dtype)
        return used

    def _named(self) -> dict[str, Block]:
        return {f"layer{number}": layer for number, layer in enumerate(self.layers, start=1)} | self.extras

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the prediction of one sample."""
        return self.architecture.predicted_shape or self.layers[-1].output_shape

    def matrices(self) -> dict[str, Matrix]:
        """All matrices by name, in the order of the layers: "layer1.0.weight" is that of block 0 in the first layer."""
        return {f"{place}.{name}": matrix for place, block in self._named().items() for name, matrix in block.matrices.items()}

    def buffers(self) -> dict[str, np.ndarray]:
        """What blocks keep besides matrices, such as running statistics, by name."""
        return {f"{place}.{name}": kept for place, block in self._named().items() for name, kept in block.buffers.items()}

    @property
    def swept(self) -> bool:
        """Whether its states are value nodes inside the layers; see `SweepRelaxation`."""
        return self.architecture.swept

    @property
    def nodes(self) -> list[ValueNodeBlock]:
        """The value nodes inside the layers, in the order in which a sweep meets them."""
        return [node for layer in self.layers for node in layer.nodes()]

    @property
    def energies(self) -> int:
        """How many energies a rule reports of a batch: one for each layer, or for each node inside the layers and the output."""
        return len(self.nodes) + 1 if self.swept else len(self.layers)

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """Bring a batch of samples into the input shape and type of the network, without changing any value.

        Networks of tokens take whole numbers, and keep them so.

        Raises
        ------
        ValueError
            If the samples are not finite real numbers, or have another shape; flat samples, flat networks and axes of size 1 fit by
            their number of values.
        """
        x = real_array(x, "samples", dtype=None if self.architecture.tokens else self.dtype)
        self.refuse_samples(x.shape[1:])
        most = self.architecture.tokens
        if most and not on_gpu(x) and x.size and not (x.min() >= 0 and x.max() < most):
            raise ValueError(f"the network knows the tokens 0 to {most - 1}, and the samples hold {x.min()} to {x.max()}")
        return self.brought(x.reshape(len(x), *self.input_shape))

    def refuse_samples(self, shape: tuple[int, ...]) -> None:
        """Refuse samples of a shape that is not that of the network, so that no pixel lands in another place."""
        flat = len(shape) == 1 or len(self.input_shape) == 1
        alike = flat or [n for n in shape if n > 1] == [n for n in self.input_shape if n > 1]
        if not shape or math.prod(shape) != math.prod(self.input_shape) or not alike:
            raise ValueError(f"the network takes samples of shape {self.input_shape}, not {tuple(shape)}")

    def brought(self, x: np.ndarray) -> np.ndarray:
        """An array of samples on the backend of the network, contiguous and in its type; from wherever it comes."""
        kind: np.dtype[Any] = self.dtype
        if self.architecture.tokens:
            if x.dtype.kind not in "iu":
                raise ValueError(f"the network takes tokens, whole numbers, not {x.dtype}")
            if not on_gpu(x) and x.size and not (x.min() >= -(2**31) and x.max() < 2**31):
                raise ValueError(f"tokens and places are whole numbers of 32 bits, not from {x.min()} to {x.max()}")
            kind = np.dtype(np.int32)
        if self.backend == "gpu":
            return np.ascontiguousarray(np.asarray(x, dtype=kind, like=self._anchor), like=self._anchor)
        return np.ascontiguousarray(to_host(x), dtype=kind)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """What the architecture answers to a batch of finite real numbers: (n, *input_shape) -> (n, *output_shape).

        That is one feed-forward pass, which for predictive coding is inference without a label: its energy is zero; or, for an
        architecture of Hopfield type, a free relaxation.
        """
        return self.architecture.predict(self.layers, self.extras, self.inputs(x))

    def generate(self, prompt: str = "", *, tokens: int = 30, temperature: float = 1.0, seed: int = 0) -> str:
        """Continue a text, token by token, with a conditional language model.

        Parameters
        ----------
        prompt : str
            May be empty.
        tokens : int
            At most so many.
        temperature : float
            Tokens are drawn with probabilities proportional to exp(logit / temperature); 0 for the most probable one.
        seed : int
            Of the draws and of read noise.

        Returns
        -------
        str
            The prompt and what follows.

        Raises
        ------
        DataError
            If it has learnt no text, fills in masked tokens instead, or a number is not allowed.
        """
        from analogpc.training.generation import generate, words_of

        return generate(self, words_of(self), prompt, tokens=tokens, temperature=temperature, key=Key(seed))

    def fill(self, text: str) -> str:
        """A text with its ``<mask>`` tokens filled in, each by the most probable token, by a masked language model.

        Raises
        ------
        DataError
            If it has learnt no text, nothing is masked, the text is too long, or it says the next token instead.
        """
        from analogpc.training.generation import fill, words_of

        return fill(self, words_of(self), text)

    def on(self, substrate: Digital | Analog | str) -> Network:
        """The same network on another substrate, which may be given by its short name.

        A network that was never trained starts there from the very weights that it was initialised with; a trained one from the
        weights that its devices hold.
        """
        twin = self._unbuilt(as_substrate(substrate))
        if self._initial is not None:
            twin._initial = twin._build(self._initial)
        else:
            twin._build([to_host(matrix.weights()) for matrix in self.matrices().values()])
            twin._initial = None
        for name, kept in twin.buffers().items():
            kept[...] = to_host(self.buffers()[name])
        twin.tokeniser = self.tokeniser
        return twin.to(self.backend)

    def _unbuilt(self, substrate: Digital | Analog) -> Network:
        """A network of the same architecture and seed, as yet without layers: nothing is drawn or programmed."""
        twin = Network.__new__(Network)
        twin._describe(self.architecture, substrate, self.seed)
        return twin

    def copy(self, *, trained: bool = False, backend: Backend | None = None) -> Network:
        """An independent network in the same state.

        Parameters
        ----------
        trained : bool
            Mark that its weights are its own from now on.
        backend : "cpu" or "gpu"
            Where its arrays are to be; where those of this network are, if not said.
        """
        backend = self.backend if backend is None else as_backend(backend)
        twin = self._unbuilt(self.substrate)
        twin._place(backend)
        twin._initial = None if trained else self._initial
        twin.layers = [layer.copy(backend) for layer in self.layers]
        twin.architecture.join(twin.layers)
        twin.extras = {name: block.copy(backend) for name, block in self.extras.items()}
        twin.carried = [copied(state, backend) for state in self.carried]
        twin.tokeniser = self.tokeniser
        return twin

    def to(self, backend: Backend) -> Network:
        """This network on a backend: itself if it is there, else an independent one in the same state.

        All devices, weights, states and random draws are the same on both; products of matrices, and functions such as exp, round
        differently.

        Raises
        ------
        GpuError
            If there is no GPU.
        """
        return self if backend == self.backend else self.copy(backend=backend)

    def key_streams(self, key: Key) -> None:
        """Draw all coming read, pulse and write noise from streams of ``key``; the devices stay the same."""
        for name, matrix in self.matrices().items():
            matrix.key_streams(key.fold(name))

    @contextmanager
    def isolated_reads(self, key: Key) -> Iterator[dict[str, Meter]]:
        """Read within this block without leaving a trace: noise from streams of ``key``, counts in meters of their own."""
        matrices = self.matrices()
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
    def own_session(self) -> Iterator[None]:
        """Undo `isolated_reads` within this block, to save or bill with the noise streams and counts of the network itself."""
        matrices, outside = self.matrices(), self._outside
        if outside is None:
            yield
            return
        inner = {name: matrix.swap_session(*outside[name]) for name, matrix in matrices.items()}
        try:
            yield
        finally:
            for name, matrix in matrices.items():
                matrix.swap_session(*inner[name])

    def elapse(self, seconds: float) -> None:
        """Let time pass for every device."""
        for matrix in self.matrices().values():
            matrix.elapse(seconds)

    def held(self) -> Tree:
        """Everything that the matrices hold, and the buffers of the blocks, by their names; and the carried states, if there are any.

        The arrays are in main memory: those at work, if the network is there.
        """
        kept: Tree = {name: {"values": array} for name, array in self.buffers().items()}
        if self.carried:
            kept["carried"] = {str(number): state for number, state in enumerate(self.carried)}
        with self.own_session():
            tree = {name: matrix.held() for name, matrix in self.matrices().items()} | kept
        return tree if self.backend == "cpu" else in_tree(to_host, tree)

    def snapshot(self, into: Tree | None = None) -> Tree:
        """What the network holds now, in main memory: a tree that stays as it is while the network learns.

        Parameters
        ----------
        into : dict
            An earlier snapshot, whose arrays are written over where they fit: that spares their allocation.
        """
        return copied_tree(self.held(), into)

    @classmethod
    def from_snapshot(cls, specification: Mapping[str, Any], tree: Tree, backend: Backend = "cpu") -> Network:
        """A network in the state that `held` or `snapshot` gave; the weights count as trained.

        Parameters
        ----------
        specification : dict
            "architecture", "substrate" and "seed".
        tree : dict
            Its arrays may be promises (see `state.fitted`).
        backend : "cpu" or "gpu"

        Raises
        ------
        StateError
            If it is not a state of such a network; the sentence names the place.
        """
        network = cls(**specification)
        network.restore(tree)
        return network.to(backend)

    @property
    def specification(self) -> dict[str, Any]:
        """What `from_snapshot` needs besides a state."""
        return {"architecture": self.architecture, "substrate": self.substrate, "seed": self.seed}

    def __repr__(self) -> str:
        from analogpc.plot.html import network_text

        return network_text(self)

    def _repr_html_(self) -> str:
        from analogpc.plot.html import network_html

        return network_html(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Networks are pickled by their specifications and their state."""
        return _restored, (self.specification, self.held(), self._initial, self.backend, self.tokeniser)

    def template(self) -> dict[str, Any]:
        """What `held` looks like; see `state.fitted`."""
        kept = {name: {"values": array} for name, array in self.buffers().items()}
        return {name: matrix.template() for name, matrix in self.matrices().items()} | kept

    def _carried_template(self, given: dict[str, Any]) -> dict[str, Any]:
        """States that a rule carries over: one for each layer, of any number of samples."""
        samples = {array.shape[0] for array in given.values() if getattr(array, "ndim", 0)}
        if len(samples) != 1:
            raise StateError("the carried states are not of one number of samples")
        shapes = [(min(samples), *layer.output_shape) for layer in self.layers]
        return {str(number): Shaped(shape, (self.dtype.name,)) for number, shape in enumerate(shapes)}

    def fitted(self, state: dict[str, Any]) -> dict[str, Any]:
        """A state that came from elsewhere, such as a file, with all its arrays read.

        Raises
        ------
        StateError
            If it is not a state of this network; the sentence names the place.
        """
        template = self.template()
        if isinstance(state, dict) and "carried" in state:
            template["carried"] = Varying(self._carried_template)
        return fitted(state, template)

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `held` or `snapshot` gave; the weights count as trained from then on.

        Raises
        ------
        StateError
            If it is not a state of this network, or holds a number that cannot be; the sentence names the place. In the latter case
            the network is of no use any more.
        """
        state = self.fitted(state)
        for name, matrix in self.matrices().items():
            matrix.restore(state[name])
            try:
                matrix.refuse_state()
            except StateError as error:
                raise StateError(f"{name}: {error}") from None
        for name, kept in self.buffers().items():
            kept[...] = copied(state[name]["values"], self.backend)
        carried = state.get("carried", {})
        self.carried = [copied(carried[str(number)], self.backend) for number in range(len(carried))]
        self._initial = None


def as_network(value: Any) -> Network:
    """A network, also from the description of one; other things are refused in a sentence.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if isinstance(value, Network):
        return value
    if isinstance(value, ArchitectureBase):
        return Network(value)
    raise ValueError(f"network = {value!r} is not allowed: it is a network, such as apc.mlp([64, 10]), or a loaded one")


def _restored(specification: Mapping[str, Any], tree: Tree, initial: Any, backend: Backend, tokeniser: Any) -> Network:
    """A network from what was pickled of it."""
    network = Network.from_snapshot(specification, tree)
    network._initial, network.tokeniser = initial, tokeniser
    return network.to(backend)
