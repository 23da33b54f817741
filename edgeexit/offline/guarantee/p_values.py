"""How surprising a count would be if a bound did not hold: exact p-values, valid for every number of samples.

For the disagreement with the full network the count is binomial, and its distribution function is the p-value.

For the accuracy lost there are two counts: samples that the full network gets right and the setting wrong (lost), and
the other way round (gained). What is bounded is the difference of their rates, and the rate of gains is not known.
The score statistic of Tango (Statistics in Medicine 17, 1998, equation 8) orders the outcomes, and the p-value is the
largest probability, over all rates of gains, of an outcome that looks as good or better (an exact unconditional
test). Rates that the gains all but exclude are left out, and the chance of wrongly doing so is added (Berger and
Boos, JASA 89, 1994). A bound of Hoeffding or Bentkus takes the difference for as variable as a coin, which for 0.5
points would need tens of thousands of samples; this test knows that nearly all answers are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import ceil, log
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

from edgeexit.bundle.certificates import FULL, LABELS, RISKS
from edgeexit.errors import OptionError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

METHODS: Final = {
    LABELS: "exact unconditional score test of the paired difference (Tango; Berger and Boos)",
    FULL: "exact binomial test",
}
EXCLUDED: Final = 1e-3
"""Chance to exclude the true rate of gains, which is added to the p-value."""
CELLS: Final = 96
"""Into which the rates of gains are divided; more make the bound tighter, not more valid."""
_TAIL: Final = 1e-9
"""Probability of numbers of gains that are not looked at, which is added too."""


def p_value(lost: int, gained: int, samples: int, bound: float, risk: str) -> float:
    """Return the chance of counts as good as these or better, if the risk were `bound` or more.

    Args:
        lost: Answers that count against the setting.
        gained: Answers that count for it; 0 for the risk "full".
        samples: How many answers there are in all.
        bound: A share, above 0 and below 1.
        risk: One of `RISKS`.

    Raises:
        OptionError: If the risk is unknown or the bound out of its range.
    """
    if risk not in RISKS:
        raise OptionError(f"the risk must be one of {', '.join(RISKS)}, not {risk!r}")
    if not 0.0 < bound < 1.0:
        raise OptionError(f"a bound must lie between 0 and 100 points, not {100 * bound:g}")
    if risk == FULL:
        return float(special.bdtr(lost, samples, bound))
    return drop_p_value(lost, gained, samples, bound)


@lru_cache(maxsize=4096)
def drop_p_value(lost: int, gained: int, samples: int, bound: float) -> float:
    """Return the p-value of the hypothesis that the rate of losses less that of gains is `bound` or more.

    Every cell of rates of gains, from q to r, is bounded by one case: losses as rare as for q, gains as frequent as
    for r. What counts as "as good or better" has, with an outcome, also those of fewer losses and of more gains; so no
    rate within the cell makes it likelier, and the largest of the cells' bounds needs no faith in a grid.
    """
    statistic = float(score_statistic(np.array([lost]), np.array([gained]), samples, bound)[0])
    low = float(special.betaincinv(gained, samples - gained + 1, EXCLUDED / 2)) if gained else 0.0
    high = float(special.betaincinv(gained + 1, samples - gained, 1 - EXCLUDED / 2)) if gained < samples else 1.0
    edges: FloatArray = np.linspace(low, min(high, (1 - bound) / 2), CELLS + 1, dtype=np.float64)
    counts = _likely_counts(edges, samples)
    at_most = _most_losses(counts, statistic, samples, bound)
    likely = _probability(counts, at_most, samples, bound + edges[:-1], edges[1:])
    return float(min(1.0, likely.max() + EXCLUDED + _TAIL))


def score_statistic(lost: IntArray, gained: IntArray, samples: int, bound: float) -> FloatArray:
    """Return Tango's statistic, elementwise: the difference from `bound` in standard errors as under `bound`."""
    lost_, gained_ = lost.astype(np.float64), gained.astype(np.float64)
    linear = -lost_ - gained_ + (2 * samples - lost_ + gained_) * bound
    constant = -gained_ * bound * (1 - bound)
    rate = (np.sqrt(linear**2 - 8 * samples * constant) - linear) / (4 * samples)
    variance = samples * (2 * rate + bound * (1 - bound))
    return np.asarray((lost_ - gained_ - samples * bound) / np.sqrt(variance))


def samples_needed(bound: float, confidence: float, risk: str) -> int:
    """Return with how many samples a setting could be certified that never differs from the full network.

    Args:
        bound: A share.
        confidence: Between 0 and 1.
        risk: One of `RISKS`.
    """
    chance = 1 - confidence
    if risk == FULL:
        return ceil(log(chance) / log(1 - bound))
    if chance <= EXCLUDED + _TAIL:
        raise OptionError(f"the confidence must be below {1 - EXCLUDED:g}, not {confidence:g}, for the risk {LABELS!r}")
    return least_samples(lambda samples: p_value(0, 0, samples, bound, risk) <= chance, ceil(1 / bound))


def least_samples(enough: Callable[[int], bool], start: int) -> int:
    """Return about the least number of samples from `start` on that is enough; `enough` must not turn back to no."""
    high = start
    while not enough(high):
        high *= 2
    low = high // 2 if high > start else start - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _likely_counts(rates: FloatArray, samples: int) -> IntArray:
    """Return all counts of gains but those that together have a chance of less than `_TAIL` at each of the rates."""
    center, spread = samples * rates, 7 * np.sqrt(samples * rates * (1 - rates)) + 30
    low, high = np.floor((center - spread).min()), np.ceil((center + spread).max())
    return np.arange(max(0, int(low)), min(samples, int(high)) + 1)


def _most_losses(gained: IntArray, statistic: float, samples: int, bound: float) -> IntArray:
    """Return, for each number of gains, with how many losses an outcome is still as good; -1 for none."""
    low: IntArray = np.full(len(gained), -1, dtype=np.int64)
    high: IntArray = samples - gained
    while (low < high).any():
        middle = (low + high + 1) // 2
        good = score_statistic(np.maximum(middle, 0), gained, samples, bound) <= statistic + 1e-9
        low, high = np.where(good, middle, low), np.where(good, high, middle - 1)
    return np.asarray(np.minimum(np.maximum.accumulate(low), samples - gained))


def _probability(
    gained: IntArray, at_most: IntArray, samples: int, loss_rates: FloatArray, gain_rates: FloatArray
) -> FloatArray:
    """Return, for each pair of rates, the chance of some number of gains and at most so many losses with it."""
    gains, losses = gain_rates[:, np.newaxis], loss_rates[:, np.newaxis]
    rest = samples - gained
    log_ways = special.gammaln(samples + 1) - special.gammaln(gained + 1) - special.gammaln(rest + 1)
    chance = np.exp(log_ways + special.xlogy(gained, gains) + special.xlog1py(rest, -gains))
    known = np.clip(losses / (1 - gains), 0.0, 1.0)
    below = np.where(at_most < 0, 0.0, special.bdtr(np.maximum(at_most, 0), np.maximum(rest, 1), known))
    return np.asarray((chance * np.where((rest == 0) & (at_most >= 0), 1.0, below)).sum(axis=1))
