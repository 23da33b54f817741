import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from clock_machines import a_machine, die, journal_of
from raspberry_pi import PMIC_ANSWER

from edgeexit.device.cpufreq import find_cpufreq
from edgeexit.device.doctor import examine
from edgeexit.device.firmware import Firmware
from edgeexit.device.lease import Lease
from edgeexit.device.profile import default_roots
from edgeexit.protocols import EnergySource
from edgeexit.testing.fake_sysfs import FakeTree

BOARDS = Path(__file__).parents[2] / "boards"
FIX = "edgeexit doctor --fix | sudo sh   # read it first; it counts from the next login on"

PI_CPU = ("cpu", "cpufreq", "cpufreq-dt", ("policy0",), "userspace", True)
ORIN_CPU = ("cpu", "cpufreq", "tegra194", ("policy0", "policy4"), "userspace", True)

EXPECTED = {
    # recording: profile, domains (name, kind, driver, parts, how, from a table; points, lowest, highest), meter, rails
    "raspberry-pi-3": ("raspberry-pi-3", [(*PI_CPU, 7, 600_000_000, 1_200_000_000)], None, []),
    "raspberry-pi-4": ("raspberry-pi-4", [(*PI_CPU, 13, 600_000_000, 1_800_000_000)], None, []),
    "raspberry-pi-5": ("raspberry-pi-5", [(*PI_CPU, 10, 1_500_000_000, 2_400_000_000)], None, []),
    "raspberry-pi-zero-2-w": ("raspberry-pi-zero-2-w", [(*PI_CPU, 5, 600_000_000, 1_000_000_000)], None, []),
    "jetson-nano": (
        "jetson-nano",
        [
            ("cpu", "cpufreq", "tegra-cpufreq", ("policy0",), "userspace", True, 15, 102_000_000, 1_479_000_000),
            ("gpu", "devfreq", "devfreq", ("57000000.gpu",), "limits", True, 12, 76_800_000, 921_600_000),
        ],
        "POM_5V_IN (INA3221)",
        ["POM_5V_CPU", "POM_5V_GPU", "POM_5V_IN"],
    ),
    "jetson-tx2": (
        "jetson-tx2",
        [
            (
                "cpu",
                "cpufreq",
                "tegra_cpufreq",
                ("policy0", "policy1"),
                "userspace",
                True,
                12,
                345_600_000,
                2_035_200_000,
            ),
            ("gpu", "devfreq", "devfreq", ("17000000.gp10b",), "limits", True, 13, 114_750_000, 1_300_500_000),
        ],
        "VDD_IN (INA3221)",
        ["VDD_4V0_WIFI", "VDD_IN", "VDD_SYS_CPU", "VDD_SYS_DDR", "VDD_SYS_GPU", "VDD_SYS_SOC"],
    ),
    "jetson-xavier-nx": (
        "jetson-xavier-nx",
        [
            ("cpu", "cpufreq", "tegra_cpufreq", ("policy0",), "userspace", True, 25, 115_200_000, 1_907_200_000),
            ("gpu", "devfreq", "devfreq", ("17000000.gv11b",), "limits", True, 15, 114_750_000, 1_109_250_000),
        ],
        "VDD_IN (INA3221)",
        ["VDD_CPU_GPU_CV", "VDD_IN", "VDD_SOC"],
    ),
    "jetson-orin-nano-jp5": (
        "jetson-orin-nano",
        [
            (*ORIN_CPU, 11, 115_200_000, 1_510_400_000),
            ("gpu", "devfreq", "devfreq", ("17000000.ga10b",), "limits", True, 5, 306_000_000, 624_750_000),
        ],
        "VDD_IN (INA3221)",
        ["VDD_CPU_GPU_CV", "VDD_IN", "VDD_SOC"],
    ),
    "jetson-orin-nano-jp6": (
        "jetson-orin-nano",
        [
            (*ORIN_CPU, 11, 115_200_000, 1_510_400_000),
            ("gpu", "devfreq", "devfreq", ("17000000.gpu",), "limits", True, 5, 306_000_000, 624_750_000),
        ],
        "VDD_IN (INA3221)",
        ["VDD_CPU_GPU_CV", "VDD_IN", "VDD_SOC"],
    ),
    "jetson-agx-orin": (
        "jetson-agx-orin",
        [
            (
                *("cpu", "cpufreq", "tegra194", ("policy0", "policy4", "policy8"), "userspace", True),
                *(14, 268_800_000, 2_201_600_000),
            ),
            ("gpu", "devfreq", "devfreq", ("17000000.ga10b",), "limits", True, 13, 114_750_000, 1_300_500_000),
        ],
        "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 + VDDQ_VDD2_1V8AO (sum of module rails, INA3221)",
        ["VDDQ_VDD2_1V8AO", "VDD_CPU_CV", "VDD_GPU_SOC", "VIN_SYS_5V0"],
    ),
    "x86-laptop-intel-pstate": (
        "generic-linux",
        [
            (
                *("cpu", "cpufreq", "intel_pstate", tuple(f"policy{i}" for i in range(8)), "limits", False),
                *(16, 400_000_000, 4_700_000_000),
            )
        ],
        "psys (RAPL)",
        ["package-0", "package-0 core", "package-0 uncore", "psys"],
    ),
    "amd-desktop": (
        "generic-linux",
        [
            (
                *("cpu", "cpufreq", "amd-pstate", tuple(f"policy{i}" for i in range(16)), "limits", False),
                *(16, 400_000_000, 5_389_000_000),
            )
        ],
        "package-0 (RAPL)",
        ["package-0", "package-0 core"],
    ),
    "server-without-cpufreq": ("generic-linux", [], None, []),
}


def board(name, kind=FakeTree):
    return kind.from_recording((BOARDS / f"{name}.txt").read_text(encoding="utf-8"))


@pytest.fixture
def look(tmp_path):
    """Examine a machine whose journal lies in a folder of the test's own."""

    def examine_it(tree, **options):
        return examine(tree, run_folder=tmp_path / "run" / "edgeexit", **options)

    return examine_it


def problems(examination, what):
    return [problem for problem in examination.problems if what in problem.what]


def verdict(examination, what):
    (found,) = [verdict for verdict in examination.verdicts if verdict.what == what]
    return found


class FakeMeter:
    source = EnergySource.COUNTER
    min_window_s = 1.0
    name = "gpu (NVML)"

    def read_energy_j(self):
        return 0.0


class FakeGpuClock:
    name = "gpu"
    how = "locked clocks"
    operating_points_hz = (210_000_000, 1_410_000_000)

    def read_hz(self):
        return 210_000_000


def a_card(**options):
    card = SimpleNamespace(
        name="NVIDIA A2",
        uuid="GPU-1",
        cannot={},
        domain=FakeGpuClock(),
        meter=FakeMeter(),
        read_temperature_c=lambda: 71.0,
        read_event_reasons=lambda: ("power cap",),
    )
    vars(card).update(options)
    return card


# --- recorded boards -------------------------------------------------------------------------------


def test_every_recorded_board_is_expected_here():
    assert {path.stem for path in BOARDS.glob("*.txt")} == set(EXPECTED)


@pytest.mark.parametrize("recording", EXPECTED)
def test_a_recorded_board_has_the_right_domains_and_sensors(look, recording):
    profile, domains, meter, rails = EXPECTED[recording]
    found = look(board(recording))
    assert found.profile.name == profile
    assert [
        (
            *(clock.name, clock.kind, clock.driver, clock.parts, clock.how, clock.from_table),
            *(len(clock.operating_points_hz), clock.operating_points_hz[0], clock.operating_points_hz[-1]),
        )
        for clock in found.clocks
    ] == domains
    assert (found.total and found.total.name) == meter
    assert sorted(found.rails) == rails


@pytest.mark.parametrize("recording", EXPECTED)
def test_a_recorded_board_is_left_as_it_was(look, recording):
    tree = board(recording)
    look(tree)
    assert tree.writes == []


@pytest.mark.parametrize("recording", EXPECTED)
def test_an_examination_is_json(look, recording):
    document = json.loads(json.dumps(look(board(recording)).as_dict()))
    assert document["profile"]["name"] == EXPECTED[recording][0]
    assert len(document["clocks"]) == len(EXPECTED[recording][1])


@pytest.mark.parametrize("recording", [name for name in EXPECTED if EXPECTED[name][1]])
def test_root_may_set_every_clock_of_a_recorded_board(look, recording):
    found = look(board(recording))
    for clock in found.clocks:
        assert clock.writable
        assert verdict(found, f"set the clock of {clock.name}").works
    assert problems(found, "clock") == []


def test_the_power_of_a_raspberry_pi_5_is_asked_of_its_firmware(look):
    # sum of V x I of the 12 rails = 5.9216 W; 1.1451 * 5.9216 + 0.5879 = 7.369 W
    answers = {"pmic_read_adc": PMIC_ANSWER, "get_throttled": "throttled=0x50005"}
    found = look(board("raspberry-pi-5"), firmware=Firmware(lambda command: answers[command]))
    assert found.total.name == "board input, estimated from 12 rails (PMIC)"
    assert found.total.power_w == pytest.approx(7.369, abs=0.001)
    assert found.rails["VDD_CORE"].power_w == pytest.approx(4.501, abs=0.001)
    assert len(found.rails) == 12
    assert found.throttled == ("under-voltage", "throttled")
    assert found.throttled_before == ("under-voltage", "throttled")
    assert [problem.mend for problem in problems(found, "throttled")] == [
        "use a stronger power supply and a short, thick cable",
        None,
    ]


def test_the_firmware_tells_what_was_and_is_no_more(look):
    firmware = Firmware({"get_throttled": "throttled=0x60000", "pmic_read_adc": "error=1"}.get)
    found = look(board("raspberry-pi-4"), firmware=firmware)
    assert found.throttled == ()
    assert found.throttled_before == ("frequency capped", "throttled")
    assert problems(found, "throttled") == []


def test_offline_cores_are_told(look):
    notes = look(board("jetson-xavier-nx")).notes
    assert "policy2: all its cores are offline; it is left out" in notes
    assert "policy4: all its cores are offline; it is left out" in notes


def test_a_grid_of_operating_points_is_told(look):
    (note,) = [note for note in look(board("amd-desktop")).notes if "grid" in note]
    assert note.startswith("cpu: the driver amd-pstate lists no frequencies")


def test_a_server_in_a_cloud_has_no_clocks_and_nothing_is_made_up(look):
    found = look(board("server-without-cpufreq"))
    assert verdict(found, "set clocks").works is False
    assert verdict(found, "measure energy").works is False
    assert (found.temperature_c, found.throttled, found.throttled_before, found.power_mode) == (None, None, None, None)
    (problem,) = problems(found, "clock of the processor")
    assert "this is a virtual machine" in problem.why
    assert problem.mend is None


@pytest.mark.parametrize(
    ("recording", "extent"),
    [
        ("jetson-tx2", "the whole"),
        ("x86-laptop-intel-pstate", "the whole"),
        ("amd-desktop", "the processor alone, not the board"),
        ("raspberry-pi-4", "the whole"),
    ],
)
def test_what_the_meter_of_a_recorded_board_covers_is_said(look, recording, extent):
    assert look(board(recording)).total_extent == extent


def test_processor_counters_are_said_to_be_of_the_processor_alone(look):
    assert verdict(look(board("amd-desktop")), "measure energy") == (
        "measure energy",
        True,
        "of the processor alone, not the board: package-0 (RAPL), windows from 0.01 s",
    )


def test_counters_of_processor_memory_and_card_are_said_to_be_of_these(look):
    tree = board("amd-desktop")
    for name, text in {"name": "dram", "energy_uj": "1000", "max_energy_range_uj": "65532610987"}.items():
        tree.add_file(f"/sys/class/powercap/intel-rapl:0:1/{name}", f"{text}\n")
    assert look(tree).total_extent == "the processor and its memory alone, not the board"
    found = look(tree, gpus=[a_card()])
    assert found.total_extent == "the processor and its memory and the GPU alone, not the board"
    assert found.as_dict()["energy"]["total_extent"] == found.total_extent


# --- permissions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recording", "clock", "first", "count"),
    [
        ("raspberry-pi-4", "cpu", "/sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq", 2),
        ("jetson-tx2", "gpu", "/sys/class/devfreq/17000000.gp10b/min_freq", 2),
        ("amd-desktop", "cpu", "/sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq", 32),
    ],
)
def test_what_an_ordinary_user_may_not_write_is_named_with_the_command_that_mends_it(
    look, recording, clock, first, count
):
    tree = board(recording)
    tree.as_user(True)
    found = look(tree)
    (problem,) = problems(found, f"clock {clock}")
    assert problem.why == f"this user may not write {first} and {count - 1} more"
    assert problem.mend == FIX
    assert verdict(found, f"set the clock of {clock}") == (
        f"set the clock of {clock}",
        False,
        f"this user may not write {count} files: observed only",
    )


def test_a_member_of_the_group_may_set_the_clocks(look):
    tree = board("raspberry-pi-4")
    for name in ("scaling_min_freq", "scaling_max_freq"):
        path = f"/sys/devices/system/cpu/cpufreq/policy0/{name}"
        tree.set_mode(path, 0o664)
        tree.set_owner(path, 0, 990)
    tree.as_user(True, groups=[990])
    found = look(tree)
    assert found.clocks[0].writable
    assert problems(found, "clock cpu") == []


def test_a_read_only_sys_is_a_container_s(look):
    tree = board("raspberry-pi-4")
    tree.read_only = True
    tree.add_file("/proc/self/mounts", "overlay / overlay rw,relatime 0 0\nsysfs /sys sysfs ro,nosuid,nodev 0 0\n")
    (problem,) = problems(look(tree), "clock cpu")
    assert "/sys is mounted read-only here, as in a container" in problem.why
    assert "docker run" in problem.mend


def test_energy_counters_that_only_root_may_read_are_one_problem(look):
    tree = board("x86-laptop-intel-pstate")
    tree.as_user(True)
    (problem,) = problems(look(tree), "RAPL")
    assert problem.what == "RAPL zones package-0, package-0 core, package-0 uncore, psys"
    assert problem.mend == FIX


def test_a_user_who_is_not_in_the_group_video_cannot_ask_a_raspberry_pi(look):
    tree = board("raspberry-pi-5")
    tree.as_user(True)
    (problem,) = problems(look(tree), "Raspberry Pi firmware")
    assert problem.mend.startswith('sudo usermod -aG video "$USER"')


def test_where_the_journal_cannot_be_kept_no_clock_is_set(look, tmp_path):
    tree = board("raspberry-pi-4")
    tree.add_file(f"{tmp_path}/run/edgeexit/lock", "", 0o644)
    tree.as_user(True)
    (problem,) = problems(look(tree), "journal of the clocks")
    assert str(tmp_path / "run" / "edgeexit") in problem.why
    assert problem.mend == FIX


def test_the_journal_of_a_user_may_be_kept_where_the_group_may_write(look, tmp_path):
    tree = board("raspberry-pi-4")
    tree.add_folder(f"{tmp_path}/run/edgeexit")
    assert problems(look(tree), "journal of the clocks") == []


# --- limits, rivals, the journal -------------------------------------------------------------------


def test_a_pinned_clock_is_told_with_the_command_that_lets_it_go(look):
    tree = FakeTree()
    tree.add_cpufreq_policy(0, limit_min_khz=1_500_000)
    found = look(tree)
    (problem,) = problems(found, "clock cpu")
    assert problem.why == "is pinned: minimum = maximum = 1500 MHz, so there is nothing to choose"
    assert problem.mend == "echo 600000 | sudo tee /sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq"
    assert verdict(found, "set the clock of cpu").works is False


def test_a_cap_is_told_and_a_command_for_all_policies_of_the_domain(look):
    tree = FakeTree()
    for number in range(2):
        tree.add_cpufreq_policy(number, cpus=(number,), limit_max_khz=1_000_000)
    (problem,) = problems(look(tree), "clock cpu")
    assert problem.why.startswith("may go up to 1000 MHz only, the chip could 1500 MHz")
    assert problem.mend == "echo 1500000 | sudo tee /sys/devices/system/cpu/cpufreq/policy*/scaling_max_freq"


def test_a_cap_on_a_jetson_is_its_power_mode(look):
    tree = board("jetson-orin-nano-jp6")
    tree.add_file("/var/lib/nvpmodel/status", "pmode:0001 fmode:quiet\n")
    tree.add_file("/etc/nvpmodel.conf", "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=7W >\n")
    tree.set_text("/sys/class/devfreq/17000000.gpu/max_freq", "408000000\n")
    found = look(tree)
    assert found.power_mode == "1 (7W)"
    (problem,) = problems(found, "clock gpu")
    assert problem.why.startswith("may go up to 408 MHz only, the chip could 624.75 MHz")
    assert problem.mend == "sudo nvpmodel -m 0   # the mode without limits"


def test_a_gpu_pinned_by_jetson_clocks_is_let_go_by_it(look):
    tree = board("jetson-tx2")
    tree.set_text("/sys/class/devfreq/17000000.gp10b/min_freq", "1300500000\n")
    tree.add_file("/root/l4t_dfs.conf", "")
    found = look(tree)
    (problem,) = problems(found, "clock gpu")
    assert problem.mend == "sudo jetson_clocks --restore   # or reboot"
    assert [rival.name for rival in found.rivals] == ["jetson_clocks"]


def test_a_power_mode_without_a_name_is_its_number(look):
    tree = FakeTree()
    tree.add_file("/var/lib/nvpmodel/status", "pmode:0002\n")
    assert look(tree).power_mode == "2"


def test_a_rival_is_named_with_its_process_and_the_command_that_stops_it(look):
    tree = board("amd-desktop")
    tree.add_file("/proc/812/comm", "power-profiles-\n")
    found = look(tree)
    assert [(rival.name, rival.pid) for rival in found.rivals] == [("power-profiles-daemon", 812)]
    (problem,) = problems(found, "power-profiles-daemon (process 812)")
    assert problem.mend == "sudo systemctl stop power-profiles-daemon"


def test_clocks_that_a_dead_process_left_changed_are_told(look, tmp_path):
    folder = tmp_path / "run" / "edgeexit"
    tree = a_machine()
    tree.add_cpufreq_policy(0)
    (domain,) = find_cpufreq(tree)
    lease = Lease({"cpu": domain}, journal=journal_of(tree, folder))
    lease.set({"cpu": 1_500_000_000})
    held = look(tree)
    assert held.journal == ("held", os.getpid(), None)
    assert problems(held, "clocks taken")[0].mend == f"wait for it, or stop it: kill {os.getpid()}"
    die(tree, folder, lease)
    abandoned = look(tree)
    assert abandoned.journal == ("abandoned", os.getpid(), None)
    (problem,) = problems(abandoned, "clocks left behind")
    assert problem.mend == f"sudo {sys.executable} -m edgeexit restore"
    assert str(folder / "lease.json") in problem.why


@pytest.mark.parametrize("recording", ["raspberry-pi-4", "server-without-cpufreq"])
def test_a_journal_that_cannot_be_read_is_told_also_where_there_is_no_clock(look, tmp_path, recording):
    folder = tmp_path / "run" / "edgeexit"
    folder.mkdir(parents=True)
    (folder / "lease.json").write_text("{", encoding="utf-8")
    found = look(board(recording))
    assert found.journal.state == "unreadable"
    (problem,) = problems(found, "journal of the clocks")
    assert str(folder / "lease.json") in problem.why
    assert problem.mend == f"sudo rm {folder}/lease.json   # look at it first"


def test_clocks_that_were_left_changed_are_told_where_no_clock_is_found_any_more(look, tmp_path):
    folder = tmp_path / "run" / "edgeexit"
    tree = a_machine()
    tree.add_cpufreq_policy(0)
    lease = Lease({"cpu": find_cpufreq(tree)[0]}, journal=journal_of(tree, folder))
    lease.set({"cpu": 1_500_000_000})
    without_clocks = a_machine()
    die(without_clocks, folder, lease)
    (problem,) = problems(look(without_clocks), "clocks left behind")
    assert problem.mend == f"sudo {sys.executable} -m edgeexit restore"


# --- what a machine may lack -----------------------------------------------------------------------


def test_a_gpu_that_should_be_there_is_missed(look):
    tree = board("jetson-orin-nano-jp6")
    tree.remove_devfreq(tree.devfreqs[0])
    (problem,) = problems(look(tree), "clock of the GPU")
    assert "/sys/class/devfreq has none of 17000000.ga10b, 17000000.gpu" in problem.why
    assert "modprobe nvgpu" in problem.mend


@pytest.mark.parametrize(
    ("cpuinfo", "mend"),
    [
        (
            "vendor_id: GenuineIntel\nflags : fpu vme",
            "sudo modprobe acpi-cpufreq   # or allow P-states in the machine's",
        ),
        ("CPU implementer : 0x41\n", "sudo modprobe cpufreq-dt   # or a kernel with the board's cpufreq driver"),
        ("vendor_id: AuthenticAMD\nflags : fpu hypervisor lm", None),
    ],
)
def test_a_machine_without_cpufreq_is_told_what_to_try(look, cpuinfo, mend):
    tree = FakeTree()
    tree.add_file("/proc/cpuinfo", cpuinfo)
    (problem,) = problems(look(tree), "clock of the processor")
    assert (problem.mend or "").startswith(mend or "")
    assert (problem.mend is None) == (mend is None)


def test_memory_and_versions_are_told(look):
    tree = FakeTree()
    tree.add_file("/proc/meminfo", "MemTotal:        7650336 kB\nMemFree:  1 kB\nMemAvailable:    5123456 kB\n")
    found = look(tree)
    assert (found.memory_bytes, found.memory_available_bytes) == (7_833_944_064, 5_246_418_944)
    assert set(found.software) == {"edgeexit", "python", "onnxruntime", "numpy", "nvidia-ml-py"}
    assert verdict(found, "run networks").works


def test_without_onnx_runtime_no_network_runs(look, monkeypatch):
    from edgeexit.device import doctor

    def version(package):
        raise doctor.PackageNotFoundError(package)

    monkeypatch.setattr(doctor, "version", version)
    found = look(FakeTree())
    assert found.software["onnxruntime"] is None
    assert verdict(found, "run networks") == ("run networks", False, "no ONNX Runtime: pip install onnxruntime")


def test_a_board_whose_profile_has_figures_can_be_simulated(look):
    assert verdict(look(board("raspberry-pi-4")), "simulate this board") == (
        "simulate this board",
        True,
        "--device simulated:raspberry-pi-4, by 13 points",
    )
    assert "no figures" in verdict(look(board("raspberry-pi-3")), "simulate this board").why


def test_what_real_work_costs_has_to_be_measured(look):
    assert "'edgeexit measure BUNDLE'" in verdict(look(board("raspberry-pi-4")), "plan by costs").why


def test_heat_since_boot_is_counted_by_the_cores_of_x86(look):
    tree = board("x86-laptop-intel-pstate")
    assert look(tree).throttled_before is None
    path = "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    tree.add_file(path, "0\n")
    assert look(tree).throttled_before == ()
    tree.set_text(path, "17\n")
    assert look(tree).throttled_before == ("thermal: processor",)


def test_over_current_since_boot_is_counted_by_a_jetson(look):
    tree = board("jetson-orin-nano-jp6")
    tree.add_file("/sys/class/hwmon/hwmon9/name", "soctherm_oc\n")
    tree.add_file("/sys/class/hwmon/hwmon9/oc1_event_cnt", "3\n")
    assert look(tree).throttled_before == ("over-current",)


def test_the_kernel_s_own_word_of_the_raspberry_pi_s_firmware_is_read(look):
    tree = board("raspberry-pi-4")
    tree.add_file("/sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n")
    assert look(tree).throttled_before == ("under-voltage", "throttled")


def test_a_hot_machine_is_told_to_be_cooled(look):
    tree = FakeTree()
    tree.add_file("/sys/class/thermal/cooling_device0/type", "cpufreq-cpu0\n")
    tree.add_file("/sys/class/thermal/cooling_device0/cur_state", "2\n")
    found = look(tree)
    assert found.throttled == ("thermal: cpufreq-cpu0",)
    assert problems(found, "throttled")[0].mend == "cool it: a heat sink, a fan, or less work"


# --- NVIDIA cards ----------------------------------------------------------------------------------


def test_a_card_is_a_clock_a_meter_and_a_thermometer(look):
    found = look(board("amd-desktop"), gpus=[a_card()])
    assert found.profile.name == "generic-nvidia-gpu"
    assert found.cards == ("NVIDIA A2",)
    clock = found.clocks[1]
    assert (clock.name, clock.kind, clock.driver, clock.present_hz) == ("gpu", "nvml", "NVIDIA A2", 210_000_000)
    assert found.total.name == "package-0 (RAPL) + gpu (NVML)"
    assert found.temperature_c == 71.0
    assert found.throttled == ("power cap",)
    assert verdict(found, "set the clock of gpu") == (
        "set the clock of gpu",
        None,
        "2 operating points, set by NVML's locked clocks, as root",
    )


def test_what_a_card_cannot_is_told_and_a_jetson_s_nvml_changes_nothing(look):
    card = a_card(domain=None, meter=None, cannot={"clocks": "not supported"}, read_event_reasons=lambda: None)
    card.read_temperature_c = lambda: None
    found = look(board("jetson-orin-nano-jp6"), gpus=[card])
    assert found.profile.name == "jetson-orin-nano"
    assert [clock.name for clock in found.clocks] == ["cpu", "gpu"]
    assert "NVIDIA A2: NVML does not give its clocks (not supported)" in found.notes


def test_why_there_is_no_card_is_told(look):
    assert look(FakeTree(), nvml_reason="there is no libnvidia-ml.so.1").nvml_reason == "there is no libnvidia-ml.so.1"


# --- a new board -----------------------------------------------------------------------------------

NEW_PROFILE = {
    "format": 1,
    "name": "acme-rocket",
    "title": "ACME Rocket",
    "match": ["acme,rocket"],
    "clocks": {"cpu": {"kind": "cpufreq"}, "gpu": {"kind": "devfreq", "nodes": ["fb000000.npu"]}},
    "total_rails": ["VBUS", "VBAT"],
    "notes": ["keep away from fire"],
    "provenance": {"clocks": "made up", "match": "made up", "total_rails": "made up", "model": "None: made up"},
    "model": None,
}
NEW_RECORDING = r"""edgeexit board recording 1
# made up
/proc/device-tree/model 0444 0:0 := ACME Rocket Mk 2\0
/proc/device-tree/compatible 0444 0:0 := acme,rocket\0acme,soc9\0
/sys/devices/system/cpu/cpufreq/policy0/affected_cpus 0444 0:0 = 0 1
/sys/devices/system/cpu/cpufreq/policy0/related_cpus 0444 0:0 = 0 1
/sys/devices/system/cpu/cpufreq/policy0/scaling_driver 0444 0:0 = acme-cpufreq
/sys/devices/system/cpu/cpufreq/policy0/scaling_governor 0644 0:0 = schedutil
/sys/devices/system/cpu/cpufreq/policy0/scaling_available_governors 0444 0:0 = schedutil userspace
/sys/devices/system/cpu/cpufreq/policy0/scaling_available_frequencies 0444 0:0 = 500000 900000 1300000
/sys/devices/system/cpu/cpufreq/policy0/cpuinfo_min_freq 0444 0:0 = 500000
/sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq 0444 0:0 = 1300000
/sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq 0644 0:0 = 500000
/sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq 0644 0:0 = 1300000
/sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq 0444 0:0 = 500000
/sys/devices/system/cpu/cpufreq/policy0/scaling_setspeed 0644 0:0 = <unsupported>
/sys/class/devfreq/fb000000.npu -> ../../devices/platform/fb000000.npu/devfreq/fb000000.npu
/sys/devices/platform/fb000000.npu/devfreq/fb000000.npu/available_frequencies 0444 0:0 = 200000000 800000000
/sys/devices/platform/fb000000.npu/devfreq/fb000000.npu/governor 0644 0:0 = simple_ondemand
/sys/devices/platform/fb000000.npu/devfreq/fb000000.npu/min_freq 0644 0:0 = 200000000
/sys/devices/platform/fb000000.npu/devfreq/fb000000.npu/max_freq 0644 0:0 = 800000000
/sys/devices/platform/fb000000.npu/devfreq/fb000000.npu/cur_freq 0444 0:0 = 200000000
/sys/class/hwmon/hwmon0/name 0444 0:0 = ina3221
/sys/class/hwmon/hwmon0/in1_label 0444 0:0 = VBUS
/sys/class/hwmon/hwmon0/in1_input 0444 0:0 = 5000
/sys/class/hwmon/hwmon0/curr1_input 0444 0:0 = 400
/sys/class/hwmon/hwmon0/in2_label 0444 0:0 = VBAT
/sys/class/hwmon/hwmon0/in2_input 0444 0:0 = 4000
/sys/class/hwmon/hwmon0/curr2_input 0444 0:0 = 250
"""


def test_a_new_board_is_two_data_files_and_no_code(look, tmp_path, monkeypatch):
    (tmp_path / "acme-rocket.json").write_text(json.dumps(NEW_PROFILE), encoding="utf-8")
    (tmp_path / "acme-rocket.txt").write_text(NEW_RECORDING, encoding="utf-8")
    monkeypatch.setenv("EDGEEXIT_PROFILES", str(tmp_path))
    tree = FakeTree.from_recording((tmp_path / "acme-rocket.txt").read_text(encoding="utf-8"))
    found = look(tree)
    assert found.board.title == "ACME Rocket Mk 2"
    assert (found.profile.name, found.matched) == ("acme-rocket", "acme,rocket")
    assert [(clock.name, clock.operating_points_hz) for clock in found.clocks] == [
        ("cpu", (500_000_000, 900_000_000, 1_300_000_000)),
        ("gpu", (200_000_000, 800_000_000)),
    ]
    assert found.total.power_w == 3.0  # 5 V x 0.4 A + 4 V x 0.25 A
    assert found.notes[0] == "keep away from fire"
    assert found.problems == ()


def test_a_damaged_profile_of_ones_own_is_a_problem_and_no_more(look, tmp_path):
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    found = look(board("raspberry-pi-4"), roots=(default_roots()[0], tmp_path))
    assert found.profile.name == "raspberry-pi-4"
    (problem,) = problems(found, "broken.json")
    assert problem.mend == f"mend or delete {tmp_path / 'broken.json'}"
