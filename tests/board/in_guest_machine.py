"""Runs in a guest: what machine this is."""

import os
import platform
import sys

from board.answers import CPUFREQ, DEVFREQ

from edgeexit.device.sysfs import Tree


def main():
    tree = Tree()
    return {
        "kernel": os.uname().release,
        "machine": platform.machine(),
        "python": sys.version,
        "cpus": os.cpu_count(),
        "cpufreq": tree.names(CPUFREQ),
        "devfreq": tree.names(DEVFREQ),
    }
