"""Make exit rules from the calibrated settings in a bundle's `rules.json`.

The file, as `edgeexit.offline.calibrate` writes it::

    {"format": 1,
     "recommended": "thresholds",
     "settings": {"thresholds": {"rule": "threshold",
                                 "parameters": {"0": {"threshold": [0.9, 0.8, 0]}, "0.5": {...}, "1": {...}},
                                 "chosen_on": {"0": {"samples": 5000, "accuracy": 0.93, ...}, ...}}}}

A setting's name is that of its rule, but for rules that have settings of more than one kind. The inner keys are
allowed accuracy drops in percentage points below the full network. A parameter "predictor" holds a file name in
place of the predictor. "chosen_on" says what the rule did on the samples it was chosen on; `"missed": true` stands
there where no setting of the rule may be expected to keep the drop, and the most accurate one was taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from edgeexit.errors import OptionError
from edgeexit.exits.last import Last
from edgeexit.protocols import ExitRule
from edgeexit.registry import load_exit_rule

FORMAT: Final = 1
PREDICTOR_FILE: Final = "predictor.json"
MISSED: Final = "missed"


class RuleSetting(NamedTuple):
    """An exit rule by name, and the keyword arguments to make it with."""

    rule: str
    parameters: Mapping[str, Any]


def make_rule(
    rule: ExitRule | str | None,
    exit_count: int,
    bundle_rules: Mapping[str, Any],
    predictor: Mapping[str, Any] | None,
    allowed_drop: float,
) -> ExitRule:
    """Make the rule that a user asked for.

    Args:
        rule: A rule, which is returned as it is; the name of a setting; or None for the setting that the bundle
            recommends, which is to run the whole network if it is not calibrated. "last" needs no calibration.
        exit_count: Number of exits of the bundle.
        bundle_rules: The bundle's `rules.json`, empty if it has none.
        predictor: The bundle's `predictor.json`, None if it has none.
        allowed_drop: Accuracy that may be lost, in percentage points below the full network.

    Raises:
        OptionError: If there is no such setting; the message names those there are.
    """
    if rule is not None and not isinstance(rule, str):
        return rule
    name = bundle_rules.get("recommended", Last.name) if rule is None else rule
    if name == Last.name:
        return Last(exit_count)
    setting = rule_parameters(bundle_rules, predictor, name, allowed_drop)
    return load_exit_rule(setting.rule, exit_count, **setting.parameters)


def drop_in_use(bundle_rules: Mapping[str, Any], name: str, allowed_drop: float | None) -> float:
    """Return the accuracy drop that is meant where a user names a setting, in percentage points.

    Args:
        bundle_rules: A bundle's `rules.json`, empty if it has none.
        name: Of the setting.
        allowed_drop: That the user gave; None takes 0, or where the setting is not calibrated for 0, as a certified
            one or one for a budget, the least that it is calibrated for.
    """
    if allowed_drop is not None:
        return allowed_drop
    drops = sorted(map(float, bundle_rules.get("settings", {}).get(name, {}).get("parameters", {})))
    return drops[0] if drops else 0.0


def missed_drops(bundle_rules: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """Return the accuracy drops, ascending, that a setting was calibrated for and may be expected to exceed.

    Bundles that were calibrated before this was written down miss none.

    Args:
        bundle_rules: A bundle's `rules.json`, empty if it has none.
        name: Of the setting.
    """
    chosen_on = bundle_rules.get("settings", {}).get(name, {}).get("chosen_on", {})
    return tuple(
        sorted(
            float(drop)
            for drop, figures in chosen_on.items()
            if isinstance(figures, Mapping) and figures.get(MISSED) is True
        )
    )


def missed_text(bundle_rules: Mapping[str, Any], name: str, allowed_drop: float) -> str | None:
    """Say in one line that a setting may be expected to lose more than `allowed_drop` points; None if it may not."""
    missed = missed_drops(bundle_rules, name)
    if allowed_drop not in missed:
        return None
    kept = sorted(float(drop) for drop in bundle_rules["settings"][name]["parameters"] if float(drop) not in missed)
    nearest = next((drop for drop in kept if drop > allowed_drop), None)
    advice = "it keeps none that is calibrated" if nearest is None else f"the nearest drop that it keeps is {nearest:g}"
    return (
        f"setting {name!r} loses more than {allowed_drop:g} points however it is set: {advice}; or take another setting"
    )


def rule_parameters(
    bundle_rules: Mapping[str, Any], predictor: Mapping[str, Any] | None, name: str, allowed_drop: float
) -> RuleSetting:
    """Return the setting `name` that was calibrated for `allowed_drop`.

    Args:
        bundle_rules: A bundle's `rules.json`, empty if it has none.
        predictor: The bundle's `predictor.json`, which takes the place of its file name in the parameters.
        name: For instance "check-and-cap".
        allowed_drop: Accuracy that may be lost, in percentage points below the full network.

    Raises:
        OptionError: If there is no such setting; the message names those there are.
    """
    if bundle_rules.get("format") != FORMAT:
        raise OptionError(
            f"the bundle has no calibrated setting {name!r}: it has no rules of format {FORMAT} "
            f"(found {bundle_rules.get('format')!r}); calibrate it, or give the rule's parameters"
        )
    settings = bundle_rules["settings"]
    if name not in settings:
        raise OptionError(f"the bundle has no calibrated setting {name!r}; there are: {', '.join(sorted(settings))}")
    drop = f"{allowed_drop:g}"
    calibrated = settings[name]["parameters"]
    if drop not in calibrated:
        raise OptionError(
            f"setting {name!r} is not calibrated for an accuracy drop of {drop} points; "
            f"there are: {', '.join(sorted(calibrated, key=float))}"
        )
    parameters = dict(calibrated[drop])
    if "predictor" in parameters:
        if predictor is None:
            raise OptionError(f"setting {name!r} needs {parameters['predictor']!r}, which the bundle does not have")
        parameters["predictor"] = predictor
    return RuleSetting(settings[name]["rule"], parameters)
