"""The part of ONNX's protobuf schema that cutting a graph takes.

Field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). Fields that are not
named here stay in a message as unknown fields and are written again. The messages live in a descriptor pool of their
own, so that they never meet those of the `onnx` package in one process.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from edgeexit.errors import GraphError

Message = Any
"""A message of a class that is made when it is first asked for, such as ModelProto or NodeProto."""

_PACKAGE: Final = "edgeexit.onnx"
_FIELDS: Final[dict[str, str]] = {
    "ModelProto": "ir_version=1:int64 producer_name=2:string producer_version=3:string domain=4:string "
    "graph=7:GraphProto opset_import=8:OperatorSetIdProto* metadata_props=14:StringStringEntryProto* "
    "functions=25:FunctionProto*",
    "OperatorSetIdProto": "domain=1:string version=2:int64",
    "StringStringEntryProto": "key=1:string value=2:string",
    "FunctionProto": "name=1:string node=7:NodeProto* domain=10:string",
    "GraphProto": "node=1:NodeProto* name=2:string initializer=5:TensorProto* input=11:ValueInfoProto* "
    "output=12:ValueInfoProto* value_info=13:ValueInfoProto* quantization_annotation=14:TensorAnnotation* "
    "sparse_initializer=15:SparseTensorProto*",
    "TensorAnnotation": "tensor_name=1:string quant_parameter_tensor_names=2:StringStringEntryProto*",
    "NodeProto": "input=1:string* output=2:string* name=3:string op_type=4:string attribute=5:AttributeProto* "
    "domain=7:string",
    "AttributeProto": "name=1:string i=3:int64 t=5:TensorProto g=6:GraphProto tensors=10:TensorProto* "
    "graphs=11:GraphProto* sparse_tensor=22:SparseTensorProto sparse_tensors=23:SparseTensorProto*",
    "TensorProto": "dims=1:int64* data_type=2:int32 name=8:string raw_data=9:bytes "
    "external_data=13:StringStringEntryProto* data_location=14:int32",
    "SparseTensorProto": "values=1:TensorProto indices=2:TensorProto dims=3:int64*",
    "ValueInfoProto": "name=1:string type=2:TypeProto",
    "TypeProto": "tensor_type=1:TensorType",
    "TensorType": "elem_type=1:int32 shape=2:TensorShapeProto",
    "TensorShapeProto": "dim=1:Dimension*",
    "Dimension": "dim_value=1:int64 dim_param=2:string",
}
"""Message -> its fields as name=number:type, a star for repeated. A type that is no scalar is a message."""


@cache
def message_class(name: str) -> Any:
    """Return the class of the message called `name`, for instance "ModelProto"."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))


def parse_model(data: bytes, *, name: str = "model") -> Message:
    """Read a ModelProto.

    Args:
        data: A serialised ModelProto of ONNX.
        name: What to call it in an error message, for instance its file name.

    Raises:
        GraphError: If `data` is no ONNX model.
    """
    model = message_class("ModelProto")()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise GraphError(f"{name} is no ONNX model ({error}); it may be truncated") from error
    if not model.HasField("graph"):
        raise GraphError(f"{name} is no ONNX model: it holds no graph")
    return model


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="edgeexit_onnx.proto", package=_PACKAGE, syntax="proto2")
    for message, fields in _FIELDS.items():
        descriptor = file.message_type.add(name=message)
        for field in fields.split():
            _add_field(descriptor, field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _add_field(descriptor: descriptor_pb2.DescriptorProto, text: str) -> None:
    name, number, kind = text.replace("=", ":").split(":")
    types = descriptor_pb2.FieldDescriptorProto
    scalar, repeated = kind.rstrip("*"), kind.endswith("*")
    field = descriptor.field.add(name=name, number=int(number))
    field.label = types.LABEL_REPEATED if repeated else types.LABEL_OPTIONAL
    if scalar in _FIELDS:
        field.type, field.type_name = types.TYPE_MESSAGE, f".{_PACKAGE}.{scalar}"
    else:
        field.type = types.Type.Value(f"TYPE_{scalar.upper()}")
