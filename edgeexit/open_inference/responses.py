"""The answer to a request to infer, to bytes and from bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from edgeexit.open_inference.framing import join, json_part
from edgeexit.open_inference.limits import WireLimits
from edgeexit.open_inference.loose_json import decode_loosely
from edgeexit.open_inference.messages import ResponseMessage
from edgeexit.open_inference.tensor_list import decode_tensors, encode_tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgeexit.open_inference.framing import Buffer, Frame
    from edgeexit.open_inference.messages import Scalar

    Array = NDArray[Any]

_DECODER: Final = msgspec.json.Decoder(ResponseMessage)
_ENCODER: Final = msgspec.json.Encoder()
_LIMITS: Final = WireLimits()


class OutputTensor(NamedTuple):
    """An output on its way out."""

    name: str
    array: Array
    binary: bool
    """True for raw values behind the JSON."""


@dataclass(frozen=True, slots=True)
class InferResponse:
    """An answer, as a client sees it.

    Attributes:
        model_name: Of the model.
        model_version: Of the model; None if the server does not tell.
        outputs: Their arrays by name; some share the memory of the body, read-only.
        parameters: Of the response.
        id: Of the request.
    """

    model_name: str
    model_version: str | None
    outputs: Mapping[str, Array]
    parameters: Mapping[str, Scalar]
    id: str | None


def encode_response(
    model_name: str,
    model_version: str,
    outputs: Sequence[OutputTensor],
    *,
    parameters: dict[str, Any],
    request_id: str | None = None,
) -> Frame:
    """Write an answer.

    Args:
        model_name: Of the model.
        model_version: Of the model.
        outputs: In this order.
        parameters: Strings, numbers and booleans.
        request_id: Of the request.

    Raises:
        MalformedMessage: If the protocol has no datatype for an array.
    """
    encoded = [encode_tensor(name, array, None, binary=binary) for name, array, binary in outputs]
    message = ResponseMessage(
        model_name=model_name,
        outputs=[tensor for tensor, _ in encoded],
        model_version=model_version,
        id=request_id,
        parameters=parameters,
    )
    return join(_ENCODER.encode(message), [raw for _, raw in encoded if raw is not None])


def decode_response(body: Buffer, json_length: int | None, limits: WireLimits = _LIMITS) -> InferResponse:
    """Read an answer.

    Args:
        body: Decompressed.
        json_length: From `framing.json_length`.
        limits: On sizes.

    Raises:
        MalformedMessage: If it is not as the protocol says.
        TooLarge: If it is beyond a limit.
    """
    text = json_part(body, json_length, limits)
    message, values = decode_loosely(text, _DECODER, "outputs")
    return InferResponse(
        model_name=message.model_name,
        model_version=message.model_version,
        outputs=decode_tensors(message.outputs, values, body, len(text), limits),
        parameters=message.parameters or {},
        id=message.id,
    )
