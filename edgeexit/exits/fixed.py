"""`fixed`: the same exit answers for every sample; what any rule with knowledge of the sample must beat."""

from __future__ import annotations

from typing import Final

from edgeexit.exits.options import check_exit_count, check_exit_index
from edgeexit.exits.verdicts import prepare_verdicts
from edgeexit.protocols import Evidence, Verdict


class Fixed:
    """Look at one exit only, and let it answer.

    Args:
        exit_count: Number of exits.
        exit_index: The exit that answers.
    """

    name: Final = "fixed"
    looks_at_every_exit: Final = False

    def __init__(self, exit_count: int, *, exit_index: int) -> None:
        exit_count = check_exit_count(exit_count)
        exit_index = check_exit_index("exit_index", exit_index, exit_count)
        certain = [float(e == exit_index) for e in range(exit_count)]
        self._verdicts = prepare_verdicts(exit_count, [exit_index], certain)

    def judge(self, evidence: Evidence) -> Verdict:
        """Send the sample to the chosen exit, which answers."""
        looks = evidence.looks
        return self._verdicts.go_on[looks[-1].exit_index] if looks else self._verdicts.first
