"""Worked by hand on the board of `edgeexit.testing.observations`: 40 ms a segment, 4 ms a head at 100 MHz."""

import pytest

from edgeexit.errors import OptionError
from edgeexit.registry import load_governor
from edgeexit.testing.observations import make_cost_table, make_observation


def decide(time_left_ms=None, *, forecast="most-probable", **changes):
    deadline_s = None if time_left_ms is None else 10.0 + time_left_ms / 1e3
    governor = load_governor("predictive-exit", forecast=forecast)
    return governor.decide(make_observation(deadline_s=deadline_s, **changes))


def mhz(decision):
    return decision.clocks["gpu"] / 1e6


@pytest.mark.parametrize(("time_left_ms", "clock_mhz"), [(88.1, 100), (87.9, 200), (44.1, 200), (43.9, 300)])
def test_it_takes_the_lowest_clock_that_finishes_the_most_probable_exit_in_time(time_left_ms, clock_mhz):
    # Exit 1 with both heads: 88 ms at 100 MHz, 44 ms at 200 MHz, 29.3 ms at 300 MHz.
    assert mhz(decide(time_left_ms, exit_distribution=(0.2, 0.5, 0.2, 0.1))) == clock_mhz


def test_a_rule_that_skips_exits_runs_only_the_forecast_head():
    # 2 x 40 + 4 ms at 100 MHz.
    skipping = {"exit_distribution": (0.2, 0.5, 0.2, 0.1), "looks_at_every_exit": False}
    assert mhz(decide(84.1, **skipping)) == 100
    assert mhz(decide(83.9, **skipping)) == 200


def test_it_does_not_guard_against_a_forecast_that_is_too_short():
    # Exit 0 is forecast: 44 ms at 100 MHz; the whole network takes 44 ms at 400 MHz and cannot be in time any more.
    assert mhz(decide(45, exit_distribution=(0.4, 0.3, 0.2, 0.1))) == 100


def test_without_a_distribution_the_exit_the_rule_jumps_to_is_the_forecast():
    # Three segments and one head: 124 ms at 100 MHz.
    jump = {"exit_distribution": None, "looks_at_every_exit": False, "next_exit": 2}
    assert mhz(decide(124.1, **jump)) == 100
    assert mhz(decide(123.9, **jump)) == 200


def test_without_any_forecast_the_whole_network_is_expected():
    assert mhz(decide(176.1, exit_distribution=None)) == 100
    assert mhz(decide(175.9, exit_distribution=None)) == 200


def test_the_expected_exit_is_rounded_up():
    # Exits 0 and 3 with one half each: the mean is 1.5, so exit 2: 132 ms at 100 MHz, where exit 0 takes 44 ms.
    torn = {"exit_distribution": (0.5, 0.0, 0.0, 0.5)}
    assert mhz(decide(131.9, forecast="most-probable", **torn)) == 100
    assert mhz(decide(131.9, forecast="expected", **torn)) == 200
    assert mhz(decide(132.1, forecast="expected", **torn)) == 100


def test_where_nothing_is_in_time_it_takes_the_highest_clock():
    decision = decide(1, exit_distribution=(1.0, 0.0, 0.0, 0.0))
    assert mhz(decision) == 400
    assert decision.reason == "highest: exit 0 is late at every clock"


def test_without_a_deadline_it_takes_the_lowest_clock():
    assert mhz(decide()) == 100


@pytest.mark.parametrize("table", [None, make_cost_table(domains=("npu",))])
def test_without_a_cost_table_it_takes_the_highest_clock_for_a_deadline(table):
    assert mhz(decide(1000, cost_table=table)) == 400


def test_an_unknown_way_to_forecast_is_refused():
    with pytest.raises(OptionError, match="one of most-probable, expected, not 'median'"):
        load_governor("predictive-exit", forecast="median")


@pytest.mark.parametrize("time_left_ms", [None, 20, 43.9, 88.1])
def test_it_decides_alike_without_energy_figures(time_left_ms):
    assert decide(time_left_ms, cost_table=make_cost_table(metered=False)) == decide(time_left_ms)
