"""One contract for every kind of clock: the fake kernel, the same by true system calls, NVML, and the simulated board.

The virtual boards are held to it too, inside their guests: tests/board.
"""

from contextlib import ExitStack

import pytest

from edgeexit.device.cpufreq import find_cpufreq
from edgeexit.device.devfreq import find_devfreq
from edgeexit.device.host import HostDevice
from edgeexit.device.nvml import find_gpus
from edgeexit.device.profile import load_profile
from edgeexit.device.simulated import SimulatedDevice
from edgeexit.errors import ClockNotWritable
from edgeexit.testing.devices import check_clock_domain, check_device
from edgeexit.testing.fake_sysfs import FakeTree
from edgeexit.testing.fuse import mounted, why_not

pytest_plugins = ("nvml_stub",)

INTEL_PSTATE = {
    "driver": "intel_pstate",
    "table_khz": None,
    "min_khz": 800_000,
    "max_khz": 4_200_000,
    "governors": ("performance", "powersave"),
    "governor": "powersave",
}
PROCESSORS = {
    "userspace": {},
    "limits": {"governors": ("performance", "schedutil"), "governor": "schedutil"},
    "limits that show late": {"governors": ("performance", "schedutil"), "governor": "schedutil"},
    "kernel 4.9": {"kernel": (4, 9)},
    "limits on kernel 4.9": {"kernel": (4, 9), "governors": ("performance", "ondemand")},
    "acpi-cpufreq": {"driver": "acpi-cpufreq", "table_khz": (1_500_000, 1_000_000, 750_000, 600_000)},
    "intel_pstate": INTEL_PSTATE,
}


def processor(name):
    tree = FakeTree()
    policy = tree.add_cpufreq_policy(0, **PROCESSORS[name])
    if name == "limits that show late":
        policy.limits_lag_s = 0.003
    return tree


def many_cores():
    """A PC: every core has a policy of its own."""
    tree = FakeTree()
    for number in range(4):
        tree.add_cpufreq_policy(number, cpus=(number,))
    return tree


def graphics(kernel=(6, 1)):
    tree = FakeTree()
    tree.add_devfreq(kernel=kernel)
    return tree


TREES = {
    **{name: lambda name=name: processor(name) for name in PROCESSORS},
    "many cores": many_cores,
    "devfreq": graphics,
    "devfreq on kernel 4.9": lambda: graphics((4, 9)),
}


def check_all(tree):
    domains = (*find_cpufreq(tree), *find_devfreq(tree))
    assert len(domains) == 1
    for domain in domains:
        check_clock_domain(domain)
        domain.close()


@pytest.mark.parametrize("name", TREES)
def test_the_fake_kernel_keeps_the_contract(name):
    check_all(TREES[name]())


@pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
@pytest.mark.parametrize("name", [name for name in TREES if name != "limits that show late"])
def test_true_system_calls_keep_the_contract(name, tmp_path):
    with mounted(TREES[name](), tmp_path) as machine:
        check_all(machine.tree)


@pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
def test_limits_that_show_late_keep_the_contract_by_true_system_calls(tmp_path):
    with mounted(processor("limits"), tmp_path) as machine:
        machine.control("lag policy0 0.003")
        check_all(machine.tree)


def test_nvml_keeps_the_contract(nvml_stub):
    with find_gpus() as found:
        check_clock_domain(found.gpus[0].domain)


def test_nvml_without_permission_says_so(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlDeviceSetGpuLockedClocks=4")
    with find_gpus() as found, pytest.raises(ClockNotWritable, match="root"):
        check_clock_domain(found.gpus[0].domain)


@pytest.mark.parametrize("name", ["jetson-tx2", "raspberry-pi-4", "raspberry-pi-5", "jetson-nano", "jetson-orin-nano"])
def test_the_simulated_boards_keep_the_contract(name):
    check_device(SimulatedDevice(load_profile(name)))


def test_a_whole_machine_keeps_the_contract(tmp_path):
    tree = processor("userspace")
    tree.add_devfreq()
    with ExitStack() as stack:
        board = stack.enter_context(HostDevice(tree=tree, run_folder=tmp_path, nvml=False))
        assert sorted(board.domains) == ["cpu", "gpu"]
        check_device(board)
