"""analogpc: predictive coding and equilibrium propagation on simulated memristor crossbars.

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
    from analogpc.blocks import (
        Activation,
        AvgPool,
        BatchNorm,
        Chain,
        Conv2d,
        Dense,
        Flatten,
        GlobalMean,
        LayerNorm,
        MaxPool,
        Parallel,
        Residual,
        SoftPool,
        Sum,
    )
    from analogpc.data import Dataset, load_data
    from analogpc.devices.converters.specification import ADC, DAC
    from analogpc.devices.device import Device
    from analogpc.devices.mappings import BitSliced, DeviceVector, DifferentialPair, OffsetColumn, OneSidedPair
    from analogpc.devices.substrate import Analog, Digital
    from analogpc.files.export import export_crossbars, export_netlist
    from analogpc.files.run_file import load
    from analogpc.networks import CNN, MLP, VGG, AlexNet, Hopfield, Layers, ResNet
    from analogpc.networks.crnn import hopfield_cnn
    from analogpc.networks.network import Network
    from analogpc.networks.zoo import alexnet, cnn, mlp, resnet, vgg
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
    from analogpc.training.evaluation import evaluate
    from analogpc.training.fit import fit
    from analogpc.training.optimisers import SGD, AdamW
    from analogpc.training.run import Run
    from analogpc.training.schedules import WarmupCosine
    from analogpc.training.study import Study

_HOMES = {
    "analogpc.networks": ("AlexNet", "CNN", "Hopfield", "Layers", "MLP", "ResNet", "VGG"),
    "analogpc.networks.crnn": ("hopfield_cnn",),
    "analogpc.blocks": (
        "Activation",
        "AvgPool",
        "BatchNorm",
        "Chain",
        "Conv2d",
        "Dense",
        "Flatten",
        "GlobalMean",
        "LayerNorm",
        "MaxPool",
        "Parallel",
        "Residual",
        "SoftPool",
        "Sum",
    ),
    "analogpc.data": ("Dataset", "load_data"),
    "analogpc.devices.converters.specification": ("ADC", "DAC"),
    "analogpc.devices.device": ("Device",),
    "analogpc.devices.mappings": ("BitSliced", "DeviceVector", "DifferentialPair", "OffsetColumn", "OneSidedPair"),
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
    "analogpc.training.evaluation": ("evaluate",),
    "analogpc.training.run": ("Run",),
    "analogpc.training.fit": ("begin", "fit"),
    "analogpc.networks.zoo": ("alexnet", "cnn", "mlp", "resnet", "vgg"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

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
    "AvgPool",
    "Backprop",
    "BackpropThroughTime",
    "BatchNorm",
    "BitSliced",
    "Chain",
    "Conv2d",
    "Dataset",
    "Dense",
    "Device",
    "DeviceVector",
    "DifferentialPair",
    "Digital",
    "EquilibriumPropagation",
    "ErrorBasedPC",
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
    "Network",
    "Nudging",
    "OffsetColumn",
    "OneSidedPair",
    "Parallel",
    "PredictiveCoding",
    "RecurrentBackprop",
    "ResNet",
    "Residual",
    "Run",
    "SoftPool",
    "Study",
    "Sum",
    "WarmupCosine",
    "__version__",
    "alexnet",
    "cnn",
    "evaluate",
    "export_crossbars",
    "export_netlist",
    "fit",
    "hopfield_cnn",
    "load",
    "load_data",
    "mlp",
    "resnet",
    "sweep",
    "vgg",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"analogpc has no '{name}'")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
