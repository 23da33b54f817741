"""Element types of ONNX values: by number, by name, and by inference where a file does not say.

The graph that ONNX Runtime saves after optimising names no types inside it, and the operators of its blocked layout
(domain com.microsoft.nchwc) are unknown to ONNX's own inference. Element types follow simple rules, though: most
operators hand on the type of their first input.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from edgeexit.bundle.graph.schema import Message

DTYPES: Final[Mapping[int, str]] = MappingProxyType(
    {
        1: "float32",
        2: "uint8",
        3: "int8",
        4: "uint16",
        5: "int16",
        6: "int32",
        7: "int64",
        9: "bool",
        10: "float16",
        11: "float64",
        12: "uint32",
        13: "uint64",
        16: "bfloat16",
    }
)
"""TensorProto.DataType -> the name a manifest uses (numpy's, and bfloat16)."""

_FLOAT, _UINT8, _INT32, _INT64, _BOOL = 1, 2, 6, 7, 9
_FIXED: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    dict.fromkeys(("Shape", "Size", "ArgMax", "ArgMin", "NonZero", "NonMaxSuppression"), (_INT64,))
    | dict.fromkeys(("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"), (_BOOL,))
    | dict.fromkeys(("And", "Or", "Not", "Xor", "IsNaN", "IsInf"), (_BOOL,))
    | dict.fromkeys(("ConvInteger", "MatMulInteger"), (_INT32,))
    | {"DynamicQuantizeLinear": (_UINT8, _FLOAT, _UINT8)}
)
"""Operators whose output types do not depend on their inputs."""
_LIKE_INPUT: Final[Mapping[str, int]] = MappingProxyType(
    {
        "CastLike": 1,
        "DequantizeLinear": 1,
        "DynamicQuantizeLSTM": 0,
        "MatMulIntegerToFloat": 2,
        "OneHot": 2,
        "QAttention": 3,
        "QLinearConcat": 1,
        "QLinearConv": 7,
        "QLinearMatMul": 7,
        "QLinearWhere": 1,
        "QuantizeLinear": 2,
        "Where": 1,
    }
)
"""Operators whose first output has the type of an input other than the first."""
_NO_TENSOR: Final = frozenset(
    {"Optional", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceMap"}
    | {"SplitToSequence", "ZipMap"}
)
"""Operators whose output is no tensor."""
_FURTHER: Final[Mapping[str, int]] = MappingProxyType(
    {"TopK": _INT64, "MaxPool": _INT64, "Unique": _INT64, "Dropout": _BOOL}
)
"""Operators whose further outputs have a type of their own."""
_DTYPE_ATTRIBUTE: Final[Mapping[str, str]] = MappingProxyType(
    {"Cast": "to", "EyeLike": "dtype", "Multinomial": "dtype", "QuantizeLinear": "output_dtype"}
    | dict.fromkeys(("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli"), "dtype")
)
"""Operators that have their output type in an attribute."""


def infer_element_types(graph: Message) -> dict[str, int]:
    """Return value -> TensorProto.DataType for all values of `graph` whose type is stated or follows.

    Where an operator is not known the type of its first typed input is assumed. A wrong guess does no harm beyond a
    piece that ONNX Runtime refuses to load.
    """
    types = {w.name: w.data_type for w in graph.initializer}
    types.update((w.values.name, w.values.data_type) for w in graph.sparse_initializer)
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.elem_type:
            types[value.name] = value.type.tensor_type.elem_type
    for node in graph.node:
        for position, name in enumerate(node.output):
            if name and name not in types and (found := _output_type(node, position, types)):
                types[name] = found
    return types


def _output_type(node: Message, position: int, types: Mapping[str, int]) -> int:
    if node.op_type in _NO_TENSOR:
        return 0
    if node.op_type in _FIXED:
        return _FIXED[node.op_type][min(position, len(_FIXED[node.op_type]) - 1)]
    if position and node.op_type in _FURTHER:
        return _FURTHER[node.op_type]
    return (
        _from_attribute(node)
        or _from_body(node, position)
        or _from_quantised_gemm(node, types)
        or _from_input(node, types)
    )


def _from_attribute(node: Message) -> int:
    attributes = {a.name: a for a in node.attribute}
    named = attributes.get(_DTYPE_ATTRIBUTE.get(node.op_type, ""))
    if named is not None:
        return int(named.i)
    if node.op_type in ("Constant", "ConstantOfShape"):
        if "value" in attributes:
            return int(attributes["value"].t.data_type)
        return _INT64 if attributes.keys() & {"value_int", "value_ints"} else _FLOAT
    return _FLOAT if node.op_type in ("RandomNormal", "RandomUniform") else 0


def _from_body(node: Message, position: int) -> int:
    """A Loop's body returns the condition first, then what the node returns."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            outputs = attribute.g.output[1:] if node.op_type == "Loop" else attribute.g.output
            return int(outputs[position].type.tensor_type.elem_type) if position < len(outputs) else 0
    return 0


def _from_quantised_gemm(node: Message, types: Mapping[str, int]) -> int:
    """QGemm gives floats of the type of its first scale unless it has an output zero point (input 8)."""
    if node.op_type != "QGemm":
        return 0
    inputs = [*node.input, *[""] * 9]
    return types.get(inputs[8] or inputs[1], 0)


def _from_input(node: Message, types: Mapping[str, int]) -> int:
    like = _LIKE_INPUT.get(node.op_type)
    if like is not None:
        name = node.input[like] if like < len(node.input) else ""
        return types.get(name, _UINT8 if node.op_type == "QuantizeLinear" else 0)
    return next((types[name] for name in node.input if name in types), 0)
