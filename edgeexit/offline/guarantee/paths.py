"""Paths of settings from safe to cheap, chosen on one split so that another can test them one after the other.

A path is made of a rule's calibrated settings, each also tightened and loosened by some factors, so that it is fine
enough to end close to the bound. Nothing here affects the truth of a certificate, only how cheap a setting it finds:
all of it sees the split "select" alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from edgeexit.bundle.certificates import FORECASTING
from edgeexit.errors import OptionError
from edgeexit.offline.guarantee.counts import Counts, against, count_setting
from edgeexit.offline.guarantee.p_values import p_value
from edgeexit.offline.traces import Trace
from edgeexit.protocols import Workload

FACTORS: Final = (0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 1.0, 1.2)
"""By which the distance of thresholds from "never stop" is multiplied."""
DROPS_TRIED: Final = 2.5
"""Settings for drops up to so many times the one allowed are tried."""
LEAST_HOPE: Final = 0.5
"""A setting whose p-value on the split it was chosen on is above this ends a path: it would hardly pass elsewhere."""
RULES_TRIED: Final = 3
"""Paths are made for so many of the cheapest rules."""

_TIGHTENED: Final = ("threshold", "stop")
_LOW_STOPS_LATER: Final = frozenset({"entropy"})
_USUAL: Final[Mapping[str, Mapping[str, Any]]] = {"gate": {"stop": 0.5}}
"""What rules take for parameters that are left out."""


class Step(NamedTuple):
    """A setting of a path, and what it did on the split that it was chosen on."""

    parameters: Mapping[str, Any]
    on_select: Counts


@dataclass(frozen=True, slots=True)
class SettingPath:
    """Settings of one exit rule in the order in which they are tested: from safe to cheap.

    Attributes:
        name: Of the setting in rules.json that they stem from, for instance "thresholds".
        rule: Name of the exit rule.
        steps: The settings, without what only forecasts.
        predictor: The predictor's JSON form, for rules that name it.
        workload: Work in the network's pieces.
    """

    name: str
    rule: str
    steps: tuple[Step, ...]
    predictor: Mapping[str, Any] | None
    workload: Workload


class Bound(NamedTuple):
    """What is to be guaranteed.

    Attributes:
        max_drop: In points.
        confidence: Between 0 and 1.
        risk: One of `edgeexit.bundle.certificates.RISKS`.
    """

    max_drop: float
    confidence: float
    risk: str

    @property
    def share(self) -> float:
        """The drop as a share."""
        return self.max_drop / 100

    def p_value(self, counts: Counts) -> float:
        """Return the p-value of a setting's counts."""
        return p_value(counts.lost, counts.gained, counts.samples, self.share, self.risk)

    def holds(self, counts: Counts) -> bool:
        """Return whether the counts show it."""
        return self.p_value(counts) <= 1 - self.confidence


def find_path(
    rules: Mapping[str, Any],
    predictor: Mapping[str, Any] | None,
    select: Trace,
    workload: Workload,
    bound: Bound,
    *,
    test_samples: int,
    names: Sequence[str] | None = None,
    least_hope: float = LEAST_HOPE,
    progress: Callable[[str, float], None] = lambda _what, _done: None,
) -> SettingPath:
    """Return the path that may be expected to end with the cheapest setting.

    Args:
        rules: In the form of rules.json.
        predictor: The predictor's JSON form, None if there is none.
        select: The split that the rules were chosen on.
        workload: Work in the network's pieces.
        bound: What is to be guaranteed.
        test_samples: On how many samples the path will be tested.
        names: Settings to choose among; by default the cheapest few.
        least_hope: The p-value on `select` beyond which a path ends.
        progress: Told what is done, and which share of all.
    """
    judged = against(select, bound.risk)
    names = cheapest_settings(rules, bound.max_drop)[:RULES_TRIED] if names is None else names
    paths = []
    for index, name in enumerate(names):
        progress(f"path of {name}", index / len(names))
        paths.append(make_path(name, rules["settings"][name], predictor, judged, workload, bound, least_hope))
    progress("paths", 1.0)
    return min(paths, key=lambda path: _expected_cost(path, bound, test_samples))


def cheapest_settings(rules: Mapping[str, Any], max_drop: float) -> list[str]:
    """Return the settings' names, that of the least work for a drop of at most `max_drop` points first."""

    def cost(name: str) -> float:
        seen = rules["settings"][name].get("chosen_on", {})
        return min((float(s["macs_share"]) for drop, s in seen.items() if float(drop) <= max_drop), default=1.0)

    return sorted(rules["settings"], key=cost)


def make_path(
    name: str,
    setting: Mapping[str, Any],
    predictor: Mapping[str, Any] | None,
    judged: Trace,
    workload: Workload,
    bound: Bound,
    least_hope: float = LEAST_HOPE,
) -> SettingPath:
    """Order a setting's variants from safe to cheap by what they do on `judged`, see `_safe_to_cheap`.

    Args:
        name: Of the setting.
        setting: Its entry in rules.json.
        predictor: The predictor's JSON form.
        judged: The split to choose on, with what counts as right as its labels.
        workload: Work in the network's pieces.
        bound: What is to be guaranteed.
        least_hope: The p-value beyond which the path ends.
    """
    rule = setting["rule"]
    bases = [p for drop, p in setting["parameters"].items() if float(drop) <= DROPS_TRIED * bound.max_drop]
    steps = []
    for parameters in _variants(rule, bases or list(setting["parameters"].values())[:1]):
        try:
            counts = count_setting(rule, parameters, predictor, judged, workload)
        except OptionError:
            continue  # loosened out of the rule's range
        steps.append(Step(parameters, counts))
    return SettingPath(name, rule, _safe_to_cheap(steps, bound, least_hope), predictor, workload)


def _variants(rule: str, bases: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    seen = []
    for base in bases:
        plain = {k: v for k, v in {**_USUAL.get(rule, {}), **base}.items() if k not in FORECASTING}
        for factor in FACTORS if any(key in plain for key in _TIGHTENED) else (1.0,):
            variant = {k: _tightened(v, factor, rule) if k in _TIGHTENED else v for k, v in plain.items()}
            if variant not in seen:
                seen.append(variant)
                yield variant


def _tightened(value: Any, factor: float, rule: str) -> Any:
    """Return a threshold, or a list of them, nearer to "never stop"; None and "always stop" stay."""
    if isinstance(value, (list, tuple)):
        return [_tightened(item, factor, rule) for item in value]
    if value is None or value == 0.0:
        return value
    number = factor * value if rule in _LOW_STOPS_LATER else 1 - factor * (1 - value)
    return round(max(number, 0.0), 6)


def _safe_to_cheap(steps: Sequence[Step], bound: Bound, least_hope: float) -> tuple[Step, ...]:
    """Return the steps by falling work, without those that are beaten by a cheaper one.

    The tests end at the first failure, so the first step must be the safest. Where several look equally good on the
    split (all lose nothing, say), that is the tightest, which does the most work: it is kept, and tested first.
    """
    kept: list[Step] = []
    for step in sorted(steps, key=lambda s: (-s.on_select.macs_share, bound.p_value(s.on_select), s.on_select.lost)):
        if kept and step.on_select.macs_share >= kept[-1].on_select.macs_share:
            continue  # as much work as a safer one
        if any(_beats(other.on_select, step.on_select, bound) for other in steps):
            continue
        if kept and bound.p_value(step.on_select) > least_hope:
            break
        kept.append(step)
    return tuple(kept)


def _beats(other: Counts, counts: Counts, bound: Bound) -> bool:
    """Return whether a setting is cheaper, and safer too: it lost fewer, or is the likelier of two doubtful ones.

    Gains alone make no setting safer than one that shows the bound: they are luck as often as not.
    """
    if other.macs_share >= counts.macs_share or not counts.lost:
        return False
    doubtful = not bound.holds(counts)
    return other.lost < counts.lost or (doubtful and bound.p_value(other) < bound.p_value(counts))


def _expected_cost(path: SettingPath, bound: Bound, test_samples: int) -> float:
    """Return the work of the last step that would pass if the tests saw the rates of `select`; 1 if none would."""
    cost = 1.0
    for step in path.steps:
        if not bound.holds(step.on_select.scaled(test_samples)):
            break
        cost = step.on_select.macs_share
    return cost
