import pytest

from edgeexit.device.battery import Battery, read_battery
from edgeexit.testing.fake_sysfs import FakeTree


@pytest.fixture
def tree():
    return FakeTree()


def add_supply(tree, name, **values):
    for key, value in {"type": "Battery", **values}.items():
        tree.add_file(f"/sys/class/power_supply/{name}/{key}", f"{value}\n")


def test_a_machine_without_a_battery_has_none(tree):
    add_supply(tree, "AC", type="Mains", online=1)
    assert read_battery(tree) is None


def test_a_discharging_battery_tells_power_and_energy_left(tree):
    add_supply(tree, "BAT0", status="Discharging", energy_now=50_000_000, power_now=12_500_000, capacity=80)
    assert read_battery(tree) == Battery("Discharging", 180_000.0, 12.5, 80.0)


def test_a_battery_that_counts_charge_is_taken_at_its_voltage(tree):
    add_supply(
        tree,
        "BAT0",
        status="Discharging",
        charge_now=2_000_000,
        current_now=500_000,
        voltage_now=12_000_000,
        capacity=7,
    )
    found = read_battery(tree)
    assert found.energy_left_j == pytest.approx(86_400.0)
    assert found.power_w == pytest.approx(6.0)


def test_a_drain_that_is_counted_below_zero_is_a_drain(tree):
    add_supply(tree, "BAT0", status="Discharging", current_now=-500_000, voltage_now=12_000_000)
    assert read_battery(tree).power_w == pytest.approx(6.0)


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging"])
def test_a_battery_that_is_not_discharging_says_nothing_of_the_machine(tree, status):
    add_supply(tree, "BAT0", status=status, energy_now=50_000_000, power_now=30_000_000, capacity=80)
    assert read_battery(tree) == Battery(status, 180_000.0, None, 80.0)


def test_what_a_battery_does_not_show_is_none(tree):
    add_supply(tree, "BAT0", current_now=500_000)
    assert read_battery(tree) == Battery("Unknown", None, None, None)


def test_a_mouse_is_no_battery_of_the_machine(tree):
    add_supply(tree, "hidpp_battery_0", scope="Device", status="Discharging", capacity=50)
    assert read_battery(tree) is None


def test_an_empty_bay_is_no_battery(tree):
    add_supply(tree, "BAT1", present=0, status="Unknown")
    assert read_battery(tree) is None


def test_two_batteries_are_taken_together(tree):
    add_supply(tree, "BAT0", status="Not charging", energy_now=10_000_000, energy_full=20_000_000, power_now=0)
    add_supply(tree, "BAT1", status="Discharging", energy_now=20_000_000, energy_full=20_000_000, power_now=8_000_000)
    assert read_battery(tree) == Battery("Discharging", 108_000.0, 8.0, 75.0)


def test_two_batteries_of_which_one_hides_its_energy_have_no_known_sum(tree):
    add_supply(tree, "BAT0", status="Discharging", energy_now=10_000_000, capacity=50)
    add_supply(tree, "BAT1", status="Discharging", capacity=50)
    assert read_battery(tree) == Battery("Discharging", None, None, None)
