"""What the demo's figures say about early exit, clocks and the forecast, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from edgeexit.offline.demo_report import PolicyResult, governor_title, setting_title

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Energies = Mapping[tuple[str, str], NDArray[Any]]

MATERIAL: Final = 0.01
"""Energies that differ by less are called equal: the board is a model."""
STANDARD_ERRORS: Final = 2.0
"""A difference must be as many times its standard error, or it may be these images' chance."""
ACCURACY_SLACK: Final = 0.01
"""A loss of accuracy beyond this is named as the price; on some hundred images less is chance."""
_CONTROLS: Final = ("threshold", "thresholds", "ensemble", "check-and-cap")
"""Exit settings without a forecast that run with the governor "plan" too."""


def findings(results: Sequence[PolicyResult], energies_j: _Energies) -> tuple[str, ...]:
    """Say whether early exit, choosing the clock and forecasting the exit are worth it in these figures.

    A policy that is late more often than another does not count as better. What cannot be said because a policy is
    missing is left out.

    Args:
        results: What the policies gave.
        energies_j: By setting and governor the energy of every image's period, in the same order of images.
    """
    figures = _Figures(results, energies_j)
    sentences = (_early_exit(figures), _clock_control(figures), _forecast(figures), _published(figures))
    return tuple(sentence for sentence in sentences if sentence)


class _Figures:
    """The policies by name, and how two of them compare."""

    def __init__(self, results: Sequence[PolicyResult], energies_j: _Energies) -> None:
        self.rows = [row for row in results if not row.is_bound]
        self._energies_j = energies_j

    def find(self, setting: str, governor: str) -> PolicyResult | None:
        return next((row for row in self.rows if (row.setting, row.governor) == (setting, governor)), None)

    def is_less(self, row: PolicyResult, other: PolicyResult) -> bool:
        material_j = (1.0 - MATERIAL) * other.simulated_energy_j
        return row.missed_share <= other.missed_share and row.simulated_energy_j < material_j

    def is_sure(self, row: PolicyResult, other: PolicyResult) -> bool:
        """True if the difference is more than chance among the images would make, each compared with itself."""
        energies_j = self._energies_j
        difference_j = energies_j[row.setting, row.governor] - energies_j[other.setting, other.governor]
        if len(difference_j) < 2:
            return False
        error_j = float(difference_j.std(ddof=1)) / len(difference_j) ** 0.5
        return bool(abs(difference_j.mean()) > STANDARD_ERRORS * error_j)

    def verdict(self, row: PolicyResult, other: PolicyResult) -> str:
        if row.missed_share > other.missed_share:
            return "does not pay here, because its answers can be late"
        if not self.is_less(row, other):
            return "does not pay here"
        if not self.is_sure(row, other):
            return "may pay here, but these images are too few to be sure"
        lost = other.accuracy - row.accuracy
        if lost > ACCURACY_SLACK:
            return f"saves energy here, at the price of {100.0 * lost:.1f} points of accuracy"
        if lost > 0.0:
            return f"pays here if the {100.0 * lost:.1f} points of accuracy that it loses on these images are chance"
        return "pays here"


def _early_exit(figures: _Figures) -> str:
    whole = _least([row for row in figures.rows if row.setting == "last"])
    if whole is None:
        return ""
    early = _least([row for row in figures.rows if row.setting != "last"], as_good_as=whole)
    if early is None:
        return ""
    return (
        f'Early exit {figures.verdict(early, whole)}: "{setting_title(early)}" with {governor_title(early)} draws '
        f"{_mj(early)} of simulated energy for each image, the full network at its best clock choice "
        f"({governor_title(whole)}) {_mj(whole)}, {_saving(early, whole)}; "
        f"accuracy {_accuracies(early, whole)}{_late(early)}."
    )


def _clock_control(figures: _Figures) -> str:
    """Compare ways to choose the clock for the same exits: those of the threshold, or the last if those can be late."""
    for setting in ("threshold", "last"):
        race, stock = figures.find(setting, "performance"), figures.find(setting, "stock")
        fixed, each = figures.find(setting, "fixed"), figures.find(setting, "plan")
        if race and stock and fixed and fixed.missed_share == 0.0:
            return _clock_sentences(figures, race, stock, fixed, each)
    return ""


def _clock_sentences(
    figures: _Figures, race: PolicyResult, stock: PolicyResult, fixed: PolicyResult, each: PolicyResult | None
) -> str:
    best = fixed if each is None else min(fixed, each, key=_late_then_energy)
    text = (
        f'Choosing the clock {figures.verdict(best, race)}: with the same exits ("{setting_title(race)}") it takes '
        f"{_mj(race)} of simulated energy at the highest clock (race to idle), {_mj(stock)} with the stock governor "
        f"and {_mj(fixed)} at the best fixed clock."
    )
    if each is None:
        return text
    onward = "does not pay, one clock chosen once is enough"
    if figures.is_less(each, fixed) and figures.is_sure(each, fixed):
        onward = "pays too"
    return (
        f"{text} With a clock chosen before each piece of work it takes {_mj(each)}: changing it on the way {onward}."
    )


def _forecast(figures: _Figures) -> str:
    forecast = figures.find("forecast", "plan")
    if forecast is None:
        return ""
    controls = [row for row in figures.rows if row.setting in _CONTROLS and row.governor == "plan"]
    control = _least(controls, as_good_as=forecast)
    if control is None:
        return ""
    return (
        f"The learned forecast {figures.verdict(forecast, control)}: it takes {_mj(forecast)} of simulated energy, the "
        f'best rule without one ("{setting_title(control)}") {_mj(control)}, {_saving(forecast, control)}; '
        f"accuracy {_accuracies(forecast, control)}{_late(forecast)}."
    )


def _published(figures: _Figures) -> str:
    row = figures.find("predictive-exit", "predictive-exit")
    if row is None or row.missed_share == 0.0:
        return ""
    return (
        f"Predictive Exit as published answers {row.missed_share:.1%} of the images after the deadline: "
        "nothing in it protects the deadline when its forecast was too short."
    )


def _least(rows: Sequence[PolicyResult], *, as_good_as: PolicyResult | None = None) -> PolicyResult | None:
    """Return the row of least energy among those that are late least often, and as accurate as another if any is."""
    if as_good_as is not None:
        rows = [row for row in rows if as_good_as.accuracy - row.accuracy <= ACCURACY_SLACK] or rows
    return min(rows, key=_late_then_energy, default=None)


def _late_then_energy(row: PolicyResult) -> tuple[float, float]:
    return row.missed_share, row.simulated_energy_j


def _late(row: PolicyResult) -> str:
    return f"; {row.missed_share:.1%} of its answers are late" if row.missed_share > 0.0 else ""


def _saving(row: PolicyResult, other: PolicyResult) -> str:
    share = 1.0 - row.simulated_energy_j / other.simulated_energy_j
    if abs(share) < MATERIAL:
        return "about the same"
    return f"{abs(share):.0%} {'less' if share > 0.0 else 'more'}"


def _accuracies(row: PolicyResult, other: PolicyResult) -> str:
    return f"{row.accuracy:.1%} against {other.accuracy:.1%}"


def _mj(row: PolicyResult) -> str:
    return f"{1e3 * row.simulated_energy_j:,.0f} mJ"
