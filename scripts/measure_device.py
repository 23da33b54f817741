#!/usr/bin/env python3
"""Measure a bundle on this board, offline: latency, power and energy at every clock.

The same as `edgeexit measure`, for boards where the command is not on the path. Writes a device profile and the
bundle's cost table; clocks are given back at the end, also after Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import edgeexit
from edgeexit.cli.ending import EndedBySignal, orderly_end
from edgeexit.cli.measure import DEFAULT_FOLDER, ProgressBar
from edgeexit.offline.measure import SECONDS_PER_POINT, measure_device
from edgeexit.offline.measure_text import measurement_text


def main() -> None:
    """Parse the arguments, measure, and print what was found."""
    options = _parse()
    bundle = edgeexit.load_bundle(options.bundle)
    with orderly_end(), edgeexit.open_device(options.device) as device, ProgressBar(quiet=False) as bar:
        measurement = measure_device(
            bundle,
            device,
            options.output,
            threads=options.threads,
            seconds_per_point=options.seconds_per_point,
            points=options.points,
            fresh=options.fresh,
            progress=bar.show,
            tell=bar.tell,
        )
    print(measurement_text(measurement))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="bundle name or folder")
    parser.add_argument("--device", help='"host" or "simulated:jetson-tx2"')
    parser.add_argument("-o", "--output", type=Path, default=DEFAULT_FOLDER, help="folder to write to")
    parser.add_argument("--threads", type=int, default=1, help="for ONNX Runtime")
    parser.add_argument("--seconds-per-point", type=float, default=SECONDS_PER_POINT)
    parser.add_argument("--points", type=int, help="how many frequencies of each clock; all by default")
    parser.add_argument("--fresh", action="store_true", help="forget what an interrupted measurement has found")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except EndedBySignal as end:
        sys.exit(end.exit_code)
