"""One tensor: its values on the wire, raw or as JSON, and as an array."""

from __future__ import annotations

import re
import struct
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import numpy as np
from msgspec import Meta, Raw

from edgeexit.errors import MalformedMessage, TooLarge
from edgeexit.open_inference.datatypes import BF16, BOOL, BYTES, DATATYPES, Datatype, datatype
from edgeexit.open_inference.loose_json import encode_loosely

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgeexit.open_inference.limits import WireLimits
    from edgeexit.open_inference.messages import TensorMessage

    Array = NDArray[Any]

_LENGTH: Final = struct.Struct("<I")
_NESTED: Final = re.compile(rb"[ \t\r\n]*\[[ \t\r\n]*\[")


def _element_type(kind: Datatype) -> Any:
    """Return what an element is in JSON, within the range of the datatype as far as msgspec can check it."""
    if kind.name == BYTES:
        return str
    if kind.dtype.kind not in "iu":
        return bool if kind.name == BOOL else float
    info = np.iinfo(kind.dtype)
    top = int(info.max) if int(info.max) < 2**63 else None  # msgspec has no larger bound; numpy checks that one
    return Annotated[int, Meta(ge=int(info.min), le=top)]


_LISTS: Final[Mapping[str, Any]] = {name: list[_element_type(kind)] for name, kind in DATATYPES.items()}  # type: ignore[misc]
_DECODERS: Final = {name: msgspec.json.Decoder(kind) for name, kind in _LISTS.items()}
_ANY_LIST: Final = msgspec.json.Decoder(list[Any])


def count_elements(message: TensorMessage, kind: Datatype, limits: WireLimits) -> int:
    """Return how many elements a tensor has.

    Raises:
        TooLarge: If they are more than is allowed.
    """
    count = prod(message.shape)
    spanned = prod(size for size in message.shape if size)  # numpy refuses large sizes even beside a size of 0
    most = limits.strings if kind.name == BYTES else limits.elements
    if spanned > most:
        raise TooLarge(f"tensor {message.name!r} of {message.shape} has {spanned:.4g} elements, {most} are allowed")
    return count


# --- raw -------------------------------------------------------------------------------------------


def decode_raw(message: TensorMessage, values: memoryview, limits: WireLimits) -> Array:
    """Return a tensor from its raw values; it shares their memory where they are aligned.

    Args:
        message: What is said of it.
        values: Its bytes, and no others.
        limits: On the number of elements.

    Raises:
        MalformedMessage: If the number of bytes, shape and datatype do not go together.
        TooLarge: If it has too many elements.
    """
    kind = datatype(message.datatype)
    count = count_elements(message, kind, limits)
    if kind.name == BYTES:
        return _strings(values, count, message)
    size = count * kind.size
    if len(values) != size:
        raise MalformedMessage(
            f"tensor {message.name!r} of {message.datatype} {message.shape} takes {size} bytes, not {len(values)}"
        )
    return _numbers(values, kind).reshape(message.shape)


def _numbers(values: memoryview, kind: Datatype) -> Array:
    if kind.name == BF16:  # the upper half of a float32
        return (np.frombuffer(values, "<u2").astype("<u4") << 16).view("<f4")
    if kind.name == BOOL:
        flags: Array = np.frombuffer(values, np.uint8) != 0
        return flags
    array = np.frombuffer(values, kind.dtype)
    return array if array.flags.aligned else array.copy()


def _strings(raw: memoryview, count: int, message: TensorMessage) -> Array:
    array = np.empty(count, object)
    start = 0
    for index in range(count):
        if start + _LENGTH.size > len(raw):
            raise MalformedMessage(f"tensor {message.name!r} ends after {index} of {count} elements")
        end = start + _LENGTH.size + _LENGTH.unpack_from(raw, start)[0]
        if end > len(raw):
            raise MalformedMessage(f"element {index} of tensor {message.name!r} is longer than what is left of it")
        array[index] = bytes(raw[start + _LENGTH.size : end])
        start = end
    if start != len(raw):
        raise MalformedMessage(f"tensor {message.name!r} has {len(raw) - start} bytes behind its last element")
    return array.reshape(message.shape)


def encode_raw(array: Array, kind: Datatype) -> memoryview | bytes:
    """Return the values of a tensor as they lie in a body.

    Args:
        array: Of BYTES: bytes, or str, which becomes UTF-8.
        kind: Of the wire; BF16 cuts float32 off.
    """
    if kind.name == BYTES:
        return b"".join([_LENGTH.pack(len(text)) + text for text in map(_as_bytes, array.ravel())])
    if kind.name == BF16:
        return (np.ascontiguousarray(array, "<f4").view("<u4") >> 16).astype("<u2").data
    return np.ascontiguousarray(array, kind.dtype).data


def _as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


# --- JSON ------------------------------------------------------------------------------------------


def decode_values(message: TensorMessage, values: list[Any] | None, limits: WireLimits) -> Array:
    """Return a tensor whose values stand in JSON, flat or nested as its shape says.

    Args:
        message: With its `data`.
        values: What stands there instead of `data` where the JSON was not strict.
        limits: On the number of elements.

    Raises:
        MalformedMessage: If the values are not of its datatype and shape.
        TooLarge: If it has too many elements.
    """
    kind = datatype(message.datatype)
    count = count_elements(message, kind, limits)
    try:
        flat = _flat(message, kind) if values is None else _checked(message, values)
        if len(flat) != count:
            raise MalformedMessage(f"tensor {message.name!r} of {message.shape} has {len(flat)} values, not {count}")
        return _filled(flat, kind).reshape(message.shape)
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError) as error:
        raise MalformedMessage(f"values of tensor {message.name!r} are not {kind.name}: {error}") from None
    except RecursionError:
        raise MalformedMessage(f"values of tensor {message.name!r} are nested too deeply") from None


def _flat(message: TensorMessage, kind: Datatype) -> list[Any]:
    if _NESTED.match(message.data):
        return _checked(message, _ANY_LIST.decode(message.data))
    flat: list[Any] = _DECODERS[kind.name].decode(message.data)
    return flat


def _checked(message: TensorMessage, values: Any) -> list[Any]:
    if isinstance(values, list) and values and isinstance(values[0], list):
        values = _flattened(message, values)
    flat: list[Any] = msgspec.convert(values, _LISTS[message.datatype])
    return flat


def _flattened(message: TensorMessage, values: list[Any]) -> list[Any]:
    for axis, size in enumerate(message.shape):
        if axis > 0:
            values = [item for row in values for item in row]
        last = axis == len(message.shape) - 1
        if not last and not all(isinstance(row, list) and len(row) == message.shape[axis + 1] for row in values):
            raise MalformedMessage(f"values of tensor {message.name!r} are not nested as its shape {message.shape}")
        if axis == 0 and len(values) != size:
            raise MalformedMessage(f"tensor {message.name!r} of {message.shape} has {len(values)} rows")
    return values


def _filled(flat: list[Any], kind: Datatype) -> Array:
    if kind.name == BYTES:
        array = np.empty(len(flat), object)
        array[:] = [text.encode() for text in flat]
        return array
    with np.errstate(over="ignore"):  # too large for a float is infinite, which the model's check refuses
        return np.array(flat, kind.dtype)


def encode_values(array: Array, kind: Datatype) -> Raw:
    """Return a tensor's values for JSON, flat; NaN and infinity stand bare.

    Raises:
        MalformedMessage: If an element of BYTES is not UTF-8.
    """
    if kind.name != BYTES:
        values = array.ravel().tolist()
        strict = kind.dtype.kind != "f" or np.isfinite(array).all()
        return Raw(msgspec.json.encode(values)) if strict else encode_loosely(values)
    try:
        return Raw(msgspec.json.encode([_as_bytes(value).decode() for value in array.ravel()]))
    except UnicodeDecodeError as error:
        raise MalformedMessage(f"a string is not UTF-8, ask for it in binary: {error}") from None
