"""A body: JSON, then the raw tensors one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from edgeexit.errors import MalformedMessage, TooLarge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeexit.open_inference.limits import WireLimits

    Buffer = bytes | bytearray | memoryview

HEADER: Final = "Inference-Header-Content-Length"
"""HTTP header with the length of the JSON, in bytes before compression; without it the whole body is JSON."""
ALIGNMENT: Final = 64
"""JSON is filled up with spaces to a multiple of it, so that raw tensors can be used where they lie."""
_DIGITS_SHOWN: Final = 20


class Frame(NamedTuple):
    """A message's body on its way out."""

    body: bytes
    json_length: int | None
    """For `HEADER`; None if the body is JSON alone."""


def join(text: bytes, raw: Sequence[memoryview | bytes]) -> Frame:
    """Put JSON and raw tensors together; without a raw one (an empty one counts) the body is JSON alone."""
    if not raw:
        return Frame(text, None)
    text += b" " * (-len(text) % ALIGNMENT)
    return Frame(b"".join([text, *raw]), len(text))


def json_length(header: str | None) -> int | None:
    """Read the value of `HEADER`.

    Raises:
        MalformedMessage: If it is no number above 0.
    """
    if header is None:
        return None
    if not (header.isascii() and header.isdecimal() and len(header) < _DIGITS_SHOWN and int(header) > 0):
        raise MalformedMessage(f"{HEADER} must be the length of the JSON in bytes, not {header[:_DIGITS_SHOWN]!r}")
    return int(header)


def json_part(body: Buffer, length: int | None, limits: WireLimits) -> memoryview:
    """Return the JSON of a body.

    Args:
        body: All of it, decompressed.
        length: From `json_length`.
        limits: On body and JSON.

    Raises:
        MalformedMessage: If the body is shorter than the JSON is said to be.
        TooLarge: If either is.
    """
    if len(body) > limits.body_bytes:
        raise TooLarge(f"the body has {len(body)} bytes, {limits.body_bytes} are allowed")
    end = len(body) if length is None else length
    if end > len(body):
        raise MalformedMessage(f"{HEADER} is {end}, but the body has {len(body)} bytes")
    if end > limits.json_bytes:
        raise TooLarge(f"the JSON has {end} bytes, {limits.json_bytes} are allowed: send tensors in binary")
    return memoryview(body)[:end]
