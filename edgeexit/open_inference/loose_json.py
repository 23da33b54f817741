"""JSON, and JSON with bare NaN and Infinity, as NVIDIA's client and Python's json write it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from edgeexit.errors import MalformedMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

M = TypeVar("M")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_TEXT_SHOWN: Final = 300


def decode_message(text: memoryview, decoder: msgspec.json.Decoder[M], tensors: str) -> tuple[M, list[Any] | None]:
    """Read a message with tensors.

    Args:
        text: UTF-8.
        decoder: Of the message's type.
        tensors: Key of its tensors, "inputs" or "outputs".

    Returns:
        The message, and None. Where `text` holds a bare NaN or Infinity, the tensors' values as lists, each None where
        it has none; `data` is then empty.

    Raises:
        MalformedMessage: If it is no JSON or not of that type.
    """
    try:
        return decoder.decode(text), None
    except msgspec.ValidationError as error:
        raise _malformed(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        loose = bytes(text)
        if b"NaN" not in loose and b"Infinity" not in loose:
            raise _malformed(error) from None
    return _decode_loosely(loose, decoder, tensors)


def _decode_loosely(text: bytes, decoder: msgspec.json.Decoder[M], tensors: str) -> tuple[M, list[Any] | None]:
    if _SURROGATE.search(text):
        raise MalformedMessage("JSON with a bare NaN or Infinity may hold no escaped surrogates")
    try:
        document = json.loads(text.decode())
        values = _take_values(document.get(tensors) if isinstance(document, dict) else None)
        return msgspec.convert(document, decoder.type), values
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _malformed(error) from None


def _take_values(tensors: Any) -> list[Any]:
    listed: Sequence[Any] = tensors if isinstance(tensors, list) else ()
    return [tensor.pop("data", None) if isinstance(tensor, dict) else None for tensor in listed]


def _malformed(error: Exception) -> MalformedMessage:
    if isinstance(error, RecursionError):
        return MalformedMessage("the JSON is nested too deeply")
    return MalformedMessage(f"the JSON is not as the protocol says: {str(error)[:_TEXT_SHOWN]}")


def encode_loosely(values: list[Any]) -> msgspec.Raw:
    """Return a list of numbers as JSON text, NaN and infinity bare, which msgspec would make null."""
    return msgspec.Raw(json.dumps(values, separators=(",", ":")).encode())
