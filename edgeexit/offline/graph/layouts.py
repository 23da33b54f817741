"""Where a feature has its channels: told by the layers that read and make it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from onnx import helper

from edgeexit.bundle.graph.dataflow import Dataflow
from edgeexit.offline.graph.shapes import Value

Kind = Literal["map_nchw", "map_nhwc", "sequence_ncl", "tokens_nlc", "vector"]

_CHANNELS_FIRST: Final = frozenset(
    {"AveragePool", "BatchNormalization", "Conv", "ConvInteger", "ConvTranspose", "GlobalAveragePool"}
    | {"GlobalMaxPool", "GroupNormalization", "InstanceNormalization", "LRN", "MaxPool", "PRelu", "QLinearConv"}
)
_CHANNELS_LAST: Final = frozenset({"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"})
_PRODUCTS: Final = frozenset({"FusedMatMul", "MatMul", "MatMulInteger", "QLinearMatMul"})
_OPAQUE: Final = frozenset({"Einsum", "Flatten", "Gather", "Gemm", "Reshape", "Shape", "Squeeze", "Unsqueeze"})
"""Operators behind which an axis is not followed."""
_FARTHEST: Final = 12
"""Nodes to look ahead or back: layers are seldom farther from each other."""

_KINDS: Final[Mapping[tuple[int, int], Kind]] = {
    (2, 1): "vector",
    (3, 1): "sequence_ncl",
    (3, 2): "tokens_nlc",
    (4, 1): "map_nchw",
    (4, 3): "map_nhwc",
}
"""Rank and axis of the channels -> kind of feature."""


def kind_of(flow: Dataflow, name: str, values: Mapping[str, Value]) -> Kind | None:
    """Return what kind of feature a value is: by the layers behind it, then by those before it.

    A convolution, a pooling or a batch normalisation has the channels on axis 1, a product with a weight on the last;
    element-wise operators hand them on, and a Transpose moves them. Where nothing tells, it is the last axis of three,
    and none of four: that may be an attention map.

    Returns:
        None if the rank is unknown or none that a head can read.
    """
    shape = values[name].shape if name in values else None
    rank = 0 if shape is None else len(shape)
    if rank == 2:
        return "vector"
    search = _Axes(flow, values, rank)
    axis = search.ahead(name, _FARTHEST)
    if axis is None:
        axis = search.back(name, _FARTHEST)
    if axis is None:
        axis = 2 if rank == 3 else 0
    return _KINDS.get((rank, axis))


class _Axes:
    """Looks for the axis of the channels among values of one rank."""

    def __init__(self, flow: Dataflow, values: Mapping[str, Value], rank: int) -> None:
        self._flow = flow
        self._values = values
        self._rank = rank
        self._seen: set[str] = set()
        self._readers: dict[str, list[Any]] = {}
        for node, used in zip(flow.nodes, flow.uses, strict=True):
            for value in used:
                self._readers.setdefault(value, []).append(node)

    def ahead(self, name: str, steps: int) -> int | None:
        if name in self._seen:
            return None
        self._seen.add(name)
        for node in self._readers.get(name, []):
            axis = self._told_by_reader(node, name)
            if axis is None and steps:
                axis = self._through(node, node.output[0], lambda v: self.ahead(v, steps - 1), forward=True)
            if axis is not None:
                return axis
        return None

    def back(self, name: str, steps: int) -> int | None:
        if name not in self._flow.maker or not steps:
            return None
        node = self._flow.nodes[self._flow.maker[name]]
        if node.op_type in _CHANNELS_FIRST:
            return 1
        sources = [v for v in node.input if v and self._flow.is_data(v)]
        if node.op_type in _CHANNELS_LAST or (node.op_type in _PRODUCTS and sources == [node.input[0]]):
            return self._rank - 1
        return self._through(node, sources[0], lambda v: self.back(v, steps - 1), forward=False) if sources else None

    def _told_by_reader(self, node: Any, name: str) -> int | None:
        if node.op_type in _CHANNELS_FIRST and node.input[0] == name:
            return 1
        if node.op_type in _CHANNELS_LAST:
            return self._rank - 1
        product = node.op_type in _PRODUCTS and node.input[0] == name
        return self._rank - 1 if product and not any(map(self._flow.is_data, node.input[1:])) else None

    def _through(self, node: Any, target: str, search: Callable[[str], int | None], *, forward: bool) -> int | None:
        """Ask on at `target`, on the other side of `node`, and take the answer back to this side."""
        shape = self._values[target].shape if target in self._values else None
        if shape is None or len(shape) != self._rank or node.op_type in _OPAQUE | _PRODUCTS:
            return None
        axis = search(target)
        if axis is None or node.op_type != "Transpose":
            return axis
        order = next((list(helper.get_attribute_value(a)) for a in node.attribute if a.name == "perm"), None)
        order = list(range(self._rank))[::-1] if order is None else order
        return int(order[axis] if forward else order.index(axis))
