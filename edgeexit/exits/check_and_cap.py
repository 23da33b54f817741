"""`check-and-cap`: one threshold for all exits, and a deepest exit at which every sample ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edgeexit.exits.options import check_exit_count, check_exit_index, check_number
from edgeexit.exits.verdicts import check_prior, prepare_verdicts
from edgeexit.protocols import Evidence, Verdict


class CheckAndCap:
    """Stop where the largest probability reaches a threshold, and at exit `cap` in any case.

    The control that a forecast must beat: samples that no exit is sure of would run to the end and gain little.

    Args:
        exit_count: Number of exits.
        threshold: A probability.
        cap: The deepest exit.
        start: The first exit to look at, at most `cap`.
        prior: How often each exit answers, from calibration; with it the rule forecasts.
    """

    name: Final = "check-and-cap"

    def __init__(
        self,
        exit_count: int,
        *,
        threshold: float,
        cap: int,
        start: int = 0,
        prior: Sequence[float] | None = None,
    ) -> None:
        exit_count = check_exit_count(exit_count)
        start = check_exit_index("start", start, exit_count)
        cap = check_exit_index("cap", cap, exit_count, least=start)
        self.looks_at_every_exit = start == 0
        self._threshold = check_number("threshold", threshold, low=0.0, high=1.0)
        self._verdicts = prepare_verdicts(exit_count, range(start, cap + 1), check_prior(prior, exit_count))

    def judge(self, evidence: Evidence) -> Verdict:
        """Stop if the newest look is confident enough or at the cap, else go on to the next exit."""
        looks = evidence.looks
        if not looks:
            return self._verdicts.first
        look = looks[-1]
        if look.confidence >= self._threshold:
            return self._verdicts.stop[look.exit_index]
        return self._verdicts.go_on[look.exit_index]
