"""How one governor stands against the bounds and the others, from results worked out by hand."""

import pytest
from replay_results import replay, run

from edgeexit.offline.replaying.results import Bounds
from edgeexit.offline.replaying.standing import standings, standings_text

BOUNDS = (Bounds(rule="threshold", deadline_factor=1.25, clairvoyant_j=0.08, optimum_j=0.1),)


def stand(*runs, bounds=BOUNDS):
    return list(standings(replay(*runs, bounds=bounds)))


def test_distances_are_shares_of_the_bounds():
    (row,) = stand(run(clairvoyant_j=0.05))
    assert row.above_own == pytest.approx(1.0)
    assert row.above_clairvoyant == pytest.approx(0.25)
    assert row.above_optimum == pytest.approx(0.0)
    assert (row.board, row.rule, row.deadline_factor, row.bounds) == ("jetson-tx2", "threshold", 1.25, BOUNDS[0])


def test_what_was_not_worked_out_is_not_known():
    (row,) = stand(run(), bounds=())
    assert (row.above_own, row.above_clairvoyant, row.above_optimum, row.bounds) == (None, None, None, None)
    assert (row.rival, row.above_rival, row.above_population) == (None, None, None)
    (row,) = stand(run(), bounds=(Bounds(rule="threshold", deadline_factor=1.25, clairvoyant_j=0.08),))
    assert row.above_optimum is None


def test_bounds_of_another_deadline_or_rule_do_not_count():
    (row,) = stand(run(factor=2.0))
    assert row.bounds is None
    (row,) = stand(run("last"))
    assert row.bounds is None


def test_the_rival_is_the_cheapest_other_that_is_late_no_more_often():
    others = (
        run(governor="deadline", energy_mj=90.0, misses=1),
        run(governor="best-fixed", energy_mj=125.0),
        run(governor="stock", energy_mj=200.0),
        run("last", "performance", 80.0),
        run(governor="performance", energy_mj=70.0, factor=2.0),
    )
    (row,) = stand(run(), *others)
    assert row.rival == "best-fixed"
    assert row.above_rival == pytest.approx(-0.2)
    (late,) = stand(run(misses=1), *others)
    assert late.rival == "deadline"


def test_the_plan_without_a_forecast_is_no_rival():
    (row,) = stand(run(), run(governor="plan-population", energy_mj=80.0), run(governor="stock", energy_mj=200.0))
    assert row.rival == "stock"
    assert row.above_population == pytest.approx(0.25)


def test_another_governor_can_be_asked_for_and_runs_without_deadline_are_left_out():
    found = replay(run(governor="stock"), run(), run(factor=None))
    assert [row.run.governor for row in standings(found, "stock")] == ["stock"]
    assert len(list(standings(found))) == 1


def test_the_table_has_one_line_for_each_and_says_what_is_not_known():
    rows = stand(
        run(clairvoyant_j=0.0999999999, cut_short=29, accuracy=0.9),
        run(governor="stock", energy_mj=200.0),
        run("last", energy_mj=400.0),
    )
    header, first, second = standings_text(iter(rows)).splitlines()
    assert header.split()[7:11] == ["own", "clairvoyant", "optimum", "population"]
    assert first.split() == [
        *("jetson-tx2", "threshold", "1.25", "100.0", "90.00%", "0.00%", "2.90%"),
        *("+0.00%", "+25.00%", "+0.00%", "-", "stock", "-50.00%"),
    ]
    assert second.split()[-5:] == ["-", "-", "-", "-", "-"]


def test_a_share_that_rounds_to_nothing_has_no_minus_sign():
    (row,) = stand(run(clairvoyant_j=0.100000001))
    assert "-0.00%" not in standings_text(iter([row]))
