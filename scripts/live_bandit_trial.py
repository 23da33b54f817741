#!/usr/bin/env python3
"""Replay inferences whose images drift, with settings that stay and with settings chosen on the way.

    python scripts/live_bandit_trial.py fashion-resnet

A setting is calibrated on half of the images of "fit" and "select"; the other half makes the stream, drawn with
replacement: first as they are, then darker, paler or noisy. The answers are recorded ones of the bundle's pieces, so
accuracy and MACs are as they would be; no time is measured. Needs the images: apt-get install dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from exit_rule_recording import Float32, Recorded, known_images, record
from live_bandit import Arms, Bandit, Guard, Stream, pick, play_out, run_stream
from numpy.typing import NDArray
from tqdm import tqdm

import edgeexit
from edgeexit.offline.exit_thresholds import ExitThresholds, Samples, descend_along
from edgeexit.offline.fashion_mnist import DEFAULT_FOLDER, load_fashion_mnist
from edgeexit.offline.replay import Costs
from edgeexit.offline.rightness import estimate_rightness

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PRICES: Final = tuple(np.geomspace(1000.0, 2.0, 14))
ALLOWED_DROP: Final = 0.005
SLACK: Final = 0.005
"""By which disagreement may lie above that of the setting calibrated."""
CLEAN, DRIFTED = 5_000, 20_000


def _noise(deviation: float) -> Callable[[Float32], Float32]:
    def add(pixels: Float32) -> Float32:
        noise = np.random.default_rng(0).normal(scale=deviation, size=pixels.shape)
        return np.clip(pixels + noise, 0.0, 1.0).astype(np.float32)

    return add


DRIFTS: Final[dict[str, Callable[[Float32], Float32]]] = {
    "none": lambda pixels: pixels,
    "half as bright": lambda pixels: 0.5 * pixels,
    "a third as bright": lambda pixels: pixels * np.float32(1 / 3),
    "background 0.03 brighter": lambda pixels: 0.03 + 0.97 * pixels,
    "noise of 0.05": _noise(0.05),
    "noise of 0.1": _noise(0.1),
}


class Calibrated(NamedTuple):
    """Settings from dear to cheap, and the one in use."""

    rules: list[ExitThresholds]
    arms: Arms
    used: int


def calibrate(trace: Recorded, costs: Costs) -> Calibrated:
    """Fit a path of settings, and use the cheapest that loses little enough."""
    right = estimate_rightness(trace)
    scores = trace.confidence.astype(np.float64)
    found = descend_along(Samples(right, lambda _: scores, costs), PRICES, trace.exit_count)
    rules = sorted(found, key=lambda rule: -rule.run(Samples(right, lambda _: scores, costs))[1].mean())
    arms = play_out(trace, rules, costs)
    accuracy = arms.right.mean(axis=0)
    enough = np.flatnonzero(accuracy >= accuracy[0] - ALLOWED_DROP)
    return Calibrated(rules, arms, int(enough[arms.cost.mean(axis=0)[enough].argmin()]))


def price_of(calibrated: Calibrated) -> float:
    """Return the price with which the bandit would take the setting in use, or the next to it, on clean images."""
    gain, cost = calibrated.arms.gain.mean(axis=0), calibrated.arms.cost.mean(axis=0)
    prices = np.geomspace(1e-3, 3.0, 400)
    distance = [abs(int((gain - price * cost).argmax()) - calibrated.used) for price in prices]
    return float(np.median(prices[np.array(distance) == min(distance)]))


def compare(clean: Recorded, drifted: Recorded, costs: Costs, seed: int) -> Iterator[tuple[str, list[Stream]]]:
    """Yield what came of each way to choose settings, before and after the drift."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(clean))
    own, others = order[: len(order) // 2], order[len(order) // 2 :]
    calibrated, again = calibrate(clean.take(own), costs), calibrate(drifted.take(own), costs)
    usual, used, price = calibrated.arms, calibrated.used, price_of(calibrated)
    bound = 1.0 - float(usual.agrees[:, used].mean()) + SLACK
    orders = rng.integers(len(others), size=CLEAN), rng.integers(len(others), size=DRIFTED)
    parts = [
        (play_out(part.take(others), calibrated.rules, costs), samples)
        for part, samples in zip((clean, drifted), orders, strict=True)
    ]
    (before, first), (_, then) = parts
    yield "full network", [pick(arms, samples, 0) for arms, samples in parts]
    yield "as calibrated", [pick(arms, samples, used) for arms, samples in parts]
    yield "bandit", run_stream(parts, Bandit(price, usual), None, seed)
    for way, bandit, cheapest in (("guard", None, used), ("bandit and guard", Bandit(price, usual), None)):
        streams = run_stream(parts, bandit, Guard(bound, usual, cheapest=cheapest), seed)
        yield way, streams
        work = np.concatenate([stream.cost for stream in streams]).mean()
        yield f"fixed, work of {way}", _fixed(parts, float(work), rng)
    oracle = play_out(drifted.take(others), again.rules, costs)
    yield "calibrated anew, labels", [pick(before, first, used), pick(oracle, then, again.used)]


def main() -> None:
    """Parse the arguments and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="name or path of a bundle for Fashion-MNIST")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of the idx.gz files")
    options = parser.parse_args()
    bundle = edgeexit.load_bundle(options.bundle)
    pixels, labels = known_images(load_fashion_mnist(options.data))
    costs, clean = Costs(bundle.workload), record(bundle, pixels, labels)
    print(f"{bundle.name}: {CLEAN:,} inferences before the drift, {DRIFTED:,} after it, {options.seeds} seeds")
    print("mean and half of the 95 % interval over seeds; points lost against the full network, % of answers that")
    print("differ from its, % of its MACs with shadow runs")
    for name, change in DRIFTS.items():
        drifted = record(bundle, change(pixels), labels)
        print(f"\ndrift: {name}; the full network is then right for {drifted.accuracies[-1]:.1%}")
        print(f"{'':32}{'before: lost':>14}{'differ':>14}{'work':>14}{'after: lost':>16}{'differ':>14}{'work':>14}")
        found: dict[str, list[FloatArray]] = {}
        for seed in tqdm(range(options.seeds), desc=name, disable=None):
            runs = dict(compare(clean, drifted, costs, seed))
            for way, streams in runs.items():
                found.setdefault(way, []).append(_figures(streams, runs["full network"]))
        for way, figures in found.items():
            print(f"{way:32}" + _row(np.array(figures)), flush=True)


def _fixed(parts: list[tuple[Arms, IntArray]], work: float, rng: np.random.Generator) -> list[Stream]:
    """Return what comes of one setting that stays, or of a coin between two, with this work over the whole stream."""
    works = np.concatenate([arms.cost[samples] for arms, samples in parts]).mean(axis=0)
    dearer = int(np.flatnonzero(works >= work)[-1])
    cheaper = min(dearer + 1, len(works) - 1)
    share = (work - works[cheaper]) / max(works[dearer] - works[cheaper], 1e-9)
    return [pick(arms, samples, np.where(rng.random(len(samples)) < share, dearer, cheaper)) for arms, samples in parts]


def _figures(streams: list[Stream], full: list[Stream]) -> FloatArray:
    pairs = zip(streams, full, strict=True)
    return (
        100
        * np.array([(f.right.mean() - s.right.mean(), 1 - s.agrees.mean(), s.cost.mean()) for s, f in pairs]).ravel()
    )


def _row(figures: FloatArray) -> str:
    halves = 1.96 * figures.std(axis=0, ddof=1) / np.sqrt(len(figures))
    cells = [f"{mean:.2f} ±{half:.2f}" for mean, half in zip(figures.mean(axis=0), halves, strict=True)]
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, (14, 14, 14, 16, 14, 14), strict=True))


if __name__ == "__main__":
    main()
