import numpy as np
import pytest
from small_walks import VERDICTS, make_walks, usual_states

from edgeexit.errors import DataError
from edgeexit.offline.verdict_states import VerdictState, count_states, cut_at
from edgeexit.protocols import Verdict

START = VerdictState(-1, 0, (0, 1, 2), 0.5, ((1, 0.4), (2, 0.1)), 10)
EASY = VerdictState(0, 1, (1, 2), 0.75, ((3, 0.25),), 4)
HARD = VerdictState(0, 2, (2,), 1.0, (), 1)
LAST = VerdictState(1, 2, (2,), 1.0, (), 1)


def test_states_are_counted_on_the_samples():
    assert usual_states() == (START, EASY, HARD, LAST)


def test_a_verdict_without_a_forecast_allows_every_later_exit():
    rows, asks = make_walks((1, (0,)))
    (state,) = count_states((Verdict(False, 1, None),), rows, asks, exit_count=4)
    assert state.possible == (1, 2, 3)


def test_who_remembers_tells_ways_apart_that_meet_again():
    verdicts = (*VERDICTS, Verdict(False, 1, (0.0, 0.5, 0.5)))
    rows, asks = make_walks((1, (0, 1, 2)), (1, (0, 3, 2)))
    assert len(count_states(verdicts, rows, asks, exit_count=3)) == 4
    assert len(count_states(verdicts, rows, asks, exit_count=3, remembers=True)) == 5


def test_a_cut_rule_answers_at_its_cap():
    assert cut_at(usual_states(), 2) == (START, EASY, HARD, LAST)
    assert cut_at(usual_states(), 1) == (
        VerdictState(-1, 0, (0, 1), 0.5, ((1, 0.4), (2, 0.1)), 10),
        VerdictState(0, 1, (1,), 1.0, (), 4),
        VerdictState(0, 1, (1,), 1.0, (), 1),
    )


def test_samples_that_start_differently_are_refused():
    with pytest.raises(DataError, match="not all samples start with the same verdict"):
        count_states(VERDICTS, *make_walks((1, (0,)), (1, (1,))), exit_count=3)


@pytest.mark.parametrize("asks", [[0, 1], [1, 3], [1]])
def test_asks_that_do_not_fit_are_refused(asks):
    with pytest.raises(DataError):
        count_states(VERDICTS, np.array([[0, 1], [0, 2]]), np.array(asks), exit_count=3)
