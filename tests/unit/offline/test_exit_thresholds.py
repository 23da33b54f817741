from itertools import product

import numpy as np
import pytest
from synthetic_traces import make_trace, make_workload

from edgeexit.offline.exit_thresholds import GRID, ExitThresholds, Samples, descend, descend_along, look_everywhere
from edgeexit.offline.replay import Costs, replay
from edgeexit.registry import load_exit_rule

WORKLOAD = make_workload(3)
TRACE = make_trace(samples=400, exits=3)


@pytest.fixture
def samples():
    scores = TRACE.confidence.astype(np.float64)
    return Samples(TRACE.correct, lambda _: scores, Costs(WORKLOAD))


@pytest.mark.parametrize("error_price", [1.0, 5.0, 50.0])
def test_no_change_at_a_single_exit_is_better(samples, error_price):
    found = descend(samples, error_price, look_everywhere(3))
    for exit_index, threshold, seen in product(range(2), GRID, (True, False)):
        changed = ExitThresholds(found.thresholds.copy(), found.looked_at.copy())
        changed.thresholds[exit_index] = threshold
        changed.looked_at[exit_index] = seen
        assert changed.price(samples, error_price) >= found.price(samples, error_price) - 1e-9


def test_dearer_errors_keep_more_accuracy(samples):
    cheap, dear = descend_along(samples, [0.5, 100.0], 3)
    assert dear.run(samples)[0].mean() > cheap.run(samples)[0].mean()
    assert dear.run(samples)[1].mean() > cheap.run(samples)[1].mean()


def test_free_errors_stop_at_the_first_exit(samples):
    assert descend(samples, 0.0, look_everywhere(3)).run(samples)[1].mean() == pytest.approx(1200 / 3000)


def test_a_head_that_is_too_dear_is_left_out():
    scores = TRACE.confidence.astype(np.float64)
    dear = Samples(TRACE.correct, lambda _: scores, Costs(make_workload(3, head_macs=100_000)))
    assert descend(dear, 5.0, look_everywhere(3)).as_list() == [None, None, 0.0]


def test_every_exit_is_looked_at_where_none_may_be_left_out():
    scores = TRACE.confidence.astype(np.float64)
    dear = Samples(TRACE.correct, lambda _: scores, Costs(make_workload(3, head_macs=100_000)))
    assert None not in descend(dear, 5.0, look_everywhere(3), may_leave_out=False).as_list()


def test_the_rule_does_what_was_found(samples):
    found = descend(samples, 5.0, look_everywhere(3))
    run = replay(load_exit_rule("threshold", 3, threshold=found.as_list()), TRACE, WORKLOAD)
    correct, cost = found.run(samples)
    assert correct.tolist() == run.correct.tolist()
    assert cost == pytest.approx(run.macs / run.full_macs)


def test_tightened_thresholds_come_nearer_to_one():
    rule = look_everywhere(3, threshold=0.6).tightened(0.25)
    assert rule.as_list() == [0.9, 0.9, 0.0]


def test_the_exits_reached_end_where_every_sample_stops_and_hold_the_last():
    looked_at = np.array([True, False, True, True, True])
    assert ExitThresholds(np.array([0.9, 0.9, 0.0, 0.5, 0.0]), looked_at).exits_reached == [0, 2, 4]
    assert ExitThresholds(np.array([0.9, 0.9, 0.8, 0.5, 1.0]), looked_at).exits_reached == [0, 2, 3, 4]
