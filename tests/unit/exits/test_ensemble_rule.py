from math import log

import pytest

from edgeexit.errors import OptionError
from edgeexit.exits.ensemble import Ensemble
from edgeexit.protocols import CombinesLooks, Evidence
from edgeexit.testing.exit_rules import make_look

ALONE = [[1.0], [0.0, 1.0], [0.0, 0.0, 1.0]]
BOTH = [[1.0], [1.0, 1.0], [1.0, 1.0, 1.0]]
FIRST, SECOND = [log(4.0), 0.0], [0.0, log(2.0)]
"""Logits of .8 for class 0, and of two thirds for class 1."""


def evidence(*logits):
    return Evidence(3, [make_look(i, each) for i, each in enumerate(logits)])


def test_it_is_a_rule_that_combines_looks():
    assert isinstance(Ensemble(3, threshold=0.9, weights=ALONE), CombinesLooks)


def test_the_exits_seen_answer_together():
    look = Ensemble(3, threshold=0.9, weights=BOTH).combine(evidence(FIRST, SECOND))
    assert (look.exit_index, look.label) == (1, 0)
    assert look.confidence == pytest.approx(2 / 3)
    assert look.margin == pytest.approx(1 / 3)
    assert look.probabilities.tolist() == pytest.approx([2 / 3, 1 / 3])
    assert look.logits.tolist() == pytest.approx([log(4.0), log(2.0)])


def test_it_stops_where_they_are_sure_together_and_not_before():
    rule = Ensemble(3, threshold=0.9, weights=BOTH)
    assert not rule.judge(evidence(FIRST)).stop
    assert not rule.judge(evidence(FIRST, SECOND)).stop
    assert rule.judge(evidence(FIRST, FIRST)).stop  # 16 to 1


def test_a_weight_of_one_exit_alone_is_its_inverse_temperature():
    look = Ensemble(3, threshold=0.9, weights=[[2.0], [0.0, 1.0], [0.0, 0.0, 1.0]]).combine(evidence(FIRST))
    assert look.confidence == pytest.approx(16 / 17)


def test_looks_that_were_skipped_weigh_nothing():
    looks = [make_look(0, FIRST), make_look(2, SECOND)]
    look = Ensemble(3, threshold=0.9, weights=BOTH).combine(Evidence(3, looks))
    assert (look.exit_index, look.confidence) == (2, pytest.approx(2 / 3))


def test_where_no_look_seen_has_a_weight_the_newest_answers():
    weights = [[1.0], [1.0, 0.0], [0.0, 1.0, 0.0]]
    look = Ensemble(3, threshold=0.9, weights=weights).combine(Evidence(3, [make_look(2, SECOND)]))
    assert (look.label, look.confidence) == (1, pytest.approx(2 / 3))


def test_exits_without_a_threshold_are_not_looked_at():
    rule = Ensemble(3, threshold=[None, 0.9, 0.0], weights=ALONE)
    assert rule.judge(Evidence(3, [])).next_exit == 1
    assert not rule.looks_at_every_exit


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([[1.0], [0.0, 1.0]], "weights must be a list of 3 lists"),
        ([[1.0], [1.0], [0.0, 0.0, 1.0]], r"weights\[1\] must be a list of 2 numbers"),
        ([[1.0], [0.0, -1.0], [0.0, 0.0, 1.0]], r"weights\[1\]\[1\] must be a number from 0"),
    ],
)
def test_weights_that_are_none_are_refused(weights, message):
    with pytest.raises(OptionError, match=message):
        Ensemble(3, threshold=0.9, weights=weights)
