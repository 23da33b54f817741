"""`threshold`: stop at the first exit whose largest probability is high enough."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

from edgeexit.exits.options import check_exit_count, check_numbers_or_none
from edgeexit.exits.verdicts import check_prior, prepare_verdicts
from edgeexit.protocols import Evidence, Verdict


class Threshold:
    """Stop where the largest probability reaches a threshold, one for all exits or one for each.

    Thresholds of their own, falling with depth, need far less work than a single one: a deep exit that is unsure
    is seldom improved by the exits behind it. An exit whose threshold is None is not looked at, one whose
    threshold is 0 always answers, so a list can also start late, leave exits out and end early.

    Args:
        exit_count: Number of exits.
        threshold: A probability, or a list of one for each exit with None for exits not to look at. That of the
            last exit does not count, because it always answers.
        prior: How often each exit answers, from calibration; with it the rule forecasts.
    """

    name: Final = "threshold"

    def __init__(
        self,
        exit_count: int,
        *,
        threshold: float | Sequence[float | None],
        prior: Sequence[float] | None = None,
    ) -> None:
        exit_count = check_exit_count(exit_count)
        thresholds = check_numbers_or_none("threshold", threshold, exit_count, low=0.0, high=1.0)
        looked_at = exits_to_look_at(thresholds)
        self.looks_at_every_exit = looked_at == list(range(len(looked_at)))
        self._thresholds = tuple(inf if value is None else value for value in thresholds)
        self._verdicts = prepare_verdicts(exit_count, looked_at, check_prior(prior, exit_count))

    def judge(self, evidence: Evidence) -> Verdict:
        """Stop if the newest look is confident enough, else go on to the next exit."""
        looks = evidence.looks
        if not looks:
            return self._verdicts.first
        look = looks[-1]
        exit_index = look.exit_index
        if look.confidence >= self._thresholds[exit_index]:
            return self._verdicts.stop[exit_index]
        return self._verdicts.go_on[exit_index]


def exits_to_look_at(thresholds: Sequence[float | None]) -> list[int]:
    """Return the exits with a threshold, up to the first that always answers."""
    looked_at = [e for e, threshold in enumerate(thresholds) if threshold is not None]
    always = [e for e in looked_at if thresholds[e] == 0.0]
    deepest = always[0] if always else len(thresholds) - 1
    return [e for e in looked_at if e < deepest] + [deepest]
