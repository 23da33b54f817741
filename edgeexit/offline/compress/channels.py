"""Find convolutions and Gemms whose output channels can be taken out, and all that follows from it.

What a channel of such a layer becomes is followed through operators that keep channels apart, until layers read it.
If everything on the way is understood, and no sum or concatenation with other values needs the channel, it can go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final

from edgeexit.bundle.graph.dataflow import values_used
from edgeexit.offline.compress.layers import LINEAR, Weights, attribute
from edgeexit.offline.graph.shapes import Value, infer_values

_ALONE: Final = frozenset(
    {"Abs", "AveragePool", "Cast", "Celu", "Clip", "DequantizeLinear", "Dropout", "Elu", "Erf", "Exp", "Gelu"}
    | {"GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "LpPool", "MaxPool"}
    | {"Mish", "Neg", "QuantizeLinear", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh"}
)
"""Operators whose first input alone is data, and that treat each channel alike and apart."""
_TOGETHER: Final = frozenset({"Add", "Div", "Mul", "Max", "Min", "PRelu", "Pow", "Sub", "Sum"})
"""Operators that combine values of the same channel."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A layer that reads the channels: index of its node, and how many of its inputs come from one channel."""

    node: int
    block: int


@dataclass(frozen=True, slots=True)
class Group:
    """A Conv or Gemm whose output channels can be taken out.

    Attributes:
        maker: Index of its node.
        channels: How many there are.
        constants: (name, axis) of what has one entry a channel on the way.
        depthwise: Indices of convolutions on the way that treat each channel apart.
        readers: The layers that read them.
    """

    maker: int
    channels: int
    constants: tuple[tuple[str, int], ...]
    depthwise: tuple[int, ...]
    readers: tuple[Reader, ...]


def find_groups(model: Any) -> tuple[Group, ...]:
    """Find all layers whose output channels can be taken out, in the order in which they run.

    Args:
        model: onnx.ModelProto with its weights in it; it is not changed.
    """
    values, weights = infer_values(model, batch=1), Weights(model)
    groups = []
    for index, node in enumerate(model.graph.node):
        whole = node.op_type == "Gemm" or (node.op_type == "Conv" and attribute(node, "group", 1) == 1)
        layer = weights.read_layer(node) if whole else None
        if layer is not None and len(layer.weights) > 1:
            group = _Walk(model, values, weights, len(layer.weights)).follow(index)
            if group is not None:
                groups.append(group)
    return tuple(groups)


@dataclass(slots=True)
class _Walk:
    """Follows the channels of one layer."""

    model: Any
    values: Mapping[str, Value]
    weights: Weights
    channels: int
    blocks: dict[str, int] = field(default_factory=dict)
    """Values that hold the channels on axis 1 -> how many entries of that axis come from one channel."""
    constants: list[tuple[str, int]] = field(default_factory=list)
    depthwise: list[int] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)

    def follow(self, maker: int) -> Group | None:
        """Return the group, or None if the channels must stay."""
        nodes = self.model.graph.node
        self.blocks[nodes[maker].output[0]] = 1
        for index in range(maker + 1, len(nodes)):
            node = nodes[index]
            if not self.blocks.keys().isdisjoint(values_used(node)) and not self._pass(index, node):
                return None
        kept_apart = self.blocks.keys().isdisjoint(v.name for v in self.model.graph.output)
        if not self.readers or not kept_apart or not all(self.weights.is_own(name) for name, _ in self.constants):
            return None
        return Group(maker, self.channels, tuple(self.constants), tuple(self.depthwise), tuple(self.readers))

    def _pass(self, index: int, node: Any) -> bool:
        """Take note of a node that reads the channels; False if it needs all of them."""
        if any(node.output[1:]):
            return False
        if node.op_type in LINEAR:
            return self._read(index, node)
        if node.op_type in _TOGETHER:
            return self._combine(node)
        special = {"BatchNormalization": self._normalise, "Flatten": self._flatten, "ReduceMean": self._mean}
        if node.op_type in special:
            return special[node.op_type](node)
        return node.op_type in _ALONE and self._scalars(node) and self._on(node)

    def _normalise(self, node: Any) -> bool:
        self.constants.extend((name, 0) for name in node.input[1:])
        return self._on(node)

    def _on(self, node: Any, block: int | None = None) -> bool:
        self.blocks[node.output[0]] = self.blocks[node.input[0]] if block is None else block
        return True

    def _scalars(self, node: Any) -> bool:
        """Whatever else the node reads must be the same for all channels."""
        if node.input[0] not in self.blocks or any(v in self.blocks for v in node.input[1:]):
            return False
        found = [self.weights.read(v) for v in node.input[1:] if v]
        return all(value is not None and value.size == 1 for value in found)

    def _read(self, index: int, node: Any) -> bool:
        if node.input[0] not in self.blocks or any(v in self.blocks for v in node.input[1:]):
            return False
        layer, block = self.weights.read_layer(node), self.blocks[node.input[0]]
        if layer is None:
            return False
        groups = attribute(node, "group", 1) if node.op_type == "Conv" else 1
        if groups == self.channels == len(layer.weights) and block == 1 and layer.weights.shape[1] == 1:
            self.depthwise.append(index)
            return self._on(node)
        shape = self.values[node.input[0]].shape if node.input[0] in self.values else None
        flat = node.op_type == "Conv" or (shape is not None and len(shape) == 2)
        self.readers.append(Reader(index, block))
        return groups == 1 and flat and layer.weights.shape[1] == self.channels * block

    def _flatten(self, node: Any) -> bool:
        value = self.values.get(node.input[0])
        sizes = None if value is None or value.shape is None else value.shape[2:]
        if attribute(node, "axis", 1) != 1 or sizes is None or not all(isinstance(size, int) for size in sizes):
            return False
        return self._on(node, self.blocks[node.input[0]] * prod(size for size in sizes if isinstance(size, int)))

    def _mean(self, node: Any) -> bool:
        value = self.values.get(node.input[0])
        axes = attribute(node, "axes", None) if len(node.input) < 2 else self.weights.read(node.input[1])
        if value is None or value.shape is None or axes is None:
            return False
        return all(int(axis) % len(value.shape) >= 2 for axis in axes) and self._on(node)

    def _combine(self, node: Any) -> bool:
        """All that it reads must have the same channels, be one number, or one number a channel."""
        value = self.values.get(node.output[0])
        blocks = {self.blocks[v] for v in node.input if v in self.blocks}
        if value is None or value.shape is None or len(blocks) != 1:
            return False
        for name in node.input:
            if name in self.blocks:
                continue
            constant = self.weights.read(name)
            if constant is None:
                return False
            axis = constant.ndim - (len(value.shape) - 1)
            if constant.size != 1 and axis >= 0 and constant.shape[axis] != 1:
                if constant.shape[axis] != self.channels or blocks != {1}:
                    return False
                self.constants.append((name, axis))
        return self._on(node, blocks.pop())
