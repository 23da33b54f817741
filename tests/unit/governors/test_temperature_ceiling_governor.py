"""By hand on the board of `edgeexit.testing.observations`: 1.1, 1.8, 3.7 and 7.4 W at 100 to 400 MHz, 6.3 W between."""

import pytest

from edgeexit.errors import OptionError
from edgeexit.protocols import DecidesMany, PreparesAhead
from edgeexit.registry import load_governor
from edgeexit.testing.observations import make_cost_table, make_observation


def decide(temperature_c, *, governor="performance", ceiling_c=70.0, band_c=1.0, **changes):
    ceiling = load_governor("temperature-ceiling", ceiling_c=ceiling_c, band_c=band_c, governor=load_governor(governor))
    return ceiling.decide(make_observation(temperature_c=temperature_c, **changes))


def mhz(decision):
    return decision.clocks["gpu"] / 1e6


@pytest.mark.parametrize(
    ("temperature_c", "clock_mhz"),
    [
        (-10.0, 400),
        (69.0, 400),
        (69.01, 300),  # 7.337 W
        (69.58, 300),  # 1.1 + 0.42 x 6.3 = 3.746 W
        (69.59, 200),  # 3.683 W
        (69.88, 200),  # 1.856 W
        (69.90, 100),  # 1.73 W
        (70.0, 100),
        (95.0, 100),
    ],
)
def test_the_power_falls_in_a_straight_line_to_the_lowest_at_the_ceiling(temperature_c, clock_mhz):
    assert mhz(decide(temperature_c)) == clock_mhz


def test_a_wider_band_begins_sooner():
    assert mhz(decide(61.0, band_c=10.0)) == 300
    assert mhz(decide(65.9, band_c=10.0)) == 200


@pytest.mark.parametrize("temperature_c", [None, float("nan")])
def test_without_a_temperature_nothing_is_cut(temperature_c):
    decision = decide(temperature_c)
    assert mhz(decision) == 400
    assert decision.reason == "highest clocks; temperature not known, no ceiling held"


def test_the_reason_tells_the_temperature():
    assert decide(55.0).reason == "highest clocks; 55.0 C, ceiling 70 C"
    assert decide(69.5).reason == "highest clocks; 69.5 C, clocks cut for the ceiling 70 C"


@pytest.mark.parametrize("table", [None, make_cost_table(metered=False), make_cost_table(domains=("npu",))])
def test_without_power_figures_the_clock_falls_in_a_straight_line(table):
    assert mhz(decide(69.3, cost_table=table)) == 300  # 100 + 0.7 x 300 = 310 MHz
    assert mhz(decide(69.4, cost_table=table)) == 200  # 280 MHz
    assert mhz(decide(70.0, cost_table=table)) == 100


def test_a_clock_that_the_inner_governor_leaves_too_high_comes_down():
    kept = {"governor": "schedutil", "load": None, "clocks": {"gpu": 400_000_000}}
    assert decide(60.0, **kept).clocks == {}
    assert decide(69.7, **kept).clocks == {"gpu": 200_000_000}


def test_a_board_without_clocks_has_none_to_cut():
    assert decide(95.0, operating_points={}, clocks={}).clocks == {}
    assert decide(95.0, operating_points={"gpu": ()}, clocks={}).clocks == {}


def test_it_can_decide_many_and_prepare_where_the_inner_governor_can():
    def ceiling(governor):
        return load_governor("temperature-ceiling", ceiling_c=70.0, governor=load_governor(governor))

    assert isinstance(ceiling("plan"), DecidesMany)
    assert isinstance(ceiling("plan"), PreparesAhead)
    assert not isinstance(ceiling("deadline"), DecidesMany)
    ceiling("plan").prepare(make_cost_table(), {"gpu": (100_000_000, 200_000_000)}, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ceiling_c": float("nan")}, "ceiling_c .* must be finite"),
        ({"ceiling_c": float("inf")}, "ceiling_c .* must be finite"),
        ({"ceiling_c": 70.0, "band_c": 0.0}, "band_c .* above 0"),
        ({"ceiling_c": 70.0, "band_c": float("nan")}, "band_c .* above 0"),
        ({}, "needs the option ceiling_c"),
    ],
)
def test_an_impossible_ceiling_is_refused(options, message):
    with pytest.raises(OptionError, match=message):
        load_governor("temperature-ceiling", governor=load_governor("performance"), **options)
