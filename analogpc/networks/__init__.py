"""Networks: architectures as specifications, and the network that is built from one.

Contains the subclasses of `ArchitectureBase`, each registered by its ``kind``; `network` (blocks with matrices on one substrate);
`zoo` (networks by one call). To add an architecture, add one file, here or elsewhere.
"""

from typing import Annotated

from pydantic import BeforeValidator, SerializeAsAny

from analogpc.devices.families import by_kind, import_members
from analogpc.networks.base import ArchitectureBase, Layers
from analogpc.networks.cnn import CNN, AlexNet
from analogpc.networks.hopfield import Hopfield
from analogpc.networks.mlp import MLP
from analogpc.networks.resnet import ResNet
from analogpc.networks.transformer import Transformer
from analogpc.networks.vgg import VGG

Architecture = Annotated[SerializeAsAny[ArchitectureBase], BeforeValidator(by_kind(ArchitectureBase))]
"""Any architecture, or its fields including ``kind``."""

import_members(__path__, __name__)

__all__ = ["CNN", "MLP", "VGG", "AlexNet", "Architecture", "ArchitectureBase", "Hopfield", "Layers", "ResNet", "Transformer"]
