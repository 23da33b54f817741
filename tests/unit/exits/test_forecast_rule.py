import math

import pytest

from edgeexit.errors import OptionError
from edgeexit.exits.forecast import Forecast
from edgeexit.exits.predictor import FEATURES
from edgeexit.protocols import Evidence, Look

SHARES = (
    (0.2, 0.1, 0.3, 0.4),  # at exit 0: settled there with probability 0.2, at exit 3 with 0.4
    (0.5, 0.25, 0.25),
    (0.25, 0.75),
)


def predictor():
    """Whatever is seen, the forecast is `SHARES`."""
    exits = [{"weights": [[0.0] * len(FEATURES)] * len(row), "bias": [math.log(p) for p in row]} for row in SHARES]
    return {"format": 1, "exit_count": 4, "exits": exits}


def make(**parameters):
    return Forecast(4, **{"predictor": predictor(), "stop": 0.9, "reach": 0.5, **parameters})


def judge(rule, *exits):
    return rule.judge(Evidence(4, [Look(e, 0, 0.5, 0.25, None, None) for e in exits]))


def test_stops_where_the_sample_has_probably_settled():
    assert judge(make(stop=0.19), 0)[:2] == (True, 0)


def test_each_exit_may_ask_for_a_probability_of_its_own():
    rule = make(stop=[0.21, 0.49, 0.9, 0.9])
    assert judge(rule, 0)[:2] == (False, 2)
    assert judge(rule, 0, 1)[:2] == (True, 1)


def test_looks_at_the_first_exit_by_which_the_sample_has_probably_settled():
    # given that it is not exit 0, exits 1 to 3 have 0.125, 0.375 and 0.5
    assert judge(make(reach=0.12), 0).next_exit == 1
    assert judge(make(reach=0.13), 0).next_exit == 2
    assert judge(make(reach=0.51), 0).next_exit == 3
    assert judge(make(reach=1.0), 0).next_exit == 3


def test_with_reach_zero_no_exit_is_skipped():
    rule = make(reach=0.0)
    assert judge(rule, 0).next_exit == 1
    assert rule.looks_at_every_exit


def test_an_unsure_forecast_is_not_trusted():
    assert judge(make(reach=0.9, abstain=0.49), 0).next_exit == 3
    assert judge(make(reach=0.9, abstain=0.51), 0).next_exit == 1


def test_begins_at_the_start_exit():
    assert judge(make(start=2)).next_exit == 2


def test_ends_at_the_cap():
    rule = make(cap=2, reach=1.0)
    assert judge(rule, 0).next_exit == 2
    assert judge(rule, 2)[:2] == (True, 2)


def test_does_not_look_at_exits_that_are_left_out():
    rule = make(stop=[0.9, 0.9, None, 0.9], reach=0.13)
    assert judge(rule, 0).next_exit == 3
    assert not make(stop=[0.9, 0.9, None, 0.9], reach=0.0).looks_at_every_exit


def test_the_distribution_is_the_forecast_given_where_it_looks_next():
    assert judge(make(reach=0.12), 0).distribution == pytest.approx((0.0, 0.125, 0.375, 0.5))
    assert judge(make(reach=0.13), 0).distribution == pytest.approx((0.0, 0.0, 0.5, 0.5))


def test_the_distribution_has_nothing_beyond_the_cap():
    assert judge(make(cap=2, reach=0.12), 0).distribution == pytest.approx((0.0, 0.125, 0.875, 0.0))


def test_a_stop_is_certain():
    assert judge(make(stop=0.1), 0).distribution == (1.0, 0.0, 0.0, 0.0)


def test_before_the_first_look_the_prior_is_the_forecast():
    assert judge(make()).distribution is None
    assert judge(make(prior=[0.5, 0.25, 0.125, 0.125])).distribution == (0.5, 0.25, 0.125, 0.125)


def answers(**changes):
    entry = {"exit": 0, "next_exit": 2, "edges": [0.1, 0.3], "shares": [[0.9, 0.1], [0.75, 0.25], [0.5, 0.5]]}
    return [{**entry, **changes}]


def test_counted_answers_take_the_place_of_the_forecast():
    # the probability of having settled at exit 0 is 0.2: the second class
    verdict = judge(make(reach=0.13, answers=answers()), 0)
    assert verdict.next_exit == 2
    assert verdict.distribution == pytest.approx((0.0, 0.0, 0.75, 0.25))


def test_a_step_that_was_never_counted_has_the_prior():
    rule = make(reach=0.12, prior=[0.25, 0.25, 0.25, 0.25], answers=answers())
    assert judge(rule, 0).distribution == pytest.approx((0.0, 1 / 3, 1 / 3, 1 / 3))


def test_an_exit_that_was_never_counted_stays_possible():
    rule = make(reach=0.13, answers=answers(edges=[], shares=[[1.0, 0.0]]))
    assert 0 < judge(rule, 0).distribution[3] < 1e-5


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"stop": 1.1}, "stop must be a number from 0 to 1"),
        ({"reach": -0.1}, "reach must be a number from 0 to 1"),
        ({"abstain": 2}, "abstain must be a number from 0 to 1"),
        ({"cap": 0, "start": 1}, "cap must be an exit index from 1 to 3"),
        ({"predictor": {**predictor(), "exit_count": 3, "exits": predictor()["exits"][1:]}}, "exits, the bundle has 4"),
        ({"predictor": "predictor.json"}, "predictor must be a mapping"),
        ({"answers": {}}, "answers must be a list"),
        ({"answers": answers(edges=[0.3, 0.1])}, r"answers\[0\] edges must ascend"),
        ({"answers": answers(edges=[0.3])}, "one more list of shares"),
        ({"answers": answers(shares=[[1.0]] * 3)}, r"answers\[0\] shares must be a list of 2 numbers"),
        ({"answers": answers(next_exit=0)}, "next_exit must be an exit index from 1 to 3"),
        ({"cap": 1, "answers": answers()}, "goes from exit 0 to 2, which the rule never does"),
    ],
)
def test_a_wrong_parameter_is_refused_with_what_is_allowed(parameters, message):
    with pytest.raises(OptionError, match=message):
        make(**parameters)
