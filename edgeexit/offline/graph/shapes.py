"""Element types and shapes of the values of a graph."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import onnx
from onnx import TensorProto, helper

from edgeexit.bundle.graph.element_types import infer_element_types
from edgeexit.bundle.manifest import Dimension

_log = logging.getLogger(__name__)

_SMALL: Final = 1024
"""Elements up to which a constant is kept for inference: it may be a shape."""
_STANDARD_FORM: Final[Mapping[str, tuple[str, slice]]] = {
    "FastGelu": ("Identity", slice(0, 1)),
    "FusedConv": ("Conv", slice(0, 3)),
    "FusedGemm": ("Gemm", slice(0, 3)),
    "Gelu": ("Identity", slice(0, 1)),
    "QGemm": ("Gemm", slice(0, 4, 3)),
    "QLinearAdd": ("Add", slice(0, 4, 3)),
    "QLinearAveragePool": ("AveragePool", slice(0, 1)),
    "QLinearConcat": ("Concat", slice(2, None, 3)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", slice(0, 1)),
    "QLinearLeakyRelu": ("Identity", slice(0, 1)),
    "QLinearMul": ("Mul", slice(0, 4, 3)),
    "QLinearSigmoid": ("Identity", slice(0, 1)),
    "QLinearSoftmax": ("Identity", slice(0, 1)),
    "QuickGelu": ("Identity", slice(0, 1)),
}
"""Operators of com.microsoft -> the ONNX operator, and its inputs, whose first output has the same shape."""
_FOREIGN_ATTRIBUTES: Final = frozenset({"activation", "activation_params", "channels_last", "opset"})


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of a value: its TensorProto.DataType (0 if unknown) and its shape (None if unknown)."""

    element_type: int
    shape: tuple[Dimension | None, ...] | None

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """The shape if all of it is known as numbers, else None."""
        known = [d for d in self.shape or () if isinstance(d, int)]
        return tuple(known) if self.shape is not None and len(known) == len(self.shape) else None


def infer_values(model: Any, *, batch: int | None = None) -> dict[str, Value]:
    """Infer element types and shapes with ONNX's own inference (data propagation on).

    Operators that ONNX does not know (those of com.microsoft) are replaced by ones of the same shape where there are
    such; behind others the shapes stay unknown. Large weights are left out, so that models of any size can be asked.

    Args:
        model: onnx.ModelProto; it is not changed.
        batch: Size to take for the first dimension of every input, wherever its name stands; None keeps it. What the
            model states of other values counts only where nothing can be inferred.

    Returns:
        Value name -> what is known of it, initializers included.
    """
    skeleton = _skeleton(model)
    if batch is not None:
        _set_batch(skeleton.graph, batch, {w.name for w in model.graph.initializer})
    try:
        inferred = onnx.shape_inference.infer_shapes(skeleton, strict_mode=False, data_prop=True)
    except Exception as error:  # ONNX's inference raises what its C++ raises
        _log.warning("ONNX could not infer shapes (%s); those that the model states are used", error)
        inferred = skeleton
    types = infer_element_types(model.graph)
    types |= infer_element_types(inferred.graph)
    shapes: dict[str, tuple[Dimension | None, ...] | None] = {w.name: tuple(w.dims) for w in model.graph.initializer}
    for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input):
        shapes[value.name] = shape_of(value)
    if batch is not None:
        shapes |= {name: shape for name, shape in _stated(model.graph, batch).items() if shapes.get(name) is None}
    return {name: Value(types.get(name, 0), shapes.get(name)) for name in types.keys() | shapes.keys()}


def shape_of(value: Any) -> tuple[Dimension | None, ...] | None:
    """Return the shape that a ValueInfoProto states; None for what it leaves open."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in tensor.shape.dim)


def _skeleton(model: Any) -> Any:
    """Copy what inference needs: large weights become inputs, foreign operators standard ones."""
    skeleton = onnx.ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import)
    graph = skeleton.graph
    graph.name = "skeleton"
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    stated = {v.name for v in model.graph.input}
    for weight in model.graph.initializer:
        if not weight.external_data and _count(weight.dims) <= _SMALL:
            graph.initializer.append(weight)
        elif weight.name not in stated:
            graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    types = infer_element_types(model.graph)
    for node in model.graph.node:
        tensor = _large_constant(node)
        if tensor is None:
            graph.node.extend(_standard_nodes(node, types))
        else:
            graph.input.append(helper.make_tensor_value_info(node.output[0], tensor.data_type, tensor.dims))
    return skeleton


def _standard_nodes(node: Any, types: Mapping[str, int]) -> Sequence[Any]:
    if node.domain != "com.microsoft" or node.op_type not in _STANDARD_FORM:
        return (node,)
    operator, inputs = _STANDARD_FORM[node.op_type]
    shaped = helper.make_node(operator, node.input[inputs], [f"{node.output[0]}/shaped"])
    if operator != "Identity":
        shaped.attribute.extend(a for a in node.attribute if a.name not in _FOREIGN_ATTRIBUTES)
    # The standard operator would hand on the type of its first input, which a quantised one need not do.
    target = types.get(node.output[0], TensorProto.FLOAT)
    return shaped, helper.make_node("Cast", shaped.output, node.output[:1], to=target)


def _large_constant(node: Any) -> Any | None:
    if node.op_type != "Constant":
        return None
    return next((a.t for a in node.attribute if a.name == "value" and _count(a.t.dims) > _SMALL), None)


def _set_batch(graph: Any, batch: int, weights: set[str]) -> None:
    """Fix the first dimension of the inputs, where it is open, and forget what the model states of other values."""
    inputs = _true_inputs(graph, weights)
    firsts = [v.type.tensor_type.shape.dim[0] for v in inputs]
    names = _batch_names(inputs)
    for value in (*graph.value_info, *graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    for dimension in (d for v in inputs for d in v.type.tensor_type.shape.dim):
        if dimension.dim_param in names:
            dimension.dim_value = batch
    for dimension in firsts:
        if not dimension.HasField("dim_value"):
            dimension.dim_value = batch


def _true_inputs(graph: Any, weights: set[str]) -> list[Any]:
    return [v for v in graph.input if v.name not in weights and v.type.tensor_type.shape.dim]


def _batch_names(inputs: Sequence[Any]) -> set[str]:
    return {v.type.tensor_type.shape.dim[0].dim_param for v in inputs} - {""}


def _stated(graph: Any, batch: int) -> dict[str, tuple[Dimension | None, ...]]:
    """Return the shapes that a model states of its values, with the batch for every dimension of its name."""
    names = _batch_names(_true_inputs(graph, {w.name for w in graph.initializer}))
    shapes = {value.name: shape_of(value) for value in (*graph.value_info, *graph.output)}
    return {name: tuple(batch if size in names else size for size in shape) for name, shape in shapes.items() if shape}


def _count(dims: Sequence[int]) -> int:
    product = 1
    for dim in dims:
        product *= dim
    return product
