"""The ways that an inference can run in a session: one for each setting of the exit rule that may be used."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

from edgeexit.errors import ExitsDrifted
from edgeexit.protocols import Evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeexit.runtime.batch import BatchLoop
    from edgeexit.runtime.loop import Answer, Loop
    from edgeexit.runtime.settings import Setting
    from edgeexit.runtime.steering import Steering
    from edgeexit.runtime.tracking import Drift, ExitTracker, LookTracker

BY_RULE = "exit rule"
RULED = frozenset({BY_RULE, "last exit"})
"""Reasons of an answer that came as the exit rule wanted."""


class Way(NamedTuple):
    """How an inference runs with one setting of the exit rule."""

    setting: Setting
    loop: Loop
    batch: BatchLoop
    tracker: ExitTracker
    looks: LookTracker


class Ways:
    """Chooses a way for each inference, and tracks which exits answer on it.

    Args:
        ways: From the most accurate to the cheapest; at least one.
        steering: Chooses among them; None takes the first.
        bundle_name: For the warning of a drift.
        exit_count: Exits of the bundle.
    """

    def __init__(self, ways: Sequence[Way], steering: Steering | None, bundle_name: str, exit_count: int) -> None:
        self._ways = tuple(ways)
        self._steering = steering
        self._bundle_name = bundle_name
        self._exit_count = exit_count

    @property
    def drift(self) -> Drift:
        """The drift of the way that has drifted, or else of the one that has answered most."""
        drifts = [way.tracker.drift for way in self._ways]
        return next((drift for drift in drifts if drift.drifted), max(drifts, key=lambda drift: drift.answers))

    def choose(self) -> Way:
        """Return the way for the next inference."""
        return self._ways[0 if self._steering is None else self._steering.choose()]

    def track(self, way: Way, answer: Answer, now_s: float) -> None:
        """Count the exit that answered; of an answer that was cut short, what the rule still had in mind.

        Warns:
            ExitsDrifted: Once for each drift.
        """
        exit_index = answer.look.exit_index
        if answer.reason == BY_RULE:
            way.looks.looked([look.exit_index for look in answer.looks])
        if answer.reason in RULED:
            drifts = way.tracker.answered(exit_index, now_s)
        else:
            verdict = way.setting.rule.judge(Evidence(self._exit_count, answer.looks))
            if verdict.stop:
                drifts = way.tracker.answered(exit_index, now_s)
            else:
                drifts = way.tracker.cut_short(verdict.next_exit, now_s)
        if drifts:
            self._warn(way.tracker.drift)

    def _warn(self, drift: Drift) -> None:
        warnings.warn(
            f"the exits of {self._bundle_name!r} that answer have drifted from calibration (chi-square "
            f"{drift.statistic:.0f}, limit {drift.limit:.0f}): accuracy may no longer be as calibrated; calibrate with "
            "samples like those seen now",
            ExitsDrifted,
            stacklevel=4,
        )
