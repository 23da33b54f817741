"""The demo's picture: accuracy against simulated energy, and which exits answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeexit.offline.demo_report import (
    CurvePoint,
    DemoReport,
    PolicyCurve,
    PolicyResult,
    governor_title,
    scale_title,
    setting_title,
)
from edgeexit.offline.label_places import alignment, line_boxes, place_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure

_COLOURS: Final = {
    "last": "#000000",
    "threshold": "#0072B2",
    "thresholds": "#009E73",
    "check-and-cap": "#E69F00",
    "predictive-exit": "#CC79A7",
    "forecast": "#D55E00",
    "oracle": "#7F7F7F",
}
"""By exit setting, told apart by the colour-blind: Okabe and Ito, Color Universal Design, 2008."""
_MARKERS: Final = {
    "stock": "v",
    "performance": "^",
    "fixed": "s",
    "deadline": "h",
    "plan": "o",
    "predictive-exit": "D",
    "clairvoyant": "*",
}
_IN_HISTOGRAM: Final = ("threshold", "thresholds", "check-and-cap", "forecast", "oracle")
_DPI: Final = 120
_LEAST_SPAN: Final = 0.02
"""Differences in accuracy are not drawn larger than if the best and the worst policy were so far apart."""
_POINT_SIZE: Final = 9.0
_SMALL_POINT_SIZE: Final = 4.0
_FONT_SIZE: Final = 8.5


def draw_demo(report: DemoReport, path: Path) -> None:
    """Draw a demo's report as PNG: needs Matplotlib, the extra "report".

    Raises:
        OSError: If the file cannot be written.
    """
    demo_figure(report).savefig(path, format="png", dpi=_DPI)


def demo_figure(report: DemoReport) -> Figure:
    """Return the picture of a demo's report."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  an extra: only pictures need it
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(13.0, 6.2), dpi=_DPI, layout="constrained")
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]  # Matplotlib has no types here
    trade, histogram = figure.subplots(1, 2, width_ratios=(3, 2))
    figure.suptitle(f"{report.bundle}: {report.images:,} images on a simulated {report.board_title.partition(':')[0]}")
    _draw_histogram(histogram, report)
    _draw_trade_off(trade, report)
    figure.supxlabel(_footnote(report), fontsize="small", color="#444444")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    _label_points(renderer, trade, report)
    return figure


def _draw_trade_off(axes: Axes, report: DemoReport) -> None:
    _draw_curves(axes, report.curves)
    for row in report.policies:
        axes.plot(
            *_position(row),
            marker=_MARKERS.get(row.governor, "o"),
            color=_colour(row),
            markersize=1.5 * _POINT_SIZE if row.is_bound else _POINT_SIZE,
            markerfacecolor="white" if row.missed_share > 0.0 else _colour(row),
            markeredgewidth=1.5,
            linestyle="none",
        )
    accuracies = [row.accuracy for row in report.policies]
    accuracies += [point.accuracy for curve in report.curves for point in curve.points]
    lowest, highest = min(accuracies), max(accuracies)
    span = max(highest - lowest, _LEAST_SPAN)
    middle = (lowest + highest) / 2.0
    axes.set_ylim(100.0 * (middle - 0.7 * span), 100.0 * (middle + 0.7 * span))
    least, most = axes.dataLim.intervalx
    axes.set_xlim(least - 0.12 * (most - least), most + 0.36 * (most - least))  # room for labels, most on the right
    axes.set_xlabel("simulated energy for each image and its period (mJ), less is better")
    axes.set_ylabel("accuracy (%), real answers")
    axes.set_title(_trade_off_title(report.curves), fontsize="medium")
    axes.grid(alpha=0.3)


def _draw_curves(axes: Axes, curves: Sequence[PolicyCurve]) -> None:
    for curve in curves:
        x, y = zip(*map(_position, curve.points), strict=True)
        colour = _colour(curve)
        axes.plot(x, y, color=colour, linewidth=1.0, zorder=1.8)
        axes.scatter(
            x,
            y,
            s=_SMALL_POINT_SIZE**2,
            facecolors=["white" if point.missed_share > 0.0 else colour for point in curve.points],
            edgecolors=colour,
            linewidths=1.0,
            zorder=1.9,
        )


def _trade_off_title(curves: Sequence[PolicyCurve]) -> str:
    title = "Accuracy against simulated energy (hollow: some answers are late)"
    drops = sorted({point.allowed_drop for curve in curves for point in curve.points})
    if not drops:
        return title
    listed = ", ".join(f"{drop:g}" for drop in drops)
    return f"{title}\nlines: exits calibrated on validation images to lose at most {listed} points"


def _draw_histogram(axes: Axes, report: DemoReport) -> None:
    chosen: dict[str, PolicyResult] = {}
    for row in report.policies:
        if row.setting in _IN_HISTOGRAM:
            chosen.setdefault(row.setting, row)
    width = 0.84 / max(1, len(chosen))
    for place, row in enumerate(chosen.values()):
        offset = (place - (len(chosen) - 1) / 2.0) * width
        axes.bar(
            [index + offset for index in range(report.exit_count)],
            [100.0 * count / report.images for count in row.exit_counts],
            width,
            color=_colour(row),
            label=setting_title(row),
        )
    axes.set_xticks(range(report.exit_count))
    axes.set_xlabel("exit that answers")
    axes.set_ylabel("images (%)")
    axes.set_title("Where the answers come from", fontsize="medium")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    if chosen:
        axes.legend()


def _footnote(report: DemoReport) -> str:
    return (
        f"Answers: real, ONNX Runtime {report.onnxruntime_version}. Clocks, latency, energy: simulated, each "
        f"multiply-accumulate counts as {scale_title(report)}. Deadline {1e3 * report.deadline_s:.1f} ms. "
        f"One image is {100.0 / report.images:.2g} points."
    )


def _label_points(renderer: RendererAgg, axes: Axes, report: DemoReport) -> None:
    rows = report.policies
    scale = renderer.dpi / 72.0
    frame = axes.get_window_extent(renderer)
    texts = [f"{setting_title(row)}, {governor_title(row)}" for row in rows]
    anchors = place_labels(
        [axes.transData.transform(_position(row)) for row in rows],
        [_text_size(renderer, axes, text) for text in texts],
        (frame.x0, frame.y0, frame.x1, frame.y1),
        spot=_POINT_SIZE * scale,
        obstacles=_curve_boxes(axes, report.curves, _SMALL_POINT_SIZE * scale),
    )
    for row, text, anchor in zip(rows, texts, anchors, strict=True):
        right, up = alignment(anchor)
        line = {"arrowstyle": "-", "color": _colour(row), "linewidth": 0.7, "shrinkA": 0, "shrinkB": _POINT_SIZE / 2}
        axes.annotate(
            text,
            _position(row),
            xytext=tuple(anchor / scale),
            textcoords="offset points",
            fontsize=_FONT_SIZE,
            color=_colour(row),
            horizontalalignment=("right", "center", "left")[right + 1],
            verticalalignment=("top", "center", "bottom")[up + 1],
            arrowprops={**line, "relpos": ((1 - right) / 2, (1 - up) / 2)},
        )


def _curve_boxes(axes: Axes, curves: Sequence[PolicyCurve], width: float) -> list[Sequence[float]]:
    """Return left, bottom, right and top, in pixels, of what the curves and their points of `width` cover."""
    boxes: list[Sequence[float]] = []
    for curve in curves:
        places = axes.transData.transform([_position(point) for point in curve.points])
        boxes.extend(line_boxes(places, width))
        boxes.extend((x - width / 2.0, y - width / 2.0, x + width / 2.0, y + width / 2.0) for x, y in places)
    return boxes


def _text_size(renderer: RendererAgg, axes: Axes, text: str) -> tuple[float, float]:
    """Return width and height in pixels."""
    trial = axes.text(0.0, 0.0, text, fontsize=_FONT_SIZE)
    box = trial.get_window_extent(renderer)
    trial.remove()
    return box.width, box.height


def _position(row: PolicyResult | CurvePoint) -> tuple[float, float]:
    return 1e3 * row.simulated_energy_j, 100.0 * row.accuracy


def _colour(row: PolicyResult | PolicyCurve) -> str:
    return _COLOURS.get(row.setting, "#56B4E9")
