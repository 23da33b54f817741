"""`last`: run the whole network and let its own output answer."""

from __future__ import annotations

from typing import Final

from edgeexit.exits.options import check_exit_count
from edgeexit.exits.verdicts import prepare_verdicts
from edgeexit.protocols import Evidence, Verdict


class Last:
    """Look at the last exit only.

    Args:
        exit_count: Number of exits.
    """

    name: Final = "last"
    looks_at_every_exit: Final = False

    def __init__(self, exit_count: int) -> None:
        exit_count = check_exit_count(exit_count)
        certain = [0.0] * (exit_count - 1) + [1.0]
        self._verdicts = prepare_verdicts(exit_count, [exit_count - 1], certain)

    def judge(self, evidence: Evidence) -> Verdict:
        """Send the sample to the last exit, which answers."""
        looks = evidence.looks
        return self._verdicts.go_on[looks[-1].exit_index] if looks else self._verdicts.first
