"""Colours and marks of the report's pictures, and how a picture becomes SVG for a page or a PNG file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Final, Literal

from edgeexit.offline.reporting.selection import governor_of, setting_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours that depend on what a picture lies on."""

    ink: str
    muted: str
    grid: str
    paper: str


PRINT: Final = Theme("#1a1a1a", "#555555", "#d5d5d5", "#ffffff")
"""For PNG files."""
PAGE: Final = Theme("#010203", "#040506", "#070809", "#0a0b0c")
"""For SVG in a page: colours that nobody sees, since `svg` makes them the page's own, light or dark."""
_VARIABLES: Final = {PAGE.ink: "--ink", PAGE.muted: "--muted", PAGE.grid: "--line", PAGE.paper: "--paper"}
WIDTH: Final = 5.8
"""Of a picture in inches: so narrow that its text can be read on a phone."""
_DPI: Final = 160
_FONT_SIZE: Final = 9.5

_RULE_COLOURS: Final = {
    "threshold": "#0072B2",
    "thresholds": "#009E73",
    "check-and-cap": "#E69F00",
    "predictive-exit": "#CC79A7",
    "forecast": "#D55E00",
    "oracle": "#7F7F7F",
    "forecast-in-turn": "#B8860B",
    "patience": "#56B4E9",
    "entropy": "#8C6BB1",
    "margin": "#6B8E23",
    "fixed": "#A0522D",
}
"""By exit setting, the first six as in the demo's picture, told apart by the colour-blind: Okabe and Ito, Color
Universal Design, 2008."""
_MARKERS: Final = {
    "plan": "o",
    "plan-population": "P",
    "best-fixed": "s",
    "deadline": "X",
    "predictive-exit": "D",
    "stock": "v",
    "performance": "^",
    "race-to-idle": "<",
    "powersave": ">",
    "schedutil": "d",
    "ondemand": "p",
    "simple-ondemand": "h",
    "interactive": "8",
    "fixed": "$F$",
}
_LINE_COLOURS: Final = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#7F7F7F")
LATE: Final = "#C1121F"
"""What is too late."""


def rule_colour(rule: str, theme: Theme) -> str:
    """Return the colour of an exit rule; the full network is drawn in ink."""
    return theme.ink if setting_of(rule) == "last" else _RULE_COLOURS.get(setting_of(rule), "#7F7F7F")


def governor_marker(governor: str) -> str:
    """Return the mark of a governor."""
    return _MARKERS.get(governor_of(governor), ".")


def line_colour(index: int) -> str:
    """Return the colour of the line of this index."""
    return _LINE_COLOURS[index % len(_LINE_COLOURS)]


def new_figure(height: float, theme: Theme) -> Figure:
    """Return an empty picture of `WIDTH` by `height` inches."""
    from matplotlib.figure import Figure  # noqa: PLC0415  an extra: only pictures need it

    figure = Figure(figsize=(WIDTH, height), dpi=_DPI, layout="constrained")
    figure.patch.set_alpha(0.0 if theme is PAGE else 1.0)
    return figure


def dress(axes: Axes, theme: Theme, title: str, *, grid: Literal["both", "x", "y"] = "both") -> None:
    """Give axes a title, and the theme's colours and font sizes; call it when all is drawn."""
    axes.set_title(title, loc="left", fontsize=_FONT_SIZE, color=theme.ink)
    axes.set_facecolor("none")
    axes.tick_params(colors=theme.muted, labelsize=_FONT_SIZE - 1.0)
    for side, spine in axes.spines.items():
        spine.set_color(theme.muted)
        spine.set_visible(side in ("left", "bottom"))
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(theme.ink)
        label.set_fontsize(_FONT_SIZE)
    axes.grid(visible=True, axis=grid, color=theme.grid, linewidth=0.7)
    axes.set_axisbelow(True)


def add_legend(figure: Figure, handles: Sequence[object], theme: Theme, columns: int = 3) -> None:
    """Put a legend below the picture."""
    if handles:
        figure.legend(
            handles=list(handles),
            loc="outside lower center",
            ncols=columns,
            fontsize=_FONT_SIZE - 1.5,
            labelcolor=theme.ink,
            frameon=False,
            handletextpad=0.5,
            columnspacing=1.2,
        )


def swatch(colour: str, label: str) -> object:
    """Return a legend's patch of colour."""
    from matplotlib.patches import Patch  # noqa: PLC0415  an extra: only pictures need it

    return Patch(facecolor=colour, edgecolor="none", label=label)


def mark(marker: str, colour: str, label: str) -> object:
    """Return a legend's mark."""
    from matplotlib.lines import Line2D  # noqa: PLC0415  an extra: only pictures need it

    return Line2D([], [], marker=marker, color=colour, linestyle="none", markersize=5.5, label=label)


def png(figure: Figure) -> bytes:
    """Return a picture as PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure, name: str) -> str:
    """Return a picture as an SVG element for a page: text stays text, and the theme's colours are the page's.

    Args:
        figure: The picture, drawn with the theme `PAGE`.
        name: Of the picture, different from all others of the page: no two elements of a page may have the same id.
    """
    import matplotlib as mpl  # noqa: PLC0415  an extra: only pictures need it

    buffer = StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "edgeexit"}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    return _for_page(buffer.getvalue(), name)


def _for_page(text: str, name: str) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'<svg ([^>]*?)height="[^"]*"([^>]*?)width="[^"]*"', r"<svg \1\2", text, count=1)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1).strip()
