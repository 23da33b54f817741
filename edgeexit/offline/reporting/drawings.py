"""The list of a replay's pictures: for each its file name, what it shows in words, and how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from edgeexit.offline.reporting.amounts import joules, listed, milliseconds, percent, rare_share, times
from edgeexit.offline.reporting.charts_energy import above_bound, distance_figure, trade_off_figure
from edgeexit.offline.reporting.charts_exits import calibration_figure, exits_figure
from edgeexit.offline.reporting.charts_time import latency_figure, residency_figure, timeline_figure
from edgeexit.offline.reporting.comparing import best
from edgeexit.offline.reporting.selection import AtDeadline, deadlines, governor_of, usual_deadline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edgeexit.offline.replaying.results import BoardReplay, GovernorRun
    from edgeexit.offline.reporting.theme import Theme

IN_TIMELINE: Final = ("plan", "best-fixed", "stock", "performance", "deadline")
"""Governors whose inferences are drawn step by step, the first three of them that there are."""
_ROWS: Final = 8
"""Governors that a picture with a row for each shows."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One picture, not drawn yet."""

    name: str
    """Of its file, without the folder and the end."""
    section: str
    """Where in the report it belongs."""
    caption: str
    description: str
    """What it shows, in words and figures, for who does not see it."""
    draw: Callable[[Theme], Figure]


def drawings(replay: BoardReplay) -> Iterator[Drawing]:
    """Return the pictures that the results have the figures for."""
    found = deadlines(replay)
    usual = usual_deadline(found)
    for runs in (usual, *(each for each in found if each is not usual)):
        yield _trade_off(runs, "trade-off" if runs is usual else "trade-off at other deadlines")
    yield from _distances(found, usual.main_rule)
    yield _latency(usual)
    yield from _timeline(usual)
    yield _residency(usual)
    yield _exits(usual)
    yield from _calibration(replay)


def leading_runs(runs: AtDeadline, rule: str) -> tuple[GovernorRun, ...]:
    """Return a rule's runs to be shown one below the other: the cheapest first, and no more than there is room for."""
    own = sorted(runs.of_rule(rule), key=lambda run: run.energy_j.value)
    baselines = [run for run in own if governor_of(run.governor) in IN_TIMELINE]
    others = [run for run in own if run not in baselines]
    kept = baselines[:_ROWS] + others[: max(0, _ROWS - len(baselines))]
    return tuple(run for run in own if run in kept)


def _trade_off(runs: AtDeadline, section: str) -> Drawing:
    cheapest = best(runs.runs)
    described = "" if cheapest is None else (
        f" The cheapest that is late least often is {cheapest.rule} with {cheapest.governor}: "
        f"{joules(cheapest.energy_j.value)} at {percent(cheapest.accuracy.value)}."
    )  # fmt: skip
    return Drawing(
        f"trade-off-{times(runs.factor).removesuffix(' x')}",
        section,
        f"Deadline {times(runs.factor)}. Colour: exit rule; mark: governor; hollow: some answers are late. A star is "
        "the clairvoyant bound of the rule, a stroke the optimum for who knows no more than a governor.",
        f"Accuracy against simulated energy of {len(runs.runs)} runs at the deadline {times(runs.factor)}.{described}",
        partial(trade_off_figure, runs),
    )


def _distances(found: tuple[AtDeadline, ...], rule: str) -> Iterator[Drawing]:
    known = [runs for runs in found if runs.bounds(rule) is not None]
    if known:
        texts = [
            f"{percent(share, 2)} at {times(runs.factor)}"
            for runs in known
            if (run := runs.find_rule(rule, "plan") or best(runs.of_rule(rule)))
            and (bounds := runs.bounds(rule))
            and (share := above_bound(run, bounds.clairvoyant_j)) is not None
        ]
        nearest = f" plan, or the cheapest where plan was not run, is above it by {listed(texts)}." if texts else ""
        yield Drawing(
            "distance",
            "distance",
            f'How far governors are from the bounds with the exits of "{rule}"; the axis is linear up to 1 %.',
            f"Energy above the clairvoyant bound and the optimum, by deadline.{nearest}",
            partial(distance_figure, tuple(known), rule),
        )


def _latency(runs: AtDeadline) -> Drawing:
    shown = leading_runs(runs, runs.main_rule)
    late = [f"{run.governor} {rare_share(run.misses, run.inferences)}" for run in shown]
    longest = [f"{run.governor} {milliseconds(run.latency_s['max'])}" for run in shown]
    return Drawing(
        "latency",
        "latency",
        f"Deadline {times(runs.factor)}. The height of each row is of its own scale; red is too late.",
        f"Latency distributions against the deadline. Late: {listed(late)}. Longest: {listed(longest)}.",
        partial(latency_figure, shown),
    )


def _timeline(runs: AtDeadline) -> Iterator[Drawing]:
    by_governor = {governor_of(run.governor): run for run in reversed(runs.of_rule(runs.main_rule)) if run.timeline}
    shown = [by_governor[name] for name in IN_TIMELINE if name in by_governor][:3] or list(by_governor.values())[:3]
    if shown:
        names = listed([run.governor for run in shown])
        yield Drawing(
            "timeline",
            "timeline",
            f"The first inferences at the deadline {times(runs.factor)}: what the board does, and at which clocks.",
            f"Power over time, coloured by kind of work, of the first inferences with {names}.",
            partial(timeline_figure, shown),
        )


def _residency(runs: AtDeadline) -> Drawing:
    shown = leading_runs(runs, runs.main_rule)
    most = [
        f"{run.governor} {max(run.residency, key=lambda name: run.residency[name])}" for run in shown if run.residency
    ]
    return Drawing(
        "residency",
        "residency",
        f"Deadline {times(runs.factor)}. A stretch of idling counts for the clocks that were set then.",
        f"Shares of the time at each clock. Most of the time: {listed(most or ['not known'])}.",
        partial(residency_figure, shown),
    )


def _exits(runs: AtDeadline) -> Drawing:
    shown = [best(runs.of_rule(rule)) for rule in runs.rules]
    kept = [run for run in shown if run is not None]
    texts = [
        f"{run.rule} most at exit {max(range(len(run.exit_counts)), key=run.exit_counts.__getitem__)}" for run in kept
    ]
    return Drawing(
        "exits",
        "exits",
        f"Deadline {times(runs.factor)}, each rule with its best governor.",
        f"Shares of the inferences that each exit answers: {listed(texts)}.",
        partial(exits_figure, kept),
    )


def _calibration(replay: BoardReplay) -> Iterator[Drawing]:
    rows = [row for row in replay.forecast if row.reliability]
    if rows:
        texts = [
            f"{row.rule}: "
            + ", ".join(f"{percent(true)} where {percent(given)} was given" for given, true, _ in row.reliability)
            for row in rows
        ]
        yield Drawing(
            "calibration",
            "calibration",
            "Forecasts after the first look, put into classes by the probability that an exit was given; bars are 95 % "
            "intervals, larger marks are more forecasts. On the dashed line a forecast means what it says.",
            f"How often exits answered, by the probability foretold. {'; '.join(texts)}.",
            partial(calibration_figure, rows),
        )
