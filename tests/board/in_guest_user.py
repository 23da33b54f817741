"""Runs in a guest: a lease of an ordinary user, without permission for the clocks and with it."""

import shutil
import warnings
from pathlib import Path

from board.clock_files import AT_BOOT, GPU_AT_BOOT, differences, nodes, policies, read_files, set_state, settle
from board.in_guest_answers import USER, in_child
from board.in_guest_clocks import RUN_FOLDER, find_domains, journal

from edgeexit.device.lease import Lease
from edgeexit.device.sysfs import Tree


def main():
    tree = Tree()
    set_state(tree, AT_BOOT, GPU_AT_BOOT)
    shutil.rmtree(RUN_FOLDER, ignore_errors=True)
    before = read_files(tree)
    without = in_child(lambda: try_lease(tree))
    # by the limits: an ordinary user could not put back the tunables of the kernel governor, so that stays in force
    limits = [f"{folder}/scaling_{part}_freq" for folder in policies(tree) for part in ("min", "max")]
    let_group_write([*limits, *(f"{folder}/{part}_freq" for folder in nodes(tree) for part in ("min", "max"))])
    with_group = in_child(lambda: try_lease(tree))
    settle()
    return {"without": without, "with_group": with_group, "not_restored": differences(before, read_files(tree))}


def let_group_write(paths):
    """Do what a udev rule and a tmpfiles.d line would: the user's group may write the clocks, and keep a journal."""
    for path in paths:
        shutil.chown(path, group=USER)
        Path(path).chmod(0o664)
    RUN_FOLDER.mkdir()
    shutil.chown(RUN_FOLDER, group=USER)
    RUN_FOLDER.chmod(0o2775)


def try_lease(tree):
    domains = {domain.name: domain for domain in find_domains(tree)}
    wanted, lowest = ({name: domain.operating_points_hz[index] for name, domain in domains.items()} for index in (1, 0))
    with warnings.catch_warnings(record=True) as caught, Lease(domains, journal=journal(tree)) as lease:
        warnings.simplefilter("always")
        applied = [lease.set(wanted), lease.set(lowest)]
        observe_only = lease.observe_only
    return {
        "writable": {name: domain.writable for name, domain in domains.items()},
        "effective": [[one.effective_hz for one in step] for step in applied],
        "wanted": list(wanted.values()),
        "observe_only": observe_only,
        "warnings": [str(warning.message) for warning in caught],
    }
