"""Make exit rules from the calibrated settings in a bundle's `rules.json`.

The file, as `edgeexit.offline.calibrate` writes it::

    {"format": 1,
     "recommended": "thresholds",
     "settings": {"thresholds": {"rule": "threshold",
                                 "parameters": {"0": {"threshold": [0.9, 0.8, 0]}, "0.5": {...}, "1": {...}},
                                 "chosen_on": {"0": {"samples": 5000, "accuracy": 0.93, ...}, ...}}}}

A setting's name is that of its rule, but for rules that have settings of more than one kind. The inner keys are
allowed accuracy drops in percentage points below the full network. A parameter "predictor" holds a file name in
place of the predictor. "chosen_on" says what the rule did on the samples it was chosen on.
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
            f"there are: {', '.join(sorted(calibrated, key=float))}; ask for one of them (--allowed-drop)"
        )
    parameters = dict(calibrated[drop])
    if "predictor" in parameters:
        if predictor is None:
            raise OptionError(f"setting {name!r} needs {parameters['predictor']!r}, which the bundle does not have")
        parameters["predictor"] = predictor
    return RuleSetting(settings[name]["rule"], parameters)
