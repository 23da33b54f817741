"""The calibrated settings of one exit rule that a session may use, and how deep an answer has to come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from edgeexit.errors import OptionError
from edgeexit.exits.last import Last
from edgeexit.exits.settings import drop_in_use, make_rule
from edgeexit.runtime.agreement import Expected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeexit.bundle import Bundle
    from edgeexit.protocols import ExitRule, Verdict


class Setting(NamedTuple):
    """An exit rule as it was calibrated for one accuracy drop."""

    rule: ExitRule
    allowed_drop: float | None
    """Accuracy that it may cost, in points below the full network; None for a rule that the user made."""
    macs_share: float | None
    """What it does of the network's work on calibration data, as far as that is known."""
    samples: int | None
    """How many samples that, and the rule's first distribution, rest on."""
    early: Expected | None = None
    """How many of these exited early, and for how many of them the full network says the same; None if not known."""
    name: str | None = None
    """Of the setting in the bundle; None for a rule that the user made."""


def one_setting(bundle: Bundle, rule: ExitRule | str | None, allowed_drop: float | None) -> Setting:
    """Return the setting that a user asked for.

    Args:
        bundle: The bundle.
        rule: A rule, the name of a setting, or None for the one the bundle recommends.
        allowed_drop: Accuracy that it may cost, in points; None for 0, or the least that it is calibrated for.

    Raises:
        OptionError: If the bundle has no such setting.
    """
    rules = bundle.read_rules()
    name = rules.get("recommended") if rule is None else rule
    allowed_drop = drop_in_use(rules, name, allowed_drop) if isinstance(name, str) else 0.0
    made = make_rule(rule, bundle.exit_count, rules, bundle.read_predictor(), allowed_drop)
    if not isinstance(name, str) or name not in rules.get("settings", {}):
        return Setting(made, None, None, None, name=name if isinstance(name, str) else None)
    chosen = rules["settings"][name].get("chosen_on", {}).get(f"{allowed_drop:g}", {})
    return Setting(made, allowed_drop, chosen.get("macs_share"), chosen.get("samples"), _expected(chosen), name)


def settings_along(
    bundle: Bundle, rule: ExitRule | str | None, allowed_drop: float | None, max_drop: float | None
) -> list[Setting]:
    """Return the settings of one rule from the most accurate to the cheapest, each cheaper than those before.

    Args:
        bundle: The bundle.
        rule: The name of a setting, or None for the one the bundle recommends.
        allowed_drop: Must be 0 or None: the drop is not fixed here.
        max_drop: The largest accuracy drop that is allowed, in points; None for all that were calibrated.

    Raises:
        OptionError: If `allowed_drop` is given, the rule is not one of the bundle's calibrated ones, or none of its
            settings is allowed.
    """
    if allowed_drop:
        raise OptionError("a budget moves along the settings of a rule: give max_drop in place of allowed_drop")
    rules = bundle.read_rules()
    name = rules.get("recommended", Last.name) if rule is None else rule
    if not isinstance(name, str) or name not in rules.get("settings", {}):
        raise OptionError(
            f"a budget moves along the calibrated settings of one exit rule, and {name!r} has none in the bundle "
            f"{bundle.name!r}: name one of {', '.join(sorted(rules.get('settings', {}))) or 'none, calibrate it first'}"
        )
    allowed = _allowed_drops(rules["settings"][name], max_drop)
    if not allowed:
        raise OptionError(f"setting {name!r} is not calibrated for any accuracy drop of at most {max_drop:g} points")
    settings: list[Setting] = []
    for drop in allowed:
        setting = one_setting(bundle, name, drop)
        if setting.macs_share is None:
            raise OptionError(f"setting {name!r} does not say how much work it does: calibrate the bundle anew")
        if not settings or setting.macs_share < (settings[-1].macs_share or 0.0):
            settings.append(setting)
    return settings


def checked_verdict(rule: str, verdict: Verdict) -> Verdict:
    """Return a rule's first verdict, unless it asks for what no session can do.

    Raises:
        OptionError: If it names a precision or a place. A session opens each segment in one precision: pieces that were
            optimised as one graph do not fit to those of another.
    """
    if verdict.precision is not None or verdict.place is not None:
        raise OptionError(
            f"exit rule {rule!r} asks for precision {verdict.precision!r} and place {verdict.place!r} at run time; the "
            "precision is fixed when a session is opened, Session(precision=...), and there is no other place"
        )
    return verdict


def floor_exit(bundle: Bundle, max_drop: float | None, *, anytime: bool) -> int:
    """Return the earliest exit that a governor may have answer: it keeps the accuracy if all samples end there.

    That is what the setting "fixed" was calibrated for; without it the last. Without a `max_drop` any exit may
    answer when it has to, and none but the last if a session is not to answer at any time.

    Raises:
        OptionError: If `max_drop` is below 0.
    """
    last = bundle.exit_count - 1
    if max_drop is not None and not max_drop >= 0.0:
        raise OptionError(f"max_drop is accuracy in points, 0 or more, not {max_drop!r}")
    if not anytime:
        return last
    if max_drop is None:
        return 0
    fixed = bundle.read_rules().get("settings", {}).get("fixed")
    allowed = [] if fixed is None else _allowed_drops(fixed, max_drop)
    return int(fixed["parameters"][f"{allowed[-1]:g}"]["exit_index"]) if fixed is not None and allowed else last


def _expected(chosen: Mapping[str, Any]) -> Expected | None:
    """Return what calibration found of the samples that exited early, if it was written down and there were some."""
    exited, agreed = chosen.get("exited"), chosen.get("agreed")
    known = isinstance(exited, int) and isinstance(agreed, int) and 0 <= agreed <= exited and exited > 0
    return Expected(exited, agreed) if known else None  # type: ignore[arg-type]  # both are whole numbers


def _allowed_drops(setting: Mapping[str, Any], max_drop: float | None) -> list[float]:
    drops = sorted(float(drop) for drop in setting["parameters"])
    return [drop for drop in drops if max_drop is None or drop <= max_drop + 1e-9]
