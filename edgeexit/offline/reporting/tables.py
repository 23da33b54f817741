"""The report's tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeexit import __version__
from edgeexit.offline.bootstrap import Estimate
from edgeexit.offline.reporting import markup
from edgeexit.offline.reporting.amounts import (
    joules,
    joules_with_interval,
    listed,
    milliseconds,
    percent,
    percent_with_interval,
    rare_share,
    saving_text,
    times,
)
from edgeexit.offline.reporting.charts_energy import distance_text
from edgeexit.offline.reporting.comparing import best, energy_saving, saving
from edgeexit.offline.reporting.selection import FULL, AtDeadline, conditions, deadlines, setting_of

if TYPE_CHECKING:
    from edgeexit.offline.replaying.results import BoardReplay, GovernorRun


def provenance_rows(replay: BoardReplay) -> list[tuple[str, str]]:
    """Return what was run, as terms and texts."""
    share = "as the profile has it" if replay.static_share is None else percent(replay.static_share, 0)
    first = replay.runs[0]
    found = [runs.factor for runs in deadlines(replay)]
    rows = [
        ("board", replay.board),
        ("bundle", replay.bundle),
        ("source of latency and energy", replay.source),
        ("where the board's figures are from", replay.provenance),
        ("samples", f"{replay.samples:,}; inferences replayed for each run: {_inferences(replay)}"),
        ("requests and noise", conditions(first)),
        ("deadlines", f"{listed([times(factor) for factor in found])} the full network at the highest clock"),
        ("full network at the highest clock", f"{milliseconds(replay.full_latency_s)} (simulated)"),
        ("work scale", f"each multiply-accumulate counts as {replay.work_scale:,.6g}"),
        ("static share of power", share),
        ("exit rules", listed(list(dict.fromkeys(run.rule for run in replay.runs)))),
        ("governors", listed(list(dict.fromkeys(run.governor for run in replay.runs)))),
        ("report written by", f"edgeexit {__version__}"),
    ]
    return [(term, text) for term, text in rows if text]


def _inferences(replay: BoardReplay) -> str:
    counts = sorted({run.inferences for run in replay.runs})
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"


def forecast_table(replay: BoardReplay) -> str:
    """Return how good the forecasts after the first look were."""
    if not replay.forecast:
        return markup.paragraph("How good forecasts are was not asked: run with --rule forecast.")
    rows = [
        (
            row.rule,
            f"{row.samples:,}",
            percent(row.exact),
            f"{row.mean_absolute_error:.2f}",
            percent(row.overshoot),
            percent(row.undershoot),
            f"{row.surprise:.3f}",
            f"{row.usual_surprise:.3f}",
        )
        for row in replay.forecast
    ]
    headers = (
        *("rule", "samples", "likeliest exit came true", "off by (exits)", "too deep", "not deep enough"),
        *("surprise (nats)", "of the usual distribution"),
    )
    caption = "Forecasts after the first look, of the samples that went on; less surprise is better"
    return markup.table(caption, headers, rows)


def distance_table(found: tuple[AtDeadline, ...], rule: str) -> str:
    """Return how far the governors are from the bounds, by deadline, for one rule."""
    rows = []
    for runs in found:
        bounds = runs.bounds(rule)
        clairvoyant_j, optimum_j = (None, None) if bounds is None else (bounds.clairvoyant_j, bounds.optimum_j)
        for run in sorted(runs.of_rule(rule), key=lambda run: run.energy_j.value):
            rows.append(
                (
                    f"{times(runs.factor)}, {run.governor}",
                    joules_with_interval(run.energy_j),
                    "-" if optimum_j is None else joules(optimum_j),
                    distance_text(run, optimum_j),
                    "-" if clairvoyant_j is None else joules(clairvoyant_j),
                    distance_text(run, clairvoyant_j),
                    rare_share(run.misses, run.inferences),
                )
            )
    headers = ("deadline, governor", "simulated energy", "optimum", "above it", "clairvoyant", "above it", "late")
    caption = f'Distance to the bounds with the exits of "{rule}", simulated energy for each inference and its period'
    return markup.folded(caption, markup.table(caption, headers, rows))


def planning_table(replays: Mapping[str, BoardReplay]) -> str:
    """Return how near "plan" comes to the bounds and what it saves, one row a replay, deadline and rule."""
    rows = [
        (f"{title}, {times(runs.factor)}, {run.rule}", *_planning_row(runs, run))
        for title, replay in replays.items()
        for runs in deadlines(replay)
        for rule in runs.rules
        if (run := runs.find_rule(rule, "plan")) is not None
    ]
    if not rows:
        return markup.paragraph('How near "plan" comes to the bounds was not asked: run with --governor plan.')
    caption = (
        '"plan" on all boards and deadlines: its distance to the bounds, and its simulated energy against others\''
    )
    headers = (
        *("replay, deadline, rule", "simulated energy", "above the optimum", "above the clairvoyant bound"),
        *("than plan-population", "than the best other governor", "late"),
    )
    return markup.folded(caption, markup.table(caption, headers, rows))


def _planning_row(runs: AtDeadline, run: GovernorRun) -> tuple[str, ...]:
    bounds = runs.bounds(run.rule)
    usual = runs.find_rule(run.rule, "plan-population")
    other = best(each for each in runs.of_rule(run.rule) if each.governor not in ("plan", "plan-population"))
    return (
        joules_with_interval(run.energy_j),
        "-" if bounds is None else distance_text(run, bounds.optimum_j),
        "-" if bounds is None else distance_text(run, bounds.clairvoyant_j),
        "-" if usual is None else saving_text(saving(run, usual), 2),
        "-" if other is None else f"{saving_text(saving(run, other), 2)}, {other.governor}",
        rare_share(run.misses, run.inferences),
    )


def stock_table(runs: AtDeadline) -> str:
    """Return what the cheapest run saves against the stock governor, on the whole input and on each rail."""
    chosen = best(run for run in runs.runs if setting_of(run.rule) != FULL) or runs.runs[0]
    others = [run for rule in runs.rules if (run := runs.find_rule(rule, "stock")) is not None]
    if not others:
        return markup.paragraph("What is saved against the stock governor was not asked: run with --governor stock.")
    rails = sorted({rail for run in others for rail in run.rail_energy_j if rail in chosen.rail_energy_j})
    rows = [
        (
            f"{run.rule} with stock",
            saving_text(saving(chosen, run)),
            *(saving_text(_rail_saving(chosen, run, rail)) for rail in rails),
            percent_with_interval(run.accuracy),
        )
        for run in others
    ]
    caption = (
        f"What {chosen.rule} with {chosen.governor} (accuracy {percent_with_interval(chosen.accuracy)}) takes of "
        f"simulated energy against the stock governor, deadline {times(runs.factor)}"
    )
    headers = ("against", "whole input", *(f"rail {rail}" for rail in rails), "its accuracy")
    return markup.table(caption, headers, rows)


def _rail_saving(run: GovernorRun, other: GovernorRun, rail: str) -> Estimate:
    return energy_saving(run.rail_energy_j[rail], other.rail_energy_j[rail])


def misses_table(found: tuple[AtDeadline, ...]) -> str:
    """Return how often answers were late or cut short, one row a run where that happened, and a sentence if none."""
    rows = [
        (
            f"{times(runs.factor)}, {run.rule} with {run.governor}",
            rare_share(run.misses, run.inferences),
            rare_share(run.cut_short, run.inferences),
            milliseconds(run.latency_s["max"]),
            "-" if run.deadline_s is None else milliseconds(run.deadline_s),
        )
        for runs in found
        for run in runs.runs
        if run.misses or run.cut_short
    ]
    total = sum(len(runs.runs) for runs in found)
    if not rows:
        return markup.paragraph(f"No answer of the {total} runs was late, and none was cut short to be in time.")
    caption = f"Late answers and answers cut short to be in time: {len(rows)} of {total} runs have some"
    headers = ("deadline, run", "late", "cut short", "longest", "deadline")
    return markup.folded(caption, markup.table(caption, headers, rows))


def exits_table(runs: AtDeadline) -> str:
    """Return how many inferences each exit answered, one row a rule with its best governor."""
    chosen = [run for rule in runs.rules if (run := best(runs.of_rule(rule))) is not None]
    exits = max(len(run.exit_counts) for run in chosen)
    rows = [
        (run.rule, *(f"{count:,}" for count in run.exit_counts), f"{run.looks:.2f}", percent(run.macs_share))
        for run in chosen
    ]
    headers = ("rule", *(f"exit {index}" for index in range(exits)), "looks", "work")
    caption = f"Inferences answered at each exit, deadline {times(runs.factor)}; work in parts of the full network"
    return markup.folded(caption, markup.table(caption, headers, rows))


def runs_table(runs: AtDeadline) -> str:
    """Return all figures of all runs at one deadline."""
    rails = sorted({rail for run in runs.runs for rail in run.rail_energy_j})
    rows = [
        (
            f"{run.rule} with {run.governor}",
            percent_with_interval(run.accuracy),
            joules_with_interval(run.energy_j),
            *(_rail(run, rail) for rail in rails),
            milliseconds(run.latency_s["mean"]),
            milliseconds(run.latency_s["p99"]),
            rare_share(run.misses, run.inferences),
            f"{run.cut_short:,}",
            f"{run.sent_on:,}",
            f"{run.switches:.2f}",
        )
        for run in runs.runs
    ]
    headers = (
        *("run", "accuracy", "simulated energy", *(f"rail {rail}" for rail in rails), "mean latency", "99 %"),
        *("late", "cut short", "sent on", "switches"),
    )
    caption = f"All runs at the deadline {times(runs.factor)}: energy and latency simulated, for each inference"
    return markup.table(caption, headers, rows)


def _rail(run: GovernorRun, rail: str) -> str:
    return joules_with_interval(run.rail_energy_j[rail]) if rail in run.rail_energy_j else "-"
