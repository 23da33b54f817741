"""An upper quantile of what was seen of late."""

from __future__ import annotations

from math import ceil

from edgeexit.errors import OptionError

RESCALE_AT = 1e9
"""Weights grow with time; past this they are all divided by the newest."""
ROUNDING = 1e-9
"""A value within so much of a bin's edge, in bins, counts as on it."""


class UpperQuantile:
    """Tracks an upper quantile of a stream of numbers, old ones forgotten exponentially.

    The numbers are counted in bins of equal width, and the quantile is the upper edge of a bin, so it errs upward by
    at most a bin. An old count is not made smaller at every step: a new one weighs more (forward decay: Cormode,
    Shkapenyuk, Srivastava and Xu, "Forward Decay: A Practical Time Decay Model for Streaming Systems", ICDE 2009), so
    a number costs the same whatever the number of bins. Until ``1 / (1 - quantile)`` numbers have been seen, the
    quantile is the largest of them.

    Args:
        quantile: Which quantile, above 0 and below 1.
        memory: How many numbers back a count weighs 1/e; by default three times those that the quantile needs to be
            anything but the largest.
        low: Numbers below count as this.
        high: Numbers above count as this.
        width: Width of a bin.

    Raises:
        OptionError: If `quantile` is not between 0 and 1, or `memory` is below 1.
    """

    def __init__(
        self, quantile: float, *, memory: float | None = None, low: float, high: float, width: float = 0.01
    ) -> None:
        if not 0.0 < quantile < 1.0:
            raise OptionError(f"a quantile lies between 0 and 1, not at {quantile!r}")
        memory = 3.0 / (1.0 - quantile) if memory is None else memory
        if not memory >= 1.0:
            raise OptionError(f"memory must be at least 1, not {memory!r}")
        self._above_share = 1.0 - quantile
        self._growth = 1.0 / (1.0 - 1.0 / (memory + 1.0))
        self._first = _bin(low, width)
        self._last = _bin(high, width)
        self._width = width
        self._mass = [0.0] * (self._last - self._first + 1)
        self._weight = 1.0
        self._total = 0.0
        self._above = 0.0
        self._at = 0
        self.count = 0

    @property
    def value(self) -> float | None:
        """The quantile; None before the first number."""
        return (self._at + self._first) * self._width if self.count else None

    def add(self, number: float) -> None:
        """Count a number."""
        index = min(max(_bin(number, self._width), self._first), self._last) - self._first
        self._mass[index] += self._weight
        self._total += self._weight
        if index > self._at:
            self._above += self._weight
        self.count += 1
        self._move()
        self._weight *= self._growth
        if self._weight > RESCALE_AT:
            self._rescale()

    def _move(self) -> None:
        """Go to the lowest bin with at most the allowed share of the counts above it."""
        mass, allowed = self._mass, self._above_share * self._total
        while self._above > allowed and self._at < len(mass) - 1:
            self._at += 1
            self._above -= mass[self._at]
        while self._at > 0 and self._above + mass[self._at] <= allowed:
            self._above += mass[self._at]
            self._at -= 1

    def _rescale(self) -> None:
        self._mass = [mass / self._weight for mass in self._mass]
        self._total = sum(self._mass)
        self._above = sum(self._mass[self._at + 1 :])
        self._weight = 1.0


def _bin(number: float, width: float) -> int:
    """Return the bin of a number: bin k holds what is above (k - 1) widths, up to k widths."""
    return ceil(number / width - ROUNDING)
