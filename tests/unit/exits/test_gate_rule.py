from math import log

import numpy as np
import pytest

from edgeexit.errors import OptionError
from edgeexit.exits.gate import FEATURES, Gate, logit_of, openness
from edgeexit.protocols import Evidence
from edgeexit.testing.exit_rules import make_look

COUNT = len(FEATURES)
SURE, UNSURE = [log(9.0), 0.0], [log(1.5), 0.0]
"""Logits of the probabilities .9 and .1, and of .6 and .4."""


def gate(bias=0.0, **weights):
    """Return a gate with weights by the names of columns."""
    row = [0.0] * (COUNT + 1)
    for name, weight in weights.items():
        row[COLUMNS[name]] = weight
    row[-1] = bias
    return row


COLUMNS = {"confidence": 0, "second": 1, "odds": 2, "log_second": 3, "agrees": 4, "before": 5, "both": 6, "joint": 7}


def judge(rule, *logits, first=0):
    return rule.judge(Evidence(3, [make_look(first + i, each) for i, each in enumerate(logits)]))


def test_stops_where_the_gate_is_open():
    rule = Gate(3, gates=[gate(-0.8, confidence=1.0), gate(-0.5, confidence=1.0), None])
    assert judge(rule, SURE).stop
    assert not judge(rule, UNSURE).stop
    assert judge(rule, UNSURE, UNSURE).stop


def test_each_figure_is_worked_out_as_its_name_says():
    looks = [make_look(0, UNSURE), make_look(1, SURE)]
    expected = {
        "confidence": 0.9,
        "second": 0.1,
        "odds": log(9.0),
        "log_second": log(0.1),
        "agrees": 1.0,
        "before": 0.6,
        "both": 0.6,
        "joint": log(9.0),
    }
    for name, value in expected.items():
        rule = Gate(3, gates=[gate(), gate(0.25, **{name: 2.0}), None])
        assert rule.score(looks) == pytest.approx(0.25 + 2.0 * value, abs=1e-6), name


def test_a_look_before_that_says_something_else_counts_as_no_agreement():
    looks = [make_look(0, UNSURE[::-1]), make_look(1, SURE)]
    for name, value in {"agrees": 0.0, "before": 0.6, "both": 0.0, "joint": 0.0}.items():
        rule = Gate(3, gates=[gate(), gate(0.0, **{name: 1.0}), None])
        assert rule.score(looks) == pytest.approx(value, abs=1e-6), name


def test_at_the_first_look_there_is_no_look_before():
    rule = Gate(3, gates=[gate(0.0, agrees=1.0, before=1.0, both=1.0, joint=1.0), None, None])
    assert rule.score([make_look(0, SURE)]) == 0.0


def test_the_classes_probabilities_are_seen_by_their_logarithms():
    rule = Gate(3, gates=[[*[0.0] * COUNT, 1.0, 10.0, 0.5], None, None])
    assert rule.score([make_look(0, SURE)]) == pytest.approx(log(0.9001) + 10 * log(0.1001) + 0.5, abs=1e-5)


def test_certainty_is_a_finite_score():
    rule = Gate(3, gates=[gate(odds=2.0, log_second=1.0), None, None])
    assert rule.score([make_look(0, [1000.0, 0.0])]) == pytest.approx(-2 * log(1e-6) + log(1e-6))


def test_a_gate_that_must_be_more_open_stops_fewer():
    gates = [gate(-0.8, confidence=1.0), None, None]
    assert judge(Gate(3, gates=gates, stop=0.52), SURE).stop
    assert not judge(Gate(3, gates=gates, stop=0.53), SURE).stop
    assert not judge(Gate(3, gates=gates, stop=1.0), SURE).stop
    assert judge(Gate(3, gates=gates, stop=0.0), UNSURE).stop


def test_exits_without_a_gate_are_not_looked_at():
    rule = Gate(3, gates=[None, gate(-1.0), None])
    assert rule.judge(Evidence(3, [])).next_exit == 1
    assert judge(rule, SURE, first=1).next_exit == 2
    assert not rule.looks_at_every_exit
    assert Gate(3, gates=[gate(), gate(), None]).looks_at_every_exit


def test_it_forecasts_by_how_open_the_gate_was():
    answers = [{"exit": 0, "next_exit": 1, "edges": [0.4], "shares": [[0.2, 0.8], [0.7, 0.3]]}]
    rule = Gate(3, gates=[gate(-0.8, odds=0.3), gate(), None], prior=[0.5, 0.3, 0.2], answers=answers, stop=0.9)
    assert openness(0.3 * log(9.0) - 0.8) > 0.4 > openness(0.3 * log(1.5) - 0.8)
    assert judge(rule, SURE).distribution == pytest.approx((0.0, 0.7, 0.3))
    assert judge(rule, UNSURE).distribution == pytest.approx((0.0, 0.2, 0.8))


def test_openness_and_its_logit_are_inverse_and_never_overflow():
    assert openness(logit_of(0.3)) == pytest.approx(0.3)
    assert (openness(-1e9), openness(1e9)) == (pytest.approx(0.0), 1.0)
    assert (logit_of(0.0), logit_of(1.0)) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        ([gate()], "gates must be a list of 3"),
        ([gate(), [1.0], None], r"gates\[1\] must be at least 9 numbers"),
        ([gate(), "no", None], r"gates\[1\] must be a list of numbers"),
        ([gate(), [float("nan")] * 9, None], r"gates\[1\] must be at least 9 numbers"),
        ([gate(), [*gate(), 0.0], None], r"the same number of weights, not \[9, 10\]"),
    ],
)
def test_gates_that_are_none_are_refused(gates, message):
    with pytest.raises(OptionError, match=message):
        Gate(3, gates=gates)
