"""Calibrate a bundle anew on a user's samples: predictor, settings, certificates and budgets, in disjoint parts.

The part "fit" fits the predictor, "select" chooses every setting, and "certify" proves and checks what was chosen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from edgeexit.bundle.certificates import FULL, LABELS, RISKS, Certificate
from edgeexit.bundle.load import PREDICTOR, RULES
from edgeexit.bundle.manifest import CLASSES, network_sha256
from edgeexit.bundle.write import write_bundle
from edgeexit.errors import DataError, OptionError
from edgeexit.offline.calibrate import fit_and_calibrate
from edgeexit.offline.data import check_disjoint, check_labels, split_samples
from edgeexit.offline.early_answers import early_agreement
from edgeexit.offline.guarantee import budget as budgets
from edgeexit.offline.guarantee.budget import Budget, BudgetCheck, BudgetSetting, PieceCosts
from edgeexit.offline.guarantee.certified_rules import Proof, certify_rules, check_certify_rule
from edgeexit.offline.guarantee.certify import NotEnough, check_bound, check_samples
from edgeexit.offline.guarantee.counts import Counts, against, count_setting, join_traces, run_setting
from edgeexit.offline.guarantee.paths import Bound
from edgeexit.offline.guarantee.time_costs import time_workload, with_macs
from edgeexit.offline.known_samples import new_samples
from edgeexit.offline.record import record_trace
from edgeexit.offline.replay import answer_shares, summarise
from edgeexit.offline.traces import Trace

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.offline.data import Samples
    from edgeexit.protocols import CostTable, Workload

SHARES: Final[Mapping[str, float]] = {"fit": 0.25, "select": 0.35, "certify": 0.4}
"""The certificate's part is the largest: its size decides how near to the bound a setting may come."""
FEWEST_SAMPLES: Final = 100
"""Of each part: fewer cannot fit a predictor."""
MACS, TIME = "macs", "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateOptions:
    """What can be asked of a calibration.

    Attributes:
        max_drops: What may be lost, in points, one certificate for each; none if there are none.
        confidence: Of each certificate.
        against: "labels" or "full"; None: "labels" where the samples have some.
        certify_rule: Name of the setting whose variants are certified; None takes the one that is likely to end
            cheapest.
        budgets: Mean costs to keep, at most one.
        cost: What settings are chosen by: "macs", or "time" at the fastest point of the cost table.
        cost_table: Of this bundle on a board; needed for time and for budgets of latency and energy.
        seed: Of the split of the samples.
    """

    max_drops: tuple[float, ...] = ()
    confidence: float = 0.95
    against: str | None = None
    certify_rule: str | None = None
    budgets: tuple[Budget, ...] = ()
    cost: str = MACS
    cost_table: CostTable | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.against not in (None, *RISKS):
            raise OptionError(f"against must be one of {', '.join(RISKS)}, not {self.against!r}")
        if self.cost not in (MACS, TIME):
            raise OptionError(f"the cost must be {MACS} or {TIME}, not {self.cost!r}")
        if len(self.budgets) > 1:
            raise OptionError("a bundle keeps one budget: give --budget-macs, --budget-latency or --budget-energy")
        needs_table = self.cost == TIME or any(b.kind != budgets.MACS for b in self.budgets)
        if needs_table and self.cost_table is None:
            raise OptionError(
                "time and energy need a cost table: give --costs with a file from 'edgeexit measure', or --board"
            )
        for max_drop in self.max_drops:
            check_bound(Bound(max_drop, self.confidence, self.against or LABELS))


class KeptBudget(NamedTuple):
    """A budget, the setting that keeps it and what that did on unseen samples."""

    budget: Budget
    allowed_drop: float
    """Under which of its accuracy drops it stands in rules.json, in points: what it lost on "select"."""
    setting: BudgetSetting
    check: BudgetCheck


class Recalibrated(NamedTuple):
    """What a calibration came to.

    Attributes:
        predictor: For predictor.json.
        rules: For rules.json.
        certificates: For the manifest.
        risk: "labels" or "full".
        proofs: One for each accuracy drop that was asked for.
        budget: None if none was asked for.
        unseen: What the recommended setting did on "certify", by its accuracy drop in points.
        full_accuracy: Of the full network there.
        samples: How many each part has.
    """

    predictor: Mapping[str, Any]
    rules: Mapping[str, Any]
    certificates: tuple[Certificate, ...]
    risk: str
    proofs: tuple[Proof, ...]
    budget: KeptBudget | None
    unseen: Mapping[float, Counts]
    full_accuracy: float
    samples: Mapping[str, int]


Progress = Callable[[str, float], None]


def recalibrate(
    bundle: Bundle,
    samples: Samples,
    options: CalibrateOptions,
    progress: Progress = lambda _what, _done: None,
    tell: Callable[[str], None] = lambda _note: None,
) -> Recalibrated:
    """Fit, choose, certify and check on a user's samples; nothing is written.

    Args:
        bundle: With or without rules; those it has do not count.
        samples: That its network was not trained on. Those that its heads and exits were made from are left out.
        options: What is asked for.
        progress: Told what is done, and which share of all.
        tell: Told what looks wrong with the samples, as soon as that is known.

    Raises:
        DataError: If the samples are too few, for the parts or for what is to be certified, or have no labels that
            fit; the message says how many are needed. If none is new to the heads.
        OptionError: If the options contradict each other, or the setting to certify is none for such a network.
    """
    risk = options.against or (LABELS if samples.labels is not None else FULL)
    samples = _without_known(bundle, samples, tell)
    if risk == LABELS:
        check_labels(samples, bundle.class_count)
    check_certify_rule(options.certify_rule, bundle.task)
    parts = split_samples(samples, SHARES, seed=options.seed, at_least=FEWEST_SAMPLES)
    check_disjoint(parts)
    bounds = [Bound(max_drop, options.confidence, risk) for max_drop in options.max_drops]
    _check_sizes(parts, bounds)
    traces = record_parts(bundle, parts, risk, lambda done: progress("running samples", 0.4 * done))
    if risk == LABELS:
        _doubt_labels(traces["certify"], tell)
    return calibrate_traces(
        bundle.workload,
        traces,
        options,
        risk=risk,
        network=network_sha256(bundle.manifest),
        data_sha256=parts["certify"].sha256,
        progress=lambda what, done: progress(what, 0.4 + 0.6 * done),
    )


def calibrate_traces(
    workload: Workload,
    traces: Mapping[str, Trace],
    options: CalibrateOptions,
    *,
    risk: str,
    network: str,
    data_sha256: str | None = None,
    progress: Progress = lambda _what, _done: None,
) -> Recalibrated:
    """Do what `recalibrate` does, on traces with the splits "fit", "select" and "certify".

    Args:
        workload: MACs of the network's pieces.
        traces: By split, with what counts as right as their labels.
        options: What is asked for.
        risk: "labels" or "full".
        network: Its sha256, see `edgeexit.bundle.manifest.network_sha256`.
        data_sha256: Of the samples of "certify", if they are known to be disjoint from the others.
        progress: Told what is done, and which share of all.
    """
    table = options.cost_table
    counted = workload if options.cost == MACS or table is None else time_workload(table)
    progress("settings", 0.0)
    predictor, rules = fit_and_calibrate(traces, counted)
    if counted is not workload:
        rules = with_macs(rules, predictor, traces["select"], workload)
    bounds = [Bound(max_drop, options.confidence, risk) for max_drop in options.max_drops]
    certified = certify_rules(
        rules, predictor, traces, workload, bounds, network_sha256=network, data_sha256=data_sha256,
        whole=sum(map(len, traces.values())), certify_rule=options.certify_rule,
        progress=lambda what, done: progress(what, 0.4 + 0.5 * done),
    )  # fmt: skip
    for proof in certified.proofs:
        if isinstance(proof.found, NotEnough):
            raise DataError(proof.found.message)
    settings = dict(certified.rules["settings"])
    kept = [_keep_budget(wanted, traces, workload, table, settings) for wanted in options.budgets]
    return Recalibrated(
        predictor=predictor,
        rules={**certified.rules, "settings": settings},
        certificates=certified.certificates,
        risk=risk,
        proofs=certified.proofs,
        budget=kept[0] if kept else None,
        unseen=_unseen(certified.rules, predictor, traces["certify"], workload),
        full_accuracy=float(traces["certify"].accuracies[-1]),
        samples={name: len(trace) for name, trace in traces.items()},
    )


def write_recalibrated(bundle: Bundle, done: Recalibrated, out: Path, *, replace_there: bool) -> Bundle:
    """Write the bundle with its new rules, predictor and certificates, in full or not at all.

    Args:
        bundle: That was calibrated.
        done: What it came to.
        out: Folder to write, which may be the bundle's own.
        replace_there: Take the place of a bundle that is there.

    Raises:
        BundleError: If something is at `out` already, or the bundle was changed since it was loaded.
        OSError: If the disk is full or the place cannot be written to.
    """
    files = {name: bundle.read_file(name) for name in bundle.manifest.files}
    files |= {PREDICTOR: _json(done.predictor), RULES: _json(done.rules)}
    manifest = replace(bundle.manifest, certificates=done.certificates)
    return write_bundle(out, manifest, files, replace=replace_there)


def record_parts(
    bundle: Bundle, parts: Mapping[str, Samples], risk: str, progress: Callable[[float], None]
) -> dict[str, Trace]:
    """Run every part through the whole network, and take as labels what counts as right."""
    whole, done = sum(map(len, parts.values())), 0
    traces = {}
    for name, part in parts.items():
        labels = part.labels if part.labels is not None and risk == LABELS else np.zeros(len(part), dtype=np.int64)
        traces[name] = against(record_trace(bundle, part, labels), risk)
        done += len(part)
        progress(done / whole)
    return traces


def _without_known(bundle: Bundle, samples: Samples, tell: Callable[[str], None]) -> Samples:
    """Leave out the samples that the heads were fitted to, on which they look better than they are."""
    new = new_samples(bundle, samples)
    known = len(samples) - len(new)
    if not known:
        return samples
    if not len(new):
        raise DataError(
            f"the bundle's heads and exits were made from all of these {known:,} samples, on which they look better "
            "than they are: give others"
        )
    tell(
        f"{known:,} of the {len(samples):,} samples are left out: the bundle's heads and exits were made from them, so "
        "they would look better than they are"
    )
    return samples.take(new)


def _check_sizes(parts: Mapping[str, Samples], bounds: Sequence[Bound]) -> None:
    """Refuse at once what can't be shown with so few samples, before the network runs."""
    whole = sum(map(len, parts.values()))
    for bound in bounds:
        problem = check_samples(len(parts["certify"]), bound, whole)
        if problem is not None:
            raise DataError(
                f"{problem.message}; give {problem.whole_needed} or more, allow a larger drop, "
                "or ask for less confidence"
            )


def _doubt_labels(trace: Trace, tell: Callable[[str], None]) -> None:
    """Say so if the full network guesses the labels hardly better than chance would."""
    chance = 1 / trace.class_count
    limit = chance + min(0.5 * chance, 0.1 * (1 - chance))  # half as often again; of two classes, 55 %
    accuracy = float(trace.accuracies[-1])
    if trace.task == CLASSES and accuracy < limit:
        tell(
            f"the full network is right for only {accuracy:.1%} of the samples, about as often as chance: the labels "
            f"seem not to be those of its {trace.class_count} classes in its order, or the samples not what it takes; "
            "check both, or give --against full, which looks at no labels"
        )


def _keep_budget(
    wanted: Budget,
    traces: Mapping[str, Trace],
    workload: Workload,
    table: CostTable | None,
    settings: dict[str, Any],
) -> KeptBudget:
    """Find a budget's setting and add it to the settings."""
    select = traces["select"]
    costs = _piece_costs(wanted.kind, workload, table)
    setting = budgets.budget_met(select, join_traces([traces["fit"], select]), costs, wanted)
    run = run_setting("threshold", setting.parameters, None, select, workload)
    summary = summarise(run)
    lost = 100 * max(0.0, float(select.accuracies[-1]) - summary.accuracy)
    allowed_drop = ceil(100 * lost - 1e-9) / 100  # in hundredths of a point, upwards
    prior = [round(float(share), 6) for share in answer_shares(run, select.exit_count)]
    settings[budgets.SETTING] = {
        "rule": "threshold",
        "parameters": {f"{allowed_drop:g}": {**setting.parameters, "prior": prior}},
        "chosen_on": {
            f"{allowed_drop:g}": {
                "samples": len(select),
                "accuracy": round(summary.accuracy, 6),
                "macs_share": round(summary.macs_share, 6),
                "looks": round(summary.looks, 4),
                **early_agreement(run, select),
            }
        },
    }
    check = budgets.check_budget(setting, traces["certify"], costs)
    return KeptBudget(wanted, allowed_drop, setting, check)


def _piece_costs(kind: str, workload: Workload, table: CostTable | None) -> PieceCosts:
    if kind == budgets.MACS or table is None:
        return budgets.macs_costs(workload)
    return budgets.point_costs(table.points[-1], table.exit_segments, kind)


def _unseen(
    rules: Mapping[str, Any], predictor: Mapping[str, Any], test: Trace, workload: Workload
) -> dict[float, Counts]:
    setting = rules["settings"][rules["recommended"]]
    return {
        float(drop): count_setting(setting["rule"], parameters, predictor, test, workload)
        for drop, parameters in setting["parameters"].items()
        if float(drop) in (0.0, 0.5, 1.0)
    }


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
