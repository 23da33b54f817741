"""Times what a clock change costs beyond the write itself, and whether an inference waits for it.

    python scripts/bench_clocks.py [--changes N] [--rounds N]

Prints, for a clock domain of plain files in memory (so that the kernel's part is as small as it can be):

* the bare write: one pwrite on a file that is kept open;
* the same change through the lease, with its journal in /dev/shm: median and 99th percentile, and the difference to the
  bare write, which is our own time (limit: 60 us);
* inferences while the clocks change before every segment and each change takes 10 ms: as they are without clock
  changes, with the writer thread, and waiting for each change.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

import edgeexit
from edgeexit.device.cpufreq import FOLDER, find_cpufreq
from edgeexit.device.host import machine_journal
from edgeexit.device.lease import Lease
from edgeexit.device.simulated import SimulatedDevice
from edgeexit.device.sysfs import Tree
from edgeexit.exits.threshold import Threshold
from edgeexit.protocols import Applied, ClockDomain, Decision, Observation

LIMIT_US = 60.0
SLOW_S = 0.010
FREQUENCIES_KHZ = (600_000, 750_000, 1_000_000, 1_500_000)


class PlainFiles(Tree):
    """Plain files instead of the kernel's: a shorter text must cover a longer one."""

    def sys_write(self, descriptor: int, data: bytes) -> int:
        """Write a file from its start, filled up with blanks."""
        return os.pwrite(descriptor, data.ljust(16), 0)


def make_policy(root: Path, kernel_governors: str) -> Tree:
    """Lay a cpufreq policy out as plain files, which keep what is written to them."""
    policy = root / FOLDER.lstrip("/") / "policy0"
    policy.mkdir(parents=True)
    frequencies = " ".join(map(str, FREQUENCIES_KHZ))
    texts = {
        "affected_cpus": "0 1 2 3",
        "cpuinfo_max_freq": "1500000",
        "cpuinfo_min_freq": "600000",
        "scaling_available_frequencies": frequencies,
        "scaling_available_governors": kernel_governors,
        "scaling_cur_freq": "600000",
        "scaling_driver": "cpufreq-dt",
        "scaling_governor": kernel_governors.split(maxsplit=1)[0],
        "scaling_max_freq": "1500000",
        "scaling_min_freq": "600000",
        "scaling_setspeed": "600000",
    }
    for name, text in texts.items():
        (policy / name).write_text(text.ljust(16) + "\n", encoding="ascii")
    return PlainFiles(root)


def time_us(change: Callable[[int], object], frequencies: Iterator[int], changes: int) -> list[float]:
    """Return the time of each of `changes` calls, in microseconds."""
    times = []
    for _ in range(changes):
        frequency = next(frequencies)
        start_s = time.perf_counter()
        change(frequency)
        times.append((time.perf_counter() - start_s) * 1e6)
    return times


def bench_changes(kernel_governors: str, changes: int) -> dict[str, list[float]]:
    """Time the bare write, the domain and the lease, in turn."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        tree = make_policy(Path(folder), kernel_governors)
        domain = find_cpufreq(tree)[0]
        bare_file = Path(folder) / "bare"  # not the domain's own: the lease would leave that to a rival
        descriptor = os.open(bare_file, os.O_WRONLY | os.O_CREAT)
        try:
            with Lease({domain.name: domain}, journal=machine_journal(tree, Path(folder) / "run")) as lease:
                lease.set({domain.name: 600_000_000})

                def bare(hz: int) -> None:
                    os.pwrite(descriptor, (b"%d" % (hz // 1000)).ljust(16), 0)

                def through_lease(hz: int) -> None:
                    lease.set({domain.name: hz})

                points = domain.operating_points_hz
                times: dict[str, list[float]] = {"bare write": [], "through the lease": []}
                for _ in range(10):
                    times["bare write"] += time_us(bare, cycle(points), changes // 10)
                    times["through the lease"] += time_us(through_lease, cycle(points), changes // 10)
                return times
        finally:
            os.close(descriptor)


class SlowDomain:
    """A domain whose driver takes `SLOW_S` for every change, as a Jetson's GPU may."""

    name = "gpu"
    knobs = ()

    def __init__(self, domain: ClockDomain) -> None:
        self._domain = domain
        self.operating_points_hz = domain.operating_points_hz

    def read_hz(self) -> int:
        """Return the frequency that is set."""
        return self._domain.read_hz()

    def set_hz(self, frequency_hz: int) -> Applied:
        """Take a while, then set it."""
        time.sleep(SLOW_S)
        return self._domain.set_hz(frequency_hz)


class SlowBoard(SimulatedDevice):
    """A real-time board with one slow clock."""

    simulated = False

    def __init__(self) -> None:
        super().__init__(edgeexit.load_profile("jetson-tx2"))
        self._slow = {"gpu": SlowDomain(super().domains["gpu"])}
        self._real_clock = edgeexit.open_device("host").clock

    @property
    def domains(self) -> dict[str, SlowDomain]:
        """The slow clock."""
        return self._slow

    @property
    def clock(self) -> Any:
        """Real time."""
        return self._real_clock


class Alternate:
    """Asks for another clock before every piece of work."""

    name = "alternate"

    def __init__(self, points: tuple[int, ...]) -> None:
        self._points = cycle(points)

    def decide(self, observation: Observation) -> Decision:
        """Return the next frequency."""
        return Decision({"gpu": next(self._points)})


def bench_inference(rounds: int) -> dict[str, float]:
    """Return the median latency of an inference in milliseconds, for each way of setting clocks."""
    bundle = edgeexit.load_bundle("fashion-resnet")
    image = np.zeros((1, 1, 28, 28), np.float32)
    board = SlowBoard()
    ways = {"no clock is changed": (None, None), "writer thread": (True, False), "waiting": (True, True)}
    sessions = {}
    for way, (changes, waits) in ways.items():
        governor = Alternate(board.domains["gpu"].operating_points_hz) if changes else None
        rule = Threshold(bundle.exit_count, threshold=1.0)  # looks at every exit
        sessions[way] = edgeexit.Session(bundle, board, governor, exit_rule=rule, wait_for_clocks=waits)
    latencies: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, session in sessions.items():
            latencies[way].append(session.infer(image).latency_s * 1e3)
    for session in sessions.values():
        session.close()
    return {way: statistics.median(values) for way, values in latencies.items()}


def main() -> int:
    """Run both benchmarks and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--changes", type=int, default=5000, help="clock changes to time [5000]")
    parser.add_argument("--rounds", type=int, default=100, help="inferences to time [100]")
    options = parser.parse_args()
    worst = 0.0
    for kernel_governors in ("ondemand userspace", "powersave performance"):
        way = "userspace" if "userspace" in kernel_governors else "limits (two files)"
        print(f"clock change by {way}, times in us")
        times = bench_changes(kernel_governors, options.changes)
        for name, values in times.items():
            print(f"  {name:18s} median {statistics.median(values):7.1f}   p99 {np.percentile(values, 99):7.1f}")
        own = statistics.median(times["through the lease"]) - statistics.median(times["bare write"])
        worst = max(worst, own)
        print(f"  our own time       median {own:7.1f}   (limit {LIMIT_US:g})")
    print(f"inference while every change of clock takes {SLOW_S * 1e3:g} ms, median latency in ms")
    for way, latency_ms in bench_inference(options.rounds).items():
        print(f"  {way:20s} {latency_ms:7.3f}")
    return 0 if worst <= LIMIT_US else 1


if __name__ == "__main__":
    sys.exit(main())
