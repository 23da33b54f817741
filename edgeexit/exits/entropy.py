"""`entropy`: stop at the first exit whose probabilities are concentrated enough."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Final

from edgeexit.exits.options import check_exit_count, check_exit_index, check_numbers
from edgeexit.exits.verdicts import check_prior, prepare_verdicts
from edgeexit.protocols import Evidence, Verdict


class Entropy:
    """Stop where the entropy of the probabilities is at most a threshold (BranchyNet, arXiv 1709.01686).

    Args:
        exit_count: Number of exits.
        threshold: Entropy in nats, 0 (certain) to the logarithm of the number of classes (undecided), or a list
            of one for each exit.
        start: The first exit to look at.
        prior: How often each exit answers, from calibration; with it the rule forecasts.
    """

    name: Final = "entropy"

    def __init__(
        self,
        exit_count: int,
        *,
        threshold: float | Sequence[float],
        start: int = 0,
        prior: Sequence[float] | None = None,
    ) -> None:
        exit_count = check_exit_count(exit_count)
        start = check_exit_index("start", start, exit_count)
        self.looks_at_every_exit = start == 0
        self._thresholds = tuple(check_numbers("threshold", threshold, exit_count, low=0.0))
        self._verdicts = prepare_verdicts(exit_count, range(start, exit_count), check_prior(prior, exit_count))

    def judge(self, evidence: Evidence) -> Verdict:
        """Stop if the entropy of the newest look is low enough, else go on to the next exit."""
        looks = evidence.looks
        if not looks:
            return self._verdicts.first
        look = looks[-1]
        exit_index = look.exit_index
        # With p the softmax of z, -sum p ln p is ln(sum e^z) - p.z, and the logarithm is z_max - ln p_max.
        log_sum = look.logits.item(look.label) - log(look.confidence)
        if log_sum - float(look.probabilities.dot(look.logits)) <= self._thresholds[exit_index]:
            return self._verdicts.stop[exit_index]
        return self._verdicts.go_on[exit_index]
