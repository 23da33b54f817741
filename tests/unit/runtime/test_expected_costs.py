"""What a session expects of the work ahead, from the cost table at the present clocks: heads of 4, 2, 1.3 and 1 ms."""

from dataclasses import replace

import pytest

from edgeexit import open_device
from edgeexit.runtime.clocking import Clocking
from edgeexit.testing.observations import make_cost_table, without_energy


class Lease:
    def __init__(self, **clocks):
        self.clocks = clocks

    def read_clocks(self):
        return self.clocks


def head_ms(table, **clocks):
    clocking = Clocking(
        open_device("simulated:jetson-tx2"), Lease(**clocks), None, table, exit_count=4, looks_at_every_exit=True
    )
    return 1e3 * clocking.expected_head_s(0)


def test_it_is_that_of_the_present_clock():
    assert head_ms(make_cost_table(), gpu=400_000_000) == pytest.approx(1.0)


def test_clocks_that_the_table_does_not_know_do_not_matter():
    assert head_ms(make_cost_table(), gpu=400_000_000, cpu=7) == pytest.approx(1.0)


def test_at_a_clock_that_was_not_measured_the_slowest_is_expected():
    assert head_ms(make_cost_table(), gpu=350_000_000) == pytest.approx(4.0)
    assert head_ms(make_cost_table()) == pytest.approx(4.0)


def test_a_table_measured_at_the_clocks_as_they_are_holds_at_any():
    table = make_cost_table()
    as_they_are = replace(table, points=(replace(table.points[1], clocks={}),))
    assert head_ms(as_they_are, gpu=123) == pytest.approx(2.0)


def test_it_needs_no_energy_figures():
    assert head_ms(without_energy(make_cost_table()), gpu=400_000_000) == pytest.approx(1.0)
