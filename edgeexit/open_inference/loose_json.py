"""JSON, and JSON with bare NaN and Infinity, as Python's json writes it.

Answers may hold them, as what a network puts out may, and so may NVIDIA's server's. Requests may not: no model takes an
input with them, and Python's json, which alone reads them, takes ten times as long to say so.
"""

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
_NOT_JSON: Final = "; NaN and Infinity are no JSON (RFC 8259), and no input may hold them"


def decode_strictly(text: memoryview, decoder: msgspec.json.Decoder[M]) -> M:
    """Read a message that has to be JSON as RFC 8259 has it.

    Args:
        text: UTF-8.
        decoder: Of the message's type.

    Raises:
        MalformedMessage: If it is no JSON or not of that type.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise malformed(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error, _NOT_JSON if _is_loose(text) else "") from None


def decode_loosely(text: memoryview, decoder: msgspec.json.Decoder[M], tensors: str) -> tuple[M, list[Any] | None]:
    """Read a message with tensors whose values may be bare NaN and Infinity.

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
        return decode_strictly(text, decoder), None
    except MalformedMessage:
        if not _is_loose(text):
            raise
    return _decode_slowly(bytes(text), decoder, tensors)


def _is_loose(text: memoryview) -> bool:
    plain = bytes(text)
    return b"NaN" in plain or b"Infinity" in plain


def _decode_slowly(text: bytes, decoder: msgspec.json.Decoder[M], tensors: str) -> tuple[M, list[Any] | None]:
    if _SURROGATE.search(text):
        raise MalformedMessage("JSON with a bare NaN or Infinity may hold no escaped surrogates")
    try:
        document = json.loads(text.decode())
        values = _take_values(document.get(tensors) if isinstance(document, dict) else None)
        return msgspec.convert(document, decoder.type), values
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise malformed(error) from None


def _take_values(tensors: Any) -> list[Any]:
    listed: Sequence[Any] = tensors if isinstance(tensors, list) else ()
    return [tensor.pop("data", None) if isinstance(tensor, dict) else None for tensor in listed]


def malformed(error: Exception, hint: str = "") -> MalformedMessage:
    """Return what is to be said of a message that msgspec or json did not take."""
    if isinstance(error, RecursionError):
        return MalformedMessage("the JSON is nested too deeply")
    return MalformedMessage(f"the JSON is not as the protocol says: {str(error)[:_TEXT_SHOWN]}{hint}")


def encode_loosely(values: list[Any]) -> msgspec.Raw:
    """Return a list of numbers as JSON text, NaN and infinity bare, which msgspec would make null."""
    return msgspec.Raw(json.dumps(values, separators=(",", ":")).encode())
