"""Which of a replay's runs belong together: by deadline, exit setting and governor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import inf, isclose
from typing import TYPE_CHECKING, Final

from edgeexit.offline.reporting.comparing import best

if TYPE_CHECKING:
    from edgeexit.offline.replaying.results import BoardReplay, Bounds, GovernorRun

USUAL_FACTOR: Final = 1.25
"""The deadline that figures are shown for where several were replayed, in times of the full network."""
FULL: Final = "last"
"""The exit setting that always runs the whole network."""
FORECASTING: Final = ("forecast", "forecast-in-turn", "predictive-exit")
"""Exit settings whose rule tells the governor which exit it expects."""
LEARNED: Final = FORECASTING[:2]


def setting_of(rule: str) -> str:
    """Return the exit setting of a rule's name, without the allowed drop: "forecast" of "forecast:0.5"."""
    return rule.partition(":")[0].partition("@")[0]


def governor_of(governor: str) -> str:
    """Return a governor's name without its options: "fixed" of "fixed:gpu=726750000"."""
    return governor.partition(":")[0]


@dataclass(frozen=True, slots=True)
class AtDeadline:
    """The runs of one replay at one deadline, in the order of the results."""

    replay: BoardReplay
    factor: float | None
    """The deadline in times of the full network at the highest clock; None: there was none."""
    runs: tuple[GovernorRun, ...]

    def find_rule(self, rule: str, governor: str) -> GovernorRun | None:
        """Return a rule's run with a governor of this name, or else the cheapest with one of any options, or None."""
        own = self.of_rule(rule)
        exact = best(run for run in own if run.governor == governor)
        return exact or best(run for run in own if governor_of(run.governor) == governor)

    def has(self, rule: str, governor: str) -> bool:
        """Return whether a rule was replayed with a governor."""
        return self.find_rule(rule, governor) is not None

    def best(
        self, accept: Callable[[GovernorRun], bool], *, as_accurate_as: GovernorRun | None = None
    ) -> GovernorRun | None:
        """Return the run of least energy among those that are accepted and late least often; None if there is none."""
        return best(filter(accept, self.runs), as_accurate_as=as_accurate_as)

    def of_rule(self, rule: str) -> tuple[GovernorRun, ...]:
        """Return the runs of one exit rule."""
        return tuple(run for run in self.runs if run.rule == rule)

    def with_governor(self, *governors: str) -> tuple[GovernorRun, ...]:
        """Return one run an exit rule, with the first of `governors` that it was replayed with."""
        found = []
        for rule in self.rules:
            by_name = {governor_of(run.governor): run for run in reversed(self.of_rule(rule))}
            found += (
                [next(by_name[name] for name in governors if name in by_name)] if by_name.keys() & governors else []
            )
        return tuple(found)

    def bounds(self, rule: str) -> Bounds | None:
        """Return the bounds of a rule at this deadline; None where nobody reckoned them."""
        own = (each for each in self.replay.bounds if each.rule == rule and self.factor is not None)
        return next((each for each in own if isclose(each.deadline_factor, self.factor or 0.0, rel_tol=1e-6)), None)

    @property
    def rules(self) -> tuple[str, ...]:
        """The exit rules, in the order of the results."""
        return distinct(run.rule for run in self.runs)

    @property
    def governors(self) -> tuple[str, ...]:
        """The governors, in the order of the results."""
        return distinct(run.governor for run in self.runs)

    @property
    def main_rule(self) -> str:
        """The exit rule that is shown in detail: the learned forecast, or the cheapest, or the whole network."""
        for setting in LEARNED:
            found = self.best(lambda run, setting=setting: setting_of(run.rule) == setting)  # type: ignore[misc]
            if found is not None:
                return found.rule
        early = self.best(lambda run: setting_of(run.rule) != FULL) or self.runs[0]
        return early.rule


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Return names without those that came before."""
    return tuple(dict.fromkeys(names))


def deadlines(replay: BoardReplay) -> tuple[AtDeadline, ...]:
    """Return the runs by deadline, the tightest first, those without one last."""
    factors = sorted({run.deadline_factor for run in replay.runs}, key=_tightness)
    return tuple(
        AtDeadline(replay, factor, tuple(run for run in replay.runs if run.deadline_factor == factor))
        for factor in factors
    )


def usual_deadline(found: tuple[AtDeadline, ...]) -> AtDeadline:
    """Return the deadline to show in detail: the usual one, or the one nearest to it."""
    return min(found, key=lambda each: abs(_tightness(each.factor) - USUAL_FACTOR))


def _tightness(factor: float | None) -> float:
    return inf if factor is None else factor


def split_by_conditions(replay: BoardReplay) -> dict[str, BoardReplay]:
    """Return a replay's runs apart where latency noise, guard or the kind of arrivals differ, by what that was.

    Only runs under the same conditions can be compared. The bounds hold without noise, and stay with the runs that
    had none.
    """
    by_conditions: dict[str, list[GovernorRun]] = {}
    for run in replay.runs:
        by_conditions.setdefault(conditions(run), []).append(run)
    return {
        name: replace(replay, runs=tuple(runs), bounds=() if runs[0].noise else replay.bounds)
        for name, runs in by_conditions.items()
    }


def conditions(run: GovernorRun) -> str:
    """Return under which conditions a run was, its deadline apart: "periodic requests, no latency noise"."""
    noise = "no latency noise" if run.noise is None else f"latency noise {run.noise}"
    guard = "" if run.guard == 1.0 else f", guard {run.guard:g}"
    return f"{run.arrivals.partition(',')[0]} requests, {noise}{guard}"
