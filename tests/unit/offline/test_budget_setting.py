"""Budgets: shares by exponential weights, thresholds by sequential quantiles (EERO)."""

import numpy as np
import pytest
from synthetic_traces import make_trace, make_workload

from edgeexit.errors import OptionError
from edgeexit.offline.guarantee.budget import (
    Budget,
    PieceCosts,
    budget_met,
    check_budget,
    exponential_weights,
    macs_costs,
    point_costs,
    sequential_thresholds,
)
from edgeexit.offline.replay import replay
from edgeexit.protocols import PointCosts
from edgeexit.registry import load_exit_rule

WORKLOAD = make_workload(4)
COSTS = macs_costs(WORKLOAD)
LABELLED, UNLABELLED, UNSEEN = (make_trace(samples=800, seed=seed) for seed in (1, 2, 3))


def test_costs_are_shares_of_the_full_network():
    assert COSTS.depth == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert COSTS.head == pytest.approx([0.05, 0.05, 0.05, 0.0])
    assert COSTS.answer_at(np.array([0, 2])) == pytest.approx([0.3, 0.85])


def test_shares_fall_with_the_risk_where_the_budget_is_ample():
    shares = exponential_weights(np.array([0.3, 0.2, 0.1]), np.array([1.0, 2.0, 3.0]), 9.0, 10.0)
    # exp(-3), exp(-2), exp(-1), normalised
    assert shares == pytest.approx([0.0900306, 0.2447285, 0.6652410])


def test_shares_keep_a_tight_budget_exactly():
    costs = np.array([1.0, 2.0, 3.0])
    shares = exponential_weights(np.array([0.3, 0.2, 0.1]), costs, 1.5, 10.0)
    assert shares.sum() == pytest.approx(1.0)
    assert shares @ costs == pytest.approx(1.5)
    logs = np.log(shares)
    assert logs[0] - logs[1] == pytest.approx(logs[1] - logs[2])  # the closed form: risks and costs are in even steps


def test_a_budget_of_the_first_exit_alone_leaves_nothing_for_others():
    shares = exponential_weights(np.array([0.3, 0.1]), np.array([1.0, 2.0]), 1.0, 20.0)
    assert shares[0] == pytest.approx(1.0, abs=1e-6)


def test_thresholds_are_quantiles_of_those_that_go_on():
    first = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    second = [0.0, 0.0, 0.5, 0.9, 0.6, 0.8, 0.7, 0.95]
    confidence = np.array([first, second, [1.0] * 8], dtype=np.float32).T
    thresholds = sequential_thresholds(confidence, np.array([0.25, 0.5, 0.25]))
    # 2 of 8 stop first: 0.8; of the other six 4 stop: 0.95, 0.9, 0.8, 0.7
    assert thresholds == pytest.approx([0.8, 0.7, 0.0], abs=1e-5)


def test_equally_confident_samples_stop_together():
    confidence = np.full((10, 2), 0.5, dtype=np.float32)
    thresholds = sequential_thresholds(confidence, np.array([0.3, 0.7]))
    assert thresholds[0] <= 0.5


@pytest.mark.parametrize("amount", [0.31, 0.4, 0.6, 0.9])
def test_the_budget_is_kept_where_the_thresholds_are_from_and_nearly_elsewhere(amount):
    setting = budget_met(LABELLED, UNLABELLED, COSTS, Budget("macs", amount))
    assert setting.cost <= amount * (1 + 1e-9)
    check = check_budget(setting, UNSEEN, COSTS)
    assert abs(check.cost - setting.cost) < 6 * check.error + 1e-9
    assert setting.shares.sum() == pytest.approx(1.0)


def test_more_budget_is_never_less_accurate_where_it_was_chosen():
    accuracies = []
    for amount in (0.35, 0.5, 0.7, 1.1):
        setting = budget_met(LABELLED, LABELLED, COSTS, Budget("macs", amount))
        accuracies.append(check_budget(setting, LABELLED, COSTS).accuracy)
    assert accuracies == sorted(accuracies)


def test_the_rule_threshold_does_what_the_check_counts():
    setting = budget_met(LABELLED, UNLABELLED, COSTS, Budget("macs", 0.5))
    run = replay(load_exit_rule("threshold", 4, **setting.parameters), UNSEEN, WORKLOAD)
    check = check_budget(setting, UNSEEN, COSTS)
    assert run.macs.mean() / run.full_macs == pytest.approx(check.cost)
    assert run.correct.mean() == pytest.approx(check.accuracy)


def test_labels_of_the_samples_for_thresholds_are_not_looked_at():
    from dataclasses import replace

    shuffled = replace(UNLABELLED, labels=np.zeros_like(UNLABELLED.labels))
    budget = Budget("macs", 0.5)
    plain, blind = (budget_met(LABELLED, trace, COSTS, budget) for trace in (UNLABELLED, shuffled))
    assert blind.parameters == plain.parameters


def test_a_budget_below_the_first_exit_is_refused():
    with pytest.raises(OptionError, match=r"the first exit alone takes 0\.3"):
        budget_met(LABELLED, UNLABELLED, COSTS, Budget("macs", 0.2))


@pytest.mark.parametrize("amount", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_must_be_a_number_above_0(amount):
    with pytest.raises(OptionError, match="above 0"):
        budget_met(LABELLED, UNLABELLED, COSTS, Budget("macs", amount))


def test_a_budget_needs_costs_of_its_own_kind():
    with pytest.raises(OptionError, match="needs costs of that kind"):
        budget_met(LABELLED, UNLABELLED, COSTS, Budget("energy", 0.5))


POINT = PointCosts({}, None, (0.001, 0.002), None, (0.0005, 0.0), None)


def test_latencies_of_a_cost_table_are_summed_up_to_each_exit():
    costs = point_costs(POINT, (0, 1), "latency")
    assert costs.kind == "latency"
    assert costs.answer_at(np.array([0, 1])) == pytest.approx([0.0015, 0.0035])


def test_a_table_without_energies_keeps_no_energy_budget():
    with pytest.raises(OptionError, match="has no energies"):
        point_costs(POINT, (0, 1), "energy")


def test_many_exits_are_tried_in_sets_of_a_few():
    exits = 14
    trace = make_trace(samples=200, exits=exits, seed=5)
    costs = PieceCosts("macs", np.linspace(0.1, 1.0, exits), np.full(exits, 0.01))
    assert budget_met(trace, trace, costs, Budget("macs", 0.5)).cost <= 0.5 + 1e-9
