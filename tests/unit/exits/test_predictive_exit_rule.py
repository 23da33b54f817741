"""The numbers are worked by hand: [1, 2, -1] becomes [3, 2, 1], then [5, 6, 3], then [11, 14, 9]."""

import pytest

from edgeexit.errors import OptionError
from edgeexit.exits.predictive_exit import PredictiveExit, forecast_jump
from edgeexit.protocols import Evidence
from edgeexit.testing.exit_rules import make_look

LOGITS = [1.0, 2.0, -1.0]


def judge(rule, *seen, exit_count=6):
    verdict = rule.judge(Evidence(exit_count, list(seen)))
    return verdict.stop, verdict.next_exit


def test_the_engine_convolves_until_the_threshold_is_reached():
    assert forecast_jump(LOGITS, [3.0, 9.0, 9.0]) == 1
    assert forecast_jump(LOGITS, [3.1, 6.0, 9.0]) == 2
    assert forecast_jump(LOGITS, [3.1, 6.1, 14.0]) == 3


def test_the_engine_jumps_as_far_as_it_looks_if_no_threshold_is_reached():
    assert forecast_jump(LOGITS, [100.0, 100.0, 100.0]) == 3


def test_the_engine_takes_the_largest_absolute_value():
    assert forecast_jump([-1.0, -2.0, 1.0], [3.0, 9.0]) == 1


def test_the_engine_depends_on_the_order_of_the_classes():
    assert forecast_jump([2.0, 2.0, -2.0, 0.0], [4.0, 9.0]) == 1
    assert forecast_jump([2.0, -2.0, 2.0, 0.0], [4.0, 9.0]) == 2


def test_stops_where_the_largest_activation_reaches_beta_times_the_mean():
    rule = PredictiveExit(6, beta=2.0, activations=[1.0] * 6)
    assert judge(rule, make_look(0, LOGITS)) == (True, 0)


def test_a_large_negative_activation_stops_too():
    rule = PredictiveExit(6, beta=2.0, activations=[1.0] * 6)
    assert judge(rule, make_look(0, [0.5, -2.5, 1.0])) == (True, 0)


def test_jumps_to_the_exit_whose_threshold_the_engine_reaches():
    rule = PredictiveExit(6, beta=2.0, activations=[1.5, 2.0, 3.0, 4.0, 5.0, 6.0])  # thresholds 3 4 6 8 10 12
    assert judge(rule, make_look(0, LOGITS)) == (False, 2)


def test_forecasts_again_from_where_it_landed():
    rule = PredictiveExit(6, beta=2.0, activations=[1.5, 2.0, 3.0, 1.5, 5.0, 6.0])  # exit 3 asks for 3
    assert judge(rule, make_look(0, LOGITS), make_look(2, LOGITS)) == (False, 3)


def test_begins_at_the_start_exit():
    assert judge(PredictiveExit(6, beta=2.0, activations=[1.0] * 6, start=3)) == (False, 3)


def test_looks_no_further_ahead_than_its_rounds():
    rule = PredictiveExit(6, beta=1000.0, activations=[1.0] * 6, rounds=2)
    assert judge(rule, make_look(0, LOGITS)) == (False, 2)


def test_never_jumps_past_the_last_exit():
    rule = PredictiveExit(6, beta=1000.0, activations=[1.0] * 6)
    assert judge(rule, make_look(4, LOGITS)) == (False, 5)


def test_has_a_distribution_only_with_a_prior():
    even = PredictiveExit(6, beta=1000.0, activations=[1.0] * 6, rounds=2, prior=[0.25, 0.25, 0.25, 0.25, 0.0, 0.0])
    given = even.judge(Evidence(6, [make_look(0, LOGITS)])).distribution
    assert given[:2] == (0.0, 0.0)
    assert given[2:4] == pytest.approx((0.5, 0.5), abs=1e-5)
    bare = PredictiveExit(6, beta=1000.0, activations=[1.0] * 6)
    assert bare.judge(Evidence(6, [make_look(0, LOGITS)])).distribution is None


def test_refuses_activations_that_would_let_every_sample_out():
    with pytest.raises(OptionError, match="activations must be above 0"):
        PredictiveExit(3, beta=1.0, activations=[1.0, 0.0, 1.0])
