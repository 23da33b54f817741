"""Which candidates get an exit: the exact program against all sets of exits, worked examples, and refusals."""

from itertools import combinations

import numpy as np
import pytest
from synthetic_traces import make_trace

from edgeexit.errors import DataError, OptionError
from edgeexit.offline.placement import best_exits, paper_rule, place_exits
from edgeexit.offline.placement_problem import Costs, make_problem
from edgeexit.offline.traces import Trace


def answers(*rows):
    """A trace of two classes: each row is a sample, each entry an exit's confidence, negative if it is wrong."""
    sure = np.abs(np.array(rows, dtype=np.float64))
    right = np.array(rows) > 0
    logits = np.where(right, 1, -1) * np.log(sure / (1 - sure))
    return Trace(np.stack([logits, np.zeros_like(logits)], axis=2).astype(np.float32), np.zeros(len(rows), np.int64))


EASY_TO_HARD = answers([0.9, 0.95, 0.99], [0.9, 0.95, 0.99], [-0.6, 0.9, 0.99], [-0.6, -0.6, 0.99])
"""Two samples may leave at candidate 0, one more at candidate 1, the last at the network's own output alone."""
SEGMENTS, HEADS = (1, 1, 2), (0.1, 0.1, 0.0)


def random_problem(seed, error_price):
    """A made-up network of 6 candidates and its own output."""
    random = np.random.default_rng(seed)
    trace = make_trace(samples=200, exits=7, seed=seed)
    segments, heads = random.uniform(0.5, 3.0, 7), random.uniform(0.0, 0.4, 7)
    return make_problem(trace, Costs.of(segments, heads, 7), error_price)


def all_sets(count=6):
    return [chosen for size in range(count + 1) for chosen in combinations(range(count), size)]


def price_by_hand(problem, kept):
    """Follow each sample: it leaves at the first exit at or behind the candidate where it is ready."""
    places = [*kept, problem.trace.exit_count - 1]
    prices = []
    for sample, ready in enumerate(problem.ready):
        looked_at = [place for place in places if place <= min(p for p in places if p >= ready)]
        leaves = looked_at[-1]
        cost = problem.costs.depth[leaves] + problem.costs.head[looked_at].sum()
        prices.append(cost + problem.error_price * (not problem.trace.correct[sample, leaves]))
    return np.mean(prices)


@pytest.mark.parametrize("seed", range(4))
def test_the_price_of_a_set_of_exits_is_that_of_following_each_sample(seed):
    problem = random_problem(seed, 5.0)
    for kept in all_sets()[::7]:
        assert problem.price(kept) == pytest.approx(price_by_hand(problem, kept))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("error_price", [0.5, 3.0, 20.0])
@pytest.mark.parametrize("charge", [0.0, 0.02])
def test_no_set_of_exits_is_better_than_the_one_that_is_chosen(seed, error_price, charge):
    problem = random_problem(seed, error_price)
    best = best_exits(problem, charge=charge)
    least = min(price_by_hand(problem, kept) + charge * len(kept) for kept in all_sets())
    assert price_by_hand(problem, best) + charge * len(best) == pytest.approx(least)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_no_set_of_so_many_exits_is_better_than_the_one_that_is_chosen(seed, count):
    problem = random_problem(seed, 5.0)
    best = best_exits(problem, count)
    assert len(best) == count
    least = min(price_by_hand(problem, kept) for kept in combinations(range(6), count))
    assert price_by_hand(problem, best) == pytest.approx(least)


def test_exits_are_kept_where_samples_leave():
    placement = place_exits(EASY_TO_HARD, SEGMENTS, HEADS, allowed_drop=0)
    assert placement.kept == (0, 1)
    assert placement.refused == {}
    assert placement.leaves == (0.5, 0.25, 0.25)
    assert (placement.accuracy, placement.full_accuracy) == (1.0, 1.0)
    assert placement.cost == pytest.approx((1.1 + 1.1 + 2.2 + 4.2) / 4 / 4)


def test_costs_may_be_of_any_unit():
    in_macs = place_exits(EASY_TO_HARD, [1e6, 1e6, 2e6], [1e5, 1e5, 0], allowed_drop=0)
    assert in_macs.cost == pytest.approx((1.1 + 1.1 + 2.2 + 4.2) / 4 / 4)


def test_an_exit_whose_head_costs_more_than_it_saves_is_refused():
    placement = place_exits(EASY_TO_HARD, SEGMENTS, (0.1, 1.5, 0.0), allowed_drop=0)
    assert placement.kept == (0,)
    assert placement.refused == {
        1: "25.0% of the samples would leave here and save 12.50% of the cost, no more than its head costs (18.75%)"
    }
    assert placement.cost == pytest.approx((1.1 + 1.1 + 4.1 + 4.1) / 4 / 4)


def test_an_exit_that_is_sure_and_wrong_is_refused():
    trace = answers([-0.9, 0.9, 0.99], [0.6, 0.9, 0.99], [-0.9, 0.9, 0.99], [0.6, 0.9, 0.99])
    placement = place_exits(trace, SEGMENTS, HEADS, allowed_drop=0)
    assert placement.kept == (1,)
    assert placement.refused == {0: "no sample gains by leaving here, errors counted"}


def test_an_exit_that_saves_less_than_is_asked_for_is_refused():
    placement = place_exits(EASY_TO_HARD, SEGMENTS, (0.1, 0.9, 0.0), allowed_drop=0, least_gain=0.05)
    assert placement.kept == (0,)
    assert placement.refused == {
        1: "25.0% of the samples would leave here and save 12.50% of the cost, its head costs 11.25%: with its errors "
        "it gains less than 5.00%"
    }


def test_no_exit_is_worth_it_where_only_the_whole_network_is_right():
    trace = answers([-0.9, -0.9, 0.99], [-0.8, -0.7, 0.99])
    placement = place_exits(trace, SEGMENTS, HEADS, allowed_drop=0)
    assert placement.kept == ()
    assert sorted(placement.refused) == [0, 1]
    assert placement.leaves == (1.0,)
    assert placement.cost == 1.0


def test_a_wanted_number_of_exits_is_kept():
    placement = place_exits(EASY_TO_HARD, SEGMENTS, HEADS, allowed_drop=0, count=1)
    assert placement.kept == (0,)
    assert placement.refused == {
        1: "25.0% of the samples would leave here and save 12.50% of the cost; others save more, and no "
        "more than 1 were asked for"
    }


def test_an_exit_where_nobody_leaves_is_refused_even_if_so_many_were_asked_for():
    trace = answers([-0.9, 0.9, 0.99], [-0.6, 0.9, 0.99])
    placement = place_exits(trace, SEGMENTS, HEADS, allowed_drop=0, count=2)
    assert placement.kept == (1,)
    assert list(placement.refused) == [0]


@pytest.mark.parametrize("allowed_drop", [0.0, 0.5, 2.0])
def test_the_accuracy_stays_within_the_allowed_drop(allowed_drop):
    trace = make_trace(samples=1000, exits=6)
    placement = place_exits(trace, [1] * 6, [0.1] * 5 + [0], allowed_drop=allowed_drop)
    assert placement.kept
    assert placement.accuracy >= placement.full_accuracy - allowed_drop / 100 - 1e-9


def test_a_larger_drop_costs_less():
    trace = make_trace(samples=1000, exits=6)
    costs = [place_exits(trace, [1] * 6, [0.1] * 5 + [0], allowed_drop=drop).cost for drop in (0.0, 1.0, 5.0)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]


def test_equal_confidences_leave_together():
    """Two samples are equally sure, one is wrong: at a price of 3 networks for an error neither may leave."""
    trace = answers([0.8, 0.99], [-0.8, 0.99])
    problem = make_problem(trace, Costs.of([1, 1], [0, 0], 2), 3.0)
    assert problem.thresholds.tolist() == [np.inf, 0.0]


def test_the_papers_rule_keeps_an_exit_before_a_cheap_segment_that_a_dear_one_follows():
    """One sample of four leaves at 0: (0.5 - 0.25) 0.8 - 0.75 0.01 - 0.5 0.1 = 0.1425."""
    trace = answers([0.9, 0.95, 0.99], [-0.6, 0.9, 0.99], [-0.6, 0.9, 0.99], [-0.6, -0.6, 0.99])
    placement = paper_rule(trace, (1, 1, 8), HEADS, allowed_drop=0)
    assert placement.kept == (0,)
    assert placement.refused == {1: "the term of the paper's rule comes to -0.4025, less than 0"}


def test_the_papers_rule_keeps_no_exit_between_equal_segments():
    placement = paper_rule(EASY_TO_HARD, (1, 1, 1), HEADS, allowed_drop=0)
    assert placement.kept == ()
    assert sorted(placement.refused) == [0, 1]


def test_the_papers_rule_keeps_a_wanted_number():
    placement = paper_rule(EASY_TO_HARD, SEGMENTS, HEADS, allowed_drop=0, count=1)
    assert placement.kept == (0,)
    assert "and no more than 1 were asked for" in placement.refused[1]


@pytest.mark.parametrize(
    ("segments", "heads"),
    [((1, 1), HEADS), (SEGMENTS, (0.1,)), ((1, -1, 1), HEADS), (SEGMENTS, (0, np.nan, 0)), ((0, 0, 0), (0, 0, 0))],
)
def test_costs_that_make_no_sense_are_refused(segments, heads):
    with pytest.raises(DataError, match="costs"):
        place_exits(EASY_TO_HARD, segments, heads, allowed_drop=0)


@pytest.mark.parametrize("place", [place_exits, paper_rule])
@pytest.mark.parametrize(
    "options", [{"allowed_drop": -1}, {"allowed_drop": 0, "count": 3}, {"allowed_drop": 0, "count": 0}]
)
def test_options_out_of_range_are_refused(place, options):
    with pytest.raises(OptionError, match=r"allowed drop must be 0 to 100|there are 2 places for one"):
        place(EASY_TO_HARD, SEGMENTS, HEADS, **options)
