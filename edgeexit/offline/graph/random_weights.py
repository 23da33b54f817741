"""Moderate random weights for a network, so that comparing its outputs means something.

The networks that ship with `onnx` (onnx/backend/test/data/light) have real topologies and constant weights: all their
activations are equal, and so any two ways to compute them agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeexit.bundle.graph.dataflow import values_used

_PASSED_THROUGH: Final = frozenset({"Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_FLOATS: Final = (TensorProto.FLOAT, TensorProto.FLOAT16)


def randomise_weights(model: Any, *, seed: int = 0) -> Any:
    """Return a copy of `model` with random weights under which activations neither vanish nor saturate.

    Filters and matrices are normal with the variance 2 / fan-in (He et al., arXiv 1502.01852), which keeps the scale
    through rectifiers, divided by an estimate of their input's mean square, so that sums of branches do not grow from
    block to block. Normalisations are close to 1, biases close to 0. Weights that the model makes with ConstantOfShape
    become initializers, and initializers are no graph inputs any more.

    Args:
        model: onnx.ModelProto with float32 or float16 weights in it; it is not changed.
        seed: The same seed gives the same weights.
    """
    random = np.random.default_rng(seed)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.ir_version = max(model.ir_version, 4)
    graph = result.graph
    roles = _Roles(graph)
    shapes = {w.name: numpy_helper.to_array(w) for w in graph.initializer if w.data_type == TensorProto.INT64}
    weights = [w for w in graph.initializer if not (w.data_type in _FLOATS and roles.has(w.name))]
    for weight in graph.initializer:
        if weight.data_type in _FLOATS and roles.has(weight.name):
            content = roles.draw(weight.name, tuple(weight.dims), random)
            weights.append(_tensor(weight.name, content, weight.data_type))
    nodes = []
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in shapes and roles.has(node.output[0]):
            dims = tuple(int(d) for d in shapes[node.input[0]])
            weights.append(_tensor(node.output[0], roles.draw(node.output[0], dims, random), TensorProto.FLOAT))
        else:
            nodes.append(node)
    read = {v for node in nodes for v in values_used(node)}
    _replace(graph, nodes, [w for w in weights if w.name in read])
    return result


class _Spread(NamedTuple):
    """What is guessed of a value's elements: their mean square, and whether their mean is about 0."""

    mean_square: float
    centred: bool


class _Roles:
    """What each weight is for: the operator that reads it, and as which input."""

    def __init__(self, graph: Any) -> None:
        self._readers: dict[str, list[tuple[Any, int]]] = {}
        for node in graph.node:
            for position, name in enumerate(node.input):
                self._readers.setdefault(name, []).append((node, position))
        constants = {w.name for w in graph.initializer}
        self._spread: dict[str, _Spread] = {}
        for node in graph.node:
            if constants.issuperset(node.input):
                constants.update(node.output)
            else:
                spreads = [self._spread.get(v, _Spread(1.0, True)) for v in node.input if v not in constants]
                self._spread.update(dict.fromkeys(node.output, _estimate(node.op_type, spreads)))

    def has(self, name: str) -> bool:
        return self._find(name) is not None

    def draw(self, name: str, dims: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
        found = self._find(name)
        assert found is not None, "asked for in `has` before"
        node, position = found
        noise = random.standard_normal(dims, dtype=np.float32)
        if position == 1 and node.op_type in ("Conv", "ConvTranspose"):
            return noise * self._scale(node, math.prod(dims[1:]))
        if node.op_type in ("Gemm", "MatMul") and position < 2:
            transposed = any(a.name == "transB" and a.i for a in node.attribute)
            return noise * self._scale(node, dims[-1 if transposed else -2])
        if node.op_type == "Mul" or (node.op_type == "BatchNormalization" and position in (1, 4)):
            return np.float32(1.0) + np.float32(0.1) * np.clip(noise, -2, 2)
        return np.float32(0.1) * noise

    def _scale(self, node: Any, fan_in: int) -> np.float32:
        spread = self._spread.get(node.input[0], _Spread(1.0, True))
        return np.float32(math.sqrt(2.0 / fan_in / spread.mean_square))

    def _find(self, name: str) -> tuple[Any, int] | None:
        for node, position in self._readers.get(name, ()):
            if node.op_type in _PASSED_THROUGH:
                return self._find(node.output[0])
            if node.op_type in _DRAWN and (position or node.op_type in _DRAWN_FIRST):
                return node, position
        return None


_DRAWN: Final = frozenset({"Add", "BatchNormalization", "Conv", "ConvTranspose", "Gemm", "MatMul", "Mul"})
_DRAWN_FIRST: Final = frozenset({"Add", "Gemm", "MatMul", "Mul"})


def _estimate(operator: str, data: list[_Spread]) -> _Spread:
    """Guess how far an operator's result spreads; `data` are its inputs that are no weights."""
    squares = [d.mean_square for d in data]
    centred = all(d.centred for d in data)
    if operator in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return _Spread(2.0, True)
    if operator in ("Add", "Sum"):
        return _Spread(sum(squares), centred)
    if operator == "Relu":
        return _Spread(squares[0] / 2 if centred else squares[0], False)
    if operator == "MaxPool":
        return _Spread(squares[0] * 2, False)
    return _Spread(sum(squares) / len(squares), centred)


def _tensor(name: str, content: NDArray[np.float32], element_type: int) -> Any:
    return numpy_helper.from_array(content.astype(helper.tensor_dtype_to_np_dtype(element_type)), name)


def _replace(graph: Any, nodes: list[Any], weights: list[Any]) -> None:
    names = {w.name for w in (*weights, *graph.initializer)}
    inputs = [v for v in graph.input if v.name not in names]
    contents: Mapping[str, list[Any]] = {"node": nodes, "initializer": weights, "input": inputs}
    for field, content in contents.items():
        graph.ClearField(field)
        getattr(graph, field).extend(content)
