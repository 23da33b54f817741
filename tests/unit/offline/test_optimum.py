from itertools import pairwise, product

import numpy as np
import pytest
from small_walks import EASY, HARD, VERDICTS, Exact, make_table, make_walks, usual_states

from edgeexit.errors import DataError, OptionError
from edgeexit.governors.deadline import Deadline
from edgeexit.governors.performance import Performance
from edgeexit.offline.clairvoyant import clairvoyant_energies
from edgeexit.offline.optimum import optimum
from edgeexit.offline.verdict_states import count_states
from edgeexit.protocols import Observation, Verdict
from edgeexit.testing.observations import without_energy

UNEVEN_IDLE = [0.3, 0.5, 0.9]
TWO_DOMAINS = {(1, 1): (4.0, 4.0), (1, 2): (2.6, 3.5), (2, 1): (2.4, 3.6), (2, 2): (1.0, 5.0)}
WAYS = ((5, (0,)), (3, (0, 1)), (1, (0, 1, 2)), (1, (0, 2)))


@pytest.mark.parametrize("rests", [True, False])
@pytest.mark.parametrize(
    ("every", "deadline_s"),
    [(True, 3.3), (False, 3.25), *product((True, False), (3.65, 4.1, 5.0, 7.0, 12.1, 30.0))],
)
@pytest.mark.parametrize(
    "table",
    [
        make_table(),
        make_table(idle_w=UNEVEN_IDLE),
        make_table(switch_s=0.0, switch_j=0.0),
        make_table(switch_s=1.7, switch_j=0.1),
        make_table(stretches=TWO_DOMAINS),
    ],
    ids=["even idle", "uneven idle", "free switches", "slow switches", "two domains"],
)
def test_it_is_what_trying_every_sequence_of_clocks_finds(table, deadline_s, every, rests):
    states, period_s = usual_states(), deadline_s + 1.0
    found = optimum(states, table, deadline_s, period_s, looks_at_every_exit=every, tolerance=0.002, rests=rests)
    exact_j = Exact(states, table, deadline_s, period_s, every=every, rests=rests).mean_energy_j()
    assert found.cap is None
    assert found.lower_j <= exact_j * (1.0 + 2e-4)
    assert found.upper_j >= exact_j * (1.0 - 2e-4)
    assert found.gap < 0.003


def test_where_a_choice_ends_at_the_deadline_to_the_last_digit_the_truth_lies_between_the_figures():
    table, states = make_table(switch_s=1.7, switch_j=0.1), usual_states()
    found = optimum(states, table, 12.0, 13.0, looks_at_every_exit=False, rests=False)
    exact_j = Exact(states, table, 12.0, 13.0, every=False, rests=False).mean_energy_j()
    assert found.lower_j <= exact_j <= found.upper_j
    assert found.gap > 0.01


def test_with_time_enough_all_runs_at_the_clock_that_costs_least_beyond_idling():
    # A segment with its head: 4.4, 2.2 and 1.1 s, 4.4, 3.52 and 4.95 J; beyond idling at 0.5 W 2.2, 2.42 and 4.4 J.
    # Looks: 10 at exit 0; 4 at exit 1; 1 after two more segments without the head between them (8.4 s, 8.4 J, 4.2 J).
    # The sample that is hard from the start skips exit 1; one goes on from exit 1 to exit 2 (2.2 J).
    found = optimum(usual_states(), make_table(), 30.0, 40.0, looks_at_every_exit=False)
    assert found.lower_j == pytest.approx(2.2 + 0.4 * 2.2 + 0.1 * 2.2 + 0.1 * 4.2 + 0.5 * 40.0, rel=1e-4)


def test_more_time_until_the_deadline_never_costs_more():
    table, states = make_table(), usual_states()
    found = [optimum(states, table, d, 40.0, looks_at_every_exit=True) for d in np.linspace(3.3, 20.0, 25)]
    assert all(after.lower_j <= before.upper_j for before, after in pairwise(found))
    assert found[-1].lower_j < found[0].lower_j


@pytest.mark.parametrize("deadline_s", [3.3, 4.1, 5.0, 9.0])
def test_nobody_without_foresight_needs_less_than_who_knows_the_exit(deadline_s):
    exits, looks = np.array([0] * 5 + [1] * 3 + [2, 2]), np.full((10, 3), -1)
    looks[:, 0], looks[5:, 1], looks[8, 2], looks[9, 1] = 0, 1, 2, 2
    known_j = clairvoyant_energies(make_table(), exits, deadline_s).mean()
    known_with_looks_j = clairvoyant_energies(make_table(), exits, deadline_s, looks=looks).mean()
    found = optimum(usual_states(), make_table(), deadline_s, deadline_s, looks_at_every_exit=False)
    assert known_j < known_with_looks_j <= found.upper_j


@pytest.mark.parametrize("governor", [Deadline(), Performance()])
@pytest.mark.parametrize("deadline_s", [3.9, 5.0, 9.0, 20.0])
def test_no_governor_that_keeps_the_deadline_needs_less(governor, deadline_s):
    table = make_table()
    found = optimum(usual_states(), table, deadline_s, deadline_s, looks_at_every_exit=False)
    assert found.lower_j <= replay_j(governor, table, deadline_s) * (1.0 + 1e-6)


def replay_j(governor, table, deadline_s, periods=20):
    """Return the mean energy of the walks, one after the other again and again, without the first round."""
    clocks, energy_j, counted = dict(table.points[0].clocks), 0.0, 0
    points = {"gpu": tuple(point.clocks["gpu"] for point in table.points)}
    for turn in range(periods):
        for count, way in WAYS:
            for _ in range(count):
                now_s, drawn_j, newest = 0.0, 0.0, -1
                for index in way:
                    verdict = VERDICTS[index]
                    chosen = governor.decide(
                        Observation(
                            now_s=now_s,
                            segments_done=newest + 1,
                            next_exit=verdict.next_exit,
                            exit_count=3,
                            exit_distribution=verdict.distribution,
                            looks_at_every_exit=False,
                            operating_points=points,
                            clocks=clocks,
                            cost_table=table,
                            deadline_s=deadline_s,
                        )
                    ).clocks
                    if chosen and chosen != clocks:
                        now_s, drawn_j = now_s + table.switch_latency_s, drawn_j + table.switch_energy_j
                        clocks = dict(chosen)
                    point = points["gpu"].index(clocks["gpu"])
                    latency_s, work_j = table.work(point, newest + 1, verdict.next_exit)
                    now_s, drawn_j, newest = now_s + latency_s, drawn_j + work_j, verdict.next_exit
                assert now_s <= deadline_s + 1e-9
                if turn:
                    energy_j, counted = energy_j + drawn_j + 0.5 * (deadline_s - now_s), counted + 1
    return energy_j / counted


def test_a_deadline_too_short_for_the_worst_case_cuts_the_rule_for_everybody_alike():
    # At the fastest clock the whole way takes 3.3 s, up to exit 1 2.2 s; all samples that go on then end there.
    states = usual_states()
    found = optimum(states, make_table(), 2.2, 5.0, looks_at_every_exit=False)
    assert found.cap == 1
    # There is no time for another clock: 4.4 J beyond idling a segment with head.
    assert found.lower_j == pytest.approx(4.4 + 0.5 * 4.4 + 0.5 * 5.0, rel=1e-4)
    assert found.upper_j == pytest.approx(found.lower_j, rel=1e-3)


def test_a_clock_is_not_ended_at_from_which_the_next_inference_is_late():
    # At 3.4 s only the fastest clock can begin: a switch takes 0.3 s. Most samples have long been answered by then.
    found = optimum(usual_states(), make_table(), 3.4, 3.4, looks_at_every_exit=False)
    beyond_j = 4.4 + 0.4 * 4.4 + 0.1 * 4.4 + 0.1 * (9.0 + 0.45 - 0.5 * 2.1)
    assert found.lower_j == pytest.approx(beyond_j + 0.5 * 3.4, rel=1e-4)


@pytest.mark.parametrize(
    ("switch_s", "period_s", "rests", "pays"),
    [(0.3, 3.4, True, True), (0.3, 3.4, False, False), (0.36, 3.4, True, False), (0.36, 3.5, True, True)],
)
def test_a_clock_changed_at_rest_takes_no_time_from_the_next_deadline(switch_s, period_s, rests, pays):
    # 3.4 s are too short to begin at any clock but the fastest, or to change to it first: the worst case takes 3.2 s.
    # Half of the samples are surely answered by exit 1; at 1.65 s and 3.52 J in place of 1.1 s and 4.95 J that saves
    # 4.4 - 2.695 J beyond idling at 0.5 W, and costs two switches. It leaves 3.4 - 1.1 - 1.65 s less one of them, and
    # the rest of the period, to change back.
    sure = Verdict(False, 1, (0.0, 1.0, 0.0))
    rows, asks = make_walks((1, (0,)), (1, (0, 1)))
    states = count_states((VERDICTS[0], sure), rows, asks, exit_count=3)
    table = make_table(stretches={200: (1.5, 3.2), 400: (1.0, 4.5)}, switch_s=switch_s)
    found = optimum(states, table, 3.4, period_s, looks_at_every_exit=False, rests=rests)
    second_j = 2.695 + 2 * (0.4 - 0.5 * switch_s) if pays else 4.4
    assert found.lower_j == pytest.approx(4.4 + 0.5 * second_j + 0.5 * period_s, rel=1e-4)
    assert found.upper_j == pytest.approx(found.lower_j, rel=1e-3)


def test_a_deadline_too_short_for_the_first_look_is_refused():
    with pytest.raises(OptionError, match=r"too short for the first look, which takes 1\.1 s"):
        optimum(usual_states(), make_table(), 1.0, 1.0, looks_at_every_exit=False)


def test_a_period_shorter_than_the_deadline_is_refused():
    with pytest.raises(OptionError, match="at least as long as the deadline"):
        optimum(usual_states(), make_table(), 5.0, 4.0, looks_at_every_exit=False)


def test_a_table_without_energy_is_refused():
    with pytest.raises(OptionError, match="measure the board with a power meter"):
        optimum(usual_states(), without_energy(make_table()), 5.0, 5.0, looks_at_every_exit=False)


def test_a_forecast_that_takes_back_what_it_ruled_out_is_refused():
    verdicts = (Verdict(False, 0, (0.5, 0.5, 0.0)), EASY, HARD)
    rows, asks = make_walks((1, (0,)), (1, (0, 1)))
    with pytest.raises(DataError, match="before exit 0 rules out exit 2"):
        optimum(count_states(verdicts, rows, asks, exit_count=3), make_table(), 9.0, 9.0, looks_at_every_exit=False)


def test_a_rule_without_a_forecast_may_end_anywhere():
    verdicts = tuple(Verdict(False, exit_index, None) for exit_index in range(3))
    rows, asks = make_walks((3, (0,)), (1, (0, 1)))
    states = count_states(verdicts, rows, asks, exit_count=3)
    found = optimum(states, make_table(), 3.3, 3.3, looks_at_every_exit=True)
    # The worst case leaves no time for any but the fastest clock.
    assert found.lower_j == pytest.approx(4.4 + 0.25 * 4.4 + 0.5 * 3.3, rel=1e-4)
