"""Two small networks with a few strong exits, to have something to prepare and measure.

`FashionResnet` is a chain of residual blocks; `FashionVgg` is a narrow chain of plain convolutions, as in the
Predictive Exit paper (Li et al., arXiv 2206.04685). Their early heads have separable convolutions of their own: each
costs 3 to 7 % of the network's multiply-accumulates. Where heads stand was chosen on the `select` images.

Both take `image: (N, 1, 28, 28) float32 in [0, 1]` and return one
`(N, 10) float32` of logits per exit, the network's own last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from edgeexit.offline.layers import ConvBn, ConvBnRelu, PoolHead, SeparableHead

Layers = Sequence[tuple[int, int]]
"""(channels, stride) of the separable convolutions of a head."""

CLASSES: Final = 10
PIXEL_MEAN: Final = 0.286
PIXEL_DEVIATION: Final = 0.353
"""Mean and standard deviation of Fashion-MNIST's training pixels scaled to [0, 1]."""


class Normalise(nn.Module):
    """Centre and scale pixels inside the network, so that no caller has to know how."""

    def forward(self, image: Tensor) -> Tensor:
        """Return `(image - mean) / deviation`."""
        return (image - PIXEL_MEAN) / PIXEL_DEVIATION


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al., arXiv 1512.03385)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        """Build it for `inputs` and `outputs` channels; a 1x1 in the shortcut where shapes differ."""
        super().__init__()
        self.first = ConvBnRelu(inputs, outputs, stride=stride)
        self.second = ConvBn(outputs, outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = ConvBn(inputs, outputs, kernel=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


class Layer(NamedTuple):
    """A layer of the backbone, and the shape of what it returns: (N, channels, side, side)."""

    module: nn.Module
    channels: int
    side: int


class MultiExitNet(nn.Module):
    """A chain of layers with heads after some of them; the layers up to a head are a segment."""

    def __init__(self, layers: Sequence[Layer], heads: Mapping[int, Layers], *, last_grid: int) -> None:
        """Build the heads on the layers.

        Args:
            layers: From the input to the output.
            heads: Index of a layer -> layers of the head behind it; the last layer has none here.
            last_grid: Grid of the network's own classifier.
        """
        super().__init__()
        *early, last = (*sorted(heads), len(layers) - 1)
        self.normalise = Normalise()
        ends = [index + 1 for index in (*early, last)]
        starts = [0, *ends[:-1]]
        self.segments = nn.ModuleList(
            nn.Sequential(*(layer.module for layer in layers[start:end]))
            for start, end in zip(starts, ends, strict=True)
        )
        self.heads = nn.ModuleList(
            SeparableHead(layers[index].channels, layers[index].side, CLASSES, heads[index]) for index in early
        )
        self.heads.append(PoolHead(layers[last].channels, layers[last].side, CLASSES, grid=last_grid))

    @property
    def exit_count(self) -> int:
        """Number of exits, the network's own included."""
        return len(self.heads)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Compute the logits of every exit.

        Args:
            image: (N, 1, 28, 28) float32 in [0, 1].

        Returns:
            One (N, 10) float32 per exit, the network's own last.
        """
        features = self.normalise(image)
        logits = []
        for segment, head in zip(self.segments, self.heads, strict=True):
            features = segment(features)
            logits.append(head(features))
        return tuple(logits)


class FashionResnet(MultiExitNet):
    """A convolution and eight residual blocks (9.2 M MACs, 174,000 parameters without heads)."""

    BLOCKS: Final = (
        (16, 2), (16, 1), (16, 1), (24, 1), (32, 2), (32, 1), (48, 1), (64, 2),
    )  # fmt: skip
    """(channels, stride) of each block."""

    HEADS: Final[Mapping[int, Layers]] = MappingProxyType(
        {
            0: ((32, 2), (48, 2), (64, 1)),
            1: ((32, 1), (64, 2), (64, 1)),
            2: ((32, 1), (64, 2), (64, 1)),
            4: ((64, 2), (64, 1)),
            5: ((64, 1), (64, 1)),
        }
    )
    """Layer after which a head stands (0 is the first convolution) -> layers of the head's own."""

    def __init__(self, *, exits: bool = True, width: float = 1.0) -> None:
        """Build it with PyTorch's random weights.

        Args:
            exits: False leaves the early heads out.
            width: Factor of the channels of every layer, to compare with smaller networks.
        """
        inputs, side = _scaled(16, width), 28
        layers: list[Layer] = [Layer(ConvBnRelu(1, inputs), inputs, side)]
        for channels, stride in self.BLOCKS:
            outputs, side = _scaled(channels, width), -(-side // stride)
            layers.append(Layer(ResidualBlock(inputs, outputs, stride=stride), outputs, side))
            inputs = outputs
        super().__init__(layers, self.HEADS if exits else {}, last_grid=2)


class FashionVgg(MultiExitNet):
    """A narrow chain of sixteen convolutions (5.5 M MACs)."""

    GROUPS: Final = ((12, 2), (24, 2), (32, 4), (40, 4), (48, 4))
    """(channels, convolutions) between two poolings; sides of 28, 14, 7, 4 and 2 pixels."""

    HEADS: Final[Mapping[int, Layers]] = MappingProxyType(
        {
            0: ((24, 2), (40, 2), (64, 1)),
            1: ((32, 2), (48, 2), (64, 1)),
            2: ((40, 2), (64, 1)),
            3: ((48, 2), (64, 1)),
            5: ((48, 1), (64, 1)),
        }
    )
    """Layer after which a head stands -> layers of the head's own."""

    def __init__(self, *, exits: bool = True, width: float = 1.0) -> None:
        """Build it with PyTorch's random weights; `exits` and `width` as for `FashionResnet`."""
        inputs, side = 1, 28
        layers: list[Layer] = []
        for channels, convolutions in self.GROUPS:
            outputs = _scaled(channels, width)
            for index in range(convolutions):
                conv: nn.Module = ConvBnRelu(inputs, outputs)
                if index == 0 and layers:
                    conv = nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), conv)
                    side = -(-side // 2)
                layers.append(Layer(conv, outputs, side))
                inputs = outputs
        super().__init__(layers, self.HEADS if exits else {}, last_grid=1)


class BuildsNet(Protocol):
    """A reference network's class."""

    def __call__(self, *, exits: bool = True, width: float = 1.0) -> MultiExitNet:
        """Build it with random weights."""


REFERENCE_NETS: Final[Mapping[str, BuildsNet]] = MappingProxyType(
    {"fashion-resnet": FashionResnet, "fashion-vgg": FashionVgg}
)
"""The networks by the names that bundles and scripts use."""


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))
