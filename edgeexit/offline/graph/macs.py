"""Multiply-accumulates (MACs) and parameters of a piece, from the shapes of its values.

Counted are convolutions, matrix products, Einsum and recurrent layers, in float and quantised form. Everything else
(activations, pooling, normalisation, element-wise arithmetic, attention as one operator) counts 0, and so does what
depends on weights alone, because it is computed once. A layer whose shapes cannot be inferred counts 0 with a
warning; layers within the bodies of If, Loop and Scan do so too. Sizes other than the batch that are open count 1.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from onnx import TensorProto, helper

from edgeexit.bundle.graph.dataflow import describe, subgraphs, values_used
from edgeexit.offline.graph.shapes import Value

_log = logging.getLogger(__name__)

Sizes = Callable[[str], tuple[int, ...]]
"""Value name -> its shape; raises KeyError where that is unknown."""

_NO_WEIGHT: Final = frozenset({0, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING})
"""Constants of these types are shapes, axes and the like."""


class Work(NamedTuple):
    """What a piece computes for one sample, and how many weights it holds."""

    macs: int
    parameters: int


def count_work(graph: Any, values: Mapping[str, Value]) -> Work:
    """Count the MACs and the parameters of a piece.

    Args:
        graph: GraphProto of the piece.
        values: Types and shapes of its values at batch 1, see `infer_values`.

    Returns:
        MACs, and the number of elements of all constant tensors of rank 1 or more that the piece reads, shapes and
        axes (int64) aside; a weight that is computed from others, for instance dequantised, counts once.
    """
    constants = {w.name for w in graph.initializer} | {w.values.name for w in graph.sparse_initializer}
    macs, read = 0, set[str]()
    for node in graph.node:
        used = values_used(node)
        if constants.issuperset(used):
            constants.update(node.output)
        else:
            read |= constants.intersection(used)
            macs += node_macs(node, values)
    return Work(macs, sum(_elements(values.get(name)) for name in read))


def _elements(value: Value | None) -> int:
    if value is None or value.element_type in _NO_WEIGHT or not value.sizes:
        return 0
    return math.prod(value.sizes)


def node_macs(node: Any, values: Mapping[str, Value]) -> int:
    """Count the MACs of one NodeProto; 0 for what is not counted and, with a warning, where a shape is unknown."""

    def sizes(name: str) -> tuple[int, ...]:
        shape = values[name].shape
        if shape is None:
            raise KeyError(name)
        return tuple(d if isinstance(d, int) else 1 for d in shape)

    if any(inner.op_type in _RULES for graph in subgraphs(node) for inner in graph.node):
        _log.warning("%s: the layers within its subgraphs are not counted", describe(node))
    rule = _RULES.get(node.op_type)
    if rule is None:
        return 0
    try:
        return rule(node, sizes)
    except (KeyError, IndexError, ValueError):
        _log.warning("%s: counts 0 MACs, because a shape at it is unknown", describe(node))
        return 0


def _convolution(weight: int) -> Callable[[Any, Sizes], int]:
    """Weights (M, C / groups, kernel...): each output element takes the weights of one of M filters."""

    def macs(node: Any, sizes: Sizes) -> int:
        filters = sizes(node.input[weight])
        return math.prod(sizes(node.output[0])) * math.prod(filters[1:])

    return macs


def _transposed_convolution(node: Any, sizes: Sizes) -> int:
    """Weights (C, M / groups, kernel...): each input element meets the weights of one of C channels."""
    return math.prod(sizes(node.input[0])) * math.prod(sizes(node.input[1])[1:])


def _product(node: Any, sizes: Sizes) -> int:
    """(..., M, K) x (..., K, N): each output element takes K."""
    shape = sizes(node.input[0])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(sizes(node.output[0])) * shape[-2 if transposed else -1]


def _einsum(node: Any, sizes: Sizes) -> int:
    """Count a product of two: one MAC for each combination of its indices; an ellipsis is not understood."""
    equation = next(helper.get_attribute_value(a) for a in node.attribute if a.name == "equation").decode()
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if "." in equation:
        raise KeyError(equation)
    shapes = [sizes(name) for name in node.input]
    indices = {
        letter: size
        for term, shape in zip(terms, shapes, strict=True)
        for letter, size in zip(term, shape, strict=True)
    }
    return math.prod(indices.values()) if len(terms) > 1 else 0


def _recurrent(node: Any, sizes: Sizes) -> int:
    """X (steps, batch, inputs), W (directions, gates H, inputs), R (directions, gates H, H)."""
    steps, batch, _ = sizes(node.input[0])
    return steps * batch * (math.prod(sizes(node.input[1])) + math.prod(sizes(node.input[2])))


_RULES: Final[Mapping[str, Callable[[Any, Sizes], int]]] = {
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "ConvTranspose": _transposed_convolution,
    "DeformConv": _convolution(1),
    "DynamicQuantizeMatMul": _product,
    "Einsum": _einsum,
    "FusedConv": _convolution(1),
    "FusedGemm": _product,
    "FusedMatMul": _product,
    "GRU": _recurrent,
    "Gemm": _product,
    "LSTM": _recurrent,
    "MatMul": _product,
    "MatMulInteger": _product,
    "MatMulIntegerToFloat": _product,
    "QGemm": _product,
    "QLinearConv": _convolution(3),
    "QLinearMatMul": _product,
    "RNN": _recurrent,
}
