"""Layers of the reference networks and of heads that are trained with PyTorch (extra `train`)."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvBn(nn.Module):
    """A convolution and its BatchNorm, which `fold_batch_norm` makes one."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, groups: int = 1) -> None:
        """Build it for `inputs` and `outputs` channels, padded to keep H and W at stride 1."""
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
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


class SeparableConv(nn.Sequential):
    """A 3x3 convolution of each channel alone, then a 1x1 convolution (MobileNets, arXiv 1704.04861)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        """Build it for `inputs` and `outputs` channels; an early ReLU would lose more than it gains."""
        super().__init__(ConvBn(inputs, inputs, stride=stride, groups=inputs), ConvBnRelu(inputs, outputs, kernel=1))


class PoolHead(nn.Sequential):
    """The cheap head: average over a `grid` x `grid` grid, then one linear layer."""

    def __init__(self, channels: int, side: int, classes: int, *, grid: int) -> None:
        """Build it for features of `channels` channels and `side` x `side` places."""
        super().__init__(grid_pool(side, grid), nn.Flatten(), nn.Linear(channels * grid * grid, classes))


class SeparableHead(nn.Sequential):
    """A head with layers of its own: separable convolutions, then a `PoolHead`.

    What an early exit lacks is depth; depth at a coarse resolution costs far less than the segments that it stands in
    for. (Early classifiers with layers of their own: MSDNet, arXiv 1703.09844, section 4.)
    """

    def __init__(self, channels: int, side: int, classes: int, layers: Sequence[tuple[int, int]]) -> None:
        """Build it for features of `channels` channels and `side` x `side` places.

        Args:
            channels: Of the features.
            side: Their height and width.
            classes: How many logits there shall be.
            layers: (channels, stride) of each separable convolution.
        """
        parts: list[nn.Module] = []
        for outputs, stride in layers:
            parts.append(SeparableConv(channels, outputs, stride=stride))
            channels, side = outputs, -(-side // stride)
        super().__init__(*parts, PoolHead(channels, side, classes, grid=2 if side > 2 else 1))


def fold_batch_norm(net: nn.Module) -> nn.Module:
    """Return a copy for inference whose BatchNorms are part of the convolutions before them."""
    folded = copy.deepcopy(net).eval()
    for layer in folded.modules():
        if isinstance(layer, ConvBn) and isinstance(layer.norm, nn.BatchNorm2d):
            layer.conv = fuse_conv_bn_eval(layer.conv, layer.norm)
            layer.norm = nn.Identity()
    return folded


def grid_pool(side: int, grid: int) -> nn.AvgPool2d:
    """Average (side x side) places over a (grid x grid) grid.

    The windows are those of adaptive average pooling (they overlap where `grid` does not divide
    `side`), written as plain pooling because ONNX has no adaptive one.
    """
    stride = side // grid
    return nn.AvgPool2d(side - stride * (grid - 1), stride)
