"""Figures as people read them: SI units with a prefix, shares in percent, and intervals in brackets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeexit.offline.bootstrap import Estimate


def digits(value: float) -> str:
    """Return a number with three digits or more: 0.0123, 1.23, 12.3, 123, 1,234."""
    size = abs(value)
    if size >= 99.95:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    if size >= 0.9995 or value == 0.0:
        return f"{value:.2f}"
    return f"{value:.3g}"


def joules(value_j: float) -> str:
    """Return an energy in millijoules, or in microjoules or joules where that reads better."""
    if value_j == 0.0:
        return "0 J"
    for limit_j, unit, per_unit in ((1e-4, "uJ", 1e6), (10.0, "mJ", 1e3)):
        if abs(value_j) < limit_j:
            return f"{digits(per_unit * value_j)} {unit}"
    return f"{digits(value_j)} J"


def joules_with_interval(energy_j: Estimate) -> str:
    """Return an energy and its interval: "41.2 mJ (40.9 to 41.5)"."""
    figure, unit = joules(energy_j.value).rsplit(" ")
    per_unit = {"uJ": 1e6, "mJ": 1e3, "J": 1.0}[unit]
    return _with_interval(figure, digits(per_unit * energy_j.low), digits(per_unit * energy_j.high), f" {unit}")


def milliseconds(value_s: float) -> str:
    """Return a time in milliseconds."""
    return f"{digits(1e3 * value_s)} ms"


def percent(share: float, places: int = 1) -> str:
    """Return a part of 1 in percent: "12.3 %"; what rounds to nothing gets no sign."""
    return f"{_hundredths(share, places)} %"


def percent_with_interval(share: Estimate, places: int = 1) -> str:
    """Return a share and its interval in percent: "91.2 % (90.6 to 91.8)"."""
    value, low, high = (_hundredths(each, places) for each in (share.value, share.low, share.high))
    return _with_interval(value, low, high, " %")


def saving_text(share: Estimate, places: int = 1) -> str:
    """Return a saving in words: "12.3 % less (11.9 to 12.7)", or "more" if it is none."""
    if share.value >= 0.0:
        word, value, low, high = "less", share.value, share.low, share.high
    else:
        word, value, low, high = "more", -share.value, -share.high, -share.low
    figures = _hundredths(value, places), _hundredths(low, places), _hundredths(high, places)
    return _with_interval(*figures, f" % {word}")


def _hundredths(share: float, places: int) -> str:
    text = f"{100.0 * share:.{places}f}"
    return text.lstrip("-") if not text.strip("-0.") else text


def _with_interval(figure: str, low: str, high: str, unit: str) -> str:
    """Return a figure, its unit and its interval, unless that is so narrow that it reads like the figure."""
    return f"{figure}{unit}" if low == figure == high else f"{figure}{unit} ({low} to {high})"


def rare_share(count: int, total: int) -> str:
    """Return how often something happened: "none of 10,000", "3 of 10,000 (0.03 %)"."""
    if count == 0:
        return f"none of {total:,}"
    return f"{count:,} of {total:,} ({digits(100.0 * count / total)} %)"


def times(factor: float | None) -> str:
    """Return a deadline in times of the full network at the highest clock: "1.25 x", or "none"."""
    return "none" if factor is None else f"{factor:g} x"


def listed(texts: list[str]) -> str:
    """Return texts as a list in a sentence: "a, b and c"."""
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
