"""How large a message may be; its other limits (names, ranks, number of tensors) stand in `messages`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLimits:
    """Limits of one message, checked before anything of that size is allocated.

    Attributes:
        body_bytes: Of a body, also once it is decompressed.
        json_bytes: Of its JSON part: numbers in JSON take ten times the time and memory of raw ones.
        elements: Of one tensor, from its shape.
        strings: Elements of one BYTES tensor, which are read one by one.
    """

    body_bytes: int = 64 * 2**20
    json_bytes: int = 16 * 2**20
    elements: int = 16 * 2**20
    strings: int = 65_536
