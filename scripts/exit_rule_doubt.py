#!/usr/bin/env python3
"""Ask which of the better exit rules beats another by more than the chance of the images.

    python scripts/exit_rule_doubt.py fashion-resnet

As in `exit_rule_trials.py`, rules are fitted on random halves of "fit" and "select" and run on the others. The 10,000
images are then drawn again and again, the same ones for all rules and halvings. What is printed is the work needed,
and the 95 % interval of its difference from the first rule's; then of differences from the last rule's. The fitting is
not done anew for each draw. Needs the images: apt-get install dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from exit_rule_recording import Recorded, known_images, record
from exit_rule_trials import DROPS, work_needed
from exit_rules_on_answers import ON_ANSWERS, Fit, FloatArray

import edgeexit
from edgeexit.offline.fashion_mnist import DEFAULT_FOLDER, load_fashion_mnist
from edgeexit.offline.replay import Costs

RULES = ("thresholds", "thresholds on margins", "patience and margin", "BEEM score", "ensemble", "gate")
DRAWS = 200


def works_needed(fit: Fit, recorded: Recorded, costs: Costs, halvings: int) -> FloatArray:
    """Return (DRAWS + 1, drops) the work needed on all images, and then on those of each draw."""
    count = len(recorded)
    drawn = np.random.default_rng(1).multinomial(count, [1 / count] * count, size=DRAWS)
    weights: FloatArray = np.vstack([np.ones(count), drawn])
    points: FloatArray = np.zeros(())
    for seed in range(halvings):
        order = np.random.default_rng(seed).permutation(count)
        one, other = recorded.take(order[: count // 2]), recorded.take(order[count // 2 :])
        taken = weights[:, order[count // 2 :]]
        shares = taken / taken.sum(axis=1, keepdims=True)
        outcomes = [run(other) for run in fit(one, costs)]
        gained = shares @ np.stack([o.right - other.correct[:, -1] for o in outcomes], axis=1)
        points = points + np.stack([gained, shares @ np.stack([o.cost for o in outcomes], axis=1)], axis=2)
    return np.array([work_needed(each) for each in points / halvings])


def main() -> None:
    """Parse the arguments and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="name or path of a bundle for Fashion-MNIST")
    parser.add_argument("--halvings", type=int, default=5)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of the idx.gz files")
    options = parser.parse_args()
    bundle = edgeexit.load_bundle(options.bundle)
    recorded = record(bundle, *known_images(load_fashion_mnist(options.data)))
    found: dict[str, FloatArray] = {}
    print(f"{bundle.name:24}" + "".join(f"{drop:22g}" for drop in DROPS))
    for name in RULES:
        found[name] = works_needed(ON_ANSWERS[name], recorded, Costs(bundle.workload), options.halvings)
        _print_row(name, found[name][0], "{:8.1%}", found[name] - found[RULES[0]])
    print(f"\nmore than {RULES[-1]}")
    for name in RULES[:-1]:
        more = found[name] - found[RULES[-1]]
        _print_row(name, more[0], "{:+8.1%}", more)


def _print_row(name: str, shown: FloatArray, form: str, differences: FloatArray) -> None:
    low, high = 100 * np.percentile(differences[1:], [2.5, 97.5], axis=0)
    cells = (f"{form.format(v)} [{a:+5.1f},{b:+5.1f}]" for v, a, b in zip(shown, low, high, strict=True))
    print(f"{name:24}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
