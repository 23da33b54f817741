"""The virtual boards once more, as fakes in memory."""

from board.answers import NODE

from edgeexit.testing.fake_sysfs import FakeTree
from edgeexit.testing.memory_tree import MemoryFile

CPU_GOVERNORS = ("powersave", "conservative", "ondemand", "userspace", "performance", "schedutil")


def x86_tree():
    """Return the x86 board: acpi-cpufreq, one policy a CPU."""
    tree = FakeTree()
    for number in (0, 1):
        tree.add_cpufreq_policy(
            number,
            cpus=(number,),
            table_khz=(1_500_000, 1_000_000, 750_000, 600_000),
            current_khz=1_500_000,
            governors=CPU_GOVERNORS,
            governor="performance",
            driver="acpi-cpufreq",
            transition_latency_ns=10_000,
        )
    policy = tree.policies[1]
    tree.add(
        MemoryFile(
            "/sys/devices/system/cpu/cpu1/online",
            lambda: f"{int(policy.online)}\n",
            lambda text: policy.set_cpu_online(1, text.strip() == "1"),
            mode=0o644,
        )
    )
    return tree


def arm64_tree():
    """Return the arm64 board: cpufreq-dt with one policy for four CPUs, and a devfreq GPU."""
    tree = FakeTree()
    tree.add_cpufreq_policy(
        0,
        table_khz=(600_000, 900_000, 1_200_000, 1_500_000),
        current_khz=1_500_000,
        governors=CPU_GOVERNORS,
        governor="performance",
        transition_latency_ns=50_000,
    )
    tree.add_devfreq(
        NODE,
        (162_562_500, 325_125_000, 650_250_000, 1_300_500_000),
        device=f"/sys/devices/platform/{NODE}",
        governors=("simple_ondemand", "userspace"),
        governor="userspace",
        current_hz=1_300_500_000,
        polling_interval_ms=0,
    )
    return tree


TREES = {"x86": x86_tree, "arm64": arm64_tree}
