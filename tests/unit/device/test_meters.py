import pytest
from raspberry_pi import PMIC_ANSWER, RaspberryPi

from edgeexit.clock import ManualClock
from edgeexit.device.meters import find_meters
from edgeexit.device.sampler import SampledMeter
from edgeexit.device.sum_meter import SumMeter
from edgeexit.protocols import EnergySource
from edgeexit.testing.fake_sysfs import FakeTree

RANGE_UJ = 262_143_328_850
ORIN = "/sys/class/hwmon/hwmon3"


class GpuCounter:
    """A GPU's energy counter, with what the test puts into it."""

    name = "GPU 0 (NVML)"
    source = EnergySource.COUNTER
    min_window_s = 0.1

    def __init__(self, energy_j=0.0, uncertainty_j=1.0):
        self.energy_j = energy_j
        self.error_j = uncertainty_j

    def uncertainty_j(self, energy_j, duration_s):
        return self.error_j

    def read_energy_j(self):
        return self.energy_j


@pytest.fixture
def tree():
    return FakeTree()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def find(tree, clock):
    """Finds the meters of the tree, and closes them."""
    found = []

    def find(machine=tree, **options):
        found.append(find_meters(machine, clock=clock, **options))
        return found[-1]

    yield find
    for meters in found:
        meters.close()


def add_rapl(tree, folder, name, energy_uj=1_000_000):
    tree.add_file(f"/sys/class/powercap/{folder}/name", f"{name}\n")
    tree.add_file(f"/sys/class/powercap/{folder}/energy_uj", f"{energy_uj}\n", mode=0o400)
    tree.add_file(f"/sys/class/powercap/{folder}/max_energy_range_uj", f"{RANGE_UJ}\n")


def count(tree, folder, energy_uj):
    tree.set_text(f"/sys/class/powercap/{folder}/energy_uj", f"{energy_uj}\n")


def add_ina(tree, *rails, folder=ORIN):
    tree.add_file(f"{folder}/name", "ina3221\n")
    for channel, (label, current_ma) in enumerate(rails, start=1):
        tree.add_file(f"{folder}/in{channel}_label", f"{label}\n")
        tree.add_file(f"{folder}/in{channel}_input", "5000\n")
        tree.add_file(f"{folder}/curr{channel}_input", f"{current_ma}\n")


def add_battery(tree, status="Discharging", **values):
    for key, value in {"type": "Battery", "status": status, **values}.items():
        tree.add_file(f"/sys/class/power_supply/BAT0/{key}", f"{value}\n")


def whats(meters):
    return [problem.what for problem in meters.problems]


def test_a_machine_without_meters_has_no_total_and_nothing_is_made_up(find):
    meters = find()
    assert (meters.total, meters.rails, meters.problems) == (None, {}, ())
    assert meters.read_power_w() is None


def test_the_platform_counter_is_the_total_and_nothing_is_added_to_it(tree, find):
    add_rapl(tree, "intel-rapl:0", "package-0")
    add_rapl(tree, "intel-rapl:1", "psys")
    meters = find(gpu_meters=[GpuCounter()])
    assert meters.total.name == "psys (RAPL)"
    assert list(meters.rails) == ["package-0", "psys", "GPU 0 (NVML)"]


def test_packages_their_memory_and_gpus_are_summed_and_cores_are_not(tree, find, clock):
    gpu = GpuCounter()
    add_rapl(tree, "intel-rapl:0", "package-0")
    add_rapl(tree, "intel-rapl:0:0", "core")
    add_rapl(tree, "intel-rapl:0:1", "dram")
    meters = find(gpu_meters=[gpu])
    assert meters.total.name == "package-0 (RAPL) + package-0 dram (RAPL) + GPU 0 (NVML)"
    assert meters.total.source is EnergySource.COUNTER
    assert meters.total.read_energy_j() == 0.0
    clock.advance_s(10.0)
    count(tree, "intel-rapl:0", 4_000_000)
    count(tree, "intel-rapl:0:0", 99_000_000)
    count(tree, "intel-rapl:0:1", 2_000_000)
    gpu.energy_j = 20.0
    assert meters.total.read_energy_j() == 24.0


def test_one_package_is_the_total_by_itself(tree, find):
    add_rapl(tree, "intel-rapl:0", "package-0")
    meters = find()
    assert meters.total is meters.rails["package-0"]


def test_packages_of_which_one_cannot_be_read_are_no_total(tree, find):
    add_rapl(tree, "intel-rapl:0", "package-0")
    add_rapl(tree, "intel-rapl:1", "package-1", energy_uj=0)
    meters = find()
    assert meters.total is None
    assert list(meters.rails) == ["package-0"]
    assert whats(meters) == ["RAPL zone package-1"]


def test_without_root_a_pc_has_a_problem_to_mend_and_no_total(tree, find):
    add_rapl(tree, "intel-rapl:0", "package-0")
    tree.as_user(unprivileged=True)
    meters = find()
    assert meters.total is None
    assert "sudo chmod g+r /sys/class/powercap/intel-rapl*:*/energy_uj" in meters.problems[0].mend


def test_a_gpu_alone_is_the_total_under_its_own_name(find):
    assert find(gpu_meters=[GpuCounter()]).total.name == "GPU 0 (NVML)"


def test_a_jetson_module_is_metered_at_its_input(tree, find):
    add_ina(tree, ("VDD_IN", 1200), ("VDD_CPU_GPU_CV", 300), ("VDD_SOC", 200))
    meters = find()
    assert list(meters.rails) == ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]
    assert meters.total is meters.rails["VDD_IN"]
    assert meters.total.name == "VDD_IN (INA3221)"
    assert meters.total.source is EnergySource.INTEGRATED
    assert meters.read_power_w() == 6.0
    assert meters.problems == ()


def test_rails_that_are_not_the_input_are_no_total_unless_the_profile_says_so(tree, find):
    add_ina(tree, ("VDD_GPU_SOC", 1000), ("VDD_CPU_CV", 500), ("VIN_SYS_5V0", 300))
    meters = find()
    assert meters.total is None
    (problem,) = meters.problems
    assert problem.why == ("none of the rails VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0 is known to carry the whole board")
    assert "total_rails" in problem.mend


def test_the_profiles_rails_are_sampled_together_and_summed(tree, find):
    add_ina(tree, ("VDD_GPU_SOC", 1000), ("VDD_CPU_CV", 500), ("VIN_SYS_5V0", 300))
    meters = find(total_rails=("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"))
    assert meters.total.name == "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 (sum of module rails, INA3221)"
    assert isinstance(meters.total, SampledMeter)
    assert meters.read_power_w() == 9.0
    tree.remove(f"{ORIN}/curr2_input")
    assert meters.total.take_sample() is None
    assert meters.rails["VDD_GPU_SOC"].take_sample() == 5.0


def test_one_rail_of_the_profile_is_the_total_by_itself(tree, find):
    add_ina(tree, ("VDD_SYS", 1000))
    meters = find(total_rails=("VDD_SYS",))
    assert meters.total is meters.rails["VDD_SYS"]


def test_rails_of_the_profile_may_be_of_different_kinds(tree, find):
    add_ina(tree, ("VDD_SYS", 1000))
    meters = find(total_rails=("VDD_SYS", "GPU 0 (NVML)"), gpu_meters=[GpuCounter()])
    assert isinstance(meters.total, SumMeter)
    assert meters.total.source is EnergySource.INTEGRATED


def test_a_rail_of_the_profile_that_is_not_there_is_a_problem_and_the_board_is_searched(tree, find):
    add_ina(tree, ("VDD_IN", 1200))
    meters = find(total_rails=("VDD_MUX",))
    assert meters.total.name == "VDD_IN (INA3221)"
    assert meters.problems[0].why == "the device profile's total_rails name VDD_MUX; there are: VDD_IN"


def test_rails_of_one_name_are_told_apart_by_their_chip(tree, find):
    add_ina(tree, ("VDD_SOC", 100), folder="/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1")
    add_ina(tree, ("VDD_SOC", 200), folder="/sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon2")
    assert list(find().rails) == ["VDD_SOC", "VDD_SOC (1-0041)"]


def test_a_raspberry_pi_5_is_metered_by_its_power_chip(find):
    pi = RaspberryPi({"pmic_read_adc": PMIC_ANSWER})
    meters = find(pi)
    assert meters.total.name == "board input, estimated from 12 rails (PMIC)"
    assert len(meters.rails) == 12
    assert meters.rails["VDD_CORE"].name == "VDD_CORE (PMIC)"
    assert meters.read_power_w() == pytest.approx(7.36874, abs=1e-5)
    assert meters.firmware is not None


def test_a_power_chip_that_does_not_tell_all_rails_is_no_total(find):
    pi = RaspberryPi({"pmic_read_adc": "VDD_CORE_A current(7)=2.0A\nVDD_CORE_V volt(15)=0.75V"})
    meters = find(pi)
    assert meters.total is None
    assert list(meters.rails) == ["VDD_CORE"]


def test_an_earlier_raspberry_pi_has_no_meter_and_its_firmware_is_of_use(find):
    meters = find(RaspberryPi({"get_throttled": "throttled=0x0"}))
    assert (meters.total, meters.rails) == (None, {})
    assert meters.firmware.read_throttled() == 0


def test_a_firmware_that_may_not_be_asked_is_a_problem(find):
    pi = RaspberryPi()
    pi.as_user(unprivileged=True)
    assert whats(find(pi)) == ["Raspberry Pi firmware"]


def test_a_discharging_battery_comes_last(tree, find):
    add_battery(tree, power_now=12_500_000)
    meters = find()
    assert meters.total.name == "whole machine (battery)"
    assert meters.total.interval_s == 1.0
    assert meters.read_power_w() == 12.5
    add_rapl(tree, "intel-rapl:0", "package-0")
    assert find().total.name == "package-0 (RAPL)"


def test_a_battery_that_is_plugged_in_while_it_meters_is_not_known(tree, find):
    add_battery(tree, power_now=12_500_000)
    total = find().total
    tree.set_text("/sys/class/power_supply/BAT0/status", "Charging\n")
    assert total.take_sample() is None
    tree.remove("/sys/class/power_supply/BAT0")
    assert total.take_sample() is None


def test_a_battery_that_is_charged_is_a_problem_that_unplugging_mends(tree, find):
    add_battery(tree, status="Full", power_now=0)
    meters = find()
    assert meters.total is None
    (problem,) = meters.problems
    assert problem.why.endswith("its status is 'Full'")
    assert problem.mend == "unplug the charger and start again"


def test_a_battery_without_a_power_reading_is_a_problem_without_a_mend(tree, find):
    add_battery(tree)
    (problem,) = find().problems
    assert problem.why == "its driver shows neither power_now nor current_now and voltage_now"
    assert problem.mend is None


def test_the_power_of_a_counter_is_the_mean_since_the_last_call(tree, find, clock):
    add_rapl(tree, "intel-rapl:0", "package-0")
    meters = find()
    assert meters.read_power_w() is None
    clock.advance_s(2.0)
    count(tree, "intel-rapl:0", 31_000_000)
    assert meters.read_power_w() == 15.0
    assert meters.read_power_w() is None


def test_the_power_of_a_sampled_meter_is_the_fresh_sample_there_is(tree, find):
    add_ina(tree, ("VDD_IN", 1200))
    meters = find()
    meters.total.take_sample()
    tree.set_text(f"{ORIN}/curr1_input", "9999\n")
    assert meters.read_power_w() == 6.0


def test_asking_for_the_power_keeps_the_counters_from_wrapping_unseen(tree, find, clock):
    add_rapl(tree, "intel-rapl:0", "package-0")
    add_rapl(tree, "intel-rapl:0:0", "core")
    meters = find()
    core = meters.rails["package-0 core"]
    core.read_energy_j()
    for energy_uj in (RANGE_UJ // 2, 1_000_000, RANGE_UJ // 2, 1_000_000):
        clock.advance_s(1000.0)
        count(tree, "intel-rapl:0:0", energy_uj)
        meters.read_power_w()
    assert core.read_energy_j() == pytest.approx(2 * 262_143.328850)


def test_closing_closes_every_meter_and_twice_does_nothing(tree, find):
    add_ina(tree, ("VDD_IN", 1200))
    add_rapl(tree, "intel-rapl:0:0", "lost")
    meters = find()
    meters.close()
    meters.close()
    assert meters.total.read_energy_j() is None


def test_a_sum_is_none_if_a_part_is(clock):
    parts = [GpuCounter(1.0), GpuCounter(2.0)]
    total = SumMeter(parts, "two GPUs")
    assert (total.name, total.parts) == ("two GPUs", tuple(parts))
    assert total.min_window_s == 0.1
    assert total.read_energy_j() == 3.0
    parts[1].energy_j = None
    assert total.read_energy_j() is None


def test_a_sum_is_as_uncertain_as_its_least_certain_part_would_be_with_all_of_it():
    assert SumMeter([GpuCounter(uncertainty_j=1.0), GpuCounter(uncertainty_j=3.0)]).uncertainty_j(10.0, 1.0) == 3.0
    assert SumMeter([GpuCounter(), GpuCounter(uncertainty_j=None)]).uncertainty_j(10.0, 1.0) is None
