"""clockd on whatever lies under ROOT, to be killed: python clockd_worker.py ROOT RUN_FOLDER SOCKET [SILENCE_S].

It says so once it listens. Nothing of it is a fake: it is what `edgeexit clockd` runs, with another root.
"""

import sys
from pathlib import Path

from edgeexit.daemon.clockd.running import ClockdSettings, run_clockd
from edgeexit.daemon.notify import Notifier
from edgeexit.daemon.seeing.logs import logging_to
from edgeexit.device.host import HostDevice
from edgeexit.device.sysfs import Tree


class SaysWhenReady(Notifier):
    """Says on standard output what systemd would be told."""

    def ready(self, status=""):
        print("ready", status, flush=True)


def main(root, run_folder, socket, silence_s="2.0"):
    settings = ClockdSettings(socket=Path(socket), silence_s=float(silence_s))
    host = HostDevice(tree=Tree(Path(root)), run_folder=Path(run_folder), nvml=False)
    with logging_to(sys.stderr, "info", "text"), host as device:
        run_clockd(device, settings, SaysWhenReady())


if __name__ == "__main__":
    main(*sys.argv[1:])
