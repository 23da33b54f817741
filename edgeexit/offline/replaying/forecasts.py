"""How good the forecasts of a rule are that a governor plans with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeexit.exits.verdicts import LEAST_PROBABILITY, condition
from edgeexit.offline.replaying.paths import Paths
from edgeexit.offline.replaying.results import ForecastRow

FloatArray = NDArray[np.float64]
CLASSES = 10
"""Probabilities are divided into so many equal classes to compare them with what came true."""


def forecast_row(name: str, paths: Paths) -> ForecastRow | None:
    """Judge a rule's distributions after its first look; None if it gives none or no sample went on.

    Args:
        name: Of the setting.
        paths: Of the rule.
    """
    first = paths.verdicts[0]
    went_on = np.flatnonzero(paths.asks > 1)
    if first.distribution is None or not len(went_on):
        return None
    given = np.array([verdict.distribution for verdict in paths.verdicts])[paths.verdict[went_on, 1]]
    answered = paths.exit_index[went_on]
    usual = condition(paths.exit_count, first.distribution, range(first.next_exit + 1, paths.exit_count))
    error = given.argmax(axis=1) - answered
    return ForecastRow(
        rule=name,
        samples=len(went_on),
        exact=float((error == 0).mean()),
        mean_absolute_error=float(np.abs(error).mean()),
        overshoot=float((error > 0).mean()),
        undershoot=float((error < 0).mean()),
        surprise=_surprise(given[np.arange(len(answered)), answered]),
        usual_surprise=_surprise(np.array(usual)[answered]),
        reliability=_reliability(given, answered),
    )


def _surprise(probability: FloatArray) -> float:
    return float(-np.log(np.maximum(probability, LEAST_PROBABILITY)).mean())


def _reliability(given: FloatArray, answered: NDArray[np.int64]) -> tuple[tuple[float, float, int], ...]:
    """Return for each class of probability the mean given, the share that came true, and how many there were."""
    came = np.zeros(given.shape)
    came[np.arange(len(answered)), answered] = 1.0
    possible = given > 0.0
    probability, true = given[possible], came[possible]
    place = np.minimum((probability * CLASSES).astype(np.int64), CLASSES - 1)
    counts = np.bincount(place, minlength=CLASSES)
    sums = np.bincount(place, probability, minlength=CLASSES), np.bincount(place, true, minlength=CLASSES)
    return tuple(
        (float(sums[0][c] / counts[c]), float(sums[1][c] / counts[c]), int(counts[c])) for c in np.flatnonzero(counts)
    )
