"""The vectorised rules, which calibration tries settings with, do what the rules themselves do."""

import json

import numpy as np
import pytest
from synthetic_traces import make_trace, make_workload

from edgeexit.offline.candidates import (
    check_and_cap_candidates,
    entropy_candidates,
    margin_candidates,
    mean_activations,
    patience_candidates,
    predictive_exit_candidates,
    threshold_candidates,
)
from edgeexit.offline.fit import ForecastTable, fit_predictor
from edgeexit.offline.fitted_candidates import forecast_candidates, gate_candidates, thresholds_candidates
from edgeexit.offline.replay import Costs, replay
from edgeexit.offline.rightness import Truth, weigh_truth
from edgeexit.offline.traces import Trace
from edgeexit.offline.vectorised import (
    ForecastSettings,
    growing_activations,
    look_in_turn,
    run_forecast,
    run_predictive_exit,
)
from edgeexit.registry import load_exit_rule

EXITS = 5
WORKLOAD = make_workload(EXITS)
TRACE = make_trace(samples=300, exits=EXITS)
COSTS = Costs(WORKLOAD)
COUNTED = Truth(weigh_truth(TRACE).estimated, TRACE.correct.astype(float))
"""Settings are fitted to the estimate, and what is expected of them is counted."""


@pytest.fixture(scope="module")
def form():
    return json.loads(json.dumps(fit_predictor(make_trace(samples=600, exits=EXITS, seed=1))))


def assert_equal(outcomes, rule):
    run = replay(rule, TRACE, WORKLOAD)
    assert outcomes.right.tolist() == run.correct.tolist()
    assert outcomes.cost == pytest.approx(run.macs / run.full_macs)


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        ("threshold", threshold_candidates),
        ("check-and-cap", check_and_cap_candidates),
        ("margin", margin_candidates),
        ("entropy", entropy_candidates),
        ("patience", patience_candidates),
        ("predictive-exit", predictive_exit_candidates),
    ],
)
def test_candidates_have_the_accuracy_and_cost_of_the_rule(name, candidates):
    offered = list(candidates(TRACE, COSTS, TRACE.correct))
    for candidate in offered[:: max(1, len(offered) // 25)]:
        run = replay(load_exit_rule(name, EXITS, **candidate.parameters), TRACE, WORKLOAD)
        assert candidate.accuracy == pytest.approx(run.correct.mean(), abs=1e-9)
        assert candidate.cost == pytest.approx(run.macs.mean() / run.full_macs)


@pytest.mark.parametrize("reach", [0.0, 0.4, 0.7, 1.0])
@pytest.mark.parametrize("abstain", [0.0, 0.5])
@pytest.mark.parametrize("stop", [(0.9,) * EXITS, (0.9, None, 0.8, 0.7, 0.0), (None, 0.5, None, 0.9, 0.0)])
def test_forecast_does_what_the_rule_does(form, reach, abstain, stop):
    start = next(e for e, value in enumerate(stop) if value is not None)
    settings = ForecastSettings(stop, reach, abstain, start, EXITS - 1)
    rule = load_exit_rule("forecast", EXITS, predictor=form, **settings._asdict())
    assert_equal(run_forecast(ForecastTable(form, TRACE), settings, TRACE.correct, COSTS), rule)


def test_forecast_does_what_the_rule_does_with_a_cap(form):
    settings = ForecastSettings((0.95,) * EXITS, 0.6, 0.4, 1, 3)
    rule = load_exit_rule("forecast", EXITS, predictor=form, **settings._asdict())
    assert_equal(run_forecast(ForecastTable(form, TRACE), settings, TRACE.correct, COSTS), rule)


def test_forecast_runs_on_some_samples_only(form):
    settings, table = ForecastSettings((0.9,) * EXITS, 0.5, 0.0, 0, EXITS - 1), ForecastTable(form, TRACE)
    some = np.array([3, 50, 200])
    everything = run_forecast(table, settings, TRACE.correct, COSTS)
    part = run_forecast(table, settings, TRACE.correct, COSTS, some)
    assert part.right.tolist() == everything.right[some].tolist()
    assert part.cost.tolist() == everything.cost[some].tolist()


def test_predictive_exit_does_what_the_rule_does():
    means = mean_activations(TRACE, "largest")
    outcomes = run_predictive_exit(growing_activations(TRACE.logits, 2), 1.3 * means, 1, TRACE.correct, COSTS)
    parameters = {"beta": 1.3, "activations": means.tolist(), "start": 1, "rounds": 2}
    assert_equal(outcomes, load_exit_rule("predictive-exit", EXITS, **parameters))


def test_activations_grow_as_worked_by_hand():
    logits = np.array([[[1.0, 2.0, -1.0]]], dtype=np.float32)
    assert growing_activations(logits, 3).tolist() == [[[2.0, 3.0, 6.0, 14.0]]]


def test_mean_activations_of_each_kind():
    trace = Trace(np.array([[[3.0, -1.0]], [[-5.0, 1.0]]], dtype=np.float32), np.array([0, 0]))
    assert mean_activations(trace, "paper").tolist() == [0.5]
    assert mean_activations(trace, "absolute").tolist() == [2.5]
    assert mean_activations(trace, "largest").tolist() == [4.0]


def test_looking_in_turn_ends_at_the_last_exit_looked_at():
    never = np.zeros((len(TRACE), EXITS), dtype=bool)
    outcomes = look_in_turn(never, [0, 2], TRACE.correct, COSTS)
    assert outcomes.right.tolist() == TRACE.correct[:, 2].tolist()
    assert set(outcomes.cost) == {(3000 + 200 + 200) / 5000}


@pytest.mark.parametrize(("rule", "candidates"), [("threshold", thresholds_candidates), ("gate", gate_candidates)])
def test_fitted_candidates_are_judged_on_samples_they_were_not_fitted_to(rule, candidates):
    offered = list(candidates(TRACE, COSTS, Truth(TRACE.correct.astype(float), TRACE.correct.astype(float))))
    in_sample = [
        replay(load_exit_rule(rule, EXITS, **candidate.parameters), TRACE, WORKLOAD).correct.mean()
        for candidate in offered
    ]
    assert np.mean([candidate.accuracy for candidate in offered]) < np.mean(in_sample)


def test_forecast_is_also_offered_without_skipping(form):
    offered = list(forecast_candidates(TRACE, COSTS, COUNTED, ForecastTable(form, TRACE)))
    reaches = {candidate.parameters["reach"] for candidate in offered}
    assert 0.0 in reaches
    assert len(reaches) > 1
