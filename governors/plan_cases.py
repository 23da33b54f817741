"""A situation that a governor may be in, and the plans for it: times and energies, ready to be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgeexit.protocols import Decision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]


class Options(NamedTuple):
    """How a governor weighs its plans."""

    per_sample: bool
    joules_per_second: float


class Case:
    """M plans for one situation; all arrays are (M,).

    Attributes:
        worst_s: Until the deepest exit has answered whatever the forecast, guard included.
        worst_j: Energy of that, without idling.
        fixed_j: Expected energy; `idle_w` times the time from now until the period's end is to be added.
        idle_w: Expected idle power after the answer; 0 where idling belongs to nobody.
        deepest: The exit that `worst_s` is for.
        times_s: `worst_s` as a list, where plans that take longer always draw less; None where they may not.
        others: What else may be done in the same situation, as far as it has come up.
    """

    __slots__ = (
        "_clocks",
        "_cut",
        "_decisions",
        "_sequences",
        "_straight",
        "deepest",
        "fixed_j",
        "idle_w",
        "others",
        "times_s",
        "worst_j",
        "worst_s",
    )

    def __init__(
        self,
        worst_s: Array,
        worst_j: Array,
        fixed_j: Array,
        idle_w: Array,
        *,
        sequences: Array,
        clocks: Sequence[dict[str, int]],
        deepest: int,
        cut: bool,
        straight: bool,
        budget: bool,
    ) -> None:
        kept = _front(worst_s, worst_j, fixed_j, idle_w, budget)
        self.worst_s, self.worst_j = worst_s[kept], worst_j[kept]
        self.fixed_j, self.idle_w = fixed_j[kept], idle_w[kept]
        self._sequences = sequences[kept]
        self.times_s: list[float] | None = None if budget or np.ptp(idle_w) > 0.0 else self.worst_s.tolist()
        self.deepest = deepest
        self.others: dict[tuple[int, bool], Case] = {}
        self._clocks = clocks
        self._cut = cut
        self._straight = straight
        self._decisions: dict[int, Decision] = {}

    def decision(self, plan: int, *, late: bool = False) -> Decision:
        """Return the decision that begins a plan."""
        key = -1 - plan if late else plan
        if key not in self._decisions:
            self._decisions[key] = self._make(plan, late)
        return self._decisions[key]

    def _make(self, plan: int, late: bool) -> Decision:
        points = self._sequences[plan]
        reason = "quickest, and yet it may be late" if late else "least expected energy of the plans in time"
        if self._cut:
            reason += f", cut at exit {self.deepest}"
        if self._straight:
            reason += ", with no look on the way"
        changes = int((points[1:] != points[:-1]).sum())
        if changes:
            reason += f"; {changes} more {'change' if changes == 1 else 'changes'} planned"
        return Decision(
            self._clocks[points[0]],
            max_exit=self.deepest if self._cut else None,
            reason=reason,
            next_exit=self.deepest if self._straight else None,
        )


def _front(worst_s: Array, worst_j: Array, fixed_j: Array, idle_w: Array, budget: bool) -> Array:
    """Return the indices of the plans that may be best for some time left, the quickest first.

    Without a budget and with the same idle power everywhere, no other plan is both as quick and as cheap.
    """
    order = np.lexsort((fixed_j, worst_s))
    if budget or np.ptp(idle_w) > 0.0:
        return np.asarray(order)
    cheapest_j = np.minimum.accumulate(fixed_j[order])
    return np.asarray(order[np.concatenate([[True], cheapest_j[1:] < cheapest_j[:-1]])])
