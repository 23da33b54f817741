"""Add certified settings to a bundle's rules: the path on the split "select", the tests on the split "certify"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from edgeexit.bundle.certificates import CERTIFIED, FORECASTING, Certificate
from edgeexit.errors import DataError, OptionError
from edgeexit.exits.forecast import Forecast
from edgeexit.offline.answers import count_answers
from edgeexit.offline.calibrate import setting_names
from edgeexit.offline.early_answers import early_agreement
from edgeexit.offline.guarantee.certify import Certified, NotEnough, certify, check_apart
from edgeexit.offline.guarantee.counts import run_setting
from edgeexit.offline.guarantee.paths import Bound, SettingPath, find_path
from edgeexit.offline.replay import answer_shares, summarise
from edgeexit.offline.traces import Trace
from edgeexit.protocols import Workload


class Proof(NamedTuple):
    """What became of a bound: the path that was tested, and what was found."""

    bound: Bound
    path: SettingPath
    found: Certified | NotEnough


class CertifiedRules(NamedTuple):
    """Rules with the settings that were certified, and their certificates.

    Attributes:
        rules: In the form of rules.json.
        certificates: For the manifest, one for each bound that could be shown.
        proofs: One a bound, in the order in which they were asked for.
    """

    rules: Mapping[str, Any]
    certificates: tuple[Certificate, ...]
    proofs: tuple[Proof, ...]


def check_certify_rule(name: str | None, task: str) -> None:
    """Check that a setting that shall be certified is one that calibration chooses for networks of a task.

    Raises:
        OptionError: If it is not; the message names those that are.
    """
    if name is not None and name not in setting_names(task):
        raise OptionError(f"there is no setting {name!r} to certify here; there are: {_listed(setting_names(task))}")


def certify_rules(
    rules: Mapping[str, Any],
    predictor: Mapping[str, Any] | None,
    traces: Mapping[str, Trace],
    workload: Workload,
    bounds: Sequence[Bound],
    *,
    network_sha256: str,
    data_sha256: str | None = None,
    date: str | None = None,
    whole: int | None = None,
    certify_rule: str | None = None,
    progress: Callable[[str, float], None] = lambda _what, _done: None,
) -> CertifiedRules:
    """Certify a setting for each bound and add it to the rules, under the name in `certificates.CERTIFIED`.

    Args:
        rules: In the form of rules.json, chosen on the split "select".
        predictor: The predictor's JSON form, None if there is none.
        traces: With "select", and "certify", on which nothing was chosen.
        workload: Work in the network's pieces.
        bounds: What is to be guaranteed, all for one risk; each holds with its own confidence.
        network_sha256: Of the network, see `edgeexit.bundle.manifest.network_sha256`.
        data_sha256: Of the samples of "certify", which were checked to be in no other split. Without it that of the
            trace is taken, and the traces themselves are checked.
        date: As 2026-01-31; today by default.
        whole: How many samples were divided into parts, of which "certify" is one; for messages.
        certify_rule: The setting whose variants are certified; None takes the one that is likely to end cheapest.
        progress: Told what is done, and which share of all.

    Raises:
        DataError: If samples of "certify" are in "select" too, or a split is missing.
        OptionError: If a bound is out of its range, or there is no such setting.
    """
    if certify_rule is not None and certify_rule not in rules["settings"]:
        raise OptionError(f"there is no setting {certify_rule!r} to certify; there are: {_listed(rules['settings'])}")
    asked = None if certify_rule is None else (certify_rule,)
    if not {"select", "certify"} <= set(traces):
        raise DataError(f"a certificate needs the splits 'select' and 'certify', there are {sorted(traces)}")
    select, test = traces["select"], traces["certify"]
    if data_sha256 is None:
        check_apart(select, test)
    settings = dict(rules["settings"])
    certificates: list[Certificate] = []
    proofs: list[Proof] = []
    for bound in bounds:
        names = (proofs[0].path.name,) if proofs else asked  # a setting in rules.json is of one rule
        path = find_path(
            rules, predictor, select, workload, bound, test_samples=len(test), names=names, progress=progress
        )
        found = certify(
            path,
            test,
            max_drop=bound.max_drop,
            confidence=bound.confidence,
            risk=bound.risk,
            network_sha256=network_sha256,
            data_sha256=data_sha256,
            date=date,
            whole=whole,
        )
        proofs.append(Proof(bound, path, found))
        if isinstance(found, Certified):
            certificates.append(found.certificate)
            _add(settings, path, found, rules, select)
    return CertifiedRules({**rules, "settings": settings}, tuple(certificates), tuple(proofs))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _add(
    settings: dict[str, Any], path: SettingPath, found: Certified, rules: Mapping[str, Any], select: Trace
) -> None:
    """Add a certified setting, with what its rule forecasts with and what it did on "select"."""
    drop = f"{found.certificate.allowed_drop:g}"
    run = run_setting(path.rule, found.parameters, path.predictor, select, path.workload)
    summary = summarise(run)
    parameters = dict(found.parameters)
    like = next(iter(rules["settings"][path.name]["parameters"].values()))
    if FORECASTING[0] in like:
        parameters["prior"] = [round(float(share), 6) for share in answer_shares(run, select.exit_count)]
    if path.rule == Forecast.name and FORECASTING[1] in like:  # other rules forecast with the prior alone
        resolved = {**parameters, "predictor": path.predictor}
        parameters["answers"] = count_answers(resolved, parameters["prior"], select)
    name = CERTIFIED[found.certificate.risk]
    entry = settings.get(name, {"parameters": {}, "chosen_on": {}})
    figures = {
        "samples": len(select),
        "accuracy": round(summary.accuracy, 6),
        "macs_share": round(summary.macs_share, 6),
        "looks": round(summary.looks, 4),
        **early_agreement(run, select),
    }
    settings[name] = {
        "rule": path.rule,
        "parameters": {**entry["parameters"], drop: parameters},
        "chosen_on": {**entry["chosen_on"], drop: figures},
    }
