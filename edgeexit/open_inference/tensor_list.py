"""All tensors of a message together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeexit.errors import MalformedMessage
from edgeexit.open_inference.datatypes import DATATYPES, datatype_name
from edgeexit.open_inference.messages import TensorMessage, TensorParameters
from edgeexit.open_inference.tensors import decode_raw, decode_values, encode_raw, encode_values

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        values: From `decode_message`.
        body: All of the message's.
        start: Where the JSON ends.
        limits: On the number of elements.

    Raises:
        MalformedMessage: If one is not as it is said to be, or two have the same name, or bytes are left.
        TooLarge: If one has too many elements.
    """
    arrays: dict[str, Array] = {}
    offset = start
    for index, message in enumerate(messages):
        loose = None if values is None else values[index]
        if message.name in arrays:
            raise MalformedMessage(f"tensor {message.name!r} is given twice")
        size = _raw_size(message, has_values=bool(message.data) or loose is not None)
        if size is None:
            arrays[message.name] = decode_values(message, loose, limits)
        else:
            arrays[message.name] = decode_raw(message, body, offset, limits)
            offset += size
    if offset != len(body):
        raise MalformedMessage(f"the body has {len(body) - offset} bytes behind its last tensor")
    return arrays


def _raw_size(message: TensorMessage, *, has_values: bool) -> int | None:
    parameters = message.parameters
    if parameters is not None and parameters.shared_memory_region is not None:
        raise MalformedMessage(f"tensor {message.name!r} is in shared memory, which is not supported here")
    size = None if parameters is None else parameters.binary_data_size
    if has_values is (size is not None):
        raise MalformedMessage(f"tensor {message.name!r} needs either 'data' or the parameter 'binary_data_size'")
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
