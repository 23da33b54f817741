"""Read and change the weights of layers, in float or quantised."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import helper, numpy_helper

from edgeexit.bundle.graph.dataflow import describe, values_used
from edgeexit.errors import GraphError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    FloatArray = NDArray[np.float32]

LINEAR: Final = frozenset({"Conv", "Gemm", "MatMul"})
_INT8_MAX: Final = 127


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights of a Conv (M, C, kernel...) or, of Gemm and MatMul, (M, C); bias (M,) or None."""

    weights: FloatArray
    bias: FloatArray | None


class Weights:
    """The constants of a model, by name.

    Args:
        model: onnx.ModelProto with its weights in it; `write` and `write_layer` change it in place.
    """

    def __init__(self, model: Any) -> None:
        self.graph = model.graph
        self._tensors = {w.name: w for w in self.graph.initializer}
        self._makers = {v: node for node in self.graph.node for v in node.output if v}
        self._readers = Counter(v for node in self.graph.node for v in values_used(node))
        self._outputs = {v.name for v in self.graph.output}

    def read(self, name: str) -> Array | None:
        """Return a constant, what is quantised as float32; None if it is no constant."""
        if name in self._tensors:
            return np.asarray(numpy_helper.to_array(self._tensors[name]))
        node = self._makers.get(name)
        if node is None:
            return None
        if node.op_type == "Constant":
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            return None if value is None else np.asarray(numpy_helper.to_array(value))
        return self._dequantised(node) if node.op_type == "DequantizeLinear" else None

    def is_own(self, name: str) -> bool:
        """Tell if a constant can be changed without changing anything but its one reader."""
        node = self._makers.get(name)
        if node is not None and node.op_type == "DequantizeLinear":
            return self._readers[name] == 1 and all(self.is_own(v) for v in node.input)
        return name in self._tensors and self._readers[name] == 1 and name not in self._outputs

    def write(self, name: str, value: Array) -> None:
        """Replace a constant by another one, of any shape; quantise it as the old one was.

        Raises:
            GraphError: If it is no initializer.
        """
        node = self._makers.get(name)
        if node is not None and node.op_type == "DequantizeLinear":
            self._quantise(node, value)
        elif name in self._tensors:
            kind = numpy_helper.to_array(self._tensors[name]).dtype
            self._tensors[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value, dtype=kind), name))
        else:
            raise GraphError(f"{name!r} is no initializer that could be changed")

    def read_layer(self, node: Any) -> Layer | None:
        """Return the weights of a Conv, Gemm or MatMul; None if they are no constants of their own or are scaled."""
        if node.op_type not in LINEAR or len(node.input) < 2 or not self.is_own(node.input[1]):
            return None
        weights = self.read(node.input[1])
        if weights is None or (node.op_type != "Conv" and (weights.ndim != 2 or not _is_plain(node))):
            return None
        if node.op_type != "Conv" and not attribute(node, "transB", 0):
            weights = weights.T
        bias = self.read(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if len(node.input) > 2 and node.input[2]:
            if bias is None or not self.is_own(node.input[2]) or bias.shape != (len(weights),):
                return None
            bias = bias.astype(np.float32)
        return Layer(np.asarray(weights, dtype=np.float32), bias)

    def write_layer(self, node: Any, layer: Layer) -> None:
        """Give a Conv, Gemm or MatMul other weights, as `read_layer` returns them.

        Raises:
            GraphError: If they are no initializers.
        """
        turned = node.op_type != "Conv" and not attribute(node, "transB", 0)
        self.write(node.input[1], layer.weights.T if turned else layer.weights)
        if layer.bias is not None:
            self._match_bias_scale(node, len(layer.bias))
            self.write(node.input[2], layer.bias)

    def _dequantised(self, node: Any) -> Array | None:
        numbers, scale = self.read(node.input[0]), self.read(node.input[1])
        if numbers is None or scale is None:
            return None
        stated = self.read(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        zero = np.zeros(1, numbers.dtype) if stated is None else stated
        shape = _along(numbers.ndim, attribute(node, "axis", 1), scale)
        zero = zero.astype(np.float32)
        zero = zero.reshape(shape) if zero.size == scale.size else zero
        return np.asarray((numbers.astype(np.float32) - zero) * scale.reshape(shape), dtype=np.float32)

    def _quantise(self, node: Any, value: Array) -> None:
        """Symmetric: int8 gets the scale at which the largest weight is 127; int32, a bias, keeps the one it has."""
        old, scale = self.read(node.input[0]), self.read(node.input[1])
        if old is None or scale is None:
            raise GraphError(f"{node.output[0]!r} is no constant that could be changed")
        axis = attribute(node, "axis", 1)
        if old.dtype == np.int8:
            others = tuple(i for i in range(value.ndim) if i != axis % value.ndim)
            largest = np.abs(value).max(axis=others) if scale.ndim else np.abs(value).max()
            scale = np.asarray(np.where(largest > 0.0, largest / _INT8_MAX, 1.0), dtype=np.float32)
            self.write(node.input[1], scale)
            if len(node.input) > 2 and node.input[2]:
                self.write(node.input[2], np.zeros(scale.shape))
        numbers = np.rint(value / scale.reshape(_along(value.ndim, axis, scale)))
        limits = np.iinfo(old.dtype)
        self.write(node.input[0], np.clip(numbers, limits.min, limits.max))

    def _match_bias_scale(self, node: Any, count: int) -> None:
        """A quantised bias is on the scale of the input times that of the weights (ONNX Runtime takes it as such)."""
        bias, weights, source = (self._makers.get(node.input[i]) for i in (2, 1, 0))
        if bias is None or weights is None or source is None or bias.op_type != "DequantizeLinear":
            return
        scales = [self.read(v.input[1]) for v in (weights, source)]
        if scales[0] is None or scales[1] is None:
            raise GraphError(f"{describe(node)}: the scale of its bias cannot be told")
        scale = np.asarray(scales[0] * scales[1], dtype=np.float32)
        self.write(bias.input[1], np.broadcast_to(scale, (count,)) if self.read(bias.input[1]) is not None else scale)
        if len(bias.input) > 2 and bias.input[2]:
            self.write(bias.input[2], np.zeros(count))


def attribute(node: Any, name: str, default: Any) -> Any:
    """Return an attribute of a NodeProto, or the default that ONNX gives it."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _is_plain(node: Any) -> bool:
    return all(attribute(node, name, default) == default for name, default in (("alpha", 1.0), ("transA", 0))) and (
        attribute(node, "beta", 1.0) == 1.0
    )


def _along(rank: int, axis: int, values: Array) -> tuple[int, ...]:
    """Return the shape in which one value a channel meets a tensor of that rank."""
    if values.ndim == 0 or values.size == 1:
        return (1,) * rank
    return tuple(values.size if i == axis % rank else 1 for i in range(rank))
