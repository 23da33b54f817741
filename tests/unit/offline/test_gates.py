import numpy as np
import pytest
from scipy.optimize import check_grad
from synthetic_traces import make_trace, make_workload

from edgeexit.offline.fitted_candidates import run_gates
from edgeexit.offline.gates import GateProblem, GateSet, fit_gates, gate_features
from edgeexit.offline.replay import Costs, replay
from edgeexit.offline.rightness import estimate_rightness
from edgeexit.registry import load_exit_rule

EXITS = 4
WORKLOAD = make_workload(EXITS)
COSTS = Costs(WORKLOAD)
TRACE = make_trace(samples=800, exits=EXITS)
RIGHT = estimate_rightness(TRACE)
SEEN = [(0, 1, 2, 3), (0, 2, 3)]


def fitted(seen, error_price=20.0, trace=TRACE):
    return fit_gates(trace, estimate_rightness(trace), COSTS, [seen], [error_price])[0]


def rule_of(gates):
    return load_exit_rule("gate", EXITS, gates=gates.as_lists(), stop=gates.stop)


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("stop", [0.5, 0.8])
def test_all_samples_at_once_do_what_the_rule_does(seen, stop):
    gates = fitted(seen)._replace(stop=stop)
    run = replay(rule_of(gates), TRACE, WORKLOAD)
    outcomes = run_gates(gates, TRACE, TRACE.correct.astype(float), COSTS)
    assert outcomes.right.tolist() == run.correct.tolist()
    assert outcomes.cost == pytest.approx(run.macs / run.full_macs)


def test_with_many_classes_no_class_is_seen_by_itself():
    trace = make_trace(samples=300, exits=EXITS, classes=40)
    gates = fitted((0, 1, 2, 3), trace=trace)
    assert {len(gate) for gate in gates.gates[:-1]} == {9}
    run = replay(rule_of(gates), trace, WORKLOAD)
    assert run_gates(gates, trace, trace.correct.astype(float), COSTS).right.tolist() == run.correct.tolist()


def test_the_slope_is_that_of_the_price():
    problem = GateProblem(TRACE, RIGHT, COSTS, (0, 2, 3))
    weights = np.random.default_rng(0).normal(size=problem.start().shape) * 0.3
    error = check_grad(lambda w: problem.price(w, 20.0)[0], lambda w: problem.price(w, 20.0)[1], weights.ravel())
    assert error < 1e-5


def test_fitting_lowers_the_price():
    problem = GateProblem(TRACE, RIGHT, COSTS, (0, 1, 2, 3))
    start = problem.start()
    assert problem.price(problem.fit(20.0, start).ravel(), 20.0)[0] < problem.price(start.ravel(), 20.0)[0]


def test_dearer_errors_keep_more_accuracy_for_more_work():
    dear, cheap = fit_gates(TRACE, RIGHT, COSTS, [SEEN[0]] * 2, [100.0, 1.0])
    runs = [replay(rule_of(gates), TRACE, WORKLOAD) for gates in (dear, cheap)]
    assert runs[0].correct.mean() > runs[1].correct.mean()
    assert runs[0].macs.mean() > runs[1].macs.mean()


def test_gates_need_less_work_than_one_threshold_for_the_same_accuracy():
    trace = make_trace(samples=4000, exits=EXITS)
    run = replay(rule_of(fitted(SEEN[0], trace=trace)), trace, WORKLOAD)
    for threshold in np.linspace(0.5, 0.99, 15):
        other = replay(load_exit_rule("threshold", EXITS, threshold=float(threshold)), trace, WORKLOAD)
        if other.correct.mean() >= run.correct.mean():
            assert other.macs.mean() > run.macs.mean()


def test_where_only_the_last_exit_is_looked_at_there_is_nothing_to_fit():
    gates = fitted((3,))
    assert gates == GateSet((None, None, None, ()))
    assert replay(rule_of(gates), TRACE, WORKLOAD).exit_index.tolist() == [3] * len(TRACE)


def test_features_of_the_first_look_know_no_look_before():
    columns = gate_features(TRACE, 1, -1, of_classes=False)
    assert columns.shape == (len(TRACE), 8)
    assert (columns[:, 4:] == 0).all()
