"""The protocol's messages in protobuf, as far as they are used here.

Names and numbers are those of grpc_service.proto and model_config.proto
(https://github.com/triton-inference-server/common/tree/main/protobuf), which those of open_inference_grpc.proto
(https://github.com/kserve/open-inference-protocol) are a part of. The messages live in a descriptor pool of their own:
clients' packages register the same names in the default one, and both are to work in one process.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Message = Any
"""A message of a class that is made when it is first asked for."""

PACKAGE: Final = "inference"
SERVICE: Final = f"{PACKAGE}.GRPCInferenceService"
_NAME_VERSION: Final = "name=1:string version=2:string"
_CHANGE: Final = "repository_name=1:string model_name=2:string parameters=3:ModelRepositoryParameter{}"
MESSAGES: Final[dict[str, str]] = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live=1:bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready=1:bool",
    "ModelReadyRequest": _NAME_VERSION,
    "ModelReadyResponse": "ready=1:bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name=1:string version=2:string extensions=3:string*",
    "ModelMetadataRequest": _NAME_VERSION,
    "ModelMetadataResponse": "name=1:string versions=2:string* platform=3:string inputs=4:.TensorMetadata* "
    "outputs=5:.TensorMetadata*",
    "ModelMetadataResponse.TensorMetadata": "name=1:string datatype=2:string shape=3:int64*",
    "InferParameter": "bool_param=1:bool? int64_param=2:int64? string_param=3:string? double_param=4:double? "
    "uint64_param=5:uint64?",
    "InferTensorContents": "bool_contents=1:bool* int_contents=2:int32* int64_contents=3:int64* "
    "uint_contents=4:uint32* uint64_contents=5:uint64* fp32_contents=6:float* fp64_contents=7:double* "
    "bytes_contents=8:bytes*",
    "ModelInferRequest": "model_name=1:string model_version=2:string id=3:string parameters=4:InferParameter{} "
    "inputs=5:.InferInputTensor* outputs=6:.InferRequestedOutputTensor* raw_input_contents=7:bytes*",
    "ModelInferRequest.InferInputTensor": "name=1:string datatype=2:string shape=3:int64* "
    "parameters=4:InferParameter{} contents=5:InferTensorContents",
    "ModelInferRequest.InferRequestedOutputTensor": "name=1:string parameters=2:InferParameter{}",
    "ModelInferResponse": "model_name=1:string model_version=2:string id=3:string parameters=4:InferParameter{} "
    "outputs=5:.InferOutputTensor* raw_output_contents=6:bytes*",
    "ModelInferResponse.InferOutputTensor": "name=1:string datatype=2:string shape=3:int64* "
    "parameters=4:InferParameter{} contents=5:InferTensorContents",
    "ModelStreamInferResponse": "error_message=1:string infer_response=2:ModelInferResponse",
    "ModelConfigRequest": _NAME_VERSION,
    "ModelConfigResponse": "config=1:ModelConfig",
    "ModelConfig": "name=1:string platform=2:string version_policy=3:ModelVersionPolicy max_batch_size=4:int32 "
    "input=5:ModelInput* output=6:ModelOutput* backend=17:string",
    "ModelVersionPolicy": "all=2:.All",
    "ModelVersionPolicy.All": "",
    "ModelInput": "name=1:string data_type=2:DataType dims=4:int64*",
    "ModelOutput": "name=1:string data_type=2:DataType dims=3:int64*",
    "ModelStatisticsRequest": _NAME_VERSION,
    "ModelStatisticsResponse": "model_stats=1:ModelStatistics*",
    "ModelStatistics": "name=1:string version=2:string last_inference=3:uint64 inference_count=4:uint64 "
    "execution_count=5:uint64 inference_stats=6:InferStatistics",
    "InferStatistics": "success=1:StatisticDuration fail=2:StatisticDuration queue=3:StatisticDuration "
    "compute_infer=5:StatisticDuration",
    "StatisticDuration": "count=1:uint64 ns=2:uint64",
    "RepositoryIndexRequest": "repository_name=1:string ready=2:bool",
    "RepositoryIndexResponse": "models=1:.ModelIndex*",
    "RepositoryIndexResponse.ModelIndex": "name=1:string version=2:string state=3:string reason=4:string",
    "RepositoryModelLoadRequest": _CHANGE,
    "RepositoryModelLoadResponse": "",
    "RepositoryModelUnloadRequest": _CHANGE,
    "RepositoryModelUnloadResponse": "",
    "ModelRepositoryParameter": "bool_param=1:bool? int64_param=2:int64? string_param=3:string? bytes_param=4:bytes?",
}
"""Message -> its fields as name=number:type, with "*" if repeated, "{}" if a map from strings, "?" if one of several.

A type that is no scalar is a message, with a dot before it one within this message.
"""
DATA_TYPES: Final = "INVALID BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 FP32 FP64 STRING BF16"
"""Names of the datatypes in a model's configuration, from 0 on, behind "TYPE_"."""
ONE_OF: Final = "parameter_choice"
_ENUM: Final = "DataType"

_Field = descriptor_pb2.FieldDescriptorProto


@cache
def message_class(name: str) -> Any:
    """Return the class of the message called `name`, for instance "ModelInferRequest"."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="edgeexit_open_inference.proto", package=PACKAGE, syntax="proto3")
    values = file.enum_type.add(name=_ENUM).value
    for number, name in enumerate(DATA_TYPES.split()):
        values.add(name=f"TYPE_{name}", number=number)
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name, fields in MESSAGES.items():
        outer, _, inner = name.rpartition(".")
        made[name] = made[outer].nested_type.add(name=inner) if outer else file.message_type.add(name=name)
        for field in fields.split():
            _add_field(made[name], name, field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _add_field(message: descriptor_pb2.DescriptorProto, owner: str, text: str) -> None:
    name, _, rest = text.partition("=")
    number, _, kind = rest.partition(":")
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if kind.endswith("{}"):
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _add_field(entry, entry.name, "key=1:string")
        _add_field(entry, entry.name, f"value=2:{kind[:-2]}")
        kind = f".{entry.name}*"
    if kind.endswith("?"):
        if not message.oneof_decl:
            message.oneof_decl.add(name=ONE_OF)
        field.oneof_index = 0
    if kind.endswith("*"):
        field.label = _Field.LABEL_REPEATED
    _set_type(field, owner, kind.rstrip("*?"))


def _set_type(field: descriptor_pb2.FieldDescriptorProto, owner: str, kind: str) -> None:
    if kind.islower():
        field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")
        return
    field.type = _Field.TYPE_ENUM if kind == _ENUM else _Field.TYPE_MESSAGE
    field.type_name = f".{PACKAGE}.{owner}{kind}" if kind.startswith(".") else f".{PACKAGE}.{kind}"
