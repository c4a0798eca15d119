"""VGG-type convolutional networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from typing_extensions import override

from analogpc.networks.cnn import Convolutional, Stage
from analogpc.networks.plans import PlanName, convolution_plan, dense_plan

Family = Literal["pc", "crnn", "kerjan"]

_DEPTHS: dict[Family, tuple[int, ...]] = {"pc": (5, 7, 9, 10, 11, 13, 15), "crnn": (7, 10, 11, 12, 13), "kerjan": (5, 10)}


class VGG(Convolutional):
    """The VGG-type networks of the papers: 3x3 convolution, optional batch normalisation, activation, 2x2 max-pooling, state.

    Attributes
    ----------
    depth : 5, 7, 9, 10, 11, 12, 13 or 15
        Number of layers with weights (the network "kerjan" of depth 5 has six).
    family : "pc", "crnn" or "kerjan"
        Networks of different papers have the same names; see `analogpc.networks.plans` for the channels.

        - "pc": depths 5, 7, 9, 10, 11, 13 and 15, as in the code of Pinchetti et al. (5 and 7) and of Qi et al. (all).
        - "crnn": depths 7, 10, 11, 12 and 13 of "Scalable Equilibrium Propagation via Intermediate Error Signals for Deep
          Convolutional CRNNs", here as feed-forward networks, such as teachers. *Reconstructed* for all but 7: the paper gives the number
          of convolutions in each block and that of the dense layers; channels and dense sizes are assumed.
        - "kerjan": the VGG5 of Kerjan et al., with the six weight layers of their Table 5, and their VGG10 for images of 224x224 pixels
          (Table 6), with ``init`` = "kaiming-uniform-fan-out" there.

        Default: "crnn" for depths 11, 12 and 13, otherwise "pc".
    input_shape, classes, activation, width, widen_dense, batch_norm, freezing, init, init_gain, output_init_gain
        See `Convolutional`. For Tiny ImageNet, Qi et al. use for VGG5 and VGG7 crops of 56x56 pixels (random in training, central in
        testing): ``input_shape`` = (56, 56, 3); and the other networks the whole images, (64, 64, 3). ``classes`` is 200 then.

    References
    ----------
    Pinchetti et al., arXiv 2407.01163; Qi et al., arXiv 2506.23800; Kerjan et al., arXiv 2606.03584; channels of reconstructed networks
    after Simonyan and Zisserman, arXiv 1409.1556. Kerjan et al. pool before the activation, which is equivalent for one that increases
    monotonically.
    """

    kind: Literal["vgg"] = "vgg"
    depth: Literal[5, 7, 9, 10, 11, 12, 13, 15] = 5
    family: Family = "pc"

    @override
    @classmethod
    def consequences(cls, said: Mapping[str, Any]) -> dict[str, Any]:
        return {"family": "crnn" if said.get("depth") in (11, 12, 13) else "pc"}

    @property
    @override
    def title(self) -> str:
        return f"VGG{self.depth}"

    @property
    def _plan(self) -> PlanName:
        if self.depth not in _DEPTHS[self.family]:
            depths = ", ".join(map(str, _DEPTHS[self.family]))
            raise ValueError(f"depth = {self.depth} is not in the family '{self.family}', which has {depths}")
        return f"{self.family}-vgg{self.depth}"  # type: ignore[return-value]

    @override
    def stages(self) -> list[Stage]:
        plan = convolution_plan(self._plan, self.width)
        return [
            Stage(entry[0], plan[place + 1 : place + 2] == ("P",), padding=entry[1])
            for place, entry in enumerate(plan)
            if entry != "P"
        ]

    @override
    def hidden(self) -> tuple[int, ...]:
        return dense_plan(self._plan)
