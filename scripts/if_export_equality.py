#!/usr/bin/env python3
"""Show that `edgeexit export` gives a bundle's answers, on the 10,000 test images of Fashion-MNIST.

Each setting is written as one ONNX file with nested If nodes, and every image is answered by that file and by a
session. Ends with code 1 if a label or an exit differs, or a probability by more than 1e-6. Needs the extra `prepare`,
and the images: apt-get install dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import edgeexit
from edgeexit.offline.fashion_mnist import DEFAULT_FOLDER, as_input, load_fashion_mnist
from edgeexit.offline.if_equality import compare_answers
from edgeexit.offline.if_export import export_with_ifs

MOST_OFF = 1e-6


def main() -> int:
    """Parse the arguments, compare each setting of each bundle, and print a line for each."""
    options = _parse()
    images = as_input(load_fashion_mnist(options.data).test.images)[: options.limit]
    equal = True
    for name in options.bundles:
        bundle = edgeexit.load_bundle(name)
        for setting in options.exit_rule:
            for drop in options.allowed_drop:
                with TemporaryDirectory() as folder:
                    written = export_with_ifs(bundle, Path(folder) / "model.onnx", exit_rule=setting, allowed_drop=drop)
                    found = compare_answers(
                        written, bundle, {bundle.inputs[0].name: images}, exit_rule=setting, allowed_drop=drop
                    )
                print(
                    f"{bundle.name} {setting} at {drop:g} points: {found.samples} images, "
                    f"{len(written.looks) - 1} If nodes, {written.size} bytes; labels that differ: "
                    f"{found.labels_differ}, exits that differ: {found.exits_differ}, probabilities off by at most "
                    f"{found.probabilities_off:.1e}; answers by exit: {' '.join(map(str, found.exit_counts))}",
                    flush=True,
                )
                equal &= not (found.labels_differ or found.exits_differ) and found.probabilities_off <= MOST_OFF
    return 0 if equal else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", default=["fashion-resnet", "fashion-vgg"], help="names or folders")
    parser.add_argument("--exit-rule", nargs="+", default=["thresholds"], help="settings of the bundle")
    parser.add_argument("--allowed-drop", nargs="+", type=float, default=[0.0], help="accuracy drops, in points")
    parser.add_argument("--limit", type=int, help="take so many images only")
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of the idx.gz files")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
