"""Tracks how often each exit answers, and tells when that is no longer as it was in calibration.

Plain arithmetic, a constant few steps an answer: the answers are counted, and every `BLOCK` of them the counts are
taken into account.
"""

from __future__ import annotations

from itertools import accumulate
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from edgeexit.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeexit.protocols import Distribution

BLOCK = 32
"""Answers are taken into account so many at a time."""
STEPS = 20
"""Of the share of exits looked at: finer steps would only have governors plan anew."""
LEAST_EXPECTED = 5.0
"""Exits that are expected to answer less often in a window are tested together (Cochran, "Some methods for
strengthening the common chi-square tests", Biometrics 10, 1954)."""


class Drift(NamedTuple):
    """Whether the answering exits are distributed as they were in calibration."""

    drifted: bool
    statistic: float | None
    """Chi-square of the newest window; None before the first, and where there is nothing to compare with."""
    limit: float | None
    """What the statistic exceeds with the false-alarm rate's probability if nothing has changed."""
    since_s: float | None
    """When the window began in which it was noticed, on the device's clock; None if there is no drift."""
    answers: int
    """How many answers have been counted in all."""


class ExitTracker:
    """Tracks the distribution of the answering exit, and tests it for drift.

    **Tracking.** Exponential forgetting, `memory` answers back to 1/e, from the distribution that calibration found.
    Without one the first answers alone count, and nothing is published before `memory` / 4 of them. An inference
    that was cut short says only that the answer would have come no earlier than from some exit; it counts for these
    exits by their present shares, which is a step of the self-consistent estimate for censored data (Efron, "The two
    sample problem with censored data", Berkeley Symposium 1967).

    **Drift.** Every `window` answers are compared with the calibration's by the chi-square test of two samples
    (Press et al., "Numerical Recipes", 3rd edition, equation 14.3.3 with unequal totals), for calibration too is only
    a sample. Its limit at the false-alarm rate is by Wilson and Hilferty ("The distribution of chi-square", PNAS 17,
    1931). With nothing changed one window in ``1 / false_alarm`` is taken for a drift: one in 5 million answers by
    default. A drift ends with a window below the limit at the 5 % level. Answers cut short count as calibration says,
    so deadlines alone are no drift.

    Args:
        exit_count: Number of exits.
        prior: How often each exit answered in calibration; None where it is not known: then there is no drift.
        prior_samples: How many samples that rests on; None takes it for exact.
        memory: Answers.
        window: Answers, a multiple of `BLOCK`.
        tolerance: A new distribution is published when it has moved so far from the last in total variation.
        false_alarm: Probability of an alarm in a window if nothing has changed.

    Raises:
        OptionError: If an option is out of its range.
    """

    def __init__(
        self,
        exit_count: int,
        prior: Distribution | None,
        *,
        prior_samples: int | None = None,
        memory: float = 500.0,
        window: int = 512,
        tolerance: float = 0.05,
        false_alarm: float = 1e-4,
    ) -> None:
        if not (memory >= BLOCK and window >= BLOCK and window % BLOCK == 0 and 0.0 < false_alarm < 0.05):
            raise OptionError(
                f"exit tracking needs memory >= {BLOCK}, a window that is a multiple of {BLOCK} and "
                f"0 < false_alarm < 0.05, not {memory!r}, {window!r} and {false_alarm!r}"
            )
        self.usual_exits: Distribution | None = None if prior is None else tuple(prior)
        self.answers = 0
        self._memory = memory
        self._tolerance = tolerance
        self._shares = [1.0 / exit_count] * exit_count if prior is None else list(prior)
        self._has_prior = prior is not None
        self._counts = [0.0] * exit_count
        self._pending = 0
        self._test = _DriftTest(self._shares, prior_samples, window, false_alarm) if self._has_prior else None

    @property
    def drift(self) -> Drift:
        """The state of the drift test."""
        test = self._test
        if test is None or test.limit is None:
            return Drift(False, None, None, None, self.answers)
        return Drift(test.since_s is not None, test.statistic, test.limit, test.since_s, self.answers)

    def answered(self, exit_index: int, now_s: float) -> bool:
        """Count an answer that came as the exit rule wanted.

        Returns:
            True if a drift was noticed by it.
        """
        self._counts[exit_index] += 1.0
        if self._test is not None:
            self._test.counts[exit_index] += 1.0
        return self._counted(now_s)

    def cut_short(self, earliest: int, now_s: float) -> bool:
        """Count an inference that was cut short, where exits before `earliest` would not have answered.

        Returns:
            True if a drift was noticed by it.
        """
        _spread(self._counts, self._shares, earliest)
        if self._test is not None:
            _spread(self._test.counts, self._test.prior, earliest)
        return self._counted(now_s)

    def _counted(self, now_s: float) -> bool:
        self._pending += 1
        if self._pending < BLOCK:
            return False
        self.answers += BLOCK
        self._fold()
        return self._test is not None and self._test.end_block(now_s)

    def _fold(self) -> None:
        weight = 1.0 - (1.0 - 1.0 / self._memory) ** BLOCK
        if not self._has_prior:
            weight = max(weight, BLOCK / self.answers)
        pairs = zip(self._shares, self._counts, strict=True)
        self._shares = [(1.0 - weight) * share + weight * count / BLOCK for share, count in pairs]
        self._counts = [0.0] * len(self._counts)
        self._pending = 0
        usual = self.usual_exits
        if usual is None:
            moved = self.answers >= self._memory / 4.0
        else:
            moved = _total_variation(usual, self._shares) > self._tolerance
        if moved:
            self.usual_exits = tuple(self._shares)


class LookTracker:
    """Tracks how many of the exits between the first look and the answer a rule looks at.

    Sums with exponential forgetting, `memory` answers back to 1/e; the share is published in `STEPS` steps, and not
    before `memory` / 4 answers: until then it is 1, as of a rule that looks at one exit after the other.

    Args:
        exit_count: Number of exits.
        prior: How often each exit answers; those that never do are not looked at. None: all may be.
        memory: Answers.
    """

    def __init__(self, exit_count: int, prior: Distribution | None, *, memory: float = 500.0) -> None:
        possible = [1] * exit_count if prior is None else [int(share > 0.0) for share in prior]
        self._before = [0, *accumulate(possible)]
        self._memory = memory
        self._answers = 0
        self._passed = self._looked = 0.0
        self.looked_share = 1.0

    def looked(self, exits: Sequence[int]) -> None:
        """Count an answer that came as the rule wanted, after looks at `exits`, first to last."""
        self._passed += self._before[exits[-1]] - self._before[min(exits[0] + 1, exits[-1])]
        self._looked += max(0, len(exits) - 2)
        self._answers += 1
        if self._answers % BLOCK == 0:
            if self._passed > 0.0 and self._answers >= self._memory / 4:
                self.looked_share = min(1.0, round(self._looked / self._passed * STEPS) / STEPS)
            kept = (1.0 - 1.0 / self._memory) ** BLOCK
            self._passed, self._looked = kept * self._passed, kept * self._looked


class _DriftTest:
    """The chi-square test of one window after the other."""

    def __init__(self, prior: Sequence[float], prior_samples: int | None, window: int, false_alarm: float) -> None:
        self.prior = tuple(prior)
        self.counts = [0.0] * len(self.prior)
        self.statistic: float | None = None
        self.since_s: float | None = None
        self._window = window
        self._blocks = 0
        self._began_s: float | None = None
        self._scale = 1.0 if prior_samples is None else prior_samples / (prior_samples + window)
        self._samples = prior_samples
        self._groups = _groups(self.prior, window)
        freedom = len(self._groups) - 1
        self.limit = chi_square_limit(freedom, false_alarm) if freedom else None
        self._calm = chi_square_limit(freedom, 0.05) if freedom else 0.0

    def end_block(self, now_s: float) -> bool:
        """Test if the window is full; return True if a drift begins."""
        self._blocks += 1
        if self._blocks * BLOCK < self._window:
            self._began_s = now_s if self._began_s is None else self._began_s
            return False
        began_s = now_s if self._began_s is None else self._began_s
        self._blocks, self._began_s = 0, now_s
        if self.limit is None:
            return False
        self.statistic = self._chi_square()
        self.counts = [0.0] * len(self.counts)
        if self.statistic > self.limit and self.since_s is None:
            self.since_s = began_s
            return True
        if self.statistic < self._calm:
            self.since_s = None
        return False

    def _chi_square(self) -> float:
        """Return sum of (observed - expected)^2 / variance, the calibration's own uncertainty counted."""
        statistic = 0.0
        for group in self._groups:
            expected = self._window * sum(self.prior[e] for e in group)
            observed = sum(self.counts[e] for e in group)
            # pooled share of both samples, as (R + S) in Numerical Recipes; the calibration alone if it is exact
            pooled = expected if self._samples is None else self._pooled(observed, expected)
            statistic += self._scale * (observed - expected) ** 2 / max(pooled, 1e-9)
        return statistic

    def _pooled(self, observed: float, expected: float) -> float:
        samples = self._samples or 0
        return self._window * (observed + expected * samples / self._window) / (self._window + samples)


def chi_square_limit(freedom: int, probability: float) -> float:
    """Return what chi-square exceeds with `probability` (small), by Wilson and Hilferty's cube-root approximation.

    Args:
        freedom: Degrees of freedom, at least 1.
        probability: Between 0 and 1.
    """
    spread = 2.0 / (9.0 * freedom)
    cube_root = 1.0 - spread + NormalDist().inv_cdf(1.0 - probability) * sqrt(spread)
    return freedom * cube_root**3


def _groups(prior: Sequence[float], window: int) -> list[list[int]]:
    """Return neighbouring exits in groups that are each expected to answer often enough in a window."""
    groups: list[list[int]] = []
    group: list[int] = []
    for exit_index in range(len(prior)):
        group.append(exit_index)
        if window * sum(prior[e] for e in group) >= LEAST_EXPECTED:
            groups.append(group)
            group = []
    if group and groups:
        groups[-1] += group
    return groups or [group]


def _spread(counts: list[float], shares: Sequence[float], earliest: int) -> None:
    """Count one answer from `earliest` or later, by the exits' shares."""
    total = sum(shares[earliest:])
    if total <= 0.0:
        counts[-1] += 1.0
        return
    for exit_index in range(earliest, len(counts)):
        counts[exit_index] += shares[exit_index] / total


def _total_variation(one: Sequence[float], other: Sequence[float]) -> float:
    return 0.5 * sum(abs(a - b) for a, b in zip(one, other, strict=True))
