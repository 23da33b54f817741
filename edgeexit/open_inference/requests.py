"""A request to infer, from bytes and to bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from edgeexit.errors import MalformedMessage
from edgeexit.open_inference.framing import join, json_part
from edgeexit.open_inference.limits import WireLimits
from edgeexit.open_inference.loose_json import decode_strictly, malformed
from edgeexit.open_inference.messages import (
    OutputMessage,
    OutputParameters,
    RequestMessage,
    RequestParameters,
    Scalar,
)
from edgeexit.open_inference.tensor_list import decode_parts, decode_tensors, encode_tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgeexit.open_inference.framing import Buffer, Frame

    Array = NDArray[Any]

_DECODER: Final = msgspec.json.Decoder(RequestMessage)
_ENCODER: Final = msgspec.json.Encoder()
_LIMITS: Final = WireLimits()
_NO_PARAMETERS: Final = RequestParameters()


class RequestedOutput(NamedTuple):
    """An output that a request wants."""

    name: str
    binary: bool
    """True for raw values behind the JSON."""
    classes: int = 0
    """So many classes, the likeliest first, instead of the values; 0 for the values."""


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request to infer.

    Attributes:
        inputs: Their arrays by name; some share the memory of the body, read-only.
        outputs: Which are wanted; None for all.
        all_binary: True if they are all wanted raw where `outputs` is None.
        parameters: Those that are known here.
        id: To be sent back; None if there is none.
    """

    inputs: Mapping[str, Array]
    outputs: Sequence[RequestedOutput] | None
    all_binary: bool
    parameters: RequestParameters
    id: str | None


def decode_request(body: Buffer, json_length: int | None, limits: WireLimits = _LIMITS) -> InferRequest:
    """Read a request to infer.

    Args:
        body: Decompressed.
        json_length: From `framing.json_length`.
        limits: On sizes.

    Raises:
        MalformedMessage: If it is not as the protocol says.
        TooLarge: If it is beyond a limit.
    """
    text = json_part(body, json_length, limits)
    message = decode_strictly(text, _DECODER)
    return request_of(message, decode_tensors(message.inputs, None, body, len(text), limits))


def read_request(
    document: Mapping[str, Any], parts: Sequence[memoryview], limits: WireLimits = _LIMITS
) -> InferRequest:
    """Read a request to infer that did not come as JSON, by the rules that hold for one that does.

    Args:
        document: What would stand in the JSON, but for the values of the inputs and their sizes.
        parts: Raw values of each input.
        limits: On sizes.

    Raises:
        MalformedMessage: If it is not as the protocol says.
        TooLarge: If it is beyond a limit.
    """
    try:
        message = msgspec.convert(document, RequestMessage)
    except msgspec.ValidationError as error:
        raise malformed(error) from None
    return request_of(message, decode_parts(message.inputs, parts, limits))


def request_of(message: RequestMessage, inputs: Mapping[str, Array]) -> InferRequest:
    """Return the request that a message is, once its inputs have been read.

    Raises:
        MalformedMessage: If an output is wanted twice, or in shared memory.
    """
    parameters = message.parameters or _NO_PARAMETERS
    binary = parameters.binary_data_output is True
    return InferRequest(
        inputs=inputs,
        outputs=None if not message.outputs else _wanted(message.outputs, binary=binary),
        all_binary=binary,
        parameters=parameters,
        id=message.id,
    )


def _wanted(messages: Sequence[OutputMessage], *, binary: bool) -> list[RequestedOutput]:
    wanted = [_output(message, binary=binary) for message in messages]
    if len({output.name for output in wanted}) < len(wanted):
        raise MalformedMessage("an output is wanted twice")
    return wanted


def _output(message: OutputMessage, *, binary: bool) -> RequestedOutput:
    parameters = message.parameters
    if parameters is None:
        return RequestedOutput(message.name, binary)
    if parameters.shared_memory_region is not None:
        raise MalformedMessage(f"output {message.name!r} is wanted in shared memory, which is not supported here")
    chosen = binary if parameters.binary_data is None else parameters.binary_data
    return RequestedOutput(message.name, chosen, parameters.classification or 0)


def encode_request(
    inputs: Mapping[str, Array],
    *,
    outputs: Sequence[RequestedOutput] | None = None,
    parameters: Mapping[str, Scalar] | None = None,
    request_id: str | None = None,
    binary: bool = True,
    datatypes: Mapping[str, str] | None = None,
) -> Frame:
    """Write a request to infer.

    Args:
        inputs: Arrays by name.
        outputs: Which are wanted; None for all.
        parameters: Of the request, for instance ``latency_budget_s``.
        request_id: Comes back with the answer.
        binary: True to send raw tensors, and to have the outputs raw where `outputs` is None.
        datatypes: The protocol's datatype of an input where it is not that of its array, for instance "BF16".

    Raises:
        MalformedMessage: If the protocol has no datatype for an array.
    """
    kinds = datatypes or {}
    encoded = [encode_tensor(name, array, kinds.get(name), binary=binary) for name, array in inputs.items()]
    every = dict(parameters or {})
    if binary and outputs is None:
        every["binary_data_output"] = True
    document: dict[str, Any] = {"inputs": [message for message, _ in encoded]}
    if request_id is not None:
        document["id"] = request_id
    if every:
        document["parameters"] = every
    if outputs is not None:
        document["outputs"] = [_output_message(output) for output in outputs]
    return join(_ENCODER.encode(document), [raw for _, raw in encoded if raw is not None])


def _output_message(output: RequestedOutput) -> OutputMessage:
    return OutputMessage(
        output.name, OutputParameters(binary_data=output.binary, classification=output.classes or None)
    )
