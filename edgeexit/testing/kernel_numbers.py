"""How the kernel reads a number from a text that was written to one of its files."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"\s*(\d+)")
_ANY_BASE = re.compile(r"\+?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\n?\Z")


def scan_unsigned(text: str, bits: int = 64) -> int | None:
    """Return what ``sscanf(text, "%lu", ...)`` reads: leading decimal digits, whatever follows them; None if none.

    So "1500000 junk" is 1500000, "0x10" is 0, and "-5" is nothing. What does not fit into `bits` loses its upper ones
    (Linux lib/vsprintf.c, vsscanf; "%u" has 32 bits).
    """
    match = _DIGITS.match(text)
    return int(match.group(1)) % 2**bits if match else None


def parse_unsigned(text: str) -> int | None:
    """Return what ``kstrtoul(text, 0, ...)`` reads: one number in C's notation and nothing else, or None.

    So "0x10" is 16, "010" is 8, and "1500000 junk" is nothing; one line feed may follow (Linux lib/kstrtox.c).
    """
    match = _ANY_BASE.match(text)
    if not match:
        return None
    digits = match.group(1)
    if digits[:2] in ("0x", "0X"):
        return int(digits, 16)
    return int(digits, 8 if digits.startswith("0") else 10)
