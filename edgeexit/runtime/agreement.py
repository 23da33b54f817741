"""How often early answers agree with the full network: with an exact interval, and an alarm when it falls."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, lgamma, log, log1p
from typing import Final, NamedTuple

CONFIDENCE: Final = 0.95
"""Of the intervals."""
WORSE: Final = (1.5, 2.0, 4.0, 8.0)
"""By how much the odds of disagreeing may have grown, for the alarm to look for."""
RUN_LENGTH: Final = 10_000.0
"""Checks between two false alarms, on average and at least."""
OVER: Final = 20.0
"""A drift is over when the evidence for it has fallen to this."""
MOST_USUAL: Final = 0.99
"""Disagreement that is more usual than this has no room to grow."""
_HALVINGS: Final = 80


class Expected(NamedTuple):
    """What calibration found of the samples that exited early."""

    exited: int
    agreed: int
    """How many of them the full network would have answered alike."""

    @property
    def agreement(self) -> float:
        """Their share."""
        return self.agreed / self.exited


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact two-sided interval of a probability.

    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26, 1934: the probabilities at which so many successes or more, and so many or fewer, have half of
    what the confidence leaves.

    Args:
        successes: From 0 to `trials`.
        trials: At least 1.
        confidence: Between 0 and 1.
    """
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if successes == 0 else _solve(lambda p: at_least(successes, trials, p) < tail)
    high = 1.0 if successes == trials else _solve(lambda p: at_most(successes, trials, p) > tail)
    return low, high


def at_most(count: int, trials: int, probability: float) -> float:
    """Return the probability of `count` successes or fewer in `trials`."""
    if count >= trials or probability <= 0.0:
        return 1.0
    if count < 0 or probability >= 1.0:
        return 0.0
    if count >= (trials + 1) * probability:
        return 1.0 - at_least(count + 1, trials, probability)
    odds = (1.0 - probability) / probability
    return _falling(count, trials, probability, lambda i: odds * i / (trials - i + 1), -1)


def at_least(count: int, trials: int, probability: float) -> float:
    """Return the probability of `count` successes or more in `trials`."""
    if count <= 0 or probability >= 1.0:
        return 1.0
    if count > trials or probability <= 0.0:
        return 0.0
    if count <= (trials + 1) * probability:
        return 1.0 - at_most(count - 1, trials, probability)
    odds = probability / (1.0 - probability)
    return _falling(count, trials, probability, lambda i: odds * (trials - i) / (i + 1), 1)


class AgreementAlarm:
    """Notices that early answers agree with the full network less often than in calibration.

    A sum of log likelihood ratios for each factor in `WORSE`, never below 0 (Page, "Continuous inspection schemes",
    Biometrika 41, 1954). Their mean, each taken out of the logarithm, is an e-detector: as long as disagreement is no
    more likely than is usual, it takes `RUN_LENGTH` checks or more, on average, until the mean reaches that number
    (Shin, Ramdas and Rinaldo, "E-detectors", arXiv 2203.03532). So it may be looked at after every check.

    Attributes:
        since_s: When the drift began that is now, as far as the sums tell; None if there is none.
    """

    def __init__(self) -> None:
        self.since_s: float | None = None
        self._sums = [0.0] * len(WORSE)
        self._began_s = [0.0] * len(WORSE)
        self._most = log(RUN_LENGTH * len(WORSE))

    def checked(self, agrees: bool, usual_disagreement: float, now_s: float) -> bool:
        """Count one check.

        Args:
            agrees: Whether the full network said the same.
            usual_disagreement: How often it says something else where all is well, at most: between 0 and 1.
            now_s: When it was.

        Returns:
            True if a drift is noticed by it.
        """
        usual = min(usual_disagreement, MOST_USUAL)
        for index, factor in enumerate(WORSE):
            worse = factor * usual / (1.0 + (factor - 1.0) * usual)
            step = log1p(-worse) - log1p(-usual) if agrees else log(worse / usual)
            if self._sums[index] == 0.0:
                self._began_s[index] = now_s
            self._sums[index] = min(max(0.0, self._sums[index] + step), self._most)
        return self._judge()

    def _judge(self) -> bool:
        evidence = sum(map(exp, self._sums)) / len(WORSE)
        if self.since_s is not None:
            self.since_s = None if evidence <= OVER else self.since_s
            return False
        if evidence < RUN_LENGTH * (1.0 - 1e-9):
            return False
        strongest = max(range(len(WORSE)), key=self._sums.__getitem__)
        self.since_s = self._began_s[strongest]
        return True


def _solve(below: Callable[[float], bool]) -> float:
    """Return where `below`, true from 0 up to some probability and false behind it, changes."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if below(middle) else (low, middle)
    return 0.5 * (low + high)


def _falling(count: int, trials: int, probability: float, ratio: Callable[[int], float], step: int) -> float:
    """Sum the binomial's terms from `count` on, away from its middle: each is smaller than the one before."""
    ways = lgamma(trials + 1) - lgamma(count + 1) - lgamma(trials - count + 1)
    term = exp(ways + count * log(probability) + (trials - count) * log1p(-probability))
    total = 0.0
    while term > total * 1e-17:
        total += term
        term *= ratio(count)
        count += step
    return min(total, 1.0)
