"""How often a connection may ask: a token bucket."""

from __future__ import annotations

from typing import Final

ROUNDING: Final = 1e-6
"""A token is whole if it lacks no more: it is a sum of rounded figures."""


class TokenBucket:
    """Holds a token for each message that may come at once; they come back at a steady rate.

    Args:
        rate_hz: Tokens that come back in a second.
        size: How many there are at first, and at most.
        now_s: The time, in seconds on any steady scale.
    """

    __slots__ = ("_rate_hz", "_since_s", "_size", "_tokens")

    def __init__(self, rate_hz: float, size: int, now_s: float) -> None:
        self._rate_hz = rate_hz
        self._size = float(size)
        self._tokens = float(size)
        self._since_s = now_s

    def take(self, now_s: float) -> bool:
        """Take a token; return False if there is none."""
        self._tokens = min(self._size, self._tokens + max(now_s - self._since_s, 0.0) * self._rate_hz)
        self._since_s = now_s
        if self._tokens < 1.0 - ROUNDING:
            return False
        self._tokens -= 1.0
        return True

    def next_s(self) -> float:
        """Return when there will be a token, on the scale of `take`; not later than the last call if there is one."""
        return self._since_s + max(1.0 - self._tokens, 0.0) / self._rate_hz
