"""A client of clockd that changes clocks all the time, to be killed: python clockd_client_worker.py ROOT SOCKET.

It says so once clocks are set, and goes on until it is killed.
"""

import random
import sys
import time
from pathlib import Path

from edgeexit.daemon.clockd.client import ClockdLease
from edgeexit.device.host import HostDevice
from edgeexit.device.sysfs import Tree


def main(root, socket):
    with HostDevice(tree=Tree(Path(root)), nvml=False) as device:
        points = {name: domain.operating_points_hz for name, domain in device.domains.items()}
        lease = ClockdLease(Path(socket), device.domains)
        said = False
        while True:
            lease.set({name: random.choice(some) for name, some in points.items()})
            time.sleep(0.002)
            if not said and lease.switch_count > len(points):
                said = True
                print("setting", sorted(points), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
