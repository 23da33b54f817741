"""The governor `plan` on the made-up board of `edgeexit.testing.observations`.

At 100, 200, 300, 400 MHz a stretch (segment and head) takes 44, 22, 14 2/3, 11 ms and draws 1.1, 1.8, 3.7, 7.4 W;
idle 0.5 W; a switch takes 1 ms and 2 mJ. The clock is at 200 MHz.
"""

from dataclasses import replace

import numpy as np
import pytest

from edgeexit import load_governor
from edgeexit.errors import OptionError
from edgeexit.governors.plan import Plan
from edgeexit.protocols import DecidesMany, PreparesAhead, SetsClocksAtRest
from edgeexit.testing.observations import FREQUENCIES_HZ, make_cost_table, make_observation, without_energy

MHZ = 1_000_000


def decide(left_s=None, governor=None, **changes):
    changes.setdefault("deadline_s", None if left_s is None else 10.0 + left_s)
    return (governor or Plan()).decide(make_observation(**changes))


def gpu_mhz(decision):
    return decision.clocks["gpu"] // MHZ


def clocks_until_the_last_exit(left_s):
    """Ask before each stretch, as if no exit had answered."""
    now_s, clock, chosen = 10.0, 200 * MHZ, []
    for exit_index in range(4):
        reached = [0.0] * exit_index + [1.0 / (4 - exit_index)] * (4 - exit_index)
        decision = decide(
            now_s=now_s,
            deadline_s=10.0 + left_s,
            segments_done=exit_index,
            next_exit=exit_index,
            exit_distribution=tuple(reached),
            clocks={"gpu": clock},
        )
        now_s += 0.001 * (decision.clocks["gpu"] != clock) + 4.4e6 / decision.clocks["gpu"]
        clock = decision.clocks["gpu"]
        chosen.append(clock // MHZ)
    return chosen, now_s - 10.0


def test_all_runs_at_the_most_efficient_clock_where_there_is_time():
    # beyond idling a stretch costs 26.4 mJ at 100 MHz, 28.6 at 200; switch and four stretches take 177 ms
    assert clocks_until_the_last_exit(0.177) == ([100] * 4, pytest.approx(0.177))


def test_the_speed_rises_as_the_work_goes_on():
    # 1 + 3 * 44 + 1 + 22 ms: the last stretch, which seldom runs, is the dear one
    assert clocks_until_the_last_exit(0.156) == ([100, 100, 100, 200], pytest.approx(0.156))


def test_a_switch_that_does_not_pay_is_not_made():
    # the last stretch alone: 26.4 + 1.5 mJ for the switch against 28.6
    ahead = {"segments_done": 3, "next_exit": 3, "exit_distribution": (0.0, 0.0, 0.0, 1.0)}
    assert gpu_mhz(decide(1.0, **ahead)) == 100
    assert gpu_mhz(decide(1.0, cost_table=make_cost_table(switch_energy_j=0.003), **ahead)) == 200


def test_the_whole_network_is_reached_exactly_at_the_highest_clock():
    decision = decide(0.045)  # 1 + 4 * 11 ms
    assert gpu_mhz(decision) == 400
    assert decision.max_exit is None


def test_too_little_time_lowers_the_deepest_exit_instead_of_missing_the_deadline():
    decision = decide(0.030)  # exit 1 after 1 + 2 * 11 ms, exit 2 after 34
    assert decision.max_exit == 1
    assert gpu_mhz(decision) == 300  # and 400 then: 1 + 14.7 + 1 + 11 ms
    assert "cut at exit 1; 1 more change planned" in decision.reason


def test_the_cheapest_way_to_the_deepest_exit_in_time_is_taken():
    assert gpu_mhz(decide(0.022)) == 200  # exit 0 alone: no switch needed
    assert decide(0.022).max_exit == 0


def test_an_accuracy_floor_stands_above_the_deadline():
    decision = decide(0.030, floor_exit=2)
    assert decision.max_exit == 2
    assert gpu_mhz(decision) == 400
    assert "late" in decision.reason


def test_the_newest_look_answers_if_no_further_exit_is_reached():
    decision = decide(0.005, segments_done=1, next_exit=1)
    assert decision.max_exit == 0
    assert decision.clocks == {}


def test_the_quickest_plan_is_begun_if_nothing_has_been_looked_at():
    decision = decide(0.001)
    assert gpu_mhz(decision) == 400
    assert decision.max_exit == 0


def test_the_guard_counts_in_the_worst_case():
    assert gpu_mhz(decide(0.177, latency_guard=1.0)) == 100
    assert decide(0.177, latency_guard=1.01).reason.endswith("1 more change planned")
    assert decide(0.045, latency_guard=1.01).max_exit == 2


def test_the_energy_budget_lowers_the_deepest_exit():
    # a stretch draws 39.6 mJ at 200 MHz, the least of all
    decision = decide(1.0, energy_budget_j=0.119)
    assert decision.max_exit == 2
    assert gpu_mhz(decision) == 200
    assert decide(1.0, energy_budget_j=0.1585).max_exit is None


def test_a_budget_that_cannot_be_kept_is_left_out_of_account():
    # A stretch draws at least 39.6 mJ. To go straight to the floor would draw more than to look on the way.
    decision = decide(1.0, energy_budget_j=0.030, floor_exit=3, looks_at_every_exit=False)
    free = decide(1.0, floor_exit=3, looks_at_every_exit=False)
    assert (decision.clocks, decision.next_exit, decision.max_exit) == (free.clocks, None, None)
    assert decision.reason.startswith("the energy budget cannot be kept")


def test_without_a_deadline_the_least_energy_of_the_work_counts():
    assert gpu_mhz(decide()) == 200


def test_without_a_deadline_latency_may_have_a_price():
    assert gpu_mhz(decide(governor=Plan(joules_per_second=1.0))) == 200
    assert gpu_mhz(decide(governor=Plan(joules_per_second=30.0))) == 400


def test_a_switch_that_pays_over_several_periods_is_made():
    dear = make_cost_table(switch_energy_j=0.020)  # one period at 100 MHz instead of 200 saves 5.5 mJ
    assert gpu_mhz(decide(0.5, cost_table=dear)) == 200
    assert gpu_mhz(decide(0.5, cost_table=dear, requested_s=10.0)) == 100


def test_idling_counts_until_the_next_request():
    # at 100 MHz a stretch draws 48.4 mJ in 44 ms, at 200 MHz 39.6 mJ in 22 ms, and then 0.5 W
    assert gpu_mhz(decide(next_request_s=20.0)) == 100


def test_heads_of_exits_that_cannot_answer_are_not_run_by_a_rule_that_skips():
    only = {"looks_at_every_exit": False, "exit_distribution": (0.0, 0.0, 0.0, 1.0), "next_exit": 3}
    assert decide(0.042, **only).max_exit is None  # 1 + 4 * 10 + 1 ms
    assert decide(0.0419, **only).max_exit == 2
    every = {"looks_at_every_exit": True, "exit_distribution": (0.0, 0.0, 0.0, 1.0), "next_exit": 0}
    assert decide(0.045, **every).max_exit is None
    assert decide(0.0449, **every).max_exit == 2


def skipping(left_s, **changes):
    return decide(left_s, looks_at_every_exit=False, **changes)


def test_a_rule_that_skips_exits_may_use_the_time_of_the_heads_on_the_way():
    # 1 + 4 * 10 ms, the next head and the last: 1 ms each, whatever lies between
    assert skipping(0.043).max_exit is None
    assert skipping(0.043).next_exit is None
    assert decide(0.043).max_exit == 2


def test_once_something_has_been_looked_at_the_deepest_exit_is_reached_without_looks_on_the_way():
    ahead = {"segments_done": 1, "next_exit": 1, "exit_distribution": (0.0, 0.4, 0.3, 0.3)}
    decision = skipping(0.0325, **ahead)  # 1 + 3 * 10 + 1 ms; with a look at exit 1 it takes 33
    assert (decision.next_exit, decision.max_exit) == (3, None)
    assert gpu_mhz(decision) == 400
    assert "no look on the way" in decision.reason
    assert skipping(0.033, **ahead).next_exit is None


def test_before_the_first_look_a_shallower_exit_is_chosen_instead():
    decision = skipping(0.0425)
    assert (decision.next_exit, decision.max_exit) == (None, 2)


def test_the_floor_is_gone_to_without_a_look_before_if_that_is_in_time():
    decision = skipping(0.0425, floor_exit=3)
    assert (decision.next_exit, decision.max_exit) == (3, None)


def test_a_rule_that_jumps_ahead_is_cut_short_before_its_next_exit_if_need_be():
    decision = skipping(0.0419, exit_distribution=(0.0, 0.0, 0.0, 1.0), next_exit=3)  # 42 ms to the last exit
    assert (decision.next_exit, decision.max_exit) == (2, 2)
    late = skipping(0.001, exit_distribution=(0.0, 0.0, 0.0, 1.0), next_exit=3, floor_exit=1)
    assert (late.next_exit, late.max_exit) == (1, 1)
    assert "late" in late.reason


def test_planning_for_the_population_keeps_the_worst_case_of_the_sample():
    early, late = (0.97, 0.01, 0.01, 0.01), (0.01, 0.01, 0.01, 0.97)
    population = Plan(per_sample=False)
    answers = [
        decide(0.12, governor=population, exit_distribution=distribution, usual_exits=(0.25,) * 4)
        for distribution in (early, late)
    ]
    assert answers[0] == answers[1]
    certain = decide(0.023, governor=population, exit_distribution=(1.0, 0.0, 0.0, 0.0), usual_exits=(0.25,) * 4)
    assert certain.max_exit is None


def test_a_table_of_times_alone_gives_the_quickest_plan():
    table = without_energy(make_cost_table())
    assert gpu_mhz(decide(1.0, cost_table=table)) == 400
    assert decide(cost_table=table).clocks == {}
    assert decide(0.030, cost_table=table).max_exit == 1


def test_without_a_cost_table_it_decides_as_deadline_does():
    observation = make_observation(cost_table=None, deadline_s=11.0)
    assert Plan().decide(observation) == load_governor("deadline").decide(observation)


def test_deciding_for_many_times_is_deciding_for_each():
    governor, now_s = Plan(), np.linspace(9.9, 10.2, 400)
    for changes in (
        {"deadline_s": 10.2, "requested_s": 9.9},
        {"deadline_s": 10.1, "next_request_s": 10.3, "energy_budget_j": 0.16},
        {"deadline_s": None, "floor_exit": 2},
        {"deadline_s": 10.1, "cost_table": None},
        {"deadline_s": 10.1, "segments_done": 1, "next_exit": 2, "looks_at_every_exit": False},
    ):
        decisions, which = governor.decide_many(make_observation(**changes), now_s)
        one_by_one = [governor.decide(make_observation(**changes, now_s=float(time_s))) for time_s in now_s]
        assert [decisions[index] for index in which] == one_by_one


def test_preparing_changes_no_decision():
    prepared, table = Plan(), make_cost_table()
    prepared.prepare(table, {"gpu": FREQUENCIES_HZ}, True)
    assert decide(0.1, governor=prepared, cost_table=table) == decide(0.1, cost_table=table)


def test_many_tables_and_situations_leave_decisions_as_they_were():
    governor, table = Plan(), make_cost_table()
    first = decide(0.1, governor=governor, cost_table=table)
    for step in range(600):
        decide(0.1, governor=governor, cost_table=table, requested_s=10.0 - 0.001 * step)
    for step in range(6):
        decide(0.1, governor=governor, cost_table=make_cost_table(switch_latency_s=0.001 * step))
    assert decide(0.1, governor=governor, cost_table=table) == first


def test_two_clocks_that_both_change_cost_two_switches():
    board = {
        "operating_points": {"cpu": FREQUENCIES_HZ, "gpu": FREQUENCIES_HZ},
        "clocks": {"cpu": 200 * MHZ, "gpu": 200 * MHZ},
        "cost_table": make_cost_table(domains=("cpu", "gpu")),
    }
    assert decide(0.046, **board).max_exit is None  # 2 + 4 * 11 ms
    assert decide(0.0455, **board).max_exit == 2


def test_fewer_looks_buy_time_for_a_slower_clock_only_if_that_pays():
    # To look at all exits at 100 MHz takes 1 + 176 ms. In 170 ms the looks at exits 1 and 2 have to go (4 ms each), and
    # then a sample that they would have stopped runs to the end: 40 ms more. That pays if hardly any would stop there.
    stops_late = {"exit_distribution": (0.02, 0.01, 0.01, 0.96), "looks_at_every_exit": False}
    assert gpu_mhz(decide(0.1695, **stops_late)) == 100
    assert "more change" not in decide(0.1695, **stops_late).reason
    stops_early = {"exit_distribution": (0.02, 0.48, 0.48, 0.02), "looks_at_every_exit": False}
    assert "1 more change planned" in decide(0.1695, **stops_early).reason


def test_a_rule_that_skips_most_exits_spends_little_time_on_looks():
    # As above, in 171 ms: both looks on the way take 8 ms, of which 2 ms are to be expected if one in four is made.
    stops_early = {"exit_distribution": (0.02, 0.48, 0.48, 0.02), "looks_at_every_exit": False}
    assert "1 more change planned" in decide(0.171, **stops_early).reason
    assert "more change" not in decide(0.1742, looked_share=0.25, **stops_early).reason


def rest(governor=None, **changes):
    changes = {"requested_s": 10.0, "next_exit": 3, "segments_done": 4, "exit_distribution": None, **changes}
    return (governor or Plan()).rest(make_observation(usual_exits=(0.25,) * 4, **changes))


def test_a_switch_for_which_no_inference_has_time_is_made_at_rest():
    # All at 200 MHz take 88 ms, and a switch 1 ms: from 400 MHz there is no way down within 88.5 ms.
    busy = {"deadline_s": 10.0885, "next_request_s": 10.0885, "clocks": {"gpu": 400 * MHZ}}
    assert gpu_mhz(rest(now_s=10.044, **busy)) == 200
    assert rest(now_s=10.088, **busy).clocks == {}, "no time before the next request either"


def test_the_clocks_stay_at_rest_where_nothing_is_gained_or_known():
    suits = {"deadline_s": 10.5, "clocks": {"gpu": 100 * MHZ}, "now_s": 10.1}
    assert rest(next_request_s=10.5, **suits).clocks == {}
    assert rest(next_request_s=None, **suits).clocks == {}
    assert rest(next_request_s=10.5, cost_table=None, **suits).clocks == {}


def test_a_clock_that_draws_less_while_idle_is_left_to_the_next_request():
    table = make_cost_table()
    slow, *faster = table.points
    leaking = [replace(point, idle_power_w=0.6 + 0.1 * step) for step, point in enumerate(faster)]
    table = replace(table, points=(slow, *leaking))
    pause = {"next_request_s": 20.0, "cost_table": table, "clocks": {"gpu": 400 * MHZ}, "now_s": 10.02}
    assert gpu_mhz(rest(deadline_s=10.045, **pause)) == 100, "0.3 W less, and time to switch up: 1 + 4 * 11 ms"
    assert rest(deadline_s=10.0445, **pause).clocks == {}, "from a lower clock the last exit would not be reached"


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf")])
def test_a_price_of_latency_that_makes_no_sense_is_refused(price):
    with pytest.raises(OptionError, match="joules_per_second"):
        Plan(joules_per_second=price)


def test_it_offers_what_replays_and_sessions_ask_for():
    assert isinstance(Plan(), DecidesMany)
    assert isinstance(Plan(), PreparesAhead)
    assert isinstance(Plan(), SetsClocksAtRest)
