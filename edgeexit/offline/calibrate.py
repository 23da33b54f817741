"""Choose every exit rule's settings on the "select" split, for each accuracy drop that a user may allow.

Among a rule's settings that keep the allowed accuracy the one with the least mean work (MACs, heads included) is
taken. What is chosen is run once more by the rule's own `judge`, for the figures and the `prior` that go with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from edgeexit.errors import DataError
from edgeexit.exits.settings import FORMAT
from edgeexit.offline.answers import count_answers
from edgeexit.offline.candidates import (
    Candidate,
    check_and_cap_candidates,
    entropy_candidates,
    forecast_candidates,
    margin_candidates,
    patience_candidates,
    predictive_exit_candidates,
    threshold_candidates,
    thresholds_candidates,
)
from edgeexit.offline.fit import ForecastTable, fit_predictor
from edgeexit.offline.replay import Costs, Replay, answer_shares, best_static_exit, lowest_accuracy, replay, summarise
from edgeexit.offline.traces import Trace
from edgeexit.protocols import Workload
from edgeexit.registry import load_exit_rule

DROPS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Accuracy that may be lost, in percentage points below the full network."""

IN_TURN: Final = "forecast-in-turn"
"""The control of `forecast`: the same predictor and stop test, but no exit is skipped by forecast."""

_SIMPLE: Final[Mapping[str, tuple[str, Callable[[Trace, Costs], Iterable[Candidate]]]]] = {
    "threshold": ("threshold", threshold_candidates),
    "thresholds": ("threshold", thresholds_candidates),
    "entropy": ("entropy", entropy_candidates),
    "margin": ("margin", margin_candidates),
    "patience": ("patience", patience_candidates),
    "check-and-cap": ("check-and-cap", check_and_cap_candidates),
    "predictive-exit": ("predictive-exit", predictive_exit_candidates),
}
"""Settings that need no predictor: their rules, and what there is to choose from."""


def calibrate(
    select: Trace,
    workload: Workload,
    predictor: Mapping[str, Any] | None = None,
    *,
    drops: Sequence[float] = DROPS,
) -> dict[str, Any]:
    """Choose all settings and return a bundle's `rules.json` (its form stands in `edgeexit.exits.settings`).

    Each setting also says what its rule did on the split it was chosen on, under "chosen_on".

    Args:
        select: The split to choose on. Neither the network nor the predictor may have been trained on it.
        workload: MACs of the bundle's pieces.
        predictor: The predictor's JSON form; without it there is no "forecast".
        drops: Accuracy that may be lost, in percentage points below the full network on this split.

    Raises:
        DataError: If the trace, the workload and the predictor are not of one network.
    """
    if len(workload.exit_segments) != select.exit_count:
        raise DataError(f"the workload has {len(workload.exit_segments)} exits, the trace has {select.exit_count}")
    costs = Costs(workload)
    offered: dict[str, tuple[str, list[Candidate]]] = {
        name: (rule, list(candidates(select, costs))) for name, (rule, candidates) in _SIMPLE.items()
    }
    if predictor is not None:
        forecasts = list(forecast_candidates(select, costs, ForecastTable(predictor, select)))
        offered["forecast"] = ("forecast", forecasts)
        offered[IN_TURN] = ("forecast", [c for c in forecasts if c.parameters["reach"] == 0.0])
    chosen = {name: (rule, _choose_each(candidates, select, drops)) for name, (rule, candidates) in offered.items()}
    chosen["fixed"] = ("fixed", {drop: {"exit_index": best_static_exit(select, workload, drop)} for drop in drops})
    settings = {
        name: _measure(rule, parameters, predictor, select, workload) for name, (rule, parameters) in chosen.items()
    }
    least = f"{min(drops):g}"
    recommended = min(settings, key=lambda name: float(settings[name]["chosen_on"][least]["macs_share"]))
    return {"format": FORMAT, "recommended": recommended, "settings": settings}


def fit_and_calibrate(
    traces: Mapping[str, Trace], workload: Workload, *, drops: Sequence[float] = DROPS
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a bundle's `predictor.json`, fitted on the split "fit", and its `rules.json`, chosen on "select".

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
    return predictor, calibrate(traces["select"], workload, predictor, drops=drops)


def choose(candidates: Iterable[Candidate], lowest: float) -> Mapping[str, Any]:
    """Return the parameters of the cheapest candidate whose accuracy is at least `lowest`, or of the most accurate."""
    offered = list(candidates)
    enough = [candidate for candidate in offered if candidate.accuracy >= lowest]
    if not enough:
        return max(offered, key=lambda candidate: candidate.accuracy).parameters
    return min(enough, key=lambda candidate: (candidate.cost, -candidate.accuracy)).parameters


def _choose_each(
    candidates: Sequence[Candidate], select: Trace, drops: Sequence[float]
) -> dict[float, Mapping[str, Any]]:
    return {drop: choose(candidates, lowest_accuracy(select, drop)) for drop in drops}


def _measure(
    rule_name: str,
    chosen: Mapping[float, Mapping[str, Any]],
    predictor: Mapping[str, Any] | None,
    select: Trace,
    workload: Workload,
) -> dict[str, Any]:
    """Return one setting's entry: its parameters with the `prior`, and what the rule itself did with them."""
    parameters: dict[str, Any] = {}
    chosen_on: dict[str, Any] = {}
    for drop, found in chosen.items():
        resolved = {**found, "predictor": predictor} if "predictor" in found else found
        run = replay(load_exit_rule(rule_name, select.exit_count, **resolved), select, workload)
        parameters[f"{drop:g}"] = {**found, **_forecasting(rule_name, resolved, run, select)}
        summary = summarise(run)
        chosen_on[f"{drop:g}"] = {
            "samples": len(select),
            "accuracy": round(summary.accuracy, 6),
            "macs_share": round(summary.macs_share, 6),
            "looks": round(summary.looks, 4),
        }
    return {"rule": rule_name, "parameters": parameters, "chosen_on": chosen_on}


def _forecasting(rule_name: str, parameters: Mapping[str, Any], run: Replay, select: Trace) -> dict[str, Any]:
    """Return the parameters with which a rule forecasts the exit that answers: none of them changes an answer."""
    if rule_name == "fixed":
        return {}
    prior = [round(float(share), 6) for share in answer_shares(run, select.exit_count)]
    if rule_name != "forecast":
        return {"prior": prior}
    return {"prior": prior, "answers": count_answers(parameters, prior, select)}
