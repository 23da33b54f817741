"""A process that changes clocks all the time, to be killed: python clock_worker.py ROOT RUN_FOLDER [guarded].

It says so once it has set clocks, and goes on until it is killed. Nothing of it is a fake: the lease, the journal and
the drivers are those of the product, on whatever lies under ROOT.
"""

import random
import sys
from pathlib import Path

from edgeexit.device.cpufreq import find_cpufreq
from edgeexit.device.devfreq import find_devfreq
from edgeexit.device.guardian import Guardian
from edgeexit.device.journal import FileJournal
from edgeexit.device.knobs import open_knob
from edgeexit.device.lease import Lease
from edgeexit.device.sysfs import Tree


def main(root, run_folder, *options):
    tree = Tree(Path(root))
    domains = {domain.name: domain for domain in (*find_cpufreq(tree), *find_devfreq(tree))}
    watch = (lambda: Guardian(Path(run_folder), Path(root))) if "guarded" in options else None
    journal = FileJournal(lambda key: open_knob(tree, key), Path(run_folder), watch=watch)
    lease = Lease(domains, journal=journal)
    choose = random.Random()
    said = False
    while True:
        lease.set({name: choose.choice(domain.operating_points_hz) for name, domain in domains.items()})
        assert not lease.observe_only, "the worker may set clocks"
        if not said:
            said = True
            print("setting", sorted(domains), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
