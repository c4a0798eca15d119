"""A rule, a response, a scheme, a mapping, a block and an architecture, each added by one new file and nothing else."""

import importlib.util

import numpy as np
import pytest

import analogpc as apc
from analogpc.blocks import BlockSpecification
from analogpc.devices.mappings import Mapping
from analogpc.devices.responses import DeviceResponse
from analogpc.devices.schemes import Scheme
from analogpc.devices.specification import SpecificationError
from analogpc.networks import ArchitectureBase
from analogpc.networks.names import named_network
from analogpc.rules import Rule
from analogpc.training.study import Study

CONTRACTS = (Rule, DeviceResponse, Scheme, Mapping, BlockSpecification, ArchitectureBase)

RULE = '''
from typing import ClassVar, Literal
from analogpc.dynamics.relaxation import energy, feed_forward
from analogpc.kernels.products import row
from analogpc.rules import Rule, StepResult

class Delta(Rule):
    """Only the last layer learns."""
    names: ClassVar = {"delta": {}}
    kind: Literal["delta-rule"] = "delta-rule"

    def train_step(self, network, x, target, apply):
        states, tapes = feed_forward(network.layers, x)
        error = target - states[-1]
        apply(network.layers[-1].products(tapes[-1], error), 1.0)
        return StepResult(states[-1], row([*(0.0 for _ in states[1:]), energy(error)], x))
'''

RESPONSE = '''
from typing import Literal
import numpy as np
from analogpc.devices.responses.linear import LinearResponse

class HalvedUpwards(LinearResponse):
    """Steps upwards that fade to a half at the upper bound."""
    kind: Literal["halved-upwards"] = "halved-upwards"

    def shapes(self, drawn, xi):
        return {"shape_up": -0.5 / drawn["high"], "shape_down": np.zeros_like(drawn["up"])}
'''

SCHEME = '''
from typing import ClassVar, Literal
import numpy as np
from analogpc.devices.schemes.base import Scheme, total

class OnePulse(Scheme):
    """Every weight gets one pulse in the direction of its change."""
    kind: Literal["one-pulse"] = "one-pulse"
    takes_increments: ClassVar[bool] = True

    def memory(self, shape, like):
        return {"cycles": 0}

    def learn(self, matrix, products, rate):
        self.increment(matrix, (rate * total(matrix, products)).T)

    def increment(self, matrix, change):
        matrix.memory["cycles"] += 1
        matrix.pulse_each(np.sign(change.T).astype(np.int32), matrix.update_key.fold("one"), matrix.memory["cycles"])
'''

MAPPING = '''
from typing import Literal
from analogpc.devices.mappings import DifferentialPair

class NarrowPair(DifferentialPair):
    """A differential pair of which a quarter of the range is used."""
    kind: Literal["narrow-pair"] = "narrow-pair"

    def range(self, device):
        return super().range(device) / 4
'''

BLOCK = '''
from typing import Literal
from analogpc.blocks import Block, BlockSpecification

class Shift(BlockSpecification):
    """Adds a constant."""
    kind: Literal["shift"] = "shift"
    by: float = 0.5

    def build(self, input_shape, make, key, dtype):
        return ShiftBlock(input_shape, self.by)

class ShiftBlock(Block):
    def __init__(self, shape, by):
        super().__init__(shape, shape)
        self.by = by

    def forward(self, x):
        return x + x.dtype.type(self.by), None

    def vjp(self, tape, g):
        return g
'''

ARCHITECTURE = '''
from typing import Literal
from analogpc.blocks import Chain, Activation, Dense
from analogpc.networks import ArchitectureBase

class Funnel(ArchitectureBase):
    """Dense layers, each half as wide as the one before."""
    kind: Literal["funnel"] = "funnel"
    inputs: int
    outputs: int

    @property
    def input_shape(self):
        return (self.inputs,)

    def layers(self):
        hidden = Chain(blocks=(Dense(features=self.inputs // 2), Activation(function="tanh")))
        return (hidden, Dense(features=self.outputs))
'''


@pytest.fixture
def added(tmp_path):
    """Import a new file, and unregister its classes afterwards."""
    before = {contract: dict(contract._registered) for contract in CONTRACTS}

    def add(source):
        path = tmp_path / f"extension_{len(list(tmp_path.iterdir()))}.py"
        path.write_text(source, encoding="utf-8")
        specification = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    yield add
    for contract, known in before.items():
        contract._registered.clear()
        contract._registered.update(known)


def trained(study, batches=2):
    """Train a study that went through TOML, save, load and resume it; the resumed run must equal the uninterrupted one."""
    study = Study.from_toml(study.to_toml())
    rng = np.random.default_rng(3)
    width = study.network.input_shape[0]
    data = rng.random((12, width)).astype("float32"), np.arange(12) % 4

    def start():
        network = apc.Network(study.network, study.substrate, seed=1)
        return apc.fit(
            network, study.rule, data, epochs=1, batch_size=6, optimiser=apc.SGD(learning_rate=0.1), progress=False, batches=0
        )

    whole, parts = start().train(data, progress=False), start()
    parts.train(data, batches=1, progress=False)
    return whole, parts, data


def resumed(study, path):
    whole, parts, data = trained(study)
    parts.save(path)
    loaded = apc.Run.load(path)
    assert loaded.network.substrate == study.substrate
    assert loaded.network.architecture == study.network
    loaded.train(data, progress=False)
    for name, matrix in whole.network.matrices().items():
        np.testing.assert_array_equal(loaded.network.matrices()[name].weights(), matrix.weights())
    return whole


def study_of(**fields):
    return Study.from_dict({"rule": "pc", "network": {"kind": "mlp", "widths": [8, 6, 4]}, "epochs": 1, **fields})


def moved(run):
    """Which matrices of a network of weights (not of biases) have learnt."""
    before = apc.Network(run.network.architecture, run.network.substrate, seed=1).matrices()
    after = run.network.matrices()
    return {name: not np.array_equal(before[name].weights(), after[name].weights()) for name in after if name.endswith("weight")}


def test_a_rule(added, tmp_path):
    added(RULE)
    run = resumed(study_of(rule="delta"), tmp_path / "run.h5")
    assert list(moved(run).values()) == [False, True]


def test_a_response(added, tmp_path):
    added(RESPONSE)
    device = {
        "name": "mine",
        "g_min_siemens": 1e-6,
        "g_max_siemens": 1e-5,
        "response": {"kind": "halved-upwards", "dw_min": 0.01},
    }
    study = study_of(substrate={"kind": "analog", "device": device})
    assert all(moved(resumed(study, tmp_path / "run.h5")).values())


def test_a_scheme(added, tmp_path):
    added(SCHEME)
    study = study_of(substrate={"kind": "analog", "device": "idealized", "scheme": {"kind": "one-pulse"}})
    assert all(moved(resumed(study, tmp_path / "run.h5")).values())


def test_a_mapping(added, tmp_path):
    added(MAPPING)
    study = study_of(substrate={"kind": "analog", "device": "idealized", "mapping": {"kind": "narrow-pair", "headroom": 1.0}})
    run = resumed(study, tmp_path / "run.h5")
    (plain,) = (
        apc.Network(study.network, study.substrate.but({"mapping.kind": "differential-pair"}), seed=1).matrices()[n].scales
        for n in ["layer1.0.weight"]
    )
    np.testing.assert_allclose(run.network.matrices()["layer1.0.weight"].scales, 4 * plain)


def test_a_block(added, tmp_path):
    added(BLOCK)
    blocks = [{"kind": "chain", "blocks": [{"kind": "dense", "features": 6}, {"kind": "shift", "by": 0.25}]}]
    network = {"kind": "layers", "input_shape": [8], "blocks": [*blocks, {"kind": "dense", "features": 4}]}
    assert all(moved(resumed(study_of(network=network), tmp_path / "run.h5")).values())


def test_an_architecture(added, tmp_path):
    added(ARCHITECTURE)
    run = resumed(study_of(network={"kind": "funnel", "inputs": 8, "outputs": 4}), tmp_path / "run.h5")
    assert run.network.layers[0].output_shape == (4,)
    assert named_network("funnel") == {"kind": "funnel"}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"substrate": {"kind": "analog", "scheme": {"kind": "one-puls"}}}, "no update scheme of the kind 'one-puls'"),
        ({"substrate": {"kind": "analog", "mapping": {"kind": "pair"}}}, "no mapping of the kind 'pair'"),
        ({"network": {"kind": "mpl", "widths": [4, 2]}}, "no architecture of the kind 'mpl'.*did you mean 'mlp'"),
    ],
)
def test_unknown_kinds_are_refused_with_those_there_are(fields, sentence):
    with pytest.raises(SpecificationError, match=sentence):
        study_of(**fields)


def test_a_kind_is_taken_once(added):
    added(SCHEME)
    with pytest.raises(TypeError, match="another update scheme of the kind 'one-pulse'"):
        added(SCHEME)
