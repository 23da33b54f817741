import random

import pytest

from edgeexit.errors import OptionError
from edgeexit.runtime.budget import Budget, BudgetControl

SHARES = (0.8, 0.4, 0.2)
DROPS = (0.0, 0.5, 1.0)


def control(target, **options):
    return BudgetControl(SHARES, DROPS, target, unit="joules", **options)


def run(controller, costs, inferences):
    """Run at the cost of each setting; return what was spent on average and the settings."""
    chosen = []
    for _ in range(inferences):
        chosen.append(controller.choose())
        controller.ran(costs[chosen[-1]])
    return sum(costs[setting] for setting in chosen) / inferences, chosen


@pytest.mark.parametrize("given", [{}, {"joules": 1.0, "macs": 1.0}, {"joules": 0.0}, {"seconds": -1.0}])
def test_a_budget_is_one_number_above_zero(given):
    with pytest.raises(OptionError, match="one of them"):
        Budget(**given)


def test_a_budget_knows_its_unit():
    assert [(b.unit, b.amount) for b in (Budget(joules=2.0), Budget(macs=3e6), Budget(seconds=0.1))] == [
        ("joules", 2.0),
        ("macs", 3e6),
        ("seconds", 0.1),
    ]


def test_it_begins_with_the_most_accurate_setting():
    assert control(1.0).choose() == 0


def test_it_can_begin_in_between():
    # A share of 0.6 lies halfway between the first two settings.
    controller = control(0.6, start=0.6)
    assert [controller.choose() for _ in range(6)] == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("unit_cost", [1.0, 25.0, 1e-3])
@pytest.mark.parametrize("share", [0.25, 0.3, 0.5, 0.7])
def test_the_mean_comes_to_the_target_whatever_the_unit(unit_cost, share):
    controller = control(share * unit_cost)
    costs = [unit_cost * s for s in SHARES]
    run(controller, costs, 1000)
    mean, _ = run(controller, costs, 2000)
    assert mean == pytest.approx(share * unit_cost, rel=0.005)
    assert controller.report().reachable


def test_it_holds_the_mean_of_costs_that_scatter_from_sample_to_sample():
    generator = random.Random(0)
    controller = control(0.3)
    total = 0.0
    for _ in range(20_000):
        cost = SHARES[controller.choose()] * generator.expovariate(1.0)
        controller.ran(cost)
        total += cost
    assert total / 20_000 == pytest.approx(0.3, rel=0.01)


def test_two_settings_are_mixed_as_evenly_as_can_be():
    controller = control(0.5)
    run(controller, SHARES, 2000)
    _, chosen = run(controller, SHARES, 400)
    counts = [sum(chosen[start : start + 8]) for start in range(0, 400, 8)]  # three quarters of them the second
    assert max(counts) - min(counts) <= 1


def test_it_never_goes_beyond_the_cheapest_setting_allowed_and_says_so():
    controller = control(0.1)
    _, chosen = run(controller, SHARES, 1000)
    assert set(chosen) <= {0, 1, 2}
    assert chosen[-200:] == [2] * 200
    report = controller.report()
    assert not report.reachable
    assert report.allowed_drop == pytest.approx(1.0, abs=0.1)
    assert report.average == pytest.approx(0.2, rel=0.2)


def test_nothing_winds_up_where_the_target_cannot_be_met():
    controller = control(0.01)
    run(controller, SHARES, 5000)
    controller.set_target(1.0)
    _, chosen = run(controller, SHARES, 200)
    assert chosen[-20:] == [0] * 20
    assert controller.report().reachable


def test_a_budget_that_is_never_used_up_leaves_the_most_accurate_setting():
    controller = control(5.0)
    _, chosen = run(controller, SHARES, 500)
    assert set(chosen) == {0}
    assert controller.report()[2:] == (pytest.approx(0.8), 0.0, True, 500)


def test_a_batch_counts_as_its_samples():
    controller = control(0.8)
    controller.choose()
    controller.ran(0.8, 64)
    assert controller.report().inferences == 64


def test_one_setting_has_nowhere_to_go():
    controller = BudgetControl((0.5,), (0.0,), 0.1, unit="macs")
    assert run(controller, (0.5,), 100)[1] == [0] * 100
    assert not controller.report().reachable


@pytest.mark.parametrize("shares", [(), (0.2, 0.4), (0.4, 0.4), (0.4, 0.0)])
def test_settings_whose_work_does_not_fall_are_refused(shares):
    with pytest.raises(OptionError, match="work falls"):
        BudgetControl(shares, [0.0] * len(shares), 1.0, unit="macs")


@pytest.mark.parametrize("target", [0.0, -1.0, float("inf"), float("nan")])
def test_a_target_that_is_none_is_refused(target):
    with pytest.raises(OptionError, match="above 0"):
        control(target)
