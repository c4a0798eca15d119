"""Networks: architectures as specifications, and the network that is built from one.

Enters: specifications of architectures, `network` (blocks whose matrices live on one substrate), `zoo` (networks by one call).
A new architecture is a new file here and a name in `Architecture`.
"""

from typing import Annotated

from pydantic import Field

from analogpc.networks.base import ArchitectureBase, Layers
from analogpc.networks.cnn import CNN, AlexNet
from analogpc.networks.hopfield import Hopfield
from analogpc.networks.mlp import MLP
from analogpc.networks.resnet import ResNet
from analogpc.networks.transformer import Transformer
from analogpc.networks.vgg import VGG

Architecture = Annotated[Layers | MLP | VGG | CNN | AlexNet | ResNet | Hopfield | Transformer, Field(discriminator="kind")]

__all__ = ["CNN", "MLP", "VGG", "AlexNet", "Architecture", "ArchitectureBase", "Hopfield", "Layers", "ResNet", "Transformer"]
