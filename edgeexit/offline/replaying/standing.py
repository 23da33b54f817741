"""How one governor stands against the bounds and against every other, deadline by deadline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgeexit.offline.replaying.results import BoardReplay, Bounds, GovernorRun

POPULATION = "plan-population"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One governor with one rule at one deadline; every difference is a share of the other's energy.

    Attributes:
        board: Name of the profile.
        rule: Name of the setting.
        deadline_factor: The deadline in times of the full network at the highest clock.
        run: What the governor gave.
        bounds: The least energies, if they were worked out.
        above_own: How far its energy lies above the clairvoyant bound of what it answered itself, looks not paid for:
            never below it, whatever it did.
        above_clairvoyant: How far it lies above the clairvoyant bound of what the rule wants, its looks paid for.
        above_optimum: How far it lies above the lower bound of the non-anticipating optimum. That and the figure before
            may be negative where answers were late, cut short or sent on without a look.
        rival: The other governor with the least energy among those that are late no more often.
        above_rival: How far its energy lies above that one's.
        above_population: The same for the plan without a forecast for the single sample: what the forecast is worth.
    """

    board: str
    rule: str
    deadline_factor: float
    run: GovernorRun
    bounds: Bounds | None
    above_own: float | None
    above_clairvoyant: float | None
    above_optimum: float | None
    rival: str | None
    above_rival: float | None
    above_population: float | None


def standings(replay: BoardReplay, governor: str = "plan") -> Iterator[Standing]:
    """Yield how `governor` stands, for every rule and deadline that it was replayed with."""
    for run in replay.runs:
        if run.governor == governor and run.deadline_factor is not None:
            yield _stand(replay, run, run.deadline_factor)


def _stand(replay: BoardReplay, run: GovernorRun, factor: float) -> Standing:
    place = run.rule, factor
    bounds = next((each for each in replay.bounds if (each.rule, each.deadline_factor) == place), None)
    others = [
        each for each in replay.runs if (each.rule, each.deadline_factor) == place and each.governor != run.governor
    ]
    allowed = run.misses / run.inferences
    in_time = [each for each in others if each.misses / each.inferences <= allowed and each.governor != POPULATION]
    rival = min(in_time, key=lambda each: each.energy_j.value, default=None)
    population = next((each for each in others if each.governor == POPULATION), None)
    return Standing(
        board=replay.board,
        rule=run.rule,
        deadline_factor=factor,
        run=run,
        bounds=bounds,
        above_own=_above(run, run.clairvoyant_j),
        above_clairvoyant=_above(run, None if bounds is None else bounds.clairvoyant_j),
        above_optimum=_above(run, None if bounds is None else bounds.optimum_j),
        rival=None if rival is None else rival.governor,
        above_rival=_above(run, None if rival is None else rival.energy_j.value),
        above_population=_above(run, None if population is None else population.energy_j.value),
    )


def _above(run: GovernorRun, energy_j: float | None) -> float | None:
    return None if energy_j is None else run.energy_j.value / energy_j - 1.0


def standings_text(rows: Iterator[Standing]) -> str:
    """Return a table; "late" and "cut" are shares of the answers, "accuracy" counts them all.

    "own" is the clairvoyant bound of what the governor itself answered, "clairvoyant" that of what the rule wants.
    """
    lines = [
        f"{'board':<18}{'rule':<12}{'deadline':>8}{'mJ':>10}{'accuracy':>10}{'late':>8}{'cut':>8}{'own':>9}{'clairvoyant':>13}"
        f"{'optimum':>10}{'population':>12}  best other in time"
    ]
    for row in rows:
        run = row.run
        rival = "-" if row.rival is None else f"{row.rival} {_share(row.above_rival)}"
        lines.append(
            f"{row.board:<18}{row.rule:<12}{row.deadline_factor:>8g}{1e3 * run.energy_j.value:>10.1f}"
            f"{run.accuracy.value:>10.2%}{run.misses / run.inferences:>8.2%}{run.cut_short / run.inferences:>8.2%}"
            f"{_share(row.above_own):>9}{_share(row.above_clairvoyant):>13}{_share(row.above_optimum):>10}{_share(row.above_population):>12}"
            f"  {rival}"
        )
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 4) + 0.0:+.2%}"  # never "-0.00%"
