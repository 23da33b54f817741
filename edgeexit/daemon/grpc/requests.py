"""A request to infer, from protobuf.

It is turned into what would stand in the JSON over HTTP, and checked by the same code: what is allowed and what is said
of mistakes is then the same over both.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError

from edgeexit import open_inference
from edgeexit.daemon.grpc.schema import ONE_OF, Message, message_class
from edgeexit.daemon.grpc.wire import take_out
from edgeexit.errors import MalformedMessage
from edgeexit.open_inference.datatypes import BOOL, BYTES, DATATYPES, datatype
from edgeexit.open_inference.tensors import encode_raw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.open_inference import InferRequest, WireLimits
    from edgeexit.open_inference.datatypes import Datatype
    from edgeexit.open_inference.messages import Scalar

_RAW_INPUT_CONTENTS: Final = 7
_FIELDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {BOOL: ("bool_contents", "?"), BYTES: ("bytes_contents", "O")}
    | {f"INT{bits}": ("int_contents", "<i4") for bits in (8, 16, 32)}
    | {f"UINT{bits}": ("uint_contents", "<u4") for bits in (8, 16, 32)}
    | {"INT64": ("int64_contents", "<i8"), "UINT64": ("uint64_contents", "<u8")}
    | {"FP32": ("fp32_contents", "<f4"), "FP64": ("fp64_contents", "<f8")}
)
"""Datatype -> which field of a tensor's contents has its values, and their dtype there; FP16 and BF16 have none."""


class Asked(NamedTuple):
    """A request to infer, and whom it is for."""

    model: str
    version: str | None
    request: InferRequest


def read_request(data: bytes, limits: WireLimits) -> Asked:
    """Read a request to infer.

    Args:
        data: A serialised ModelInferRequest.
        limits: On sizes; that on JSON holds for what is no raw tensor.

    Raises:
        MalformedMessage: If it is not as the protocol says.
        TooLarge: If it is beyond a limit.
    """
    rest, raw = take_out(data, _RAW_INPUT_CONTENTS, limits.json_bytes)
    message = parse("ModelInferRequest", rest)
    parts = raw or [memoryview(_typed_values(tensor)) for tensor in message.inputs]
    if len(parts) != len(message.inputs):
        raise MalformedMessage(f"{len(parts)} raw_input_contents came for {len(message.inputs)} inputs")
    request = open_inference.read_request(_document(message, raw=bool(raw)), parts, limits)
    return Asked(message.model_name, message.model_version or None, request)


def parse(name: str, data: bytes) -> Message:
    """Read a message.

    Args:
        name: Of its class.
        data: Serialised.

    Raises:
        MalformedMessage: If it is none of these.
    """
    try:
        return message_class(name).FromString(data)
    except DecodeError as error:
        raise MalformedMessage(f"the message is no {name}: {error}") from None


def read_parameters(entries: Mapping[str, Message]) -> dict[str, Scalar]:
    """Return parameters by name; one without a value counts as not given.

    Raises:
        MalformedMessage: If one is NaN or infinite.
    """
    found: dict[str, Scalar] = {}
    if not entries:  # protobuf's iteration over nothing takes longer than all that is said of a tensor
        return found
    for name, entry in entries.items():
        choice = entry.WhichOneof(ONE_OF)
        if choice is None:
            continue
        value = found[name] = getattr(entry, choice)
        if choice == "double_param" and not isfinite(value):
            raise MalformedMessage(f"parameter {name[:40]!r} is {value}, which is no number")
    return found


def _document(message: Message, *, raw: bool) -> dict[str, Any]:
    """Return what would stand in the JSON; whoever sends raw tensors gets them unless they say otherwise."""
    document: dict[str, Any] = {
        "inputs": [_input(tensor, raw=raw) for tensor in message.inputs],
        "parameters": {"binary_data_output": raw} | read_parameters(message.parameters),
        "outputs": [{"name": each.name, "parameters": read_parameters(each.parameters)} for each in message.outputs],
    }
    if message.id:
        document["id"] = message.id
    return document


def _input(tensor: Message, *, raw: bool) -> dict[str, Any]:
    if raw and tensor.HasField("contents"):
        raise MalformedMessage(f"tensor {tensor.name!r} has contents, although there are raw_input_contents")
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "parameters": read_parameters(tensor.parameters),
    }


def _typed_values(tensor: Message) -> bytes:
    """Return the values of a tensor that has them in its contents as they would be raw."""
    kind = datatype(tensor.datatype)
    if kind.name not in _FIELDS:
        raise MalformedMessage(f"tensor {tensor.name!r} of {kind.name} can only come in raw_input_contents")
    field, dtype = _FIELDS[kind.name]
    values = getattr(tensor.contents, field)
    if kind.name == BYTES:
        return bytes(encode_raw(_objects(values), kind))
    return _narrowed(np.fromiter(values, dtype, len(values)), kind, tensor.name).tobytes()


def _objects(values: Any) -> NDArray[Any]:
    array = np.empty(len(values), object)
    array[:] = list(values)
    return array


def _narrowed(wide: NDArray[Any], kind: Datatype, name: str) -> NDArray[Any]:
    """Return values as their own datatype: the protocol sends those of 8 and 16 bits as 32."""
    narrow: NDArray[Any] = wide.astype(DATATYPES[kind.name].dtype)
    if wide.dtype.itemsize != narrow.dtype.itemsize and not np.array_equal(wide, narrow):
        raise MalformedMessage(f"values of tensor {name!r} are beyond the range of {kind.name}")
    return narrow


def typed_field(kind: str) -> str | None:
    """Return which field of a tensor's contents has values of a datatype; None if none does."""
    return _FIELDS[kind][0] if kind in _FIELDS else None
