"""Choose every exit rule's settings on the "select" split, for each accuracy drop that a user may allow.

Among a rule's settings that may be expected to keep the allowed accuracy (`edgeexit.offline.rightness`) the one with
the least mean work (MACs, heads included) is taken. What is chosen is run once more by the rule's own `judge`, for the
figures and the `prior` that go with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeexit.bundle.manifest import CLASSES
from edgeexit.errors import DataError
from edgeexit.exits.settings import FORMAT, MISSED
from edgeexit.offline.answers import count_answers
from edgeexit.offline.candidates import (
    Candidate,
    check_and_cap_candidates,
    entropy_candidates,
    margin_candidates,
    patience_candidates,
    predictive_exit_candidates,
    threshold_candidates,
)
from edgeexit.offline.early_answers import early_agreement
from edgeexit.offline.fit import ForecastTable, fit_predictor
from edgeexit.offline.fitted_candidates import (
    ensemble_candidates,
    forecast_candidates,
    gate_candidates,
    thresholds_candidates,
)
from edgeexit.offline.replay import Costs, Replay, answer_shares, best_static_exit, replay, summarise
from edgeexit.offline.rightness import Truth, weigh_truth
from edgeexit.offline.traces import Trace, join_traces
from edgeexit.protocols import Workload
from edgeexit.registry import load_exit_rule

FloatArray = NDArray[np.float64]

DROPS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Accuracy that may be lost, in percentage points below the full network."""

IN_TURN: Final = "forecast-in-turn"
"""The control of `forecast`: the same predictor and stop test, but no exit is skipped by forecast."""

ROUNDING: Final = 1e-9
"""By so much the mean of the same figures in another order may differ."""

NOISE: Final = 0.25
"""In points. So much more than it was chosen for a recommended setting may lose by count on some thousand samples."""

_SIMPLE: Final[Mapping[str, tuple[str, Callable[[Trace, Costs, FloatArray], Iterable[Candidate]]]]] = {
    "threshold": ("threshold", threshold_candidates),
    "entropy": ("entropy", entropy_candidates),
    "margin": ("margin", margin_candidates),
    "patience": ("patience", patience_candidates),
    "check-and-cap": ("check-and-cap", check_and_cap_candidates),
    "predictive-exit": ("predictive-exit", predictive_exit_candidates),
}
"""Settings of a few numbers: their rules, and what there is to choose from."""

_FITTED: Final[Mapping[str, tuple[str, Callable[[Trace, Costs, Truth], Iterable[Candidate]]]]] = {
    "thresholds": ("threshold", thresholds_candidates),
    "gate": ("gate", gate_candidates),
    "ensemble": ("ensemble", ensemble_candidates),
}
"""Settings that are fitted, but for those that need a predictor."""

_OF_SINGLE_CLASSES: Final = frozenset({"entropy", "ensemble"})
"""Settings whose rules take an exit's probabilities for those of one class: not for sets of labels."""


def calibrate(
    select: Trace,
    workload: Workload,
    predictor: Mapping[str, Any] | None = None,
    *,
    drops: Sequence[float] = DROPS,
    fit: Trace | None = None,
) -> dict[str, Any]:
    """Choose all settings and return a bundle's `rules.json` (its form stands in `edgeexit.exits.settings`).

    Each setting also says what its rule did on the split "select", under "chosen_on", and there also if none of the
    rule's settings may be expected to keep the drop.

    Args:
        select: The split to choose on. Neither the network nor the predictor may have been trained on it.
        workload: MACs of the bundle's pieces.
        predictor: The predictor's JSON form; without it there is no "forecast".
        drops: Accuracy that may be lost, in percentage points below the full network.
        fit: The split that the predictor was fitted on, for all settings that need no predictor to be chosen on too.
            The network may not have been trained on it.

    Raises:
        DataError: If the traces, the workload and the predictor are not of one network.
    """
    for trace in (select, select if fit is None else fit):
        if len(workload.exit_segments) != trace.exit_count:
            raise DataError(f"the workload has {len(workload.exit_segments)} exits, the trace has {trace.exit_count}")
    costs = Costs(workload)
    both = select if fit is None else join_traces([fit, select])
    truth = weigh_truth(both)
    chosen = _choose_simple(both, costs, truth, drops)
    chosen["fixed"] = _Chosen("fixed", {drop: {"exit_index": best_static_exit(both, workload, drop)} for drop in drops})
    settings = {name: _measure(choice, None, select, workload) for name, choice in chosen.items()}
    if predictor is not None:
        for name, choice in _choose_forecasts(select, costs, predictor, drops).items():
            settings[name] = _measure(choice, predictor, select, workload)
    recommended = _recommended(settings, min(drops), float(select.accuracies[-1]))
    return {"format": FORMAT, "recommended": recommended, "settings": settings}


def fit_and_calibrate(
    traces: Mapping[str, Trace], workload: Workload, *, drops: Sequence[float] = DROPS
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a bundle's `predictor.json`, fitted on the split "fit", and its `rules.json`.

    Settings with the predictor are chosen on the split "select", all others on both.

    Args:
        traces: By split.
        workload: MACs of the bundle's pieces.
        drops: Accuracy that may be lost, in percentage points below the full network.

    Raises:
        DataError: If one of the two splits is missing, or they are not of one network.
    """
    if not {"fit", "select"} <= set(traces):
        raise DataError(f"calibration needs the splits 'fit' and 'select', there are {sorted(traces)}")
    predictor = fit_predictor(traces["fit"])
    return predictor, calibrate(traces["select"], workload, predictor, drops=drops, fit=traces["fit"])


def setting_names(task: str) -> tuple[str, ...]:
    """Return the names of the settings that calibration chooses for networks of a task, see `bundle.manifest.TASKS`."""
    names = (*_SIMPLE, *_FITTED, "fixed", "forecast", IN_TURN)
    return tuple(name for name in names if name not in _left_out(task))


class _Chosen(NamedTuple):
    rule: str
    parameters: Mapping[float, Mapping[str, Any]]
    """By allowed drop."""
    missed: frozenset[float] = frozenset()
    """Drops that no candidate may be expected to keep: the most accurate one was taken for them."""


def _left_out(task: str) -> frozenset[str]:
    return _OF_SINGLE_CLASSES if task != CLASSES else frozenset()


def _choose_simple(trace: Trace, costs: Costs, truth: Truth, drops: Sequence[float]) -> dict[str, _Chosen]:
    """Choose all settings that need no predictor."""
    left_out = _left_out(trace.task)
    chosen = {}
    for name, (rule, candidates) in _SIMPLE.items():
        if name not in left_out:
            chosen[name] = _choose_each(rule, list(candidates(trace, costs, truth.expected)), truth, drops)
    for name, (rule, fitted) in _FITTED.items():
        if name not in left_out:
            chosen[name] = _choose_each(rule, list(fitted(trace, costs, truth)), truth, drops)
    return chosen


def _choose_forecasts(
    select: Trace, costs: Costs, predictor: Mapping[str, Any], drops: Sequence[float]
) -> dict[str, _Chosen]:
    truth = weigh_truth(select)
    offered = list(forecast_candidates(select, costs, truth, ForecastTable(predictor, select)))
    in_turn = [candidate for candidate in offered if candidate.parameters["reach"] == 0.0]
    return {
        "forecast": _choose_each("forecast", offered, truth, drops),
        IN_TURN: _choose_each("forecast", in_turn, truth, drops),
    }


def _recommended(settings: Mapping[str, Mapping[str, Any]], drop: float, full: float) -> str:
    """Return the cheapest setting at `drop` that keeps it, or the most accurate one: some rules cannot go that high."""
    measured = {name: setting["chosen_on"][f"{drop:g}"] for name, setting in settings.items()}
    lowest = full - (drop + NOISE) / 100
    enough = [name for name, found in measured.items() if found["accuracy"] >= lowest]
    if not enough:
        return max(measured, key=lambda name: (measured[name]["accuracy"], -measured[name]["macs_share"]))
    return min(enough, key=lambda name: float(measured[name]["macs_share"]))


def choose(candidates: Iterable[Candidate], lowest: float) -> Mapping[str, Any]:
    """Return the parameters of the cheapest candidate whose accuracy is at least `lowest`, or of the most accurate."""
    offered = list(candidates)
    enough = [candidate for candidate in offered if candidate.accuracy >= lowest]
    if not enough:
        return max(offered, key=lambda candidate: candidate.accuracy).parameters
    return min(enough, key=lambda candidate: (candidate.cost, -candidate.accuracy)).parameters


def _choose_each(rule: str, candidates: Sequence[Candidate], truth: Truth, drops: Sequence[float]) -> _Chosen:
    lowest = {drop: truth.accuracy - drop / 100 - ROUNDING for drop in drops}
    best = max(candidate.accuracy for candidate in candidates)
    chosen = {drop: choose(candidates, accuracy) for drop, accuracy in lowest.items()}
    return _Chosen(rule, chosen, frozenset(drop for drop, accuracy in lowest.items() if best < accuracy))


def _measure(choice: _Chosen, predictor: Mapping[str, Any] | None, trace: Trace, workload: Workload) -> dict[str, Any]:
    """Return one setting's entry: its parameters with the `prior`, and what the rule itself did with them.

    Whoever allows more gets no dearer setting than who allows less.
    """
    parameters: dict[str, Any] = {}
    chosen_on: dict[str, Any] = {}
    cheapest: tuple[dict[str, Any], dict[str, Any]] | None = None
    for drop, found in sorted(choice.parameters.items()):
        resolved = {**found, "predictor": predictor} if "predictor" in found else found
        run = replay(load_exit_rule(choice.rule, trace.exit_count, **resolved), trace, workload)
        figures = _figures(run, trace)
        if cheapest is None or figures["macs_share"] < cheapest[1]["macs_share"]:
            cheapest = {**found, **_forecasting(choice.rule, resolved, run, trace)}, figures
        parameters[f"{drop:g}"], figures = cheapest
        chosen_on[f"{drop:g}"] = {**figures, **({MISSED: True} if drop in choice.missed else {})}
    return {"rule": choice.rule, "parameters": parameters, "chosen_on": chosen_on}


def _figures(run: Replay, trace: Trace) -> dict[str, Any]:
    summary = summarise(run)
    return {
        "samples": len(trace),
        "accuracy": round(summary.accuracy, 6),
        "macs_share": round(summary.macs_share, 6),
        "looks": round(summary.looks, 4),
        **early_agreement(run, trace),
    }


def _forecasting(rule_name: str, parameters: Mapping[str, Any], run: Replay, trace: Trace) -> dict[str, Any]:
    """Return the parameters with which a rule forecasts the exit that answers: none of them changes an answer."""
    if rule_name == "fixed":
        return {}
    prior = [round(float(share), 6) for share in answer_shares(run, trace.exit_count)]
    if rule_name not in ("forecast", "gate"):
        return {"prior": prior}
    return {"prior": prior, "answers": count_answers(parameters, prior, trace)}
