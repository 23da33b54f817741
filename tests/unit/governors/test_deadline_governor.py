"""Worked by hand on the board of `edgeexit.testing.observations`: four segments with a head each.

MHz   segment ms   head ms    W     switch: 1 ms, 2 mJ; idle: 0.5 W
100       40          4      1.1
200       20          2      1.8
300     13.333      1.333    3.7
400       10          1      7.4
"""

from dataclasses import replace

import pytest

from edgeexit.registry import load_governor
from edgeexit.testing.observations import make_cost_table, make_observation


def decide(time_left_ms=None, **changes):
    deadline_s = None if time_left_ms is None else 10.0 + time_left_ms / 1e3
    return load_governor("deadline").decide(make_observation(deadline_s=deadline_s, **changes))


def mhz(decision):
    return decision.clocks["gpu"] / 1e6


def with_idle_power(table, idle_power_w):
    return replace(table, points=tuple(replace(point, idle_power_w=idle_power_w) for point in table.points))


def test_without_a_deadline_it_takes_the_least_energy_of_the_inference():
    # All 4 segments and heads: 176 ms x 1.1 W + 2 mJ = 195.6 mJ at 100 MHz, 88 ms x 1.8 W = 158.4 mJ at 200 MHz.
    decision = decide(exit_distribution=None)
    assert mhz(decision) == 200
    assert decision.reason == "least energy, no deadline: 0.1584 J expected"


def test_without_a_deadline_a_switch_has_to_pay_for_itself():
    # The first segment and head: 44 ms x 1.1 W = 48.4 mJ at 100 MHz, 22 ms x 1.8 W = 39.6 mJ at 200 MHz.
    first_exit = (1.0, 0.0, 0.0, 0.0)
    assert mhz(decide(exit_distribution=first_exit, clocks={"gpu": 100_000_000})) == 200
    dear = make_cost_table(switch_energy_j=0.010)
    assert mhz(decide(exit_distribution=first_exit, clocks={"gpu": 100_000_000}, cost_table=dear)) == 100


def test_far_from_the_deadline_idling_counts_and_the_slow_clock_wins():
    # Above idling: 176 ms x 0.6 W = 105.6 mJ at 100 MHz, 88 ms x 1.3 W = 114.4 mJ at 200 MHz.
    assert mhz(decide(1000, exit_distribution=None)) == 100


def test_racing_to_idle_wins_where_idling_is_free():
    table = with_idle_power(make_cost_table(), 0.0)
    assert mhz(decide(1000, exit_distribution=None, cost_table=table)) == 200


def test_it_stays_at_the_slowest_clock_that_is_in_time_to_the_end():
    # 88 ms at 200 MHz: 158.4 mJ and 12 ms of idling.
    decision = decide(100, exit_distribution=None)
    assert mhz(decision) == 200
    assert decision.reason == "cheapest in time: 0.1644 J expected"


def test_without_a_forecast_the_whole_network_is_taken_for_certain():
    # 59.667 ms at 300 MHz with the switch, 44 ms at 400 MHz; at 200 MHz first and then 400 MHz 57 ms, 289.3 mJ.
    decision = decide(60, exit_distribution=None, clocks={"gpu": 400_000_000})
    assert mhz(decision) == 300
    assert decision.reason == "cheapest in time: 0.2192 J expected"


def test_a_likely_early_exit_lets_it_begin_slower_and_hurry_only_if_needed():
    # At 200 MHz: 2 + 39.6 mJ, then 37 ms of idling with 0.9, or a switch, 33 ms at 400 MHz and 3 ms of idling with 0.1.
    decision = decide(60, exit_distribution=(0.9, 0.0, 0.0, 0.1), clocks={"gpu": 400_000_000})
    assert mhz(decision) == 200
    assert decision.reason == "cheapest in time: 0.08302 J expected"


def test_an_exit_that_cannot_answer_is_not_guarded():
    # Two segments with heads: at 200 MHz 45 ms with the switch: 2 + 39.6 + 0.5 x 39.6 + 0.5 W x 26 ms.
    decision = decide(60, exit_distribution=(0.5, 0.5, 0.0, 0.0), clocks={"gpu": 400_000_000})
    assert mhz(decision) == 200
    assert decision.reason == "cheapest in time: 0.0744 J expected"


def test_a_rule_that_skips_exits_may_still_look_at_each_of_them():
    # The worst case at 400 MHz, the clock as it is, is 4 x (10 + 1) ms for either kind of rule.
    for every in (False, True):
        fits = {"exit_distribution": None, "clocks": {"gpu": 400_000_000}, "looks_at_every_exit": every}
        assert decide(44, **fits).reason.startswith("cheapest in time")
        assert decide(43.9, **fits).reason == "quickest, and yet up to 0.0001 s late"


def test_a_rule_that_skips_exits_is_expected_to_pay_only_the_heads_it_looks_at():
    # At 400 MHz alone in time: 4 x 10 ms, and 4 heads or 2 of 1 ms, at 7.4 W; then idling at 0.5 W until 44 ms.
    only_last = {"exit_distribution": (0.0, 0.0, 0.0, 1.0), "clocks": {"gpu": 400_000_000}}
    assert decide(44, looks_at_every_exit=True, **only_last).reason == "cheapest in time: 0.3256 J expected"
    assert decide(44, looks_at_every_exit=False, **only_last).reason == "cheapest in time: 0.3118 J expected"


def test_a_switch_needs_time_too():
    # The rest is 14.667 ms at 300 MHz without a switch, 12 ms at 400 MHz with one.
    last = {"segments_done": 3, "next_exit": 3, "exit_distribution": None, "clocks": {"gpu": 300_000_000}}
    assert mhz(decide(14.8, **last)) == 300
    assert mhz(decide(14.0, **last)) == 400


def test_where_nothing_is_in_time_it_is_as_quick_as_can_be():
    decision = decide(20, exit_distribution=None)
    assert mhz(decision) == 400
    assert decision.reason == "quickest, and yet up to 0.025 s late"


def test_late_as_it_is_it_does_not_lose_more_time_by_a_switch():
    # 14.667 ms at 300 MHz, 16 ms at 400 MHz with a switch of 5 ms.
    table = make_cost_table(switch_latency_s=0.005)
    last = {"segments_done": 3, "next_exit": 3, "exit_distribution": None, "clocks": {"gpu": 300_000_000}}
    assert mhz(decide(10, cost_table=table, **last)) == 300


def test_a_cap_for_heat_is_the_highest_clock_there_is():
    capped = {"operating_points": {"gpu": (100_000_000, 200_000_000)}, "exit_distribution": None}
    assert mhz(decide(60, **capped)) == 200
    assert decide(60, **capped).reason == "quickest, and yet up to 0.028 s late"


def test_what_a_forecast_gives_to_exits_already_passed_counts_for_the_next():
    passed = {"segments_done": 1, "next_exit": 1, "clocks": {"gpu": 400_000_000}}
    one = decide(60, exit_distribution=(0.9, 0.0, 0.0, 0.1), **passed)
    other = decide(60, exit_distribution=(0.0, 0.9, 0.0, 0.1), **passed)
    assert one == other


@pytest.mark.parametrize("useless", [(0.0, 0.0, 0.0, 0.0), (float("nan"),) * 4, (float("inf"),) * 4, (1.0,), ()])
def test_a_forecast_that_says_nothing_is_none(useless):
    assert decide(60, exit_distribution=useless) == decide(60, exit_distribution=None)


def test_without_a_cost_table_it_is_safe_and_says_why():
    hurried = decide(60, cost_table=None)
    assert mhz(hurried) == 400
    assert hurried.reason == "no cost table: highest clocks for the deadline"
    free = decide(cost_table=None)
    assert free.clocks == {}
    assert free.reason == "no cost table: clocks left as they are"


def test_a_cost_table_of_another_board_is_none():
    other = make_cost_table(domains=("npu",))
    assert decide(60, cost_table=other).reason == "no cost table: highest clocks for the deadline"


def test_a_board_without_clocks_has_none_to_set():
    decision = decide(60, operating_points={}, clocks={})
    assert decision.clocks == {}
    assert decision.reason == "no clock to set"


NO_METER = make_cost_table(metered=False)


def test_where_no_energy_is_known_it_races_to_idle():
    # 88 ms at 200 MHz would be in time; that slower is cheaper is not known.
    decision = decide(100, exit_distribution=None, cost_table=NO_METER)
    assert mhz(decision) == 400
    assert decision.reason == "energy not known: highest clocks"


def test_where_no_energy_is_known_it_still_does_not_lose_time_by_a_late_switch():
    # 14.667 ms at 300 MHz, 16 ms at 400 MHz with a switch of 5 ms.
    table = make_cost_table(switch_latency_s=0.005, metered=False)
    last = {"segments_done": 3, "next_exit": 3, "exit_distribution": None, "clocks": {"gpu": 300_000_000}}
    in_time = decide(15, cost_table=table, **last)
    assert mhz(in_time) == 300
    assert in_time.reason == "energy not known: clocks that are in time"
    assert decide(14, cost_table=table, **last).reason == "quickest, and yet up to 0.0006667 s late"


def test_where_no_energy_is_known_and_nothing_is_due_the_clocks_are_left():
    decision = decide(cost_table=NO_METER)
    assert decision.clocks == {}
    assert decision.reason == "no deadline, and energy not known: clocks left as they are"


def test_costs_of_the_clocks_as_they_are_set_none():
    table = replace(make_cost_table(), points=(replace(make_cost_table().points[1], clocks={}),))
    decision = decide(100, exit_distribution=None, cost_table=table)
    assert decision.clocks == {}
    assert decision.reason == "cheapest in time: 0.1644 J expected"


# --- The guard, and the next request ----------------------------------------------------------------


def test_the_guard_lengthens_every_worst_case_and_no_switch():
    # The last piece is 14.667 ms at 300 MHz and 11 ms at 400 MHz: with a guard of 1.2 17.6 and 13.2 ms.
    guarded = {"exit_distribution": None, "clocks": {"gpu": 400_000_000}, "latency_guard": 1.2}
    last = {"segments_done": 3, "next_exit": 3, **guarded}
    assert mhz(decide(18.7, **last)) == 300
    assert mhz(decide(18.5, **last)) == 400
    assert decide(52.8, **guarded).reason.startswith("cheapest in time")
    assert decide(52.7, **guarded).reason == "quickest, and yet up to 0.0001 s late"


def test_the_guard_does_not_change_what_a_plan_is_expected_to_draw():
    assert decide(200, exit_distribution=None, latency_guard=1.1) == decide(200, exit_distribution=None)


def test_idling_counts_until_the_next_request():
    # 88 ms at 200 MHz and 912 ms of idling: 158.4 + 456 mJ; until the deadline it would be 12 ms and 6 mJ.
    decision = decide(100, exit_distribution=None, next_request_s=11.0)
    assert mhz(decision) == 200
    assert decision.reason == "cheapest in time: 0.6144 J expected"


def test_without_a_deadline_idling_counts_if_the_next_request_is_known():
    # Above idling: 176 ms x 0.6 W + 2 mJ = 107.6 mJ at 100 MHz, 88 ms x 1.3 W = 114.4 mJ at 200 MHz.
    assert mhz(decide(exit_distribution=None)) == 200
    assert mhz(decide(exit_distribution=None, next_request_s=11.0)) == 100


def test_a_next_request_that_has_come_already_leaves_no_idling():
    # 158.4 mJ at 200 MHz, 195.6 mJ at 100 MHz.
    decision = decide(1000, exit_distribution=None, next_request_s=10.0)
    assert mhz(decision) == 200
    assert decision.reason == "cheapest in time: 0.1584 J expected"


def test_where_no_energy_is_known_the_next_request_does_not_matter():
    assert decide(cost_table=NO_METER, next_request_s=11.0) == decide(cost_table=NO_METER)
