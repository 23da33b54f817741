import pytest

from edgeexit.errors import OptionError
from edgeexit.registry import load_governor
from edgeexit.testing.observations import FREQUENCIES_HZ, make_observation

TWO_DOMAINS = make_observation(
    operating_points={"cpu": (10, 20), "gpu": FREQUENCIES_HZ}, clocks={"cpu": 10, "gpu": 100_000_000}
)


def test_performance_sets_the_highest_allowed_clock_of_each_domain():
    assert load_governor("performance").decide(TWO_DOMAINS).clocks == {"cpu": 20, "gpu": 400_000_000}


def test_powersave_sets_the_lowest_allowed_clock_of_each_domain():
    assert load_governor("powersave").decide(TWO_DOMAINS).clocks == {"cpu": 10, "gpu": 100_000_000}


@pytest.mark.parametrize("name", ["performance", "powersave"])
def test_a_board_without_clocks_has_none_to_set(name):
    assert load_governor(name).decide(make_observation(operating_points={}, clocks={})).clocks == {}


def test_fixed_sets_the_frequency_given():
    decision = load_governor("fixed", frequency_hz=300_000_000).decide(make_observation())
    assert decision.clocks == {"gpu": 300_000_000}
    assert decision.reason == "fixed clocks"


@pytest.mark.parametrize(
    ("given_hz", "set_hz"), [(399_999_999, 300_000_000), (5, 100_000_000), (900_000_000, 400_000_000)]
)
def test_fixed_takes_the_nearest_allowed_frequency_below(given_hz, set_hz):
    decision = load_governor("fixed", frequency_hz=given_hz).decide(make_observation())
    assert decision.clocks == {"gpu": set_hz}
    assert decision.reason == "fixed clocks, nearest allowed"


def test_fixed_respects_a_cap_for_heat():
    capped = make_observation(operating_points={"gpu": (100_000_000, 200_000_000)})
    assert load_governor("fixed", frequency_hz=400_000_000).decide(capped).clocks == {"gpu": 200_000_000}


def test_fixed_sets_only_the_domains_it_names():
    governor = load_governor("fixed", frequency_hz={"gpu": 200_000_000, "npu": 7})
    assert governor.decide(TWO_DOMAINS).clocks == {"gpu": 200_000_000}


def test_fixed_with_one_frequency_sets_every_domain():
    assert load_governor("fixed", frequency_hz=20).decide(TWO_DOMAINS).clocks == {"cpu": 20, "gpu": 100_000_000}


@pytest.mark.parametrize("frequency_hz", [0, -1, 1.5, "fast", None, True, {"gpu": "fast"}, {"gpu": 0}])
def test_fixed_refuses_what_is_no_frequency(frequency_hz):
    with pytest.raises(OptionError, match="must be a whole number above 0"):
        load_governor("fixed", frequency_hz=frequency_hz)


def test_fixed_needs_a_frequency():
    with pytest.raises(OptionError, match="frequency_hz"):
        load_governor("fixed")


def test_an_option_that_a_governor_does_not_know_is_refused():
    with pytest.raises(OptionError, match="frequency_hz"):
        load_governor("performance", frequency_hz=1)
