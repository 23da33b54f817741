"""An answer, to protobuf."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeexit.daemon.grpc.requests import typed_field
from edgeexit.daemon.grpc.schema import Message, message_class
from edgeexit.open_inference.datatypes import BYTES, DATATYPES, datatype_name
from edgeexit.open_inference.tensors import encode_raw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeexit.daemon.inference import Answered
    from edgeexit.open_inference import OutputTensor
    from edgeexit.open_inference.messages import Scalar


def write_response(answer: Answered, *, request_id: str | None) -> Message:
    """Return a ModelInferResponse.

    The protocol does not allow some tensors raw and others not: all are raw if one of them is wanted so.

    Args:
        answer: The answer.
        request_id: Of the request.
    """
    message = message_class("ModelInferResponse")(
        model_name=answer.model, model_version=answer.version, id=request_id or ""
    )
    write_parameters(message.parameters, answer.parameters)
    raw = any(output.binary for output in answer.outputs)
    for output in answer.outputs:
        _add(message, output, raw=raw)
    return message


def write_parameters(entries: Mapping[str, Message], parameters: Mapping[str, Scalar]) -> None:
    """Write parameters, each by its type."""
    for name, value in parameters.items():
        entry = entries[name]
        if isinstance(value, bool):
            entry.bool_param = value
        elif isinstance(value, int):
            entry.int64_param = value
        elif isinstance(value, float):
            entry.double_param = value
        else:
            entry.string_param = value


def _add(message: Message, output: OutputTensor, *, raw: bool) -> None:
    kind = DATATYPES[datatype_name(output.array.dtype)]
    tensor = message.outputs.add(name=output.name, datatype=kind.name, shape=output.array.shape)
    field = typed_field(kind.name)
    if raw or field is None:
        message.raw_output_contents.append(bytes(encode_raw(output.array, kind)))
        return
    values = output.array.ravel().tolist()
    getattr(tensor.contents, field).extend(values if kind.name != BYTES else map(bytes, values))
