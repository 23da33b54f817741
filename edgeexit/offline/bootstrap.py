"""Bootstrap intervals: how much a mean over images would vary with other images (Efron, Annals of Statistics, 1979)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its bootstrap interval."""

    value: float
    low: float
    high: float


class Resamples:
    """Resamples of S images, the same for every figure, so that two rules can be compared image by image.

    Args:
        samples: S.
        seed: Of the draws.
        count: How many resamples.
    """

    def __init__(self, samples: int, seed: int, count: int = RESAMPLES) -> None:
        generator = np.random.default_rng(seed)
        evenly = np.full(samples, 1 / samples)
        drawn = np.stack([generator.multinomial(samples, evenly) for _ in range(count)])
        self._weights = np.vstack([np.ones(samples), drawn]).astype(np.float32) / samples

    def means(self, values: NDArray[Any]) -> FloatArray:
        """Return (1 + count,) the mean of `values` (S,) over the images as they are, then over each resample."""
        means = (self._weights @ values.astype(np.float32)).astype(np.float64)
        means[0] = values.mean(dtype=np.float64)
        return means

    def estimate(self, values: NDArray[Any]) -> Estimate:
        """Return the mean of `values` (S,) and its interval."""
        return estimate(self.means(values))


def estimate(figures: FloatArray) -> Estimate:
    """Return a figure and its percentile interval.

    Args:
        figures: (1 + count,) the figure of the images as they are, then of each resample.
    """
    low, high = np.quantile(figures[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(float(figures[0]), float(low), float(high))
