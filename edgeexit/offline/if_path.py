"""Which exits a threshold-type rule looks at, and what it takes for each of them to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from edgeexit.bundle import Bundle
from edgeexit.bundle.certificates import CERTIFIED
from edgeexit.errors import OptionError
from edgeexit.exits.last import Last
from edgeexit.exits.settings import RuleSetting, drop_in_use, rule_parameters
from edgeexit.protocols import CombinesLooks, Evidence, ExitRule, Look
from edgeexit.registry import load_exit_rule

RECOMMENDED: Final = "recommended"
_CERTIFY_ANOTHER: Final = "; for a certified one calibrate again with --certify-rule thresholds"


class LookAt(NamedTuple):
    """An exit that is looked at."""

    exit_index: int
    least_confidence: float | None
    """It answers if its largest probability is at least this; None: in any case."""


def find_path(bundle: Bundle, exit_rule: str | None, allowed_drop: float | None) -> tuple[LookAt, ...]:
    """Return the exits that a calibrated setting looks at, one after the other; the last answers in any case.

    Args:
        bundle: The bundle.
        exit_rule: Name of the setting, None for the one that the bundle recommends.
        allowed_drop: Accuracy that it may cost, in points; None takes 0, or the least that it is calibrated for.

    Raises:
        OptionError: If there is no such setting, or its rule asks for more than thresholds on each exit's confidence.
    """
    rules = bundle.read_rules()
    name = str(rules.get(RECOMMENDED, Last.name)) if exit_rule is None else exit_rule
    if name == Last.name:
        setting = RuleSetting(Last.name, {})
    else:
        drop = drop_in_use(rules, name, allowed_drop)
        setting = rule_parameters(rules, bundle.read_predictor(), name, drop)
    threshold_of = _threshold_reader(setting, name, rules)
    rule = load_exit_rule(setting.rule, bundle.exit_count, **setting.parameters)
    if isinstance(rule, CombinesLooks):
        raise OptionError(f"setting {name!r} answers with several exits together, which an If cannot")
    exits = _exits_on_the_way(rule, bundle.exit_count)
    return (*(LookAt(e, threshold_of(e)) for e in exits[:-1]), LookAt(exits[-1], None))


def largest_below(threshold: float) -> np.float32:
    """Return the largest float32 below `threshold`.

    A float32 is at least the threshold, as the exit rules compare it in double precision, if and only if it is above
    this number: so the comparison in a graph is exactly theirs.
    """
    nearest = np.float32(threshold)
    return np.nextafter(nearest, np.float32(-np.inf)) if float(nearest) >= threshold else nearest


def _threshold_reader(setting: RuleSetting, name: str, rules: Mapping[str, Any]) -> Callable[[int], float]:
    """Return from an exit that is looked at to its threshold."""
    known = _KNOWN.get(setting.rule)
    if known is None:
        raise OptionError(
            f"setting {name!r} has the rule {setting.rule!r}, and only rules that compare each exit's confidence with "
            f"a threshold can be written with If: {', '.join(_KNOWN)}; settings here that can: {_exportable(rules)}"
            f"{_CERTIFY_ANOTHER if name in CERTIFIED.values() else ''}"
        )
    unknown = sorted(set(setting.parameters) - known)
    if unknown:
        raise OptionError(f"setting {name!r} has the parameter {unknown[0]!r}, which cannot be written with If")
    threshold = setting.parameters.get("threshold")
    return lambda exit_index: float(threshold[exit_index] if isinstance(threshold, list) else threshold)  # type: ignore[arg-type]  # the rule has checked it


def _exportable(rules: Mapping[str, Any]) -> str:
    settings = rules.get("settings", {})
    names = [name for name in sorted(settings) if settings[name]["rule"] in _KNOWN and name != Last.name]
    return ", ".join((*names, Last.name))


def _exits_on_the_way(rule: ExitRule, exit_count: int) -> list[int]:
    """Return the exits that a rule looks at for a sample of which none is ever sure."""
    unsure = np.zeros(1, dtype=np.float32)
    looks: list[Look] = []
    verdict = rule.judge(Evidence(exit_count, looks))
    while True:
        looks.append(Look(verdict.next_exit, 0, 0.0, 0.0, unsure, unsure))
        if verdict.next_exit == exit_count - 1:
            break
        verdict = rule.judge(Evidence(exit_count, looks))
        if verdict.stop:
            break
    return [look.exit_index for look in looks]


_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "threshold": frozenset({"threshold", "prior"}),
    "check-and-cap": frozenset({"threshold", "cap", "start", "prior"}),
    "fixed": frozenset({"exit_index"}),
    "last": frozenset(),
}
"""Rule -> the parameters that are understood here; `prior` changes no answer."""
