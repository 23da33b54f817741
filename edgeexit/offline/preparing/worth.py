"""Is early exit worth it for this model: an honest answer with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edgeexit.offline.preparing.preparation import Certified, RuleFigures, Times, Worth

LEAST_GAIN: Final = 0.05
"""Share of the work, and of the time, that must be saved: less is lost again to noise and to the trouble."""

NOISE_ERRORS: Final = 2.0
"""Standard errors by which a measured loss may exceed what is allowed: some 95 % of all noise is less."""

LEAST_NOISE: Final = 0.25
"""Points that pass as noise where the standard error is not known, and the most that do where less may be lost."""

SINGLE_EXIT: Final = "fixed"
"""The setting that answers every sample at the same exit."""


def judge_worth(
    rules: Sequence[RuleFigures],
    accuracy: float,
    max_drop: float,
    *,
    certified: Certified | None = None,
    times: Times | None = None,
    by_labels: bool = True,
    faster: str = "",
    full: str = "full network",
) -> Worth:
    """Weigh what a bundle saves against what it costs.

    Args:
        rules: The settings for the allowed drop `max_drop`, the one reported on first; empty if no exit was kept.
        accuracy: Of the full network, on the same samples; 1 where agreement counts.
        max_drop: Accuracy that may be lost, in percentage points.
        certified: The certificate, if there is one.
        times: Measured on this machine, if they were.
        by_labels: True if accuracy counts, False if agreement with the full network does.
        faster: What the user can try if work is saved and time is not; "" if there is nothing.
        full: What the full network is called.
    """
    what = "accuracy" if by_labels else f"agreement with the {full}"
    chosen = next((rule for rule in rules if rule.setting != SINGLE_EXIT), None)
    if chosen is None:
        return Worth(yes=False, because="no exit before its end saves more than it costs")
    against = (
        _too_inaccurate(chosen, accuracy, max_drop, certified, what)
        or _too_little_saved(chosen, times, faster)
        or _single_exit_does(chosen, rules, accuracy, max_drop)
    )
    if against is not None:
        return Worth(yes=False, because=against)
    return Worth(yes=True, because=_gain(chosen, accuracy, max_drop, times, certified, what))


def _too_inaccurate(
    chosen: RuleFigures, accuracy: float, max_drop: float, certified: Certified | None, what: str
) -> str | None:
    lost = 100.0 * (accuracy - chosen.accuracy)
    if (certified is not None and certified.setting is not None) or lost <= max_drop + _noise(chosen, max_drop):
        return None
    return f"on samples that nothing was chosen on it costs {_lost(lost, what)}, and {max_drop:g} were allowed"


def _noise(chosen: RuleFigures, max_drop: float) -> float:
    """Return points that a loss may exceed the allowed drop by; few samples excuse no more than the drop again."""
    if chosen.loss_error is None:
        return LEAST_NOISE
    return min(100.0 * NOISE_ERRORS * chosen.loss_error, max(max_drop, LEAST_NOISE))


def _too_little_saved(chosen: RuleFigures, times: Times | None, faster: str) -> str | None:
    if chosen.macs_share > 1.0 - LEAST_GAIN:
        return f"it still needs {chosen.macs_share:.0%} of the work, its exits' heads included"
    if times is not None and times.exits_s > (1.0 - LEAST_GAIN) * times.whole_s:
        return (
            f"on this machine an inference takes {1e3 * times.exits_s:.3g} ms with exits and "
            f"{1e3 * times.whole_s:.3g} ms without, although it does {chosen.macs_share:.0%} of the work"
            f"{faster and f'; try {faster}'}"
        )
    return None


def _single_exit_does(
    chosen: RuleFigures, rules: Sequence[RuleFigures], accuracy: float, max_drop: float
) -> str | None:
    single = next((rule for rule in rules if rule.setting == SINGLE_EXIT), None)
    if single is None or single.macs_share > chosen.macs_share or 100.0 * (accuracy - single.accuracy) > max_drop:
        return None
    return (
        f"one exit for all samples keeps the accuracy with {single.macs_share:.0%} of the work, and choosing among "
        f"exits needs {chosen.macs_share:.0%}: use the network cut there"
    )


def _gain(
    chosen: RuleFigures,
    accuracy: float,
    max_drop: float,
    times: Times | None,
    certified: Certified | None,
    what: str,
) -> str:
    time = "" if times is None else f" and {times.exits_s / times.whole_s:.0%} of the time on this machine"
    if certified is not None and certified.setting is not None:
        return (
            f"it needs {certified.macs_share:.0%} of the work{time}, at most {certified.max_drop:g} points lost by "
            "certificate"
        )
    lost = 100.0 * (accuracy - chosen.accuracy)
    noise = f"; with so few samples no sure sign of more than the {max_drop:g} allowed" if lost > max_drop else ""
    share, loss = f"{chosen.macs_share:.0%} of the work{time}", _lost(lost, what)
    return f"it needs {share}, at a loss of {loss} (not certified{noise})"


def _lost(points: float, what: str) -> str:
    return f"{max(points, 0.0):.2f} points of {what}"
