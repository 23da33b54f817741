"""A fake machine: a file tree in memory whose clocks answer as a Linux kernel's do.

    tree = FakeTree()
    policy = tree.add_cpufreq_policy(0, table_khz=(600_000, 1_500_000), governor="userspace")
    tree.sys_write(tree.sys_open(f"{policy.folder}/scaling_setspeed", os.O_WRONLY), b"700000")
    assert policy.cur_khz == 1_500_000

It stands wherever an `edgeexit.device.sysfs.Tree` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from edgeexit.clock import ManualClock
from edgeexit.device.board_text import format_recording, parse_board
from edgeexit.testing.fake_cpufreq import FakePolicy, PolicySpec
from edgeexit.testing.fake_devfreq import DevfreqSpec, FakeDevfreq
from edgeexit.testing.memory_tree import MemoryTree
from edgeexit.testing.playback import OSRELEASE, play_back

if TYPE_CHECKING:
    from edgeexit.protocols import Clock

_CPUS = "/sys/devices/system/cpu"
GPU_DEVICE = "/sys/devices/17000000.gv11b"
GPU_FREQUENCIES_HZ = (306_000_000, 408_000_000, 510_000_000, 612_000_000)


class FakeTree(MemoryTree):
    """A tree in memory to which cpufreq policies and devfreq devices can be added.

    Args:
        clock: Measures time_in_state and trans_stat, and waits for slow drivers; by default one that stands still.

    Attributes:
        policies: The cpufreq policies so far.
        devfreqs: The devfreq devices so far.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__()
        self.clock: Clock = clock if clock is not None else ManualClock()
        self.policies: list[FakePolicy] = []
        self.devfreqs: list[FakeDevfreq] = []

    @classmethod
    def from_recording(cls, text: str, clock: Clock | None = None) -> FakeTree:
        """Return a recorded board (see `edgeexit.device.recording`) whose cpufreq and devfreq files are alive.

        All else stays as it was recorded. The kernel's release, which some of its behaviour depends on, is the
        recorded one, or 6.1 where none is.

        Raises:
            RecordingError: If the recording is damaged.
        """
        tree = cls(clock)
        play_back(tree, parse_board(text))
        return tree

    def to_recording(self, note: str = "a fake machine") -> str:
        """Return a recording of every file as it is now, from which `from_recording` makes another such tree.

        Requests that do not show, and what a test has told a policy or a device besides, are not in it.
        """
        if self.policies and not self.exists(OSRELEASE):
            self.add_file(OSRELEASE, ".".join(str(part) for part in self.policies[0].spec.kernel) + ".0\n")
        return format_recording([note], self.entries())

    def add_cpufreq_policy(self, number: int = 0, **options: Any) -> FakePolicy:
        """Add a cpufreq policy; `options` are the fields of `PolicySpec`.

        Without any it is a Raspberry Pi 4's: four CPUs, 600 to 1500 MHz, the governor ondemand.
        """
        policy = FakePolicy(self, number, PolicySpec(**options))
        self.policies.append(policy)
        if not self.exists(f"{_CPUS}/possible"):
            self.add_file(f"{_CPUS}/possible", lambda: _ranges(cpu for each in self.policies for cpu in each.spec.cpus))
        self.add_file(f"{_CPUS}/online", lambda: _ranges(cpu for each in self.policies for cpu in each.online_cpus))
        return policy

    def add_devfreq(
        self,
        name: str = "17000000.gv11b",
        frequencies_hz: tuple[int, ...] = GPU_FREQUENCIES_HZ,
        *,
        device: str = GPU_DEVICE,
        **options: Any,
    ) -> FakeDevfreq:
        """Add a devfreq device and its link in /sys/class/devfreq; `options` are the fields of `DevfreqSpec`."""
        node = FakeDevfreq(self, name, DevfreqSpec(frequencies_hz=frequencies_hz, device=device, **options))
        self.devfreqs.append(node)
        return node

    def remove_devfreq(self, node: FakeDevfreq) -> None:
        """Let a devfreq device go away, as when its driver is unloaded; open files of it answer ENODEV."""
        self.remove(node.folder)
        self.remove(f"/sys/class/devfreq/{node.name}")
        self.devfreqs.remove(node)


def _ranges(cpus: Iterable[int]) -> str:
    """Return CPU numbers as the kernel lists them: "0-3,6"."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs) + "\n"
