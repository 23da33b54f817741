import random

import pytest

from edgeexit.errors import OptionError
from edgeexit.runtime.tracking import BLOCK, ExitTracker, LookTracker, chi_square_limit

PRIOR = (0.5, 0.3, 0.2)


def draw(generator, shares, count):
    return generator.choices(range(len(shares)), shares, k=count)


def feed(tracker, exits, start_s=0.0):
    """Count the answers, one a second; return how many drifts were noticed."""
    return sum(tracker.answered(exit_index, start_s + index) for index, exit_index in enumerate(exits))


def test_it_begins_with_what_calibration_found():
    assert ExitTracker(3, PRIOR).usual_exits == PRIOR


def test_without_a_prior_nothing_is_usual_until_enough_have_answered():
    tracker = ExitTracker(3, None, memory=256)
    feed(tracker, [1] * 63)
    assert tracker.usual_exits is None
    feed(tracker, [1])
    assert tracker.usual_exits == pytest.approx((0.0, 1.0, 0.0))


def test_without_a_prior_the_first_answers_count_alike():
    tracker = ExitTracker(2, None, memory=1e6)
    feed(tracker, [0] * 32 + [1] * 32 + [0] * 64)
    assert tracker._shares == pytest.approx([0.75, 0.25])


def test_a_new_distribution_is_published_only_when_it_has_moved():
    tracker = ExitTracker(3, PRIOR, memory=500, tolerance=0.05)
    feed(tracker, draw(random.Random(0), PRIOR, 320))
    assert tracker.usual_exits == PRIOR
    feed(tracker, [2] * 64)  # 0.2 + 0.8 x (1 - 0.998^64) = 0.30
    assert tracker.usual_exits[2] > 0.25


def test_it_forgets_exponentially():
    tracker = ExitTracker(2, (1.0, 0.0), memory=100)
    feed(tracker, [1] * 2016)
    assert tracker.usual_exits[1] > 0.94
    assert tracker._shares[1] == pytest.approx(1.0 - 0.99**2016)


def test_an_inference_cut_short_counts_for_the_exits_that_could_still_answer():
    tracker = ExitTracker(3, PRIOR, tolerance=1e-9)
    for _ in range(BLOCK):
        tracker.cut_short(1, 0.0)  # 0.6 and 0.4 of them
    weight = 1.0 - 0.998**BLOCK
    assert tracker.usual_exits == pytest.approx((0.5 * (1 - weight), 0.3 + 0.3 * weight, 0.2 + 0.2 * weight))


def test_where_no_exit_was_expected_any_more_a_cut_counts_for_the_last():
    tracker = ExitTracker(3, (1.0, 0.0, 0.0), tolerance=1e-9)
    for _ in range(BLOCK):
        tracker.cut_short(1, 0.0)
    assert tracker.usual_exits[2] > 0.0


# --- Drift -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("freedom", "probability", "limit"), [(1, 0.05, 3.841), (7, 0.05, 14.07), (7, 1e-4, 29.88), (15, 1e-4, 44.26)]
)
def test_the_limit_of_chi_square_is_that_of_the_tables(freedom, probability, limit):
    assert chi_square_limit(freedom, probability) == pytest.approx(limit, rel=0.03)


def test_the_statistic_is_that_of_two_samples():
    # 64 answers, 64 of calibration: 32, 32 against 48, 16: 16^2 / 80 + 16^2 / 48 = 8.533.
    tracker = ExitTracker(2, (0.75, 0.25), prior_samples=64, window=64)
    feed(tracker, [0, 1] * 32)
    assert tracker.drift.statistic == pytest.approx(8.5333, rel=1e-4)


def test_the_statistic_against_an_exact_calibration_is_pearsons():
    # 32, 32 against 48, 16: 256 / 48 + 256 / 16 = 21.333.
    tracker = ExitTracker(2, (0.75, 0.25), window=64)
    feed(tracker, [0, 1] * 32)
    assert tracker.drift.statistic == pytest.approx(21.3333, rel=1e-4)


def test_a_drift_is_noticed_once_and_since_when():
    tracker = ExitTracker(3, PRIOR)
    generator = random.Random(0)
    assert feed(tracker, draw(generator, PRIOR, 5120)) == 0
    assert not tracker.drift.drifted
    assert feed(tracker, draw(generator, (0.2, 0.3, 0.5), 2048), start_s=5120.0) == 1
    assert tracker.drift.drifted
    assert tracker.drift.since_s == pytest.approx(5120.0, abs=1.0)
    assert tracker.drift.statistic > tracker.drift.limit


def test_a_drift_ends_when_all_is_as_it_was():
    tracker = ExitTracker(3, PRIOR)
    generator = random.Random(0)
    feed(tracker, draw(generator, (0.2, 0.3, 0.5), 1024))
    assert feed(tracker, draw(generator, PRIOR, 5120)) == 0
    assert not tracker.drift.drifted
    assert feed(tracker, draw(generator, (0.2, 0.3, 0.5), 1024)) == 1


def test_false_alarms_are_as_rare_as_stated():
    generator = random.Random(3)
    alarms = sum(
        feed(ExitTracker(3, PRIOR, window=64, false_alarm=0.01), draw(generator, PRIOR, 64)) for _ in range(4000)
    )
    assert 15 <= alarms <= 75  # 40 expected


def test_deadlines_that_cut_answers_short_are_no_drift():
    tracker = ExitTracker(3, PRIOR)
    generator = random.Random(0)
    noticed = 0
    for exit_index in draw(generator, PRIOR, 10_240):
        noticed += tracker.cut_short(1, 0.0) if exit_index else tracker.answered(0, 0.0)
    assert noticed == 0


def test_rare_exits_are_tested_together():
    tracker = ExitTracker(4, (0.999, 0.0005, 0.0005, 0.0), window=64)
    assert feed(tracker, [0] * 63 + [3]) == 0
    assert tracker.drift.limit is None


def test_without_a_prior_there_is_no_drift():
    tracker = ExitTracker(2, None)
    feed(tracker, [0] * 1024 + [1] * 1024)
    assert tracker.drift == (False, None, None, None, 2048)


@pytest.mark.parametrize("options", [{"memory": 1.0}, {"window": 33}, {"window": 0}, {"false_alarm": 0.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError, match="exit tracking needs"):
        ExitTracker(3, PRIOR, **options)


def test_a_rule_that_looks_at_each_exit_in_turn_has_a_looked_share_of_one():
    tracker = LookTracker(4, (0.4, 0.3, 0.2, 0.1), memory=64.0)
    for _ in range(64):
        tracker.looked([0, 1, 2, 3])
    assert tracker.looked_share == 1.0


def test_the_looked_share_counts_the_exits_that_were_skipped():
    tracker = LookTracker(5, None, memory=64.0)
    for _ in range(32):
        tracker.looked([0, 4])  # skips three
        tracker.looked([0, 2, 4])  # looks at one of three
        tracker.looked([0])  # passes none
    assert tracker.looked_share == 0.15  # 1 / 6 in steps of 0.05


def test_exits_that_never_answer_are_not_counted_as_skipped():
    tracker = LookTracker(5, (0.5, 0.0, 0.2, 0.0, 0.3), memory=64.0)
    for _ in range(64):
        tracker.looked([0, 2, 4])
    assert tracker.looked_share == 1.0


def test_the_looked_share_is_one_until_enough_answers_have_been_seen():
    tracker = LookTracker(4, None, memory=256.0)
    for _ in range(63):
        tracker.looked([0, 3])
    assert tracker.looked_share == 1.0
    tracker.looked([0, 3])
    assert tracker.looked_share == 0.0
