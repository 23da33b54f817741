"""A head with layers of its own: separable convolutions on a map, then a linear layer on its averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgeexit.errors import GraphError
from edgeexit.offline.heads.linear import LinearHead
from edgeexit.offline.heads.nodes import Nodes
from edgeexit.runtime.engine import open_session

if TYPE_CHECKING:
    from edgeexit.offline.heads.maps import MapPooling, RecordedMaps

FloatArray = NDArray[np.float32]
Layers = Sequence[tuple[int, int]]
"""(channels, stride) of each separable convolution."""

TOLERANCE: Final = 1e-4
"""Of a logit, in parts of the largest where that is more than 1: ONNX Runtime adds up in another order."""

_PLACES: Final = 9
"""Of the window of a convolution of one channel."""
_BATCH: Final = 200
_OPSET: Final = 13
_IR_VERSION: Final = 7


@dataclass(frozen=True, slots=True)
class SeparableWeights:
    """A 3x3 convolution of each of C channels, then a 1x1 convolution to M channels and a ReLU.

    Attributes:
        depthwise: (C, 1, 3, 3) float32.
        depthwise_bias: (C,) float32.
        pointwise: (M, C, 1, 1) float32.
        pointwise_bias: (M,) float32.
        stride: Of the first, down and across.
    """

    depthwise: FloatArray
    depthwise_bias: FloatArray
    pointwise: FloatArray
    pointwise_bias: FloatArray
    stride: int


@dataclass(frozen=True, slots=True)
class ConvHead:
    """Layers of its own on a map; batch normalisation and the temperature are in the weights.

    Attributes:
        pooling: How the map is made.
        layers: From the map on.
        weights: (F, C) float32 of the linear layer on averages over `grid_of` the last map.
        bias: (C,) float32.
        loss: Mean cross-entropy on the samples that were held out, in nats.
    """

    pooling: MapPooling
    layers: tuple[SeparableWeights, ...]
    weights: FloatArray
    bias: FloatArray
    loss: float

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample, as `count_work` counts the head's nodes."""
        plan = [(len(layer.pointwise), layer.stride) for layer in self.layers]
        return head_macs(self.pooling.shape, plan, len(self.bias))

    def logits(self, maps: RecordedMaps) -> FloatArray:
        """Return (S, C) float32 what ONNX Runtime makes of maps by the head's own nodes."""
        session = open_session(_alone(self).SerializeToString())
        starts = range(0, len(maps), _BATCH)
        return np.concatenate([session.run(None, {"map": maps.read(slice(s, s + _BATCH))})[0] for s in starts])


Head = LinearHead | ConvHead


def head_macs(shape: tuple[int, int, int], layers: Layers, class_count: int) -> int:
    """Return the multiply-accumulates of a head with layers of its own, for one sample.

    Args:
        shape: Channels, height and width of the map that it reads.
        layers: Its separable convolutions.
        class_count: Number of its logits.
    """
    (channels, height, width), macs = shape, 0
    for outputs, stride in layers:
        height, width = -(-height // stride), -(-width // stride)
        macs += height * width * channels * (_PLACES + outputs)
        channels = outputs
    down, across = grid_of(height, width)
    return macs + channels * down * across * class_count


def grid_of(height: int, width: int) -> tuple[int, int]:
    """Return how many windows the last map is averaged over, down and across: 2, or 1 where it has 2 places or less."""
    return (2 if height > 2 else 1), (2 if width > 2 else 1)


def windows_of(height: int, width: int) -> tuple[list[int], list[int]]:
    """Return the size of the windows of `grid_of`, which cover all places, and the steps between them."""
    strides = [size // count for size, count in zip((height, width), grid_of(height, width), strict=True)]
    counts = grid_of(height, width)
    kernel = [size - s * (n - 1) for size, s, n in zip((height, width), strides, counts, strict=True)]
    return kernel, strides


def append_conv_head(nodes: Nodes, head: ConvHead, value: str) -> str:
    """Append the nodes that make the logits of a map, and return their name.

    Args:
        nodes: Where to.
        head: The head.
        value: Name of the map (N, C, H, W) float32.
    """
    _, height, width = head.pooling.shape
    for index, layer in enumerate(head.layers):
        value = _append_layer(nodes, layer, value, f"layer{index}")
        height, width = -(-height // layer.stride), -(-width // layer.stride)
    kernel, strides = windows_of(height, width)
    value = nodes.add("AveragePool", [value], "averages", kernel_shape=kernel, strides=strides)
    features = nodes.add("Flatten", [value], "features", axis=1)
    weights, bias = nodes.constant("weights", head.weights), nodes.constant("bias", head.bias)
    return nodes.add("Gemm", [features, weights, bias], "scores")


def _append_layer(nodes: Nodes, layer: SeparableWeights, value: str, name: str) -> str:
    kernel, bias = nodes.constant(f"{name}/places", layer.depthwise), layer.depthwise_bias
    value = nodes.add(
        "Conv",
        [value, kernel, nodes.constant(f"{name}/places_bias", bias)],
        f"{name}/each_channel",
        group=len(layer.depthwise),
        kernel_shape=[3, 3],
        pads=[1, 1, 1, 1],
        strides=[layer.stride, layer.stride],
    )
    kernel, bias = nodes.constant(f"{name}/channels", layer.pointwise), layer.pointwise_bias
    mixed = [value, kernel, nodes.constant(f"{name}/channels_bias", bias)]
    value = nodes.add("Conv", mixed, f"{name}/all_channels", kernel_shape=[1, 1])
    return nodes.add("Relu", [value], f"{name}/positive")


def check_written(head: ConvHead, maps: RecordedMaps, expected: FloatArray) -> None:
    """Check that ONNX Runtime makes of the written head what the framework that trained it does.

    Args:
        head: The head.
        maps: Of some samples.
        expected: (S, C) the framework's logits of them.

    Raises:
        GraphError: If a logit differs by more than 1e-4 of the largest, or of 1.
    """
    difference = float(np.abs(head.logits(maps) - expected).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise GraphError(
            f"the head at {head.pooling.tensor!r} differs by {difference:.1e} between training and ONNX Runtime: "
            "this should not happen; prepare with --head logistic"
        )


def pack_head(head: ConvHead) -> dict[str, NDArray[Any]]:
    """Return a head as arrays by name, which `unpack_head` makes a head again."""
    arrays: dict[str, NDArray[Any]] = {"weights": head.weights, "bias": head.bias, "loss": np.array(head.loss)}
    for index, layer in enumerate(head.layers):
        arrays |= {f"layer{index}_{name}": np.asarray(getattr(layer, name)) for name in SeparableWeights.__slots__}
    return arrays


def unpack_head(arrays: Mapping[str, NDArray[Any]], pooling: MapPooling) -> ConvHead:
    """Return the head of `pack_head`."""
    count = sum(name.endswith("_stride") for name in arrays)
    layers = tuple(
        SeparableWeights(
            depthwise=arrays[f"layer{index}_depthwise"],
            depthwise_bias=arrays[f"layer{index}_depthwise_bias"],
            pointwise=arrays[f"layer{index}_pointwise"],
            pointwise_bias=arrays[f"layer{index}_pointwise_bias"],
            stride=int(arrays[f"layer{index}_stride"]),
        )
        for index in range(count)
    )
    return ConvHead(pooling, layers, arrays["weights"], arrays["bias"], float(arrays["loss"]))


def _alone(head: ConvHead) -> Any:
    """Return a model of the head alone, from "map" to its scores."""
    given = helper.make_tensor_value_info("map", TensorProto.FLOAT, ["N", *head.pooling.shape])
    made = helper.make_tensor_value_info("head/scores", TensorProto.FLOAT, ["N", len(head.bias)])
    graph = helper.make_graph([], "head", [given], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    append_conv_head(Nodes(model, "head"), head, "map")
    return model
