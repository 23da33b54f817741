import random

import pytest

from edgeexit.runtime.agreement import AgreementAlarm, Expected, at_least, at_most, clopper_pearson


def test_the_tails_of_three_coins():
    """No, one, two or three heads: 1, 3, 3 and 1 of 8."""
    assert [at_most(count, 3, 0.5) for count in range(-1, 4)] == pytest.approx([0, 1 / 8, 4 / 8, 7 / 8, 1])
    assert [at_least(count, 3, 0.5) for count in range(5)] == pytest.approx([1, 7 / 8, 4 / 8, 1 / 8, 0])


def test_a_certain_coin_has_no_tail():
    assert (at_most(2, 3, 0.0), at_most(2, 3, 1.0), at_most(3, 3, 1.0)) == (1.0, 0.0, 1.0)
    assert (at_least(1, 3, 0.0), at_least(0, 3, 0.0), at_least(3, 3, 1.0)) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize("probability", [1e-9, 0.03, 0.5, 0.97])
@pytest.mark.parametrize("trials", [1, 40, 100_000])
def test_both_tails_together_are_certain(trials, probability):
    for count in {0, trials // 3, int(trials * probability), trials - 1}:
        both = at_most(count, trials, probability) + at_least(count + 1, trials, probability)
        assert both == pytest.approx(1.0, abs=1e-9)


def test_the_interval_without_a_failure_is_that_of_the_textbook():
    """The lower end p has p ** n = 0.025: 0.025 ** (1 / 10) = 0.6915."""
    assert clopper_pearson(10, 10) == (pytest.approx(0.025**0.1, abs=1e-12), 1.0)
    assert clopper_pearson(0, 10) == (0.0, pytest.approx(1 - 0.025**0.1, abs=1e-12))


def test_the_interval_of_three_in_ten_is_that_of_the_tables():
    """Beta quantiles: 0.0667 to 0.6525."""
    assert clopper_pearson(3, 10) == (pytest.approx(0.06673951, abs=1e-8), pytest.approx(0.65245285, abs=1e-8))


def test_the_ends_of_an_interval_leave_half_the_rest_each():
    low, high = clopper_pearson(970, 1000, confidence=0.9)
    assert at_least(970, 1000, low) == pytest.approx(0.05)
    assert at_most(970, 1000, high) == pytest.approx(0.05)


def test_an_interval_of_a_million_is_narrow():
    low, high = clopper_pearson(970_000, 1_000_000)
    assert 0.9696 < low < 0.97 < high < 0.9704


def test_the_expected_agreement_is_a_share():
    assert Expected(exited=200, agreed=190).agreement == 0.95


def test_the_alarm_goes_off_at_the_seventh_disagreement_in_a_row():
    """Where 1 in 10 is usual, odds 8 times as high are 0.47: each disagreement is 4.7 times as likely.

    4.7 ** 6 / 4 = 2715 is below 10,000, and 4.7 ** 7 / 4 = 12,777 above it.
    """
    alarm = AgreementAlarm()
    assert [alarm.checked(False, 0.1, float(now)) for now in range(3, 10)] == [False] * 6 + [True]
    assert alarm.since_s == 3.0


def test_the_alarm_goes_off_once_for_a_drift():
    alarm = AgreementAlarm()
    assert sum(alarm.checked(False, 0.1, float(now)) for now in range(100)) == 1


def test_a_drift_ends_when_the_answers_agree_again():
    alarm = AgreementAlarm()
    for now in range(20):
        alarm.checked(False, 0.1, float(now))
    assert alarm.since_s is not None
    for now in range(20, 400):
        alarm.checked(True, 0.1, float(now))
    assert alarm.since_s is None
    assert sum(alarm.checked(False, 0.1, 1000.0 + now) for now in range(10)) == 1


def test_what_is_usual_is_no_drift():
    generator = random.Random(0)
    alarm = AgreementAlarm()
    assert not any(alarm.checked(generator.random() >= 0.05, 0.05, float(now)) for now in range(5000))


def test_three_times_what_is_usual_is_a_drift_before_long():
    generator = random.Random(0)
    alarm = AgreementAlarm()
    noticed = [now for now in range(1000) if alarm.checked(generator.random() >= 0.15, 0.05, float(now))]
    assert len(noticed) >= 1
    assert noticed[0] < 400


def test_where_everything_disagrees_usually_nothing_is_a_drift():
    alarm = AgreementAlarm()
    assert not any(alarm.checked(False, 1.0, float(now)) for now in range(200))
