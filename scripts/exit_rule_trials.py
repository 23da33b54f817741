#!/usr/bin/env python3
"""Compare exit rules that were tried, those that ship and those that did not earn it; see docs/results/exit-rules.md.

    python scripts/exit_rule_trials.py fashion-resnet

Nothing here looks at test images. The samples of "fit" and "select" are halved at random again and again: every rule
is fitted on one half for many prices of an error, and run on the other. What is printed is the work, as a share of the
full network's, that it needs there to lose so many points on average; a coin between two prices, or between one and
the full network, may be tossed. Behind it is the standard deviation over resampled halvings: they share images, so it
says too little, and `exit_rule_doubt.py` says more. Then come how well scores rank answers, and what look-ups take.
Needs the images: apt-get install dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from exit_rule_recording import Recorded, known_images, record
from exit_rules_before_run import BEFORE_RUN, look_up_times
from exit_rules_on_answers import ON_ANSWERS, Fit, FloatArray, Score, confidence, margin, saturation
from exit_rules_on_features import ON_FEATURES, SATURATIONS
from sklearn.metrics import roc_auc_score

import edgeexit
from edgeexit.offline.compress.timing import least_times
from edgeexit.offline.fashion_mnist import DEFAULT_FOLDER, load_fashion_mnist
from edgeexit.offline.replay import Costs
from edgeexit.runtime.engine import Engine

DROPS = (0.05, 0.1, 0.25, 0.5, 1.0)
RESAMPLINGS = 100


def halve(recorded: Recorded, seed: int) -> tuple[Recorded, Recorded]:
    """Return two random halves."""
    order = np.random.default_rng(seed).permutation(len(recorded))
    return recorded.take(order[: len(order) // 2]), recorded.take(order[len(order) // 2 :])


def try_rule(fit: Fit, recorded: Recorded, costs: Costs, halvings: int) -> tuple[FloatArray, FloatArray]:
    """Return the work needed for each of `DROPS`, and its standard deviation over halvings drawn again."""
    points = []
    for seed in range(halvings):
        one, other = halve(recorded, seed)
        outcomes = [run(other) for run in fit(one, costs)]
        points.append([(float(o.right.mean() - other.accuracies[-1]), float(o.cost.mean())) for o in outcomes])
    means = np.array(points)
    again = np.random.default_rng(0).integers(halvings, size=(RESAMPLINGS, halvings))
    spread = np.std([work_needed(means[picked].mean(axis=0)) for picked in again], axis=0)
    return work_needed(means.mean(axis=0)), spread


def work_needed(points: FloatArray) -> FloatArray:
    """Return the work needed for each of `DROPS`, of (prices, 2) accuracy gained over the full network, and work."""
    means = [(float(gained), float(cost)) for gained, cost in points]
    return np.array([_least_work([*means, (0.0, 1.0)], -drop / 100) for drop in DROPS])


def score_quality(recorded: Recorded, halvings: int) -> dict[str, FloatArray]:
    """Return (E - 1,) for each score: how probably it ranks an answer like the full network's above another (AUC)."""
    makers: dict[str, Callable[[Recorded], Score]] = {
        "confidence": confidence,
        "margin": margin,
        "saturation of probabilities": saturation,
    }
    makers |= {f"features: {name}": s.make_score for name, s in SATURATIONS.items()}
    found: dict[str, list[list[float]]] = {name: [] for name in makers}
    for seed in range(halvings):
        one, other = halve(recorded, seed)
        for name, make_score in makers.items():
            found[name].append(_ranks_well(make_score(one), other))
    return {name: np.mean(rows, axis=0) for name, rows in found.items()}


def network_time_s(bundle: edgeexit.Bundle, recorded: Recorded) -> float:
    """Return the time of the network for one image, without its early exits' heads, in seconds."""
    program = Engine(bundle).program({bundle.inputs[0].name: recorded.pixels[:1, np.newaxis]})
    return least_times([lambda: program.run_segments(0, len(bundle.segments))])[0]


def main() -> None:
    """Parse the arguments and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="name or path of a bundle for Fashion-MNIST")
    parser.add_argument("--halvings", type=int, default=10)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of the idx.gz files")
    options = parser.parse_args()
    bundle = edgeexit.load_bundle(options.bundle)
    recorded = record(bundle, *known_images(load_fashion_mnist(options.data)))
    costs = Costs(bundle.workload)
    print(f"{bundle.name}, {len(recorded):,} images, {options.halvings} halvings")
    print(f"{'points lost':32}" + "".join(f"{drop:13g}" for drop in DROPS))
    for name, fit in {**ON_ANSWERS, **ON_FEATURES, **BEFORE_RUN}.items():
        needed, spread = try_rule(fit, recorded, costs, options.halvings)
        cells = (f"{work:7.1%} ±{100 * sd:4.1f}" for work, sd in zip(needed, spread, strict=True))
        print(f"{name:32}" + "".join(cells), flush=True)
    print("\nAUC of 'says the same as the full network' at each exit")
    for name, quality in score_quality(recorded, min(options.halvings, 5)).items():
        print(f"{name:32}" + "".join(f"{area:7.3f}" for area in quality), flush=True)
    print(f"\nlook-up of one image, us (the network: {1e6 * network_time_s(bundle, recorded):.0f})")
    for name, time_s in look_up_times(halve(recorded, 0)[0]).items():
        print(f"{name:32}{1e6 * time_s:7.0f}")


def _least_work(points: Sequence[tuple[float, float]], accuracy: float) -> float:
    """Return the least work with which a point, or a mixture of two, is accurate enough."""
    least = min(cost for gained, cost in points if gained >= accuracy)
    for (low, cheap), (high, dear) in combinations(sorted(points), 2):
        if low < accuracy <= high:
            least = min(least, cheap + (dear - cheap) * (accuracy - low) / (high - low))
    return least


def _ranks_well(score: Score, other: Recorded) -> list[float]:
    same, scores = other.label == other.label[:, -1:], score(other)
    return [float(roc_auc_score(same[:, e], scores[:, e])) for e in range(other.exit_count - 1)]


if __name__ == "__main__":
    main()
