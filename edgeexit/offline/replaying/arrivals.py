"""When inferences are asked for: periodically, at random, in bursts, or as somebody recorded it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import DataError, OptionError

FloatArray = NDArray[np.float64]


class Arrivals(Protocol):
    """A process of requests."""

    @property
    def text(self) -> str:
        """What it is, in words."""

    @property
    def period_s(self) -> float | None:
        """The time from each request to the next, where that is always the same and so known in advance."""

    def gaps_s(self, streams: int, count: int, generator: np.random.Generator) -> FloatArray:
        """Return (streams, count) the times from each request to the next, in independent streams."""


@dataclass(frozen=True, slots=True)
class Periodic:
    """A request every `period_s` seconds, as a camera makes them."""

    period_s: float

    def __post_init__(self) -> None:
        _check_above_0("period_s", self.period_s)

    @property
    def text(self) -> str:
        """What it is, in words."""
        return f"periodic, every {self.period_s:.4g} s"

    def gaps_s(self, streams: int, count: int, generator: np.random.Generator) -> FloatArray:
        """Return (streams, count) the times from each request to the next."""
        return np.full((streams, count), self.period_s)


@dataclass(frozen=True, slots=True)
class Poisson:
    """Independent requests, `rate_hz` of them a second on average: gaps are exponential."""

    rate_hz: float

    def __post_init__(self) -> None:
        _check_above_0("rate_hz", self.rate_hz)

    @property
    def period_s(self) -> None:
        """None: nobody knows when the next request comes."""
        return None

    @property
    def text(self) -> str:
        """What it is, in words."""
        return f"Poisson, {self.rate_hz:.4g} a second"

    def gaps_s(self, streams: int, count: int, generator: np.random.Generator) -> FloatArray:
        """Return (streams, count) the times from each request to the next, in independent streams."""
        return generator.exponential(1.0 / self.rate_hz, (streams, count))


@dataclass(frozen=True, slots=True)
class Bursts:
    """Requests that come in bursts: a switched Poisson process.

    After each request the burst goes on with a probability such that it has `length` requests on average (a geometric
    number); within it gaps are exponential with mean `gap_s`, between bursts with mean `pause_s`.
    """

    gap_s: float
    pause_s: float
    length: float

    def __post_init__(self) -> None:
        _check_above_0("gap_s", self.gap_s)
        _check_above_0("pause_s", self.pause_s)
        if not (isfinite(self.length) and self.length >= 1.0):
            raise OptionError(f"length of a burst must be finite and at least 1, not {self.length}")

    @property
    def period_s(self) -> None:
        """None: nobody knows when the next request comes."""
        return None

    @property
    def text(self) -> str:
        """What it is, in words."""
        return f"bursts of {self.length:.3g}, {self.gap_s:.4g} s apart, {self.pause_s:.4g} s between bursts"

    def gaps_s(self, streams: int, count: int, generator: np.random.Generator) -> FloatArray:
        """Return (streams, count) the times from each request to the next, in independent streams."""
        ends = generator.random((streams, count)) < 1.0 / self.length
        means = np.where(ends, self.pause_s, self.gap_s)
        return means * generator.standard_exponential((streams, count))


@dataclass(frozen=True)
class Recorded:
    """Requests as they were recorded; streams begin at places of it evenly spread, and go on at its start at its end.

    Attributes:
        times_s: (N,) when each request came, ascending, at least two.
        name: What was recorded.

    Raises:
        DataError: If the times do not ascend, are not finite or fewer than two.
    """

    times_s: FloatArray = field(repr=False)
    name: str = "recorded"

    def __post_init__(self) -> None:
        times = np.asarray(self.times_s, dtype=np.float64)
        if times.ndim != 1 or len(times) < 2 or not np.isfinite(times).all() or (np.diff(times) < 0.0).any():
            raise DataError(f"recorded requests {self.name!r} must be at least two finite times that ascend")
        object.__setattr__(self, "times_s", times)

    @property
    def period_s(self) -> None:
        """None: nobody knows when the next request comes."""
        return None

    @property
    def text(self) -> str:
        """What it is, in words."""
        return f"{self.name}, {len(self.times_s)} requests in {self.times_s[-1] - self.times_s[0]:.4g} s"

    def gaps_s(self, streams: int, count: int, generator: np.random.Generator) -> FloatArray:
        """Return (streams, count) the times from each request to the next, each stream from a place of its own."""
        gaps = np.diff(self.times_s)
        starts = np.arange(streams) * len(gaps) // streams
        return np.asarray(gaps[(starts[:, np.newaxis] + np.arange(count)) % len(gaps)])


def load_recorded(path: Path) -> Recorded:
    """Load the times of requests: a text file with one time in seconds a line, ascending.

    Raises:
        DataError: If the file cannot be read or holds something else; the message names it.
    """
    try:
        times = [float(line) for line in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} must hold the times of requests in seconds, one a line: {error}") from error
    return Recorded(np.array(times), path.name)


def _check_above_0(name: str, value: float) -> None:
    if not (isfinite(value) and value > 0.0):
        raise OptionError(f"{name} must be finite and above 0, not {value}")
