"""How a client stands with clockd, and when it tries again."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class ClockdState(str, Enum):
    """How a client stands with clockd; in all but the first no clock is set for it."""

    CONNECTED = "connected"
    NOT_REACHABLE = "not reachable"
    BUSY = "busy"
    """Another client holds the clocks."""
    UNAVAILABLE = "unavailable"
    """clockd cannot set any clock just now."""
    REFUSED = "refused"
    """This user may not, or the two are of different versions."""

    def __str__(self) -> str:
        return self.value


class Standing(NamedTuple):
    """A state, and why it is so."""

    state: ClockdState
    reason: str
    """Empty if all is well."""


class Backoff:
    """When to try again after failures: later after each one.

    Args:
        first_s: Wait after the first, in seconds.
        most_s: Longest wait.
    """

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._wait_s = first_s
        self.at_s = float("-inf")

    def failed(self, now_s: float) -> None:
        """Note a failure: `at_s` is then when to try again."""
        self.at_s = now_s + self._wait_s
        self._wait_s = min(2.0 * self._wait_s, self._most_s)

    def succeeded(self) -> None:
        """Note that it went well: the next try may be at once."""
        self._wait_s, self.at_s = self._first_s, float("-inf")
