"""How latencies vary about what the cost table says."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log1p, sqrt

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import OptionError

FloatArray = NDArray[np.float64]

KINDS = ("truncated-normal", "lognormal")
LARGEST_Z = 3.0
"""Where the truncated normal ends, in standard deviations."""
LEAST_FACTOR = 0.1


@dataclass(frozen=True, slots=True)
class Noise:
    """Every piece's latency is the table's times a factor of its own; power stays, so energy varies likewise.

    "truncated-normal" is 1 + `relative` z, z standard normal but never beyond +-3, and at least 0.1: a latency guard
    of 1 + 3 `relative` covers it. "lognormal" has mean 1, standard deviation `relative` and no largest value: no guard
    covers it for certain.

    Attributes:
        relative: Standard deviation of a piece's latency as a share of its mean (of the normal before it is
            truncated).
        kind: "truncated-normal" or "lognormal".
        seed: Of the draws.
    """

    relative: float
    kind: str = "truncated-normal"
    seed: int = 0

    def __post_init__(self) -> None:
        if not (isfinite(self.relative) and self.relative >= 0.0):
            raise OptionError(f"noise must be finite and not negative, not {self.relative}")
        if self.kind not in KINDS:
            raise OptionError(f"noise is one of {', '.join(KINDS)}, not {self.kind!r}")

    @property
    def guard(self) -> float | None:
        """The latency guard that covers every factor; None where none does."""
        return 1.0 + LARGEST_Z * self.relative if self.kind == "truncated-normal" else None

    @property
    def text(self) -> str:
        """What it is, in words."""
        return f"{self.kind}, {self.relative:.0%}"

    def draw(self, shape: tuple[int, int], generator: np.random.Generator) -> FloatArray:
        """Return factors of this shape."""
        if self.kind == "lognormal":
            variance = log1p(self.relative**2)
            return generator.lognormal(-0.5 * variance, sqrt(variance), shape)
        z = generator.standard_normal(shape)
        while (beyond := np.abs(z) > LARGEST_Z).any():
            z[beyond] = generator.standard_normal(int(beyond.sum()))
        return np.maximum(1.0 + self.relative * z, LEAST_FACTOR)
