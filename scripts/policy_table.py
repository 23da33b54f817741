#!/usr/bin/env python3
"""Print the policy table of a reference bundle on the 10,000 test images of Fashion-MNIST.

What every exit says is recorded first; every calibrated setting is then replayed on it, and run live for its wall
time (one thread, batch 1, one image after the other). Needs the extra `prepare`, and the images: apt-get install
dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import edgeexit
from edgeexit.offline.fashion_mnist import DEFAULT_FOLDER, as_input, load_fashion_mnist
from edgeexit.offline.net_alone import run_alone
from edgeexit.offline.policy_table import SHOWN_DROPS, policy_table
from edgeexit.offline.policy_text import render
from edgeexit.offline.record import record_fashion_mnist
from edgeexit.offline.wall_time import measure_wall_times


def main() -> None:
    """Parse the arguments, make the table, print it and write what was asked for."""
    options = _parse()
    bundle = edgeexit.load_bundle(options.bundle)
    data = load_fashion_mnist(options.data)
    traces = record_fashion_mnist(bundle, data)
    rules, predictor = bundle.read_rules(), bundle.read_predictor()
    times, live = None, ""
    if options.rounds:
        names = [*rules["settings"]]
        measured = measure_wall_times(
            bundle, as_input(data.test.images), traces["test"], names, SHOWN_DROPS, rounds=options.rounds
        )
        times, live = measured.mean_s, measured.text + "\n"
    table = policy_table(
        bundle.name,
        traces["select"],
        traces["test"],
        bundle.workload,
        rules,
        predictor,
        wall_times_s=times,
        alone={name: run_alone(Path(model), data.test) for name, model in options.alone},
    )
    text = render(table) + live
    print(text, end="")
    if options.text:
        options.text.write_text(text)
    if options.json:
        options.json.write_text(json.dumps(table.as_json(), indent=1))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="bundle name or folder")
    parser.add_argument(
        "--rounds", type=int, default=3, help="live runs of each image; 0 for no wall times (default 3)"
    )
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of the idx.gz files")
    parser.add_argument(
        "--alone",
        nargs=2,
        metavar=("NAME", "MODEL"),
        action="append",
        default=[],
        help="a net without exits to show beside them: a name and an ONNX file (scripts/train_reference.py --alone)",
    )
    parser.add_argument("--text", type=Path, help="write the table there too")
    parser.add_argument("--json", type=Path, help="write the figures there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
