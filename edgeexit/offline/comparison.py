"""Compare one rule with the controls that might explain its gain, also at equal accuracy.

Two rules calibrated for the same allowed drop end at somewhat different accuracies on new images, and so at different
work. At equal accuracy the control gets the least work with which it reaches the rule's accuracy: with one of its own
settings, with a single exit for all samples, or by tossing a coin between two of these. These are picked with the
images reported on, which favours the control. Near the full network's accuracy a tenth of a point is worth many points
of work, and the intervals are wide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.bootstrap import Estimate, Resamples, estimate
from edgeexit.offline.replay import Replay, replay_known_exits
from edgeexit.offline.traces import Trace
from edgeexit.protocols import Workload

FloatArray = NDArray[np.float64]
Runs = Mapping[tuple[str, float], Replay]
"""Setting and allowed drop -> what the rule did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One rule against one control at one allowed drop; differences are the rule less the control.

    Attributes:
        rule: Name of the rule's setting.
        control: Name of the control's setting.
        allowed_drop: In percentage points.
        accuracy: Difference of the shares of right answers.
        macs_share: Difference of the work, in full networks.
        macs_share_at_equal_accuracy: The same with the control at the rule's accuracy.
    """

    rule: str
    control: str
    allowed_drop: float
    accuracy: Estimate
    macs_share: Estimate
    macs_share_at_equal_accuracy: Estimate


def compare(
    rule: str, controls: tuple[str, ...], runs: Runs, test: Trace, workload: Workload, resamples: Resamples
) -> Iterator[Comparison]:
    """Compare `rule` with each control at each allowed drop.

    Args:
        rule: Name of a setting.
        controls: Names of others; those that were not run are left out.
        runs: Of all settings.
        test: The images they ran on.
        workload: MACs of the pieces.
        resamples: Of the images.
    """
    exits = [replay_known_exits(np.full(len(test), e), test, workload) for e in range(test.exit_count)]
    single = [_means(run, resamples) for run in exits]
    for control in controls:
        points = single + [_means(run, resamples) for (name, _), run in runs.items() if name == control]
        accuracies, work = (np.stack(column, axis=1) for column in zip(*points, strict=True))
        for (name, drop), run in runs.items():
            if name == rule and (control, drop) in runs:
                own_accuracy, own_work = _means(run, resamples)
                other_accuracy, other_work = _means(runs[control, drop], resamples)
                yield Comparison(
                    rule=rule,
                    control=control,
                    allowed_drop=drop,
                    accuracy=estimate(own_accuracy - other_accuracy),
                    macs_share=estimate(own_work - other_work),
                    macs_share_at_equal_accuracy=estimate(own_work - least_work(own_accuracy, accuracies, work)),
                )


def least_work(accuracy: FloatArray, accuracies: FloatArray, work: FloatArray) -> FloatArray:
    """Return (B,) the least work with which P points or mixtures of two reach an accuracy, in each of B resamples.

    Args:
        accuracy: (B,) to be reached; where no point does, the most accurate counts.
        accuracies: (B, P) of the points.
        work: (B, P) of the points.
    """
    accuracy = np.minimum(accuracy, accuracies.max(axis=1))
    least = np.where(accuracies >= accuracy[:, np.newaxis], work, np.inf).min(axis=1)
    for one, other in combinations(range(accuracies.shape[1]), 2):
        rise = accuracies[:, other] - accuracies[:, one]
        share = np.divide(accuracy - accuracies[:, one], rise, out=np.full(len(rise), -1.0), where=rise != 0)
        mixed = (1 - share) * work[:, one] + share * work[:, other]
        least = np.where((share >= 0) & (share <= 1), np.minimum(least, mixed), least)
    return np.asarray(least)


def _means(run: Replay, resamples: Resamples) -> tuple[FloatArray, FloatArray]:
    return resamples.means(run.correct), resamples.means(run.macs / run.full_macs)
