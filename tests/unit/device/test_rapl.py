import errno

import pytest

from edgeexit.clock import ManualClock
from edgeexit.device.rapl import find_zones
from edgeexit.protocols import EnergySource
from edgeexit.testing.fake_sysfs import FakeTree

POWERCAP = "/sys/class/powercap"
RANGE_UJ = 262_143_328_850


@pytest.fixture
def tree():
    return FakeTree()


@pytest.fixture
def clock():
    return ManualClock()


def add_zone(tree, folder, name, energy_uj, *, range_uj=RANGE_UJ):
    tree.add_file(f"{POWERCAP}/{folder}/name", f"{name}\n")
    tree.add_file(f"{POWERCAP}/{folder}/energy_uj", f"{energy_uj}\n", mode=0o400)
    tree.add_file(f"{POWERCAP}/{folder}/max_energy_range_uj", f"{range_uj}\n")


def count(tree, folder, energy_uj):
    tree.set_text(f"{POWERCAP}/{folder}/energy_uj", f"{energy_uj}\n")


def only_meter(tree, clock):
    (meter,) = find_zones(tree, clock).meters
    return meter


@pytest.fixture
def meter(tree, clock):
    add_zone(tree, "intel-rapl:0", "package-0", 5_000_000)
    return only_meter(tree, clock)


def test_a_machine_without_powercap_has_no_zones(tree, clock):
    assert find_zones(tree, clock) == ((), (), True)


def test_it_says_what_it_is(meter):
    assert meter.name == "package-0 (RAPL)"
    assert (meter.zone, meter.kind) == ("package-0", "package")
    assert meter.source is EnergySource.COUNTER
    assert meter.min_window_s == 0.01


def test_the_energy_starts_at_nothing_and_follows_the_counter(tree, meter, clock):
    assert meter.read_energy_j() == 0.0
    clock.advance_s(1.0)
    count(tree, "intel-rapl:0", 17_500_000)
    assert meter.read_energy_j() == 12.5


def test_the_energy_goes_on_when_the_counter_wraps_around(tree, meter, clock):
    count(tree, "intel-rapl:0", RANGE_UJ - 2_000_000)
    meter.read_energy_j()
    clock.advance_s(1.0)
    count(tree, "intel-rapl:0", 3_000_000)
    assert meter.read_energy_j() == 5.0


def test_it_wraps_around_twice_if_it_is_polled_in_between(tree, meter, clock):
    meter.read_energy_j()
    for _ in range(2):
        for energy_uj in (RANGE_UJ // 2, 5_000_000):
            clock.advance_s(1000.0)
            count(tree, "intel-rapl:0", energy_uj)
            meter.poll()
    assert meter.read_energy_j() == pytest.approx(2 * 262_143.328850)


def test_it_wants_to_be_polled_twice_in_the_time_that_500_watts_take_to_wrap(meter):
    assert meter.poll_interval_s == pytest.approx(262.14, abs=0.01)


def test_a_counter_that_was_set_back_gives_none_once_and_goes_on(tree, meter, clock):
    count(tree, "intel-rapl:0", 9_000_000_000)
    meter.read_energy_j()
    clock.advance_s(1.0)
    count(tree, "intel-rapl:0", 1_000_000)
    assert meter.read_energy_j() is None
    clock.advance_s(1.0)
    count(tree, "intel-rapl:0", 3_000_000)
    assert meter.read_energy_j() == 2.0


def test_a_counter_that_cannot_be_read_gives_none(tree, meter):
    meter.read_energy_j()
    tree.fail_next_read(f"{POWERCAP}/intel-rapl:0/energy_uj", errno.EIO)
    assert meter.read_energy_j() is None
    count(tree, "intel-rapl:0", "no number")
    assert meter.read_energy_j() is None
    meter.close()
    count(tree, "intel-rapl:0", 6_000_000)
    assert meter.read_energy_j() == 1.0


def test_the_uncertainty_is_that_of_the_update_period(meter):
    # 100 W for 1 ms at each end, uniform: 0.1 J / sqrt(6)
    assert meter.uncertainty_j(1000.0, 10.0) == pytest.approx(0.0408248, abs=1e-6)
    assert meter.uncertainty_j(0.0, 0.0) is None


def test_every_zone_has_a_name_of_its_own(tree, clock):
    add_zone(tree, "intel-rapl:0", "package-0", 1)
    add_zone(tree, "intel-rapl:0:0", "core", 2)
    add_zone(tree, "intel-rapl:0:1", "dram", 3)
    add_zone(tree, "intel-rapl:1", "package-1", 4)
    add_zone(tree, "intel-rapl:1:0", "core", 5)
    add_zone(tree, "intel-rapl:2", "psys", 6)
    tree.add_file(f"{POWERCAP}/intel-rapl/enabled", "1\n")
    found = find_zones(tree, clock)
    assert [(meter.zone, meter.kind) for meter in found.meters] == [
        ("package-0", "package"),
        ("package-0 core", "core"),
        ("package-0 dram", "dram"),
        ("package-1", "package"),
        ("package-1 core", "core"),
        ("psys", "psys"),
    ]
    assert found.complete


def test_a_package_that_shows_by_mmio_too_is_taken_once(tree, clock):
    add_zone(tree, "intel-rapl:0", "package-0", 7_000_000)
    add_zone(tree, "intel-rapl-mmio:0", "package-0", 7_000_000)
    assert only_meter(tree, clock).path == f"{POWERCAP}/intel-rapl:0/energy_uj"


def test_a_package_that_shows_by_mmio_only_is_taken(tree, clock):
    add_zone(tree, "intel-rapl-mmio:0", "package-0", 7_000_000)
    assert only_meter(tree, clock).zone == "package-0"


def test_dies_that_show_one_counter_are_counted_once(tree, clock):
    add_zone(tree, "intel-rapl:0", "package-0-die-0", 7_000_000_000)
    add_zone(tree, "intel-rapl:1", "package-0-die-1", 7_000_000_000)
    add_zone(tree, "intel-rapl:1:0", "core", 3_000_000_000)
    found = find_zones(tree, clock)
    assert [meter.zone for meter in found.meters] == ["package-0-die-0"]
    (problem,) = found.problems
    assert problem.what == "RAPL zone package-0-die-1"
    assert problem.why == "shows the counter of package-0-die-0, which is counted once"
    assert found.complete


def test_dies_with_counters_of_their_own_are_kept(tree, clock):
    add_zone(tree, "intel-rapl:0", "package-0-die-0", 7_000_000_000)
    add_zone(tree, "intel-rapl:1", "package-0-die-1", 9_000_000_000)
    assert len(find_zones(tree, clock).meters) == 2


def test_packages_with_equal_counters_are_kept(tree, clock):
    add_zone(tree, "intel-rapl:0", "package-0-die-0", 7_000_000_000)
    add_zone(tree, "intel-rapl:1", "package-1-die-0", 7_000_000_000)
    assert len(find_zones(tree, clock).meters) == 2


def test_a_die_that_fails_while_it_is_compared_is_kept(tree, clock):
    add_zone(tree, "intel-rapl:0", "package-0-die-0", 7_000_000_000)
    add_zone(tree, "intel-rapl:1", "package-0-die-1", 7_000_000_000)
    answers = iter(["7000000000\n"])
    tree.set_text(f"{POWERCAP}/intel-rapl:1/energy_uj", lambda: next(answers, "broken"))
    assert len(find_zones(tree, clock).meters) == 2


def test_without_root_all_zones_are_one_problem_with_its_mend(tree, clock):
    add_zone(tree, "intel-rapl:0", "package-0", 7_000_000)
    add_zone(tree, "intel-rapl:0:0", "core", 5_000_000)
    tree.as_user(unprivileged=True)
    found = find_zones(tree, clock)
    assert found.meters == ()
    assert not found.complete
    (problem,) = found.problems
    assert problem.what == "RAPL zones package-0, package-0 core"
    assert problem.why == "energy_uj may be read by root only"
    assert problem.mend == (
        'sudo chgrp "$(id -gn)" /sys/class/powercap/intel-rapl*:*/energy_uj'
        " && sudo chmod g+r /sys/class/powercap/intel-rapl*:*/energy_uj   # until the next boot"
    )


def test_a_counter_that_counts_nothing_is_no_meter(tree, clock):
    add_zone(tree, "intel-rapl:0", "package-0", 0)
    found = find_zones(tree, clock)
    assert found.meters == ()
    assert "nothing is counted" in found.problems[0].why


def test_a_zone_without_a_range_is_no_meter(tree, clock):
    add_zone(tree, "intel-rapl:0", "package-0", 7)
    tree.remove(f"{POWERCAP}/intel-rapl:0/max_energy_range_uj")
    found = find_zones(tree, clock)
    assert found.meters == ()
    assert "cannot be read" in found.problems[0].why


def test_a_zone_without_a_name_is_left_out(tree, clock):
    add_zone(tree, "intel-rapl:0", "package-0", 7)
    tree.remove(f"{POWERCAP}/intel-rapl:0/name")
    assert find_zones(tree, clock) == ((), (), True)
