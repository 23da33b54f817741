"""Pictures of time: latencies against the deadline, what happens in sample inferences, and where the clocks were."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from edgeexit.offline.reporting.amounts import milliseconds, rare_share
from edgeexit.offline.reporting.theme import LATE, Theme, add_legend, dress, new_figure, swatch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from edgeexit.offline.replaying.results import GovernorRun

_KINDS: Final = {"segment": "#0072B2", "head": "#E69F00", "switch": LATE, "idle": "#9AA5B1"}
"""What the board does, and its colour in the timeline."""
_BAR: Final = "#0072B2"


def latency_figure(runs: Sequence[GovernorRun], theme: Theme) -> Figure:
    """Draw the latencies of some runs of one rule and deadline, one below the other, with the deadline."""
    figure = new_figure(0.9 + 0.62 * len(runs), theme)
    axes = figure.subplots()
    for row, run in enumerate(runs):
        _draw_latencies(axes, run, float(len(runs) - 1 - row), theme)
    deadline_s = runs[0].deadline_s
    if deadline_s is not None:
        axes.axvline(1e3 * deadline_s, color=LATE, linewidth=1.2)
    axes.set_yticks(
        [len(runs) - 1 - row + 0.2 for row in range(len(runs))],
        [f"{run.governor}\nlate: {rare_share(run.misses, run.inferences)}" for run in runs],
    )
    axes.set_xlim(0.0, 1e3 * _latest_s(runs))
    axes.set_ylim(-0.15, len(runs))
    due = "" if deadline_s is None else f"; red line: the deadline, {milliseconds(deadline_s)}"
    axes.set_xlabel(f"latency from the request on, simulated (ms){due}")
    axes.xaxis.set_label_coords(1.0, -0.5 / len(runs))
    axes.xaxis.label.set_horizontalalignment("right")
    dress(axes, theme, f'"{runs[0].rule}": latency; ticks: 50 %, 99 %, longest', grid="x")
    return figure


def _latest_s(runs: Sequence[GovernorRun]) -> float:
    """Return where the axis ends: a run that is very late must not press all others together."""
    longest_s = max(run.latency_s["max"] for run in runs)
    deadline_s = runs[0].deadline_s
    return 1.05 * longest_s if deadline_s is None else max(1.1 * deadline_s, min(1.05 * longest_s, 2.5 * deadline_s))


def _draw_latencies(axes: Axes, run: GovernorRun, base: float, theme: Theme) -> None:
    edges_s, counts = run.latency_histogram
    highest = max(counts, default=0)
    if highest:
        for late in (False, True):
            heights = [
                0.8 * count / highest if (start >= (run.deadline_s or 1e9)) is late else 0.0
                for start, count in zip(edges_s, counts, strict=False)
            ]
            if any(heights):
                axes.stairs(
                    [base + height for height in heights],
                    [1e3 * edge for edge in edges_s],
                    baseline=base,
                    fill=True,
                    color=LATE if late else _BAR,
                )
    axes.axhline(base, color=theme.muted, linewidth=0.6)
    for name in ("p50", "p99", "max"):
        x = 1e3 * run.latency_s[name]
        axes.plot([x, x], [base - 0.08, base + 0.08], color=theme.ink, linewidth=1.4)


def timeline_figure(runs: Sequence[GovernorRun], theme: Theme) -> Figure:
    """Draw what the board does in the first few inferences of some runs: power, kind of work and clocks over time."""
    figure = new_figure(0.9 + 1.25 * len(runs), theme)
    panels = figure.subplots(len(runs), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    start_s = [run.timeline[0].start_s for run in runs]
    for axes, run, from_s in zip(panels, runs, start_s, strict=True):
        _draw_steps(axes, run, from_s, theme)
        axes.set_ylabel("power (W)")
        dress(axes, theme, f'{run.governor}, exits of "{run.rule}"', grid="y")
    panels[-1].set_xlabel("time, simulated (ms); figures: clocks in MHz; dotted: deadlines")
    panels[0].set_xlim(left=0.0)
    panels[0].set_ylim(bottom=0.0, top=1.28 * max(step.power_w for run in runs for step in run.timeline))
    add_legend(figure, [swatch(colour, kind) for kind, colour in _KINDS.items()], theme, columns=4)
    return figure


def _draw_steps(axes: Axes, run: GovernorRun, from_s: float, theme: Theme) -> None:
    for step in run.timeline:
        start, width = 1e3 * (step.start_s - from_s), 1e3 * (step.end_s - step.start_s)
        colour = _KINDS.get(step.what.partition(" ")[0], _BAR)
        axes.bar(start, step.power_w, width, align="edge", color=colour, linewidth=0.0)
    end = 1e3 * (run.timeline[-1].end_s - from_s)
    for due_s in _deadlines_s(run):
        axes.axvline(1e3 * (due_s - from_s), color=theme.ink, linewidth=0.9, linestyle=":")
    for start, stop, clocks, power_w in clock_stretches(run):
        if stop - start > 0.02 * end / 1e3:
            axes.text(1e3 * (start - from_s), power_w, clocks, color=theme.ink, fontsize=7.0, va="bottom")


def _deadlines_s(run: GovernorRun) -> list[float]:
    """Return when the answers are due: requests come at 0 and whenever the board stops idling."""
    if run.deadline_s is None:
        return []
    requests_s = [0.0, *(step.end_s for step in run.timeline[:-1] if step.what == "idle")]
    return [request_s + run.deadline_s for request_s in requests_s]


def clock_stretches(run: GovernorRun) -> list[tuple[float, float, str, float]]:
    """Return for each stretch of work at the same clocks its start, its end, the clocks in MHz and the most power."""
    stretches: list[tuple[float, float, str, float]] = []
    for step in run.timeline:
        if step.what.partition(" ")[0] in ("idle", "switch"):
            continue
        clocks = megahertz(step.clocks)
        if stretches and stretches[-1][2] == clocks and step.start_s - stretches[-1][1] < 1e-9:
            start_s, _, _, power_w = stretches.pop()
            stretches.append((start_s, step.end_s, clocks, max(power_w, step.power_w)))
        else:
            stretches.append((step.start_s, step.end_s, clocks, step.power_w))
    return stretches


def megahertz(clocks: str) -> str:
    """Return clocks as short as a picture needs them: "gpu 726.75 MHz" as "727"."""
    return (
        ", ".join(f"{int(float(figure) + 0.5)}" for figure in re.findall(r"\d+(?:\.\d+)?(?=\s*MHz)", clocks)) or clocks
    )


def residency_figure(runs: Sequence[GovernorRun], theme: Theme) -> Figure:
    """Draw which share of the time each run spent at which clocks, the slowest in the darkest colour."""
    import matplotlib as mpl  # noqa: PLC0415  an extra: only pictures need it

    clocks = sorted({name for run in runs for name in run.residency}, key=_clock_order)
    scale = mpl.colormaps["viridis"].resampled(max(2, len(clocks)))
    colours = [mpl.colors.to_hex(scale(index)) for index in range(len(clocks))]
    figure = new_figure(0.9 + 0.36 * len(runs) + 0.19 * -(-len(clocks) // 3), theme)
    axes = figure.subplots()
    for row, run in enumerate(reversed(runs)):
        left = 0.0
        for index, name in enumerate(clocks):
            share = 100.0 * run.residency.get(name, 0.0)
            axes.barh(row, share, left=left, color=colours[index], height=0.75)
            left += share
    axes.set_yticks(range(len(runs)), [run.governor for run in reversed(runs)])
    axes.set_xlim(0.0, 100.0)
    axes.set_xlabel("share of the time, idling included (%)")
    dress(axes, theme, f'"{runs[0].rule}": where the clocks were', grid="x")
    add_legend(figure, [swatch(colour, name) for colour, name in zip(colours, clocks, strict=True)], theme)
    return figure


def _clock_order(clocks: str) -> list[float]:
    return [float(figure) for figure in re.findall(r"\d+(?:\.\d+)?", clocks)]
