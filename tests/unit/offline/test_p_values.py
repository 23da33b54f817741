"""P-values are exact: small cases by enumeration, the binomial ones by hand."""

from math import comb

import numpy as np
import pytest

from edgeexit.errors import OptionError
from edgeexit.offline.guarantee.p_values import (
    EXCLUDED,
    drop_p_value,
    least_samples,
    p_value,
    samples_needed,
    score_statistic,
)


def test_no_disagreement_among_n_has_the_chance_of_n_agreements():
    assert p_value(0, 0, 598, 0.005, "full") == pytest.approx(0.995**598)
    assert p_value(1, 0, 3, 0.5, "full") == pytest.approx(0.5)  # none or one of three: 1/8 + 3/8


def test_samples_needed_for_half_a_point_are_those_of_the_rule_of_three():
    assert samples_needed(0.005, 0.95, "full") == 598
    assert 0.995**598 <= 0.05 < 0.995**597


def test_samples_needed_for_the_accuracy_are_a_few_more():
    needed = samples_needed(0.005, 0.95, "labels")
    assert needed == 604
    assert p_value(0, 0, needed, 0.005, "labels") <= 0.05 < p_value(0, 0, needed - 1, 0.005, "labels")


def test_the_score_statistic_is_that_of_a_proportion_if_nothing_was_gained():
    # lost 0 of 100 against 0.02: the restricted rate of gains is 0, so z = -2 / sqrt(100 * 0.02 * 0.98)
    assert score_statistic(np.array([0]), np.array([0]), 100, 0.02)[0] == pytest.approx(-2 / 1.96**0.5)


def chance_of_rejection(samples, bound, gain_rate, level):
    """Sum up the chance of all outcomes that are rejected, with losses `bound` more frequent than gains."""
    loss_rate = bound + gain_rate
    total = 0.0
    for lost in range(samples + 1):
        for gained in range(samples + 1 - lost):
            ways = comb(samples, lost) * comb(samples - lost, gained)
            chance = (
                ways * loss_rate**lost * gain_rate**gained * (1 - loss_rate - gain_rate) ** (samples - lost - gained)
            )
            if chance > 1e-7 and drop_p_value(lost, gained, samples, bound) <= level:
                total += chance
    return total


@pytest.mark.parametrize("gain_rate", [0.0, 0.013, 0.1, 0.3])
def test_a_setting_that_loses_just_the_bound_is_seldom_certified(gain_rate):
    assert chance_of_rejection(25, 0.2, gain_rate, 0.1) <= 0.1


def test_the_p_value_is_no_less_than_the_chance_at_any_rate_of_gains_that_is_not_excluded():
    samples, bound, lost, gained = 20, 0.25, 2, 1
    observed = score_statistic(np.array([lost]), np.array([gained]), samples, bound)[0]
    for gain_rate in np.linspace(0.01, 0.15, 29):
        total = 0.0
        for losses in range(samples + 1):
            for gains in range(samples + 1 - losses):
                if score_statistic(np.array([losses]), np.array([gains]), samples, bound)[0] <= observed + 1e-12:
                    loss_rate, rest = bound + gain_rate, samples - losses - gains
                    ways = comb(samples, losses) * comb(samples - losses, gains)
                    total += ways * loss_rate**losses * gain_rate**gains * (1 - loss_rate - gain_rate) ** rest
        assert total <= drop_p_value(lost, gained, samples, bound)


def test_more_losses_make_it_larger_and_more_gains_smaller():
    by_lost = [drop_p_value(lost, 10, 1000, 0.01) for lost in range(0, 40, 4)]
    by_gained = [drop_p_value(10, gained, 1000, 0.01) for gained in range(0, 40, 4)]
    assert by_lost == sorted(by_lost)
    assert by_gained == sorted(by_gained, reverse=True)


def test_it_is_never_below_the_chance_that_was_given_away():
    assert drop_p_value(0, 900, 1000, 0.01) >= EXCLUDED
    assert drop_p_value(0, 1000, 1000, 0.01) >= EXCLUDED
    assert drop_p_value(1000, 0, 1000, 0.01) == pytest.approx(1.0)


@pytest.mark.parametrize(("bound", "risk"), [(0.0, "labels"), (1.0, "full"), (-0.1, "full"), (0.01, "luck")])
def test_what_cannot_be_asked_is_refused(bound, risk):
    with pytest.raises(OptionError):
        p_value(0, 0, 100, bound, risk)


def test_a_confidence_beyond_what_the_test_can_give_is_refused():
    with pytest.raises(OptionError, match=r"confidence must be below 0\.999"):
        samples_needed(0.01, 0.9995, "labels")


def test_the_least_number_is_found_between_the_doubles():
    assert least_samples(lambda n: n >= 77, 10) == 77
    assert least_samples(lambda _: True, 10) == 10
