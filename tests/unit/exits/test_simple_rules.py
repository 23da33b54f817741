import math

import pytest

from edgeexit.errors import OptionError
from edgeexit.exits.check_and_cap import CheckAndCap
from edgeexit.exits.entropy import Entropy
from edgeexit.exits.fixed import Fixed
from edgeexit.exits.last import Last
from edgeexit.exits.margin import Margin
from edgeexit.exits.patience import Patience
from edgeexit.protocols import Evidence, Look
from edgeexit.testing.exit_rules import make_look


def labelled(*labels, first=0):
    return [Look(first + i, label, 0.5, 0.1, None, None) for i, label in enumerate(labels)]


def judge(rule, *seen, exit_count=4):
    verdict = rule.judge(Evidence(exit_count, list(seen)))
    return verdict.stop, verdict.next_exit


def test_last_looks_at_the_last_exit_only():
    assert judge(Last(4)) == (False, 3)
    assert not Last(4).looks_at_every_exit


def test_last_is_certain_of_its_exit():
    assert Last(3).judge(Evidence(3, [])).distribution == (0.0, 0.0, 1.0)


def test_fixed_looks_at_its_exit_and_stops():
    assert judge(Fixed(4, exit_index=2)) == (False, 2)
    assert judge(Fixed(4, exit_index=2), *labelled(7, first=2)) == (True, 2)


@pytest.mark.parametrize("exit_index", [-1, 4, 1.0, "1"])
def test_fixed_refuses_an_exit_that_is_not_there(exit_index):
    with pytest.raises(OptionError, match="exit_index must be an exit index from 0 to 3"):
        Fixed(4, exit_index=exit_index)


def test_margin_stops_where_the_two_largest_probabilities_differ_enough():
    rule = Margin(4, threshold=0.3)
    assert judge(rule, Look(0, 1, 0.6, 0.3, None, None)) == (True, 0)
    assert judge(rule, Look(0, 1, 0.6, 0.29, None, None)) == (False, 1)


def test_margin_may_start_later():
    rule = Margin(4, threshold=0.3, start=2)
    assert judge(rule) == (False, 2)
    assert not rule.looks_at_every_exit


def test_entropy_of_two_equal_classes_is_the_logarithm_of_two():
    undecided = make_look(0, [3.0, 3.0])
    assert judge(Entropy(4, threshold=math.log(2) + 1e-6), undecided) == (True, 0)
    assert judge(Entropy(4, threshold=math.log(2) - 1e-6), undecided) == (False, 1)


def test_entropy_is_that_of_the_probabilities():
    look = make_look(0, [math.log(0.7), math.log(0.2), math.log(0.1)])
    entropy = 0.801819  # -(0.7 ln 0.7 + 0.2 ln 0.2 + 0.1 ln 0.1)
    assert judge(Entropy(4, threshold=entropy + 1e-5), look) == (True, 0)
    assert judge(Entropy(4, threshold=entropy - 1e-5), look) == (False, 1)


def test_entropy_of_a_certain_exit_is_nearly_nothing():
    assert judge(Entropy(4, threshold=1e-5), make_look(0, [100.0, 0.0, 0.0])) == (True, 0)


def test_entropy_refuses_a_negative_threshold():
    with pytest.raises(OptionError, match="threshold must be a number from 0 on, not -1"):
        Entropy(4, threshold=-1)


def test_patience_counts_agreements_between_neighbours():
    rule = Patience(4, patience=2)
    assert judge(rule, *labelled(5)) == (False, 1)
    assert judge(rule, *labelled(5, 5)) == (False, 2)
    assert judge(rule, *labelled(5, 5, 5)) == (True, 2)


def test_patience_begins_anew_when_the_label_changes():
    rule = Patience(5, patience=2)
    assert judge(rule, *labelled(5, 5, 6), exit_count=5) == (False, 3)
    assert judge(rule, *labelled(5, 6, 6, 6), exit_count=5) == (True, 3)


@pytest.mark.parametrize("patience", [0, -1, 1.5, True])
def test_patience_asks_for_a_whole_number(patience):
    with pytest.raises(OptionError, match="patience must be a whole number from 1 on"):
        Patience(4, patience=patience)


def test_check_and_cap_stops_at_the_threshold():
    assert judge(CheckAndCap(4, threshold=0.9, cap=2), Look(0, 1, 0.9, 0.8, None, None)) == (True, 0)


def test_check_and_cap_stops_at_the_cap_however_unsure():
    rule = CheckAndCap(4, threshold=0.9, cap=1)
    assert judge(rule, Look(0, 1, 0.2, 0.0, None, None)) == (False, 1)
    assert judge(rule, Look(1, 1, 0.2, 0.0, None, None)) == (True, 1)


def test_check_and_cap_forecasts_nothing_beyond_the_cap():
    rule = CheckAndCap(4, threshold=0.9, cap=2, prior=[0.5, 0.25, 0.25, 0.5])
    assert rule.judge(Evidence(4, [])).distribution == (0.5, 0.25, 0.25, 0.0)


def test_check_and_cap_refuses_a_cap_before_the_start():
    with pytest.raises(OptionError, match="cap must be an exit index from 2 to 3"):
        CheckAndCap(4, threshold=0.9, cap=1, start=2)
