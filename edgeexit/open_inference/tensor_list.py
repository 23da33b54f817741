"""All tensors of a message together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeexit.errors import MalformedMessage
from edgeexit.open_inference.datatypes import DATATYPES, datatype_name
from edgeexit.open_inference.messages import TensorMessage, TensorParameters
from edgeexit.open_inference.tensors import decode_raw, decode_values, encode_raw, encode_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgeexit.open_inference.framing import Buffer
    from edgeexit.open_inference.limits import WireLimits

    Array = NDArray[Any]


def decode_tensors(
    messages: Sequence[TensorMessage], values: Sequence[Any] | None, body: Buffer, start: int, limits: WireLimits
) -> dict[str, Array]:
    """Return the arrays of a message's tensors by name.

    Args:
        messages: What the JSON says of them.
        values: From `decode_loosely`; None if `data` has them.
        body: All of the message's.
        start: Where the JSON ends.
        limits: On the number of elements.

    Raises:
        MalformedMessage: If one is not as it is said to be, or two have the same name, or bytes are left.
        TooLarge: If one has too many elements.
    """
    arrays: dict[str, Array] = {}
    left = memoryview(body)[start:]
    for index, message in enumerate(messages):
        loose = None if values is None else values[index]
        _check_place(message, arrays)
        size = _raw_size(message, len(left), has_values=bool(message.data) or loose is not None)
        if size is None:
            arrays[message.name] = decode_values(message, loose, limits)
        else:
            arrays[message.name] = decode_raw(message, left[:size], limits)
            left = left[size:]
    if left:
        raise MalformedMessage(f"the body has {len(left)} bytes behind its last tensor")
    return arrays


def decode_parts(
    messages: Sequence[TensorMessage], parts: Sequence[memoryview], limits: WireLimits
) -> dict[str, Array]:
    """Return the arrays of tensors, each of whose raw values came by themselves, by name.

    Args:
        messages: What is said of them.
        parts: Raw values of each.
        limits: On the number of elements.

    Raises:
        MalformedMessage: If one is not as it is said to be, or two have the same name.
        TooLarge: If one has too many elements.
    """
    arrays: dict[str, Array] = {}
    for message, part in zip(messages, parts, strict=True):
        _check_place(message, arrays)
        arrays[message.name] = decode_raw(message, part, limits)
    return arrays


def _check_place(message: TensorMessage, arrays: Mapping[str, Array]) -> None:
    if message.name in arrays:
        raise MalformedMessage(f"tensor {message.name!r} is given twice")
    if message.parameters is not None and message.parameters.shared_memory_region is not None:
        raise MalformedMessage(f"tensor {message.name!r} is in shared memory, which is not supported here")


def _raw_size(message: TensorMessage, left: int, *, has_values: bool) -> int | None:
    size = None if message.parameters is None else message.parameters.binary_data_size
    if has_values is (size is not None):
        raise MalformedMessage(f"tensor {message.name!r} needs either 'data' or the parameter 'binary_data_size'")
    if size is not None and size > left:
        raise MalformedMessage(f"tensor {message.name!r} has {size} bytes, but {left} are left of the body")
    return size


def encode_tensor(
    name: str, array: Array, datatype: str | None, *, binary: bool
) -> tuple[TensorMessage, memoryview | bytes | None]:
    """Return what the JSON says of a tensor, and its raw values if it has them.

    Args:
        name: Of the tensor.
        array: Its values.
        datatype: On the wire; None for that of the array.
        binary: True for raw values.

    Raises:
        MalformedMessage: If the protocol has no datatype for it, or a string is not UTF-8 and not raw.
    """
    kind = DATATYPES[datatype or datatype_name(array.dtype)]
    message = TensorMessage(name, list(array.shape), kind.name)
    if not binary:
        message.data = encode_values(array, kind)
        return message, None
    raw = encode_raw(array, kind)
    message.parameters = TensorParameters(binary_data_size=memoryview(raw).nbytes)
    return message, raw
