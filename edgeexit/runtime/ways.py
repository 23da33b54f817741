"""The ways that an inference can run in a session: one for each setting of the exit rule that may be used."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

from edgeexit.errors import ExitsDrifted
from edgeexit.protocols import Evidence
from edgeexit.runtime.batch import BatchLoop
from edgeexit.runtime.loop import Answer, Loop
from edgeexit.runtime.settings import Setting, checked_verdict, one_setting
from edgeexit.runtime.tracking import Drift, ExitTracker, LookTracker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeexit.protocols import Device
    from edgeexit.runtime.clocking import Clocking
    from edgeexit.runtime.engine import Engine
    from edgeexit.runtime.steering import Steering

BY_RULE = "exit rule"
RULED = frozenset({BY_RULE, "last exit"})
"""Reasons of an answer that came as the exit rule wanted."""


MAX_ASKED_FOR = 16
"""So many settings that single inferences asked for are kept; the one that was used least lately makes place."""


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
        settings: From the most accurate to the cheapest; at least one.
        steering: Chooses among them; None takes the first.
        engine: The sessions of the bundle's pieces.
        device: The board.
        clocking: The governor's side; it is told of the way that is taken.
    """

    def __init__(
        self, settings: Sequence[Setting], steering: Steering | None, engine: Engine, device: Device, clocking: Clocking
    ) -> None:
        self._steering = steering
        self._engine = engine
        self._device = device
        self._clocking = clocking
        self._bundle = engine.bundle
        self._exit_count = engine.bundle.exit_count
        self._ways = tuple(self._make(setting) for setting in settings)
        self._asked_for: dict[tuple[str | None, float | None], Way] = {}

    @property
    def drift(self) -> Drift:
        """The drift of the way that has drifted, or else of the one that has answered most."""
        drifts = [way.tracker.drift for way in (*self._ways, *self._asked_for.values())]
        return next((drift for drift in drifts if drift.drifted), max(drifts, key=lambda drift: drift.answers))

    def choose(self, rule: str | None = None, allowed_drop: float | None = None) -> Way:
        """Return the way for the next inference, and have the governor told of it.

        Args:
            rule: Name of a setting of the bundle for this inference alone; None and no `allowed_drop` for the
                session's own.
            allowed_drop: Accuracy that it may cost, in points, with `rule` None of the session's own setting.

        Raises:
            OptionError: If the bundle has no such setting.
        """
        if rule is None and allowed_drop is None:
            way = self._ways[0 if self._steering is None else self._steering.choose()]
        else:
            way = self._find(rule, allowed_drop)
        clocking = self._clocking
        clocking.looks_at_every_exit = way.setting.rule.looks_at_every_exit
        clocking.usual_exits = way.tracker.usual_exits
        clocking.looked_share = way.looks.looked_share
        return way

    def _find(self, rule: str | None, allowed_drop: float | None) -> Way:
        key = (self._ways[0].setting.name if rule is None else rule, allowed_drop)
        way = self._asked_for.pop(key, None)
        if way is None:
            way = self._make(one_setting(self._bundle, key[0], allowed_drop))
            if len(self._asked_for) >= MAX_ASKED_FOR:
                del self._asked_for[next(iter(self._asked_for))]
        self._asked_for[key] = way
        return way

    def _make(self, setting: Setting) -> Way:
        work, rule = self._bundle.workload, setting.rule
        first = checked_verdict(rule.name, rule.judge(Evidence(self._exit_count, ())))
        return Way(
            setting,
            Loop(self._device, rule, self._clocking, work.exit_segments, work.segment_macs, work.head_macs),
            BatchLoop(self._engine, self._device, rule, self._clocking, work),
            ExitTracker(self._exit_count, first.distribution, prior_samples=setting.samples),
            LookTracker(self._exit_count, first.distribution),
        )

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
            f"the exits of {self._bundle.name!r} that answer have drifted from calibration (chi-square "
            f"{drift.statistic:.0f}, limit {drift.limit:.0f}): accuracy may no longer be as calibrated; calibrate with "
            "samples like those seen now",
            ExitsDrifted,
            stacklevel=4,
        )
