"""Pictures of energy: accuracy against it, and how far governors are from the bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgeexit.offline.reporting.amounts import percent, times
from edgeexit.offline.reporting.comparing import miss_share
from edgeexit.offline.reporting.selection import AtDeadline, governor_of
from edgeexit.offline.reporting.theme import (
    Theme,
    add_legend,
    dress,
    governor_marker,
    line_colour,
    mark,
    new_figure,
    rule_colour,
    swatch,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from edgeexit.offline.replaying.results import GovernorRun

_LEAST_SPAN: Final = 0.02
"""Differences in accuracy are not drawn larger than if the best and the worst rule were so far apart."""
_LINES: Final = 6
"""Governors that the picture of distances shows besides "plan"; more cannot be told apart."""


def trade_off_figure(runs: AtDeadline, theme: Theme) -> Figure:
    """Draw accuracy against energy of every rule with every governor at one deadline, and the bounds."""
    legend_rows = -(-len(runs.rules) // 3) + -(-(len(runs.governors) + 2) // 3)
    figure = new_figure(3.9 + 0.19 * legend_rows, theme)
    axes = figure.subplots()
    for run in runs.runs:
        _draw_run(axes, run, theme)
    _draw_bounds(axes, runs, theme)
    accuracies = [run.accuracy.value for run in runs.runs]
    middle = (max(accuracies) + min(accuracies)) / 2.0
    half = 0.6 * max(max(accuracies) - min(accuracies), _LEAST_SPAN)
    axes.set_ylim(100.0 * (middle - half), 100.0 * (middle + half))
    axes.set_xlabel("simulated energy for each inference and its period (mJ)")
    axes.set_ylabel("accuracy (%)")
    dress(axes, theme, f"Accuracy against energy, deadline {times(runs.factor)} (hollow: some answers are late)")
    add_legend(figure, _trade_off_legend(runs, theme), theme)
    return figure


def _draw_run(axes: Axes, run: GovernorRun, theme: Theme) -> None:
    colour = rule_colour(run.rule, theme)
    x, y = 1e3 * run.energy_j.value, 100.0 * run.accuracy.value
    axes.errorbar(
        x,
        y,
        xerr=[[1e3 * (run.energy_j.value - run.energy_j.low)], [1e3 * (run.energy_j.high - run.energy_j.value)]],
        fmt=governor_marker(run.governor),
        color=colour,
        markersize=6.0,
        markerfacecolor=theme.paper if miss_share(run) > 0.0 else colour,
        markeredgewidth=1.2,
        elinewidth=0.8,
        alpha=0.9,
    )


def _draw_bounds(axes: Axes, runs: AtDeadline, theme: Theme) -> None:
    for rule in runs.rules:
        bounds, own = runs.bounds(rule), runs.of_rule(rule)
        if bounds is None:
            continue
        y = 100.0 * max(run.accuracy.value for run in own)
        for energy_j, marker in ((bounds.clairvoyant_j, "*"), (bounds.optimum_j, "|")):
            if energy_j is not None:
                size = 11.0 if marker == "*" else 15.0
                colour = rule_colour(rule, theme)
                axes.plot(1e3 * energy_j, y, marker, color=colour, markersize=size, markeredgewidth=1.4, zorder=3.0)


def _trade_off_legend(runs: AtDeadline, theme: Theme) -> list[object]:
    rules = [swatch(rule_colour(rule, theme), rule) for rule in runs.rules]
    governors = [mark(governor_marker(name), theme.muted, name) for name in runs.governors]
    bounds = []
    if any(runs.bounds(rule) is not None for rule in runs.rules):
        bounds = [mark("*", theme.muted, "clairvoyant bound"), mark("|", theme.muted, "optimum, same knowledge")]
    return rules + governors + bounds


def distance_figure(found: tuple[AtDeadline, ...], rule: str, theme: Theme) -> Figure:
    """Draw, for one rule, how far governors' energy lies above each bound, by deadline."""
    governors = nearest_governors(found, rule)
    kinds = [kind for kind in ("optimum", "clairvoyant") if any(_bound_j(runs, rule, kind) for runs in found)]
    figure = new_figure(0.9 + 2.3 * max(1, len(kinds)), theme)
    panels = figure.subplots(max(1, len(kinds)), 1, squeeze=False, sharex=True)[:, 0]
    for axes, kind in zip(panels, kinds, strict=False):
        for index, governor in enumerate(governors):
            _draw_distances(axes, found, rule, governor, kind, line_colour(index))
        title = "the optimum with the same knowledge" if kind == "optimum" else "the clairvoyant bound"
        axes.set_ylabel("above it (%)")
        axes.set_yscale("symlog", linthresh=1.0)
        axes.set_ylim(bottom=min(-0.2, axes.get_ylim()[0]))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        dress(axes, theme, f'"{rule}": simulated energy above {title}')
    _label_deadlines(panels[-1], found)
    legend = [mark(governor_marker(name), line_colour(index), name) for index, name in enumerate(governors)]
    add_legend(figure, legend, theme, columns=4)
    return figure


def _draw_distances(
    axes: Axes, found: tuple[AtDeadline, ...], rule: str, governor: str, kind: str, colour: str
) -> None:
    points = [
        (runs.factor, 100.0 * share, run)
        for runs in found
        if (run := runs.find_rule(rule, governor))
        and (share := above_bound(run, _bound_j(runs, rule, kind))) is not None
    ]
    if not points:
        return
    factors, shares, drawn = zip(*points, strict=True)
    zorder = 3.0 if governor == "plan" else 2.0  # "plan" may lie on others
    axes.plot(factors, shares, color=colour, linewidth=1.2, zorder=zorder)
    hollow = ["none" if run.misses else colour for run in drawn]
    for factor, share, fill in zip(factors, shares, hollow, strict=True):
        axes.plot(
            factor, share, governor_marker(governor), color=colour, markerfacecolor=fill, markersize=5.0, zorder=zorder
        )


def _label_deadlines(axes: Axes, found: tuple[AtDeadline, ...]) -> None:
    factors = [runs.factor for runs in found if runs.factor is not None]
    if min(factors) > 0.0:
        axes.set_xscale("log")
    axes.set_xticks(factors, [f"{factor:g}" for factor in factors])
    axes.minorticks_off()
    axes.set_xlabel("deadline, times the full network (hollow: some answers are late)")


def nearest_governors(found: tuple[AtDeadline, ...], rule: str) -> list[str]:
    """Return "plan" and the governors that come nearest to the bounds with a rule over all deadlines, nearest first."""
    governors = {run.governor: 0.0 for runs in found for run in runs.of_rule(rule)}
    for runs in found:
        own = runs.of_rule(rule)
        least = min((run.energy_j.value for run in own), default=0.0)
        for run in own:
            governors[run.governor] += run.energy_j.value / least if least > 0.0 else 0.0
    ranked = sorted(governors, key=lambda name: (governor_of(name) != "plan", governors[name]))
    return ranked[: _LINES + 1]


def above_bound(run: GovernorRun, bound_j: float | None) -> float | None:
    """Return by what share a run's energy lies above a bound; None where there is no bound."""
    return None if bound_j is None or not bound_j > 0.0 else run.energy_j.value / bound_j - 1.0


def _bound_j(runs: AtDeadline, rule: str, kind: str) -> float | None:
    bounds = runs.bounds(rule)
    if bounds is None:
        return None
    return bounds.optimum_j if kind == "optimum" else bounds.clairvoyant_j


def distance_text(run: GovernorRun, bound_j: float | None) -> str:
    """Return how far a run lies above a bound, "-" where there is none."""
    share = above_bound(run, bound_j)
    return "-" if share is None else percent(share, 2)
