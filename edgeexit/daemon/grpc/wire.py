"""Takes the raw tensors out of a request before protobuf reads the rest.

Raw tensors are used where they lie, and what is left is small: protobuf makes of two bytes an object of a hundred, so
a message of many empty parts would take far more memory than it has bytes.
Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from edgeexit.errors import MalformedMessage, TooLarge

MOST_FIELDS: Final = 1024
"""Of a message, each of a repeated one counted."""
_VARINT: Final = 0
_EIGHT_BYTES: Final = 1
_WITH_LENGTH: Final = 2
_FOUR_BYTES: Final = 5
_FIXED: Final = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_MORE: Final = 0x80


class Parted(NamedTuple):
    """A message in two parts."""

    rest: bytes
    """The message without the fields that were taken out."""
    taken: list[memoryview]
    """Values of those, in their order; they share the message's memory."""


def take_out(message: bytes, number: int, most_bytes: int) -> Parted:
    """Part a message from one of its fields.

    Args:
        message: Serialised.
        number: Of a field of bytes, which may be repeated.
        most_bytes: That the rest may have.

    Raises:
        MalformedMessage: If the message is no protobuf.
        TooLarge: If the rest, or the number of fields, is beyond its limit.
    """
    view = memoryview(message)
    rest: list[memoryview] = []
    taken: list[memoryview] = []
    start = 0
    for _ in range(MOST_FIELDS):
        if start == len(message):
            break
        key, value = _varint(message, start)
        begin, end = _value(message, key & 7, value)
        if key == number << 3 | _WITH_LENGTH:
            taken.append(view[begin:end])
        else:
            rest.append(view[start:end])
        start = end
    else:
        raise TooLarge(f"the message has more than {MOST_FIELDS} fields")
    size = sum(map(len, rest))
    if size > most_bytes:
        raise TooLarge(
            f"the message has {size} bytes beside raw tensors, {most_bytes} are allowed: send tensors in "
            "raw_input_contents"
        )
    return Parted(b"".join(rest), taken)


def _value(message: bytes, kind: int, start: int) -> tuple[int, int]:
    """Return where a field's value begins and ends."""
    if kind == _WITH_LENGTH:
        length, start = _varint(message, start)
    elif kind == _VARINT:
        length = _varint(message, start)[1] - start
    elif kind in _FIXED:
        length = _FIXED[kind]
    else:
        raise MalformedMessage(f"the message is no protobuf: wire type {kind} at byte {start}")
    end = start + length
    if end > len(message):
        raise MalformedMessage(f"the message ends within the field at byte {start}")
    return start, end


def _varint(message: bytes, start: int) -> tuple[int, int]:
    """Return a number, and where it ends."""
    if start < len(message) and message[start] < _MORE:  # as nearly all are
        return message[start], start + 1
    value = 0
    for index, byte in enumerate(message[start : start + 10]):
        value |= (byte & ~_MORE) << 7 * index
        if byte < _MORE:
            return value, start + index + 1
    raise MalformedMessage(f"the message is no protobuf: no number at byte {start}")
