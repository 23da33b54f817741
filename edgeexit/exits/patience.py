"""`patience`: stop once exits in a row have agreed often enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edgeexit.exits.options import check_count, check_exit_count, check_exit_index
from edgeexit.exits.verdicts import check_prior, prepare_verdicts
from edgeexit.protocols import Evidence, Look, Verdict


class Patience:
    """Stop where the label has stayed the same `patience` times in a row (PABEE, arXiv 2006.04152).

    Each look whose label equals that of the look before counts one; a look that differs begins anew at none. With
    `patience` 1 two agreeing exits answer.

    Args:
        exit_count: Number of exits.
        patience: How many agreements in a row are asked for.
        start: The first exit to look at.
        prior: How often each exit answers, from calibration; with it the rule forecasts.
    """

    name: Final = "patience"

    def __init__(self, exit_count: int, *, patience: int, start: int = 0, prior: Sequence[float] | None = None) -> None:
        exit_count = check_exit_count(exit_count)
        self._patience = check_count("patience", patience, least=1)
        start = check_exit_index("start", start, exit_count)
        self.looks_at_every_exit = start == 0
        self._verdicts = prepare_verdicts(exit_count, range(start, exit_count), check_prior(prior, exit_count))

    def judge(self, evidence: Evidence) -> Verdict:
        """Stop if the newest looks agree, else go on to the next exit."""
        looks = evidence.looks
        if not looks:
            return self._verdicts.first
        exit_index = looks[-1].exit_index
        if _agreements(looks) >= self._patience:
            return self._verdicts.stop[exit_index]
        return self._verdicts.go_on[exit_index]


def _agreements(looks: Sequence[Look]) -> int:
    """Return how many looks before the newest have its label, without a break."""
    label = looks[-1].label
    count = 0
    while count + 1 < len(looks) and looks[-2 - count].label == label:
        count += 1
    return count
