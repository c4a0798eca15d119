"""analogpc: predictive coding and equilibrium propagation on simulated memristor crossbars.

Begin with ``import analogpc as apc`` and

- a network and its training: `mlp`, `cnn`, `vgg`, `resnet`, `Network`, or a name such as "vgg5"; `fit`, `Run`, `Study`, `load`
- data: `load_data`, `Dataset` (`Dataset.from_arrays`, `from_hdf5`, `from_folder`)
- where matrices live: `Digital`, `Analog`; devices: `presets`, `preset`, `Device`
- an analog matrix alone: `Crossbar`
- scikit-learn estimators: `apc.sklearn`; looking into networks: `apc.analysis`; pictures: `apc.plot`
- rules by name ("pc", "s+f", "bp", ...) or as `PredictiveCoding`, `EquilibriumPropagation`, `Backprop`, ...

Names are imported on first use, so that ``import analogpc`` is quick and a command that needs no kernel loads none.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analogpc._version import __version__

# In a checkout the lower floors lie beside this folder instead of inside it; running from there works without an installation.
if not (Path(__file__).parent / "kernels").is_dir():
    __path__.append(str(Path(__file__).parents[1]))

if TYPE_CHECKING:
    from analogpc import analysis, plot, sklearn
    from analogpc.blocks import (
        Activation,
        AtTargets,
        Attention,
        AvgPool,
        BatchNorm,
        Chain,
        Conv2d,
        Dense,
        Embedding,
        Flatten,
        GlobalMean,
        LayerNorm,
        MaxPool,
        Parallel,
        Residual,
        SoftPool,
        Sum,
        ValueNode,
        register_activation,
    )
    from analogpc.crossbar import Crossbar
    from analogpc.data import Dataset, load_data
    from analogpc.devices.calibration.sampling import sample_devices
    from analogpc.devices.converters.specification import ADC, DAC
    from analogpc.devices.device import Device
    from analogpc.devices.mappings import BitSliced, DeviceVector, DifferentialPair, OffsetColumn, OneSidedPair
    from analogpc.devices.presets import preset, presets
    from analogpc.devices.substrate import Analog, Digital
    from analogpc.files.export import export_crossbars, export_netlist
    from analogpc.files.run_file import load
    from analogpc.networks import CNN, MLP, VGG, AlexNet, Hopfield, Layers, ResNet, Transformer
    from analogpc.networks.crnn import hopfield_cnn
    from analogpc.networks.network import Network
    from analogpc.networks.zoo import alexnet, cnn, mlp, resnet, transformer, vgg
    from analogpc.rules import (
        ZIL,
        Backprop,
        BackpropThroughTime,
        EquilibriumPropagation,
        ErrorBasedPC,
        FixedPrediction,
        HolomorphicEP,
        HopfieldEP,
        IncrementalPC,
        Nudging,
        PredictiveCoding,
        RecurrentBackprop,
    )
    from analogpc.rules.generative import GenerativePC
    from analogpc.studies.api import sweep
    from analogpc.training.callbacks import Callback, Record, Save
    from analogpc.training.evaluation import evaluate
    from analogpc.training.fit import begin, fit
    from analogpc.training.metrics import Metric
    from analogpc.training.optimisers import SGD, AdamW
    from analogpc.training.run import Run
    from analogpc.training.schedules import Exponential, StepDecay, WarmupCosine
    from analogpc.training.study import Study

_HOMES = {
    "analogpc.networks": ("AlexNet", "CNN", "Hopfield", "Layers", "MLP", "ResNet", "Transformer", "VGG"),
    "analogpc.networks.crnn": ("hopfield_cnn",),
    "analogpc.blocks": (
        "Activation",
        "AtTargets",
        "Attention",
        "AvgPool",
        "BatchNorm",
        "Chain",
        "Conv2d",
        "Dense",
        "Embedding",
        "Flatten",
        "GlobalMean",
        "LayerNorm",
        "MaxPool",
        "Parallel",
        "Residual",
        "SoftPool",
        "Sum",
        "register_activation",
        "ValueNode",
    ),
    "analogpc.data": ("Dataset", "load_data"),
    "analogpc.devices.calibration.sampling": ("sample_devices",),
    "analogpc.devices.converters.specification": ("ADC", "DAC"),
    "analogpc.crossbar": ("Crossbar",),
    "analogpc.devices.device": ("Device",),
    "analogpc.devices.mappings": ("BitSliced", "DeviceVector", "DifferentialPair", "OffsetColumn", "OneSidedPair"),
    "analogpc.devices.presets": ("preset", "presets"),
    "analogpc.devices.substrate": ("Analog", "Digital"),
    "analogpc.files.export": ("export_crossbars", "export_netlist"),
    "analogpc.networks.network": ("Network",),
    "analogpc.training.optimisers": ("SGD", "AdamW"),
    "analogpc.training.schedules": ("Exponential", "StepDecay", "WarmupCosine"),
    "analogpc.rules": (
        "ZIL",
        "Backprop",
        "BackpropThroughTime",
        "EquilibriumPropagation",
        "ErrorBasedPC",
        "FixedPrediction",
        "HolomorphicEP",
        "HopfieldEP",
        "IncrementalPC",
        "Nudging",
        "PredictiveCoding",
        "RecurrentBackprop",
    ),
    "analogpc.rules.generative": ("GenerativePC",),
    "analogpc.files.run_file": ("load",),
    "analogpc.studies.api": ("sweep",),
    "analogpc.training.study": ("Study",),
    "analogpc.training.callbacks": ("Callback", "Record", "Save"),
    "analogpc.training.evaluation": ("evaluate",),
    "analogpc.training.metrics": ("Metric",),
    "analogpc.training.run": ("Run",),
    "analogpc.training.fit": ("begin", "fit"),
    "analogpc.networks.zoo": ("alexnet", "cnn", "mlp", "resnet", "transformer", "vgg"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

_MODULES = ("analysis", "plot", "sklearn")

__all__ = [
    "ADC",
    "CNN",
    "DAC",
    "MLP",
    "SGD",
    "VGG",
    "ZIL",
    "Activation",
    "AdamW",
    "AlexNet",
    "Analog",
    "AtTargets",
    "Attention",
    "AvgPool",
    "Backprop",
    "BackpropThroughTime",
    "BatchNorm",
    "BitSliced",
    "Callback",
    "Chain",
    "Conv2d",
    "Crossbar",
    "Dataset",
    "Dense",
    "Device",
    "DeviceVector",
    "DifferentialPair",
    "Digital",
    "Embedding",
    "EquilibriumPropagation",
    "ErrorBasedPC",
    "Exponential",
    "FixedPrediction",
    "Flatten",
    "GenerativePC",
    "GlobalMean",
    "HolomorphicEP",
    "Hopfield",
    "HopfieldEP",
    "IncrementalPC",
    "LayerNorm",
    "Layers",
    "MaxPool",
    "Metric",
    "Network",
    "Nudging",
    "OffsetColumn",
    "OneSidedPair",
    "Parallel",
    "PredictiveCoding",
    "Record",
    "RecurrentBackprop",
    "ResNet",
    "Residual",
    "Run",
    "Save",
    "SoftPool",
    "StepDecay",
    "Study",
    "Sum",
    "Transformer",
    "ValueNode",
    "WarmupCosine",
    "__version__",
    "alexnet",
    "analysis",
    "begin",
    "cnn",
    "evaluate",
    "export_crossbars",
    "export_netlist",
    "fit",
    "hopfield_cnn",
    "load",
    "load_data",
    "mlp",
    "plot",
    "preset",
    "presets",
    "register_activation",
    "resnet",
    "sample_devices",
    "sklearn",
    "sweep",
    "transformer",
    "vgg",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"analogpc.{name}")
    if name not in _HOME_OF:
        from analogpc.devices.names import suggestion

        raise AttributeError(f"analogpc has no '{name}'{suggestion(name, __all__)}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
