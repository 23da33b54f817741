"""What clockd and its clients say to each other.

The socket is of the kind SOCK_SEQPACKET: a packet is a message, a JSON object in ASCII. A client asks, clockd answers
once for each question, in order::

    {"op": "hello", "version": 1}
        {"ok": true, "op": "hello", "version": 1, "silence_s": 1.5, "clocks": {"cpu": 600000000},
         "domains": {"cpu": [600000000, 750000000, 1000000000, 1500000000]}}
    {"op": "set", "clocks": {"cpu": 750000000}}
        {"ok": true, "op": "set", "applied": {"cpu": 750000000}, "not_set": {}, "switches": 1}
    {"op": "read"}     {"ok": true, "op": "read", "clocks": {"cpu": 750000000}}
    {"op": "alive"}    {"ok": true, "op": "alive", "holds": true}
    {"op": "release"}  {"ok": true, "op": "release"}

and anything else gets ``{"ok": false, "op": "set", "fault": "busy", "error": "text"}``. A frequency is in Hz and lies
within the domain's operating points. Who sets clocks holds them until it releases them, its connection ends, or it has
said nothing for `silence_s` ("alive" says just that); then they are given back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NoReturn

from edgeexit.errors import ClockdRefused

VERSION: Final = 1
MAX_REQUEST_BYTES: Final = 4096
MAX_REPLY_BYTES: Final = 65536
"""A graphics card may have hundreds of operating points."""
MAX_TEXT: Final = 500
"""Characters of an error's text."""
MAX_HZ: Final = 10**12
"""More than any clock; what a domain takes at most is checked apart from this."""
_MAX_DEPTH: Final = 2
_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,31}")
_DIGITS: Final = re.compile(r"[0-9]{1,13}")


class Op(str, Enum):
    """What a client may ask for."""

    HELLO = "hello"
    SET = "set"
    READ = "read"
    ALIVE = "alive"
    RELEASE = "release"


class Fault(str, Enum):
    """Why clockd does not do what it was asked."""

    MALFORMED = "malformed"
    """The message is none of those above."""
    VERSION = "version"
    """The client did not say hello first, or in a version that this clockd does not speak."""
    DENIED = "denied"
    """This user may not set clocks; the connection is closed."""
    FULL = "full"
    """There are too many connections; this one is closed."""
    IDLE = "idle"
    """Nothing was asked for long; the connection is closed."""
    BUSY = "busy"
    """Another client holds the clocks."""
    UNKNOWN_DOMAIN = "unknown-domain"
    OUT_OF_RANGE = "out-of-range"
    UNAVAILABLE = "unavailable"
    """No clock can be set just now; a later try may do."""
    ENDING = "ending"
    """clockd ends; the connection is closed."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for.

    Attributes:
        op: What it is.
        version: Of a hello: the protocol's version that the client speaks.
        clocks: Of a set: the frequency in Hz for each domain; at least one.
    """

    op: Op
    version: int = 0
    clocks: Mapping[str, int] = field(default_factory=dict)


_KEYS: Final = {
    Op.HELLO: {"op", "version"},
    Op.SET: {"op", "clocks"},
    Op.READ: {"op"},
    Op.ALIVE: {"op"},
    Op.RELEASE: {"op"},
}


def parse_request(data: bytes) -> Request:
    """Read a client's message; whatever is not exactly as it should be is refused.

    Raises:
        ClockdRefused: With `Fault.MALFORMED`; the text says what is wrong.
    """
    if len(data) > MAX_REQUEST_BYTES:
        _malformed(f"it is longer than {MAX_REQUEST_BYTES} bytes")
    document = _parse_json(data)
    if not isinstance(document, dict):
        _malformed("it is not an object")
    op = _op(document.get("op"))
    if document.keys() != _KEYS[op]:
        _malformed(f"{op.value!r} takes the keys {sorted(_KEYS[op])}, found {sorted(document)!s:.200}")
    if op is Op.HELLO:
        return Request(op, version=_whole(document["version"], "version"))
    return Request(op, clocks=_clocks(document["clocks"])) if op is Op.SET else Request(op)


def request_bytes(request: Request) -> bytes:
    """Return a request as it is sent."""
    document: dict[str, Any] = {"op": request.op.value}
    if request.op is Op.HELLO:
        document["version"] = request.version
    elif request.op is Op.SET:
        document["clocks"] = dict(request.clocks)
    return _dump(document)


def reply_bytes(op: Op, **answer: Any) -> bytes:
    """Return the answer to a request that was done, as it is sent."""
    return _dump({"ok": True, "op": op.value, **answer})


def refusal_bytes(fault: str, text: str, op: Op | None = None) -> bytes:
    """Return the answer to what is not done, as it is sent."""
    asked = None if op is None else op.value
    return _dump({"ok": False, "op": asked, "fault": Fault(fault).value, "error": text[:MAX_TEXT]})


def parse_reply(data: bytes, op: Op) -> dict[str, Any]:
    """Read clockd's answer to a request.

    Raises:
        ClockdRefused: With the fault that clockd tells, or `Fault.MALFORMED` if it is no answer to this request.
    """
    try:
        document = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise ClockdRefused(Fault.MALFORMED.value, f"clockd's answer cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ClockdRefused(Fault.MALFORMED.value, "clockd's answer is not an object")
    if document.get("ok") is not True:
        raise ClockdRefused(str(document.get("fault")), str(document.get("error")))
    if document.get("op") != op.value:
        raise ClockdRefused(Fault.MALFORMED.value, f"asked {op.value}, clockd answered {document.get('op')!s:.40}")
    return document


def _parse_json(data: bytes) -> object:
    if data.count(b"{") > _MAX_DEPTH or b"[" in data:  # before the parser, which would recurse as deep as they nest
        _malformed("it holds a list, or more than one object within the other")
    try:
        return json.loads(
            data.decode("ascii"),
            object_pairs_hook=_unique,
            parse_float=_no_number,
            parse_constant=_no_number,
            parse_int=_parse_int,
        )
    except (ValueError, RecursionError) as error:
        _malformed(f"{error}")


def _op(value: object) -> Op:
    try:
        return Op(value)
    except ValueError:
        _malformed(f"op is {value!r:.60}; there are {', '.join(op.value for op in Op)}")


def _clocks(value: object) -> dict[str, int]:
    if not isinstance(value, dict) or not value:
        _malformed("clocks must be an object that names at least one clock domain")
    for name in value:
        if not _NAME.fullmatch(name):
            _malformed(f"{name!r:.60} cannot be the name of a clock domain")
    return {name: _whole(frequency, f"clocks.{name}") for name, frequency in value.items()}


def _whole(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < MAX_HZ:
        _malformed(f"{where} must be a whole number above 0, found {value!r:.60}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text:.40} is not a whole number")


def _parse_int(text: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise ValueError(f"{text:.40} is no number that could be asked for")
    return int(text)


def _malformed(problem: str) -> NoReturn:
    raise ClockdRefused(Fault.MALFORMED.value, f"the message cannot be read: {problem}")


def _dump(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")
