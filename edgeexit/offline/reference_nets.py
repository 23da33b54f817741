"""Two small networks with a few strong exits, to have something to prepare and measure.

`FashionResnet` is a chain of residual blocks; `FashionVgg` is a narrow chain of plain convolutions, as in the
Predictive Exit paper (Li et al., arXiv 2206.04685), with a coarse path beside it. Their early heads have separable
convolutions of their own: each costs 1 to 12 % of the network's multiply-accumulates. Where heads stand was chosen on
the `select` images.

Both take `image: (N, 1, 28, 28) float32 in [0, 1]` and return one
`(N, 10) float32` of logits per exit, the network's own last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from edgeexit.offline.layers import ConvBn, ConvBnRelu, PoolHead, SeparableConv, SeparableHead, grid_pool

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

    @property
    def backbone(self) -> list[nn.Module]:
        """The layers and the last head: what the network is without early exits."""
        return [*(layer for segment in self.segments for layer in segment), self.heads[-1]]

    def take_over(self, alone: MultiExitNet) -> None:
        """Take the weights of the same network without exits, which do not learn any more."""
        for mine, trained in zip(self.backbone, alone.backbone, strict=True):
            mine.load_state_dict(trained.state_dict())
            mine.requires_grad_(False)

    def hold_backbone(self) -> None:
        """Let the backbone's BatchNorms use the statistics that they have, while exits are trained."""
        for layer in self.backbone:
            layer.eval()

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


PATH_GRID: Final = 2
"""Later heads read a coarse path's features averaged over so many rows and columns."""


class JoinedHead(nn.Module):
    """A head that reads features through layers of its own, and numbers that are there already."""

    def __init__(self, features: Layer, layers: Layers, numbers: int) -> None:
        """Build it for what the layer `features` returns, with separable convolutions, and for so many numbers."""
        super().__init__()
        *convolutions, pool_head = SeparableHead(features.channels, features.side, CLASSES, layers)
        *pool, linear = pool_head
        self.layers = nn.Sequential(*convolutions, *pool)
        self.linear = nn.Linear(linear.in_features + numbers, CLASSES)

    def forward(self, x: Tensor, numbers: Tensor) -> Tensor:
        """Map (N, channels, side, side) and (N, numbers) to (N, 10) logits."""
        y: Tensor = self.linear(torch.cat([self.layers(x), numbers], dim=1))
        return y


class Shortcut(nn.Module):
    """A layer beside which its input passes."""

    def __init__(self, layer: nn.Module) -> None:
        """Build it around `layer`, which keeps the shape."""
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the input and what the layer makes of it, summed."""
        y: Tensor = x + self.layer(x)
        return y


class Step(NamedTuple):
    """A step of a coarse path: its layers, and those of the head behind it."""

    layers: Layers
    head: Layers


class CoarsePath(nn.Module):
    """Small layers that look at a network's first features, with a head after each step.

    Each step goes on from the one before it, so that a later head costs little more than its own step. Between the
    costly first layers of a network it gives cheap exits. (Features that classifiers share: MSDNet, arXiv 1703.09844.)
    """

    def __init__(self, features: Layer, steps: Sequence[Step]) -> None:
        """Build it on what the layer `features` returns."""
        super().__init__()
        self.steps, self.heads = nn.ModuleList(), nn.ModuleList()
        self.channels, self.side = features.channels, features.side
        for step in steps:
            self.steps.append(nn.Sequential(*map(self._append, step.layers)))
            self.heads.append(SeparableHead(self.channels, self.side, CLASSES, step.head))
        self.pool = nn.Sequential(grid_pool(self.side, PATH_GRID), nn.Flatten())

    def _append(self, layer: tuple[int, int]) -> nn.Module:
        outputs, stride = layer
        conv = SeparableConv(self.channels, outputs, stride=stride)
        shortcut = stride == 1 and outputs == self.channels
        self.channels, self.side = outputs, -(-self.side // stride)
        return Shortcut(conv) if shortcut else conv

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the last step's features, and the logits of each head."""
        logits = []
        for step, head in zip(self.steps, self.heads, strict=True):
            x = step(x)
            logits.append(head(x))
        return x, logits


class FashionVgg(MultiExitNet):
    """A narrow chain of sixteen convolutions (5.5 M MACs), and a coarse path beside it.

    Its second layer alone is 18 % of it. The first exits are therefore those of a coarse path behind the first layer;
    heads further on read the path's features too. The network itself gets nothing from the path.
    """

    GROUPS: Final = ((12, 2), (24, 2), (32, 4), (40, 4), (48, 4))
    """(channels, convolutions) between two poolings; sides of 28, 14, 7, 4 and 2 pixels."""

    STEPS: Final = (
        Step(((24, 2), (40, 2)), ((48, 2),)),
        Step(((48, 1),), ((64, 2),)),
        Step(((64, 1),), ((80, 2),)),
        Step(((64, 1),), ((96, 2), (96, 1))),
    )
    """Of the coarse path."""

    HEADS: Final[Mapping[int, Layers]] = MappingProxyType(
        {
            2: ((64, 2), (96, 1), (128, 2)),
            3: ((64, 2), (96, 1), (128, 2)),
            5: ((64, 1), (96, 2), (128, 1)),
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
        self.path: CoarsePath | None = None
        if exits:
            self.path = CoarsePath(layers[0], self.STEPS)
            pooled = self.path.channels * PATH_GRID**2
            for place, (index, head) in enumerate(sorted(self.HEADS.items())):
                self.heads[place] = JoinedHead(layers[index], head, pooled)

    @property
    def exit_count(self) -> int:
        """Number of exits, the network's own included."""
        return len(self.heads) + (0 if self.path is None else len(self.path.heads))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Compute the logits of every exit, those of the coarse path first; see `MultiExitNet.forward`."""
        if self.path is None:
            return super().forward(image)
        first, *others = self.segments[0]
        features = first(self.normalise(image))
        coarse, logits = self.path(features)
        pooled = self.path.pool(coarse)
        for layer in others:
            features = layer(features)
        *early, last = self.heads
        for index, head in enumerate(early):
            logits.append(head(features, pooled))
            features = self.segments[index + 1](features)
        return (*logits, last(features))


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
