"""Architectures: networks as specifications. A new one is a new file here and a name in `Architecture`."""

from typing import Annotated

from pydantic import Field

from analogpc.architectures.base import ArchitectureBase, Layers
from analogpc.architectures.cnn import CNN, AlexNet
from analogpc.architectures.hopfield import Hopfield
from analogpc.architectures.mlp import MLP
from analogpc.architectures.resnet import ResNet
from analogpc.architectures.vgg import VGG

Architecture = Annotated[Layers | MLP | VGG | CNN | AlexNet | ResNet | Hopfield, Field(discriminator="kind")]

__all__ = ["CNN", "MLP", "VGG", "AlexNet", "Architecture", "ArchitectureBase", "Hopfield", "Layers", "ResNet"]
