"""Two small networks with many exits, to have something to prepare and measure.

`FashionResnet` is the comfortable case: residual blocks, and heads of a thousandth
of their multiply-accumulates. `FashionVgg` is the regime of the Predictive Exit
paper (Li et al., arXiv 2206.04685): an exit after every convolution of a narrow
chain. A head has a quarter to two thirds of its layer's multiply-accumulates (seven
times those of the first layer), and takes longer than the layer: it is 64 wide.

Both take `image: (N, 1, 28, 28) float32 in [0, 1]` and return one
`(N, 10) float32` of logits per exit, the network's own last.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

CLASSES: Final = 10
PIXEL_MEAN: Final = 0.286
PIXEL_DEVIATION: Final = 0.353
"""Mean and standard deviation of Fashion-MNIST's training pixels scaled to [0, 1]."""


class Normalise(nn.Module):
    """Centre and scale pixels inside the network, so that no caller has to know how."""

    def forward(self, image: Tensor) -> Tensor:
        """Return `(image - mean) / deviation`."""
        return (image - PIXEL_MEAN) / PIXEL_DEVIATION


class ConvBn(nn.Module):
    """A convolution and its BatchNorm, which `fold_batch_norm` makes one."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> None:
        """Build it for `inputs` and `outputs` channels, padded to keep H and W at stride 1."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        y: Tensor = self.norm(self.conv(x))
        return y


class ConvBnRelu(ConvBn):
    """A convolution, BatchNorm and ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride)), none negative."""
        return torch.relu(super().forward(x))


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


class PoolHead(nn.Sequential):
    """The cheap head: average over a `grid` x `grid` grid, then one linear layer."""

    def __init__(self, channels: int, side: int, *, grid: int) -> None:
        """Build it for features of `channels` channels and `side` x `side` places."""
        linear = nn.Linear(channels * grid * grid, CLASSES)
        super().__init__(_grid_pool(side, grid), nn.Flatten(), linear)


class BagOfFeaturesHead(nn.Module):
    """The paper's head: bag-of-features pooling and two linear layers, the last one shared.

    A feature vector's membership of codeword k is `u_k = (tanh(a_k x_k + c_k) + 1) / 2` of the
    1x1 convolution x, divided by the sum over the codewords; the memberships are averaged over a
    2x2 grid. The slope a_k is absorbed into the convolution's weights and c_k is its bias, and
    `(tanh(z) + 1) / 2` is computed as `sigmoid(2 z)`, which it equals, with the 2 absorbed too.
    """

    CODEWORDS: Final = 64
    HIDDEN: Final = 64

    def __init__(self, channels: int, side: int, *, shared: nn.Linear) -> None:
        """Build it for (N, channels, side, side) features, ending in the `shared` layer."""
        super().__init__()
        self.codewords = nn.Conv2d(channels, self.CODEWORDS, 1)
        self.pool = _grid_pool(side, 2)
        self.own = nn.Linear(4 * self.CODEWORDS, self.HIDDEN)
        self.shared = shared

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, channels, H, W) to logits (N, 10)."""
        membership = torch.sigmoid(self.codewords(features))
        membership = membership / membership.sum(dim=1, keepdim=True)
        # The memberships of one place sum to 1, so that 64 of them are far too small to learn from.
        bag = torch.flatten(self.pool(membership), 1) * self.CODEWORDS
        logits: Tensor = self.shared(torch.relu(self.own(bag)))
        return logits


class MultiExitNet(nn.Module):
    """A chain of segments with a head after each."""

    def __init__(self, segments: list[nn.Module], heads: list[nn.Module]) -> None:
        """Pair each segment with the head that reads its output."""
        super().__init__()
        if len(segments) != len(heads):
            raise ValueError(f"{len(segments)} segments need as many heads, got {len(heads)}")
        self.normalise = Normalise()
        self.segments = nn.ModuleList(segments)
        self.heads = nn.ModuleList(heads)

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
    """Eight residual blocks, an exit of little cost after each (9.2 M MACs, 174,000 parameters)."""

    BLOCKS: Final = (
        (16, 2), (16, 1), (16, 1), (24, 1), (32, 2), (32, 1), (48, 1), (64, 2),
    )  # fmt: skip
    """(channels, stride) of each block."""

    def __init__(self) -> None:
        """Build it with PyTorch's random weights."""
        inputs, side = 16, 28
        segments: list[nn.Module] = []
        heads: list[nn.Module] = []
        for outputs, stride in self.BLOCKS:
            side = -(-side // stride)
            segments.append(ResidualBlock(inputs, outputs, stride=stride))
            heads.append(PoolHead(outputs, side, grid=2))
            inputs = outputs
        segments[0] = nn.Sequential(ConvBnRelu(1, 16), segments[0])
        super().__init__(segments, heads)


class FashionVgg(MultiExitNet):
    """Sixteen narrow convolutions, after each of them an exit that is dear beside it."""

    GROUPS: Final = ((12, 2), (24, 2), (32, 4), (40, 4), (48, 4))
    """(channels, convolutions) between two poolings; sides of 28, 14, 7, 4 and 2 pixels."""

    def __init__(self) -> None:
        """Build it with PyTorch's random weights."""
        shared = nn.Linear(BagOfFeaturesHead.HIDDEN, CLASSES)
        inputs, side = 1, 28
        segments: list[nn.Module] = []
        heads: list[nn.Module] = []
        for outputs, layers in self.GROUPS:
            for layer in range(layers):
                conv: nn.Module = ConvBnRelu(inputs, outputs)
                if layer == 0 and segments:
                    conv = nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), conv)
                    side = -(-side // 2)
                segments.append(conv)
                heads.append(BagOfFeaturesHead(outputs, side, shared=shared))
                inputs = outputs
        heads[-1] = PoolHead(inputs, side, grid=1)
        super().__init__(segments, heads)


REFERENCE_NETS: Final[Mapping[str, Callable[[], MultiExitNet]]] = MappingProxyType(
    {"fashion-resnet": FashionResnet, "fashion-vgg": FashionVgg}
)
"""The networks by the names that bundles and scripts use."""


def fold_batch_norm(net: MultiExitNet) -> MultiExitNet:
    """Return a copy for inference whose BatchNorms are part of the convolutions before them."""
    folded = copy.deepcopy(net).eval()
    for layer in folded.modules():
        if isinstance(layer, ConvBn) and isinstance(layer.norm, nn.BatchNorm2d):
            layer.conv = fuse_conv_bn_eval(layer.conv, layer.norm)
            layer.norm = nn.Identity()
    return folded


def _grid_pool(side: int, grid: int) -> nn.AvgPool2d:
    """Average (side x side) places over a (grid x grid) grid.

    The windows are those of adaptive average pooling (they overlap where `grid` does not divide
    `side`), written as plain pooling because ONNX has no adaptive one.
    """
    stride = side // grid
    return nn.AvgPool2d(side - stride * (grid - 1), stride)
