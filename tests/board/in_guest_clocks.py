"""Runs in a guest: the contract of every clock domain, and a lease on it, by the kernel's own account."""

import ctypes
import errno
import os
import platform
import time
from pathlib import Path

from board.clock_files import (
    AT_BOOT,
    CPU_STATES,
    GPU_AT_BOOT,
    GPU_STATES,
    differences,
    read_account,
    read_files,
    set_state,
    settle,
)

from edgeexit.device.cpufreq import find_cpufreq
from edgeexit.device.devfreq import find_devfreq
from edgeexit.device.journal import FileJournal
from edgeexit.device.knobs import open_knob
from edgeexit.device.lease import Lease
from edgeexit.device.sysfs import Tree
from edgeexit.testing.devices import check_clock_domain

HELD_S = 0.15
RUN_FOLDER = Path("/run/edgeexit")
DELETE_MODULE = {"x86_64": 176, "aarch64": 106}
"""Number of the system call (Linux include/uapi/asm-generic/unistd.h, arch/x86/entry/syscalls/syscall_64.tbl)."""


def main():
    tree = Tree()
    set_state(tree, AT_BOOT, GPU_AT_BOOT)
    found = {
        "userspace": look_at(tree, find_domains(tree)),
        "states": [try_state(tree, n) for n in range(len(CPU_STATES))],
    }
    set_state(tree, AT_BOOT, GPU_AT_BOOT)
    unload("cpufreq_userspace")
    found["limits"] = look_at(tree, find_cpufreq(tree))
    return found


def find_domains(tree):
    return [*find_cpufreq(tree), *find_devfreq(tree)]


def look_at(tree, domains):
    """Return what each domain is, and what the kernel says of a lease that takes it to every operating point."""
    return {
        domain.name: {
            "how": domain.how,
            "driver": domain.driver,
            "points": domain.operating_points_hz,
            "writable": domain.writable,
            "from_table": domain.from_table,
            "policies": getattr(domain, "policies", ()),
            "cpus": getattr(domain, "cpus", ()),
            "contract": check(domain, tree),
            "held": [hold(tree, domain, hz) for hz in domain.operating_points_hz],
        }
        for domain in domains
    }


def check(domain, tree):
    check_clock_domain(domain)
    set_state(tree, AT_BOOT, GPU_AT_BOOT)
    return "kept"


def hold(tree, domain, hz):
    """Hold a domain at a frequency through a lease; return the kernel's account of that time, and its files."""
    before = read_files(tree)
    points = domain.operating_points_hz
    other = points[0] if hz != points[0] else points[-1]
    with Lease({domain.name: domain}, journal=journal(tree)) as lease:
        lease.set({domain.name: other})
        settle()
        start, start_changes = read_account(tree, domain)
        applied = lease.set({domain.name: hz})
        time.sleep(HELD_S)
        during = read_files(tree)
        lease.set({domain.name: other})  # devfreq's account may be brought up to date by a change only
        settle()
        end, end_changes = read_account(tree, domain)
        counts = {"clamped": lease.clamped_count, "yielded": lease.yielded_count, "failed": lease.failed_count}
    settle()
    return {
        "asked_hz": hz,
        "effective_hz": [one.effective_hz for one in applied],
        "counts": counts,
        "seconds_at": {str(at): end[at] - start[at] for at in end},
        "changes": end_changes - start_changes,
        "changed": sorted(path for path in before if before[path] != during.get(path)),
        "not_restored": differences(before, read_files(tree)),
        "journal_ended": not (RUN_FOLDER / "lease.json").exists(),
    }


def try_state(tree, number):
    """Set every domain up and down through one lease, in a machine that its user has set up in some way."""
    set_state(tree, CPU_STATES[number], GPU_STATES[number])
    domains = find_domains(tree)
    before = read_files(tree)
    effective = {}
    with Lease({domain.name: domain for domain in domains}, journal=journal(tree)) as lease:
        for pick in (max, min, max):
            wanted = {domain.name: pick(domain.operating_points_hz) for domain in domains}
            for name, applied in zip(wanted, lease.set(wanted), strict=False):
                effective.setdefault(name, []).append([applied.requested_hz, applied.effective_hz])
        counts = {"clamped": lease.clamped_count, "yielded": lease.yielded_count, "failed": lease.failed_count}
    settle()
    return {
        "state": [CPU_STATES[number], GPU_STATES[number]],
        "effective": effective,
        "points": {domain.name: domain.operating_points_hz for domain in domains},
        "counts": counts,
        "not_restored": differences(before, read_files(tree)),
    }


def journal(tree):
    return FileJournal(lambda key: open_knob(tree, key), RUN_FOLDER)


def unload(module):
    """Take a module out of the kernel (man 2 delete_module)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(DELETE_MODULE[platform.machine()], module.encode(), os.O_NONBLOCK) != 0:
        raise OSError(ctypes.get_errno(), errno.errorcode[ctypes.get_errno()], module)
