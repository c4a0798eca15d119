"""The public names of analogpc and their homes: the one table, which type checkers read, and `analogpc.__getattr__` at run time."""

from analogpc import analysis as analysis, plot as plot, sklearn as sklearn
from analogpc.assessment.assess import assess as assess
from analogpc.blocks import (
    Activation as Activation,
    AtTargets as AtTargets,
    Attention as Attention,
    AvgPool as AvgPool,
    BatchNorm as BatchNorm,
    Chain as Chain,
    Conv2d as Conv2d,
    Dense as Dense,
    Embedding as Embedding,
    Flatten as Flatten,
    GlobalMean as GlobalMean,
    LayerNorm as LayerNorm,
    MaxPool as MaxPool,
    Parallel as Parallel,
    Residual as Residual,
    SoftPool as SoftPool,
    Sum as Sum,
    TiedDecoder as TiedDecoder,
    ValueNode as ValueNode,
    register_activation as register_activation,
)
from analogpc.crossbar import Crossbar as Crossbar
from analogpc.data import Dataset as Dataset, load_data as load_data
from analogpc.devices.calibration.sampling import sample_devices as sample_devices
from analogpc.devices.converters.specification import ADC as ADC, DAC as DAC
from analogpc.devices.device import Device as Device
from analogpc.devices.mappings import (
    BitSliced as BitSliced,
    DeviceVector as DeviceVector,
    DifferentialPair as DifferentialPair,
    OffsetColumn as OffsetColumn,
    OneSidedPair as OneSidedPair,
)
from analogpc.devices.presets import preset as preset, presets as presets
from analogpc.devices.substrate import Analog as Analog, Digital as Digital
from analogpc.files.export import export_crossbars as export_crossbars, export_netlist as export_netlist
from analogpc.training.run_file import load as load
from analogpc.networks import (
    CNN as CNN,
    MLP as MLP,
    VGG as VGG,
    AlexNet as AlexNet,
    Hopfield as Hopfield,
    Layers as Layers,
    ResNet as ResNet,
    Transformer as Transformer,
)
from analogpc.networks.crnn import hopfield_cnn as hopfield_cnn
from analogpc.networks.hopfield_resnet import hopfield_resnet as hopfield_resnet
from analogpc.networks.network import Network as Network
from analogpc.networks.zoo import (
    alexnet as alexnet,
    cnn as cnn,
    mlp as mlp,
    resnet as resnet,
    transformer as transformer,
    vgg as vgg,
)
from analogpc.rules import (
    ZIL as ZIL,
    Backprop as Backprop,
    BackpropThroughTime as BackpropThroughTime,
    EquilibriumPropagation as EquilibriumPropagation,
    ErrorBasedPC as ErrorBasedPC,
    FixedPrediction as FixedPrediction,
    HolomorphicEP as HolomorphicEP,
    HopfieldEP as HopfieldEP,
    IncrementalPC as IncrementalPC,
    Nudging as Nudging,
    PredictiveCoding as PredictiveCoding,
    RecurrentBackprop as RecurrentBackprop,
)
from analogpc.training.generative import GenerativePC as GenerativePC
from analogpc.studies.api import sweep as sweep
from analogpc.training.callbacks import Callback as Callback, Record as Record, Save as Save
from analogpc.training.evaluation import evaluate as evaluate
from analogpc.training.fit import begin as begin, fit as fit
from analogpc.training.metrics import Metric as Metric
from analogpc.training.optimisers import SGD as SGD, AdamW as AdamW
from analogpc.training.run import Run as Run
from analogpc.training.schedules import Exponential as Exponential, StepDecay as StepDecay, WarmupCosine as WarmupCosine
from analogpc.training.study import Study as Study

__version__: str
