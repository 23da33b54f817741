"""What it means that one run is better than another: energy, accuracy and misses side by side.

What is hard for one run is mostly hard for the other, since both have the same samples. Where runs still hold what
became of each inference, they are compared sample by sample: the mean of differences, and for a saving the ratio of
means (Cochran, Sampling Techniques, 1977, section 6.4). Files hold an interval for each figure of a run, none for
differences. From them the interval of a difference is made as if its sides were independent: the halves are added as
squares (propagation of uncertainty, JCGM 100:2008, 5.1.2). The truth is narrower.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from math import hypot, inf
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.bootstrap import Estimate
from edgeexit.offline.replaying.summing_up import mean_over_samples

if TYPE_CHECKING:
    from edgeexit.offline.replaying.results import GovernorRun, SampleArrays

MATERIAL: Final = 0.01
"""Energies that differ by a smaller share are called equal: the board is a model."""
WORTH: Final = 0.03
"""A saving of a smaller share is hardly worth what brings it."""


class Answer(Enum):
    """Whether something is worth it."""

    YES = "yes"
    HARDLY = "hardly"
    NO = "no"
    NOT_ASKED = "not asked"


def saving(run: GovernorRun, other: GovernorRun) -> Estimate:
    """Return the energy that `run` saves, in parts of what `other` takes; below 0 if it takes more."""
    pair = _pair(run, other)
    if pair is None or not other.energy_j.value > 0.0:
        return energy_saving(run.energy_j, other.energy_j)
    own, others = pair
    ratio = run.energy_j.value / other.energy_j.value
    residual = mean_over_samples(own.energy_j - ratio * others.energy_j, own.sample)
    half = (residual.high - residual.value) / other.energy_j.value
    return Estimate(1.0 - ratio, 1.0 - ratio - half, 1.0 - ratio + half)


def _pair(run: GovernorRun, other: GovernorRun) -> tuple[SampleArrays, SampleArrays] | None:
    """Return what became of the inferences of two runs if they were of the same samples in the same order."""
    one, two = run.samples, other.samples
    if one is None or two is None or not np.array_equal(one.sample, two.sample):
        return None
    return one, two


def energy_saving(energy_j: Estimate, other_j: Estimate) -> Estimate:
    """Return what the first energy is less than the second, in parts of the second."""
    if not other_j.value > 0.0 or not energy_j.value > 0.0:
        return Estimate(0.0, -inf, 1.0)
    ratio = energy_j.value / other_j.value
    above = hypot((energy_j.high - energy_j.value) / energy_j.value, (other_j.value - other_j.low) / other_j.value)
    below = hypot((energy_j.value - energy_j.low) / energy_j.value, (other_j.high - other_j.value) / other_j.value)
    return Estimate(1.0 - ratio, 1.0 - ratio * (1.0 + above), 1.0 - ratio * (1.0 - below))


def accuracy_gain(run: GovernorRun, other: GovernorRun) -> Estimate:
    """Return by how much the share of right answers of `run` lies above that of `other`."""
    pair = _pair(run, other)
    if pair is not None:
        gains: NDArray[np.float64] = pair[0].correct.astype(np.float64) - pair[1].correct
        return mean_over_samples(gains, pair[0].sample)
    if run.accuracy == other.accuracy:
        return Estimate(0.0, 0.0, 0.0)
    one, two = run.accuracy, other.accuracy
    value = one.value - two.value
    low = value - hypot(one.value - one.low, two.high - two.value)
    return Estimate(value, low, value + hypot(one.high - one.value, two.value - two.low))


def is_less_accurate(run: GovernorRun, other: GovernorRun) -> bool:
    """Return whether `run` is less accurate than `other` by more than their intervals allow for.

    An answer of `other` that is late where that of `run` is not is as good as a wrong one: a governor that cuts answers
    short to keep a hard deadline is not worse than one that misses it.
    """
    return accuracy_gain(run, other).high + max(0.0, miss_share(other) - miss_share(run)) < 0.0


def miss_share(run: GovernorRun) -> float:
    """Return the share of the inferences that were answered after the deadline."""
    return run.misses / run.inferences if run.inferences else 0.0


def judge(run: GovernorRun, other: GovernorRun) -> Answer:
    """Say whether `run` is worth it against `other`.

    It is not if it is late more often or saves less than `MATERIAL`. It is if it saves `WORTH` and its interval stays
    above `MATERIAL`, at an accuracy that the intervals cannot tell apart. Else it hardly is.
    """
    share = saving(run, other)
    if miss_share(run) > miss_share(other) or share.value < MATERIAL:
        return Answer.NO
    if share.value >= WORTH and share.low >= MATERIAL and not is_less_accurate(run, other):
        return Answer.YES
    return Answer.HARDLY


def objection(run: GovernorRun, other: GovernorRun) -> str:
    """Return what speaks against `run`, whatever it saves against `other`; nothing if nothing does."""
    if miss_share(run) > miss_share(other):
        return "but late more often"
    return "but less accurate" if is_less_accurate(run, other) else ""


def best(runs: Iterable[GovernorRun], *, as_accurate_as: GovernorRun | None = None) -> GovernorRun | None:
    """Return the run of least energy among those that are late least often; None if there is none.

    Args:
        runs: To choose from.
        as_accurate_as: Runs that are late more often than this one are left out, then those that are less accurate,
            each unless all are.
    """
    found = list(runs)
    if as_accurate_as is not None:
        found = [run for run in found if miss_share(run) <= miss_share(as_accurate_as)] or found
        found = [run for run in found if not is_less_accurate(run, as_accurate_as)] or found
    return min(found, key=lambda run: (miss_share(run), run.energy_j.value), default=None)
