import pytest

from edgeexit.errors import OptionError
from edgeexit.exits.threshold import Threshold
from edgeexit.protocols import Evidence, Look


def looks(*confidences, first=0):
    return [Look(first + i, 0, c, 0.0, None, None) for i, c in enumerate(confidences)]


def judge(rule, *seen, exit_count=4):
    return rule.judge(Evidence(exit_count, list(seen)))


def test_the_first_exit_is_looked_at_first():
    verdict = judge(Threshold(4, threshold=0.9))
    assert (verdict.stop, verdict.next_exit) == (False, 0)


def test_stops_where_the_largest_probability_reaches_the_threshold():
    verdict = judge(Threshold(4, threshold=0.9), *looks(0.4, 0.9))
    assert (verdict.stop, verdict.next_exit) == (True, 1)


def test_goes_on_to_the_next_exit_below_the_threshold():
    verdict = judge(Threshold(4, threshold=0.9), *looks(0.4, 0.89))
    assert (verdict.stop, verdict.next_exit) == (False, 2)


def test_only_the_newest_look_counts():
    assert not judge(Threshold(4, threshold=0.9), *looks(0.99, 0.5)).stop


def test_each_exit_may_have_its_own_threshold():
    rule = Threshold(4, threshold=[0.9, 0.6, 0.5, 0.0])
    assert not judge(rule, *looks(0.7)).stop
    assert judge(rule, *looks(0.7, 0.7)).stop


def test_an_exit_without_a_threshold_is_not_looked_at():
    rule = Threshold(4, threshold=[None, 0.9, None, 0.9])
    assert judge(rule).next_exit == 1
    assert judge(rule, *looks(0.5, first=1)).next_exit == 3
    assert not rule.looks_at_every_exit


def test_a_threshold_of_zero_ends_every_sample():
    rule = Threshold(4, threshold=[0.9, 0.0, 0.9, 0.9], prior=[0.5, 0.5, 0.0, 0.0])
    assert judge(rule, *looks(0.1, 0.1)).stop
    assert judge(rule, *looks(0.1)).distribution == (0.0, 1.0, 0.0, 0.0)
    assert rule.looks_at_every_exit


def test_without_a_prior_there_is_no_forecast():
    rule = Threshold(4, threshold=0.9)
    assert judge(rule).distribution is None
    assert judge(rule, *looks(0.95)).distribution is None


def test_the_prior_becomes_the_forecast_given_that_earlier_exits_did_not_answer():
    rule = Threshold(4, threshold=0.9, prior=[0.5, 0.25, 0.125, 0.125])
    assert judge(rule).distribution == (0.5, 0.25, 0.125, 0.125)
    assert judge(rule, *looks(0.1)).distribution == (0.0, 0.5, 0.25, 0.25)
    assert judge(rule, *looks(0.95)).distribution == (1.0, 0.0, 0.0, 0.0)


def test_an_exit_that_never_answered_in_calibration_stays_possible():
    rule = Threshold(3, threshold=0.9, prior=[1.0, 0.0, 0.0])
    assert judge(rule, *looks(0.1), exit_count=3).distribution == (0.0, 0.5, 0.5)
    assert 0 < judge(rule, exit_count=3).distribution[2] < 1e-5


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"threshold": 1.5}, "threshold must be a number from 0 to 1, not 1.5"),
        ({"threshold": float("nan")}, "not nan"),
        ({"threshold": "0.9"}, "not '0.9'"),
        ({"threshold": True}, "not True"),
        ({"threshold": [0.9, 0.9]}, "threshold must be a list of 4 numbers"),
        ({"threshold": [0.9, 0.9, 2, 0]}, r"threshold\[2\] must be a number from 0 to 1, not 2"),
        ({"threshold": 0.9, "prior": [0.5, 0.5]}, "prior must be a list of 4 numbers"),
    ],
)
def test_a_wrong_parameter_is_refused_with_what_is_allowed(parameters, message):
    with pytest.raises(OptionError, match=message):
        Threshold(4, **parameters)


@pytest.mark.parametrize("exit_count", [0, -1, 2.0, True, None])
def test_a_wrong_number_of_exits_is_refused(exit_count):
    with pytest.raises(OptionError, match="exit_count must be a whole number from 1 on"):
        Threshold(exit_count, threshold=0.9)
