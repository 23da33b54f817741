"""Machines in memory for the tests of clocks: a process of its own on them, its death, and what their knobs hold."""

import atexit
import os
from pathlib import Path

from edgeexit.device.cpufreq import find_cpufreq
from edgeexit.device.devfreq import find_devfreq
from edgeexit.device.journal import FileJournal
from edgeexit.device.knobs import open_knob
from edgeexit.device.lease import Lease
from edgeexit.testing.fake_sysfs import FakeTree

CPUFREQ = "/sys/devices/system/cpu/cpufreq"
GPU = "/sys/class/devfreq/17000000.gv11b"
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def a_machine(**options):
    """Return a tree in which this process lives; `options` are a FakeTree's."""
    tree = FakeTree(**options)
    tree.add_file(BOOT_ID, "0c2e0000-boot\n", 0o644)
    live(tree)
    return tree


def live(tree, started=7000, state="S"):
    """Let this process be on a machine, as one that was started `started` ticks after the boot."""
    fields = [state, "1", *["0"] * 17, str(started), "0"]
    tree.add_file(f"/proc/{os.getpid()}/stat", f"{os.getpid()} (py (thon) 3) {' '.join(fields)}\n", 0o644)


def die(tree, folder, *leases):
    """Let this process be dead: it runs no more, and what it had open in its journal's folder is closed."""
    tree.remove(f"/proc/{os.getpid()}/stat")
    for lease in leases:
        atexit.unregister(lease.close)
    for link in tuple(Path("/proc/self/fd").iterdir()):
        try:
            target = link.readlink()
        except OSError:  # the descriptor of the folder that is being read
            continue
        if str(target).startswith(str(folder)):
            os.close(int(link.name))


def journal_of(tree, folder):
    """Return the journal of a machine in memory, as a process that has just been started sees it."""
    return FileJournal(lambda key: open_knob(tree, key), folder, tree)


def lease_on(tree, folder):
    """Return a lease on all clocks of a machine in memory, journalled in `folder`."""
    domains = (*find_cpufreq(tree), *find_devfreq(tree))
    return Lease({domain.name: domain for domain in domains}, journal=journal_of(tree, folder), clock=tree.clock)


def fail_with(code):
    """Return a system call that always fails."""

    def call(*_arguments, **_options):
        raise OSError(code, os.strerror(code))

    return call


def knob_texts(tree):
    """Return what every file that a clock can be set by holds, and every tunable of a kernel governor in force."""
    paths = [
        f"{CPUFREQ}/{policy.folder.rpartition('/')[2]}/scaling_{part}"
        for policy in tree.policies
        for part in ("governor", "min_freq", "max_freq", "setspeed")
    ]
    paths += [f"/sys/class/devfreq/{node.name}/{part}_freq" for node in tree.devfreqs for part in ("min", "max")]
    for governor in tree.names(CPUFREQ):
        if not governor.startswith("policy"):
            paths += [f"{CPUFREQ}/{governor}/{tunable}" for tunable in tree.names(f"{CPUFREQ}/{governor}")]
    return {path: tree.read(path) for path in paths}


def put(tree, path, value):
    """Write a value as another program would."""
    descriptor = tree.sys_open(path, os.O_WRONLY)
    tree.sys_write(descriptor, value.encode())
    tree.sys_close(descriptor)


def plain_policy(root):
    """Lay out a policy as plain files that keep what is written, for a process of its own; set by its limits.

    All its frequencies have seven digits: a plain file is not cut off where a shorter text is written over it.
    """
    folder = root / CPUFREQ.lstrip("/") / "policy0"
    folder.mkdir(parents=True)
    texts = {
        "affected_cpus": "0 1",
        "scaling_driver": "intel_pstate",
        "scaling_available_governors": "performance powersave",
        "scaling_governor": "powersave",
        "cpuinfo_min_freq": "1000000",
        "cpuinfo_max_freq": "1900000",
        "scaling_min_freq": "1000000",
        "scaling_max_freq": "1900000",
        "scaling_cur_freq": "1000000",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="ascii")


def plain_limits(root):
    """Return the limits of such a policy."""
    folder = root / CPUFREQ.lstrip("/") / "policy0"
    return tuple((folder / f"scaling_{end}_freq").read_text(encoding="ascii") for end in ("min", "max"))
