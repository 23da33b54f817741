"""Expected figures are worked out by hand.

The board: a slow point (4 s and 4 J for a unit of work), a middle one (2 s, 3 J), a fast one (1 s, 5 J), and one at
1.5 s and 5 J that is never worth it. It idles at 0.5 W. Beyond idling a unit therefore costs 2 J, 2 J, 4.5 J and
4.25 J: the middle point is as cheap as the slow one and twice as fast.
"""

import numpy as np
import pytest

from edgeexit.errors import OptionError
from edgeexit.offline.clairvoyant import best_fixed_point, clairvoyant_energies, clairvoyant_work
from edgeexit.protocols import CostTable, PointCosts
from edgeexit.testing.observations import without_energy

POINTS = {100: (4.0, 4.0), 200: (2.0, 3.0), 300: (1.5, 5.0), 400: (1.0, 5.0)}


def make_table(segments=(1.0, 1.0), heads=(0.5, 0.0)):
    """Segments and heads of so many units of work."""
    points = tuple(
        PointCosts(
            clocks={"gpu": clock},
            idle_power_w=0.5,
            segment_latency_s=tuple(work * s for work in segments),
            segment_energy_j=tuple(work * j for work in segments),
            head_latency_s=tuple(work * s for work in heads),
            head_energy_j=tuple(work * j for work in heads),
        )
        for clock, (s, j) in POINTS.items()
    )
    return CostTable(points, exit_segments=(0, 1), switch_latency_s=9.0, switch_energy_j=9.0, source="modelled")


def test_with_time_enough_the_clock_that_costs_least_beyond_idling_is_taken():
    # 2 units at 2 s and 2 J beyond idling; 10 s of idling.
    assert clairvoyant_work(make_table(), 1, 10.0) == pytest.approx((4.0, 4.0 + 5.0))


def test_only_the_head_of_the_exit_that_answers_is_run():
    # 1.5 units at 2 s and 2 J beyond idling; 10 s of idling.
    assert clairvoyant_work(make_table(), 0, 10.0) == pytest.approx((3.0, 3.0 + 5.0))


def test_time_is_bought_where_it_is_cheapest_and_only_as_much_as_is_needed():
    # From 2 s to 1 s a unit pays 2.5 J for the second, so half a second costs 1.25 J; 3.5 s of idling.
    assert clairvoyant_work(make_table(), 1, 3.5) == pytest.approx((3.5, 4.0 + 1.25 + 1.75))


def test_work_that_fits_at_no_clock_is_late_and_done_at_the_fastest():
    # 2 units at 1 s and 4.5 J beyond idling; 2 s of idling.
    assert clairvoyant_work(make_table(), 1, 1.0) == pytest.approx((2.0, 9.0 + 1.0))


def test_no_assignment_of_one_clock_to_each_piece_needs_less():
    table = make_table(segments=(1.0, 0.3), heads=(0.7, 0.2))
    for exit_index, works in ((0, (1.0, 0.7)), (1, (1.0, 0.3, 0.2))):
        for deadline_s in (1.6, 2.0, 2.5, 3.0, 5.0, 9.0):
            best = min(energies_in_time(works, deadline_s), default=None)
            bound = clairvoyant_work(table, exit_index, deadline_s).energy_j
            assert best is None or bound <= best + 1e-12


def energies_in_time(works, deadline_s):
    """Try every clock for every piece."""
    plans = [(0.0, 0.0)]
    for work in works:
        plans = [(s + work * points_s, j + work * points_j) for s, j in plans for points_s, points_j in POINTS.values()]
    return [j + 0.5 * (deadline_s - s) for s, j in plans if s <= deadline_s]


def test_the_energies_of_many_samples_are_those_of_their_exits():
    # 9 J and 8 J with 10 s, as above.
    energies_j = clairvoyant_energies(make_table(), np.array([1, 0, 1]), 10.0)
    assert energies_j == pytest.approx([9.0, 8.0, 9.0])


def test_looks_on_the_way_are_paid_for_if_they_are_given():
    # A sample that looked at exit 0 too: half a unit more, at 2 J beyond idling a unit.
    looks = np.array([[0, 1], [0, -1], [1, -1]])
    energies_j = clairvoyant_energies(make_table(), np.array([1, 0, 1]), 10.0, looks=looks)
    assert energies_j == pytest.approx([10.0, 8.0, 9.0])
    assert clairvoyant_work(make_table(), 1, 10.0, other_looks=[0]) == pytest.approx((5.0, 10.0))


def test_the_best_fixed_clock_is_the_cheapest_that_keeps_the_deadline():
    # 2 units: at 10 s 8 + 1 J and 6 + 3 J; the tie goes to the slower one. At 7 s only the middle point is in time.
    assert best_fixed_point(make_table(), 10.0, looks_at_every_exit=False).clocks == {"gpu": 100}
    assert best_fixed_point(make_table(), 7.0, looks_at_every_exit=False).clocks == {"gpu": 200}


def test_all_heads_count_where_the_rule_looks_at_every_exit():
    # 2 units take 4 s at the middle point, with the first head 5 s.
    assert best_fixed_point(make_table(), 4.5, looks_at_every_exit=False).clocks == {"gpu": 200}
    assert best_fixed_point(make_table(), 4.5, looks_at_every_exit=True).clocks == {"gpu": 300}


def test_a_deadline_met_to_the_last_digit_is_met():
    deadline_s = 2.0 + 2.0
    assert best_fixed_point(make_table(), deadline_s * (1.0 - 1e-15), looks_at_every_exit=False).clocks == {"gpu": 200}


def test_if_no_clock_keeps_the_deadline_the_fastest_is_taken():
    assert best_fixed_point(make_table(), 1.0, looks_at_every_exit=False).clocks == {"gpu": 400}


def test_hindsight_on_energy_needs_energy_figures():
    table = without_energy(make_table())
    with pytest.raises(OptionError, match="measure the board with a power meter"):
        clairvoyant_work(table, 1, 10.0)
    with pytest.raises(OptionError, match="measure the board with a power meter"):
        clairvoyant_energies(table, np.array([1]), 10.0)
    with pytest.raises(OptionError, match="measure the board with a power meter"):
        best_fixed_point(table, 10.0, looks_at_every_exit=False)
