"""Pictures of exits: which of them answer, and whether the forecasts of them come true."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING, Final

from edgeexit.offline.reporting.theme import Theme, add_legend, dress, mark, new_figure, rule_colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edgeexit.offline.replaying.results import ForecastRow, GovernorRun

_Z: Final = 1.959963984540054
"""Of the normal distribution, for 95 %."""
_MARKERS: Final = "osD^vPX"


def exits_figure(runs: Sequence[GovernorRun], theme: Theme) -> Figure:
    """Draw which exits answer, one row a run of each rule."""
    figure = new_figure(0.8 + 0.72 * len(runs), theme)
    panels = figure.subplots(len(runs), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    for axes, run in zip(panels, runs, strict=True):
        total = max(1, sum(run.exit_counts))
        shares = [100.0 * count / total for count in run.exit_counts]
        axes.bar(range(len(shares)), shares, 0.8, color=rule_colour(run.rule, theme))
        axes.set_ylim(0.0, 100.0)
        axes.set_yticks((0, 50, 100))
        title = f"{run.rule}: {run.looks:.2f} looks, {100.0 * run.macs_share:.0f} % of the work"
        dress(axes, theme, title, grid="y")
    panels[-1].set_xticks(range(max(len(run.exit_counts) for run in runs)))
    panels[-1].set_xlabel("exit that answers")
    figure.supylabel("share of the inferences (%)", color=theme.ink, fontsize=9.5)
    return figure


def calibration_figure(rows: Sequence[ForecastRow], theme: Theme) -> Figure:
    """Draw how often exits answered that had been given some probability: on the diagonal a forecast is honest."""
    figure = new_figure(4.6, theme)
    axes = figure.subplots()
    axes.plot([0.0, 100.0], [0.0, 100.0], color=theme.muted, linewidth=0.8, linestyle="--")
    for row, marker in zip(rows, _MARKERS * len(rows), strict=False):
        for given, true, count in row.reliability:
            low, high = wilson_interval(true, count)
            axes.errorbar(
                100.0 * given,
                100.0 * true,
                yerr=[[100.0 * (true - low)], [100.0 * (high - true)]],
                fmt=marker,
                color=rule_colour(row.rule, theme),
                markersize=3.0 + min(5.0, count**0.5 / 20.0),
                elinewidth=0.9,
            )
    axes.set_xlim(0.0, 100.0)
    axes.set_ylim(0.0, 100.0)
    axes.set_xlabel("probability that the forecast gave to an exit (%)")
    axes.set_ylabel("how often that exit then answered (%)")
    dress(axes, theme, "Do the forecasts come true?")
    legend = [
        mark(marker, rule_colour(row.rule, theme), row.rule) for row, marker in zip(rows, _MARKERS * 9, strict=False)
    ]
    add_legend(figure, legend, theme)
    return figure


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of `count` (Wilson, JASA 22, 1927, p. 209): 0 and 1 if there are none."""
    if count < 1:
        return 0.0, 1.0
    squared = _Z * _Z / count
    middle = (share + squared / 2.0) / (1.0 + squared)
    half = _Z * sqrt(max(0.0, share * (1.0 - share)) / count + squared / (4.0 * count)) / (1.0 + squared)
    return min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))
