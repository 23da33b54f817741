import os
from pathlib import Path

import pytest

from edgeexit.device import HostDevice, Lease, load_profile
from edgeexit.device.host import LoadSensor, machine_journal, read_host_facts
from edgeexit.protocols import Conditions, EnergySource, Workload
from edgeexit.testing.fake_sysfs import FakeTree

BOARDS = Path(__file__).parent.parent.parent / "boards"


def recorded(name):
    return FakeTree.from_recording((BOARDS / f"{name}.txt").read_text(encoding="utf-8"))


@pytest.fixture
def open_board(tmp_path):
    opened = []

    def open_(tree, **options):
        opened.append(HostDevice(tree=tree, run_folder=tmp_path / "run", nvml=False, **options))
        return opened[-1]

    yield open_
    for board in opened:
        board.close()


def test_a_machine_without_clocks_and_sensors_offers_none(open_board):
    host = open_board(FakeTree())
    assert dict(host.domains) == {}
    assert host.meter is None
    assert dict(host.rails) == {}
    assert not host.simulated
    assert host.name == "generic-linux"


@pytest.mark.parametrize(
    ("board", "domains", "meter"),
    [
        ("raspberry-pi-4", ["cpu"], None),
        ("jetson-tx2", ["cpu", "gpu"], "VDD_IN"),
        ("jetson-orin-nano-jp6", ["cpu", "gpu"], "VDD_IN"),
        ("x86-laptop-intel-pstate", ["cpu"], None),
        ("server-without-cpufreq", [], None),
    ],
)
def test_a_recorded_board_offers_what_it_has(open_board, board, domains, meter):
    host = open_board(recorded(board))
    assert sorted(host.domains) == domains
    if meter is None:
        assert host.meter is None or host.meter.source is not EnergySource.SIMULATED
    else:
        assert meter in host.meter.name
        assert host.meter.source is EnergySource.INTEGRATED


def test_the_profile_that_is_asked_for_is_taken(open_board):
    assert open_board(FakeTree(), profile=load_profile("jetson-nano")).name == "jetson-nano"


def test_a_gpu_whose_node_appears_late_is_found_when_it_is_asked_for(open_board):
    tree = FakeTree()
    host = open_board(tree)
    assert dict(host.domains) == {}
    tree.add_devfreq()
    assert list(host.domains) == ["gpu"]


def test_what_a_profile_models_is_not_taken_for_this_machine(open_board):
    host = open_board(recorded("raspberry-pi-4"))
    assert host.profile.model is not None
    assert host.modelled_costs(Workload((1,), (1,), (0,))) is None


@pytest.mark.parametrize(("looks_only", "left"), [(False, "ondemand"), (True, "userspace")])
def test_opening_it_gives_back_what_a_dead_process_left_unless_it_is_only_looked_at(
    open_board, tmp_path, caplog, looks_only, left
):
    tree = FakeTree()
    policy = tree.add_cpufreq_policy(0)
    dead = os.fork()
    if dead == 0:  # pragma: no cover  it must end without its clean-up
        host = HostDevice(tree=tree, run_folder=tmp_path / "run", nvml=False)
        Lease(host.domains, journal=machine_journal(tree, tmp_path / "run")).set({"cpu": 1_000_000_000})
        os._exit(0)
    os.waitpid(dead, 0)
    policy.governor = "userspace"  # the fake kernel of the child died with it: this one holds what it wrote
    open_board(tree, looks_only=looks_only)
    assert policy.governor == left
    assert ("cpufreq/policy0/scaling_governor, " in caplog.text) is not looks_only


def test_a_journal_that_cannot_be_read_does_not_keep_the_machine_from_being_opened(open_board, tmp_path, caplog):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lease.json").write_text("{", encoding="ascii")
    open_board(FakeTree())
    assert "cannot be read" in caplog.text


def test_conditions_are_told_without_waiting(open_board):
    host = open_board(recorded("raspberry-pi-4"))
    assert isinstance(host.conditions(), Conditions)


def test_closing_it_twice_does_nothing(open_board):
    host = open_board(FakeTree())
    host.close()
    host.close()


def test_the_load_is_not_known_at_the_first_look_and_a_share_after_it():
    sensor = LoadSensor()
    load, memory_bytes = sensor.read()
    assert load is None
    assert memory_bytes > 1_000_000
    while (load := sensor.read()[0]) is None:
        sum(range(1_000_000))
    assert 0.0 <= load <= 1.0


def test_reporting_work_does_not_move_its_clock_by_the_model():
    host = HostDevice()
    before_s = host.clock.now_s()
    host.work_done(10**15)
    assert host.clock.now_s() - before_s < 1.0


def test_the_processor_is_named_as_the_kernel_names_it(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t: fpu\n", encoding="utf-8")
    assert read_host_facts(cpuinfo).cpu == "Some CPU @ 2.00GHz"


def test_a_raspberry_pi_is_named_by_its_model_line(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nBogoMIPS\t: 108.00\nModel\t\t: Raspberry Pi 4 Model B\n", encoding="utf-8")
    assert read_host_facts(cpuinfo).cpu == "Raspberry Pi 4 Model B"


def test_without_a_name_the_architecture_stands_in():
    facts = read_host_facts(Path("/does/not/exist"))
    assert facts.cpu
    assert facts.cores >= 1
    assert facts.memory_bytes > 1_000_000


COOLING = "/sys/class/thermal/cooling_device0"


def heat(tree, policy, khz):
    """Let the kernel hold the processor's clock down."""
    tree.add_file(f"{COOLING}/type", "cpufreq-cpu0\n")
    tree.add_file(f"{COOLING}/cur_state", "2\n")
    policy.cap_khz(khz)


def cool_down(tree, policy):
    tree.set_text(f"{COOLING}/cur_state", "0\n")
    policy.cap_khz(None)


def test_in_the_heat_no_lease_begins_whose_limits_could_not_be_put_back(open_board, caplog):
    tree = FakeTree()
    policy = tree.add_cpufreq_policy(0, governors=("schedutil", "performance"), governor="schedutil")
    host = open_board(tree)
    heat(tree, policy, 750_000)
    with Lease(host.domains, journal=machine_journal(tree, host.run_folder), clock=tree.clock) as lease:
        assert lease.set({"cpu": 600_000_000}) == ()
        assert tree.writes == []
        assert "heat holds clocks down (cpufreq-cpu0)" in caplog.text
        cool_down(tree, policy)
        assert lease.set({"cpu": 600_000_000})[0].effective_hz == 600_000_000
    assert policy.limits_khz == (600_000, 1_500_000)


def test_in_the_heat_a_lease_by_the_userspace_governor_begins(open_board):
    tree = FakeTree()
    policy = tree.add_cpufreq_policy(0)
    host = open_board(tree)
    heat(tree, policy, 750_000)
    with Lease(host.domains, journal=machine_journal(tree, host.run_folder), clock=tree.clock) as lease:
        assert lease.set({"cpu": 600_000_000})[0].effective_hz == 600_000_000
