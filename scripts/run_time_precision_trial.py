#!/usr/bin/env python3
"""Ask what choosing the precision of segments at run time could save (QuEE's idea, arXiv 2406.14404).

    python scripts/run_time_precision_trial.py fashion-resnet

Every segment gets an int8 variant, calibrated on images of "fit". Segments are timed in float and in int8 in turn, one
image at a time, heads too. Then images of "select" run through every mix of precisions; of what each exit of each mix
says, bounds are made: how long an image takes on average if the cheapest exit, or exit and mix, that agrees with the
full network in float is known in advance. Times are sums of the least times of pieces. Needs the images: apt-get
install dataset-fashion-mnist.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from exit_rule_recording import BATCH, Float32
from numpy.typing import NDArray
from tqdm import tqdm

import edgeexit
from edgeexit.bundle.manifest import FLOAT32, INT8, Manifest
from edgeexit.bundle.precision import with_precision
from edgeexit.bundle.write import write_bundle
from edgeexit.offline.compress.precisions import choose_precisions
from edgeexit.offline.compress.segments import quantise_segments
from edgeexit.offline.compress.timing import least_times
from edgeexit.offline.data.samples import samples_of_arrays
from edgeexit.offline.exit_thresholds import Samples, descend_along
from edgeexit.offline.fashion_mnist import DEFAULT_FOLDER, FashionMnist, as_input, load_fashion_mnist
from edgeexit.offline.replay import Costs
from edgeexit.offline.rightness import estimate_rightness
from edgeexit.offline.traces import Trace
from edgeexit.protocols import Workload
from edgeexit.runtime.engine import Engine

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Mix = tuple[str, ...]
PRICES = tuple(np.geomspace(3000.0, 3.0, 16))
DROPS = (0.1, 0.25, 0.5, 1.0)


class Times(NamedTuple):
    """Least times in seconds."""

    segment: dict[str, tuple[float, ...]]
    """By precision, one for each segment; a segment without int8 takes its time in float."""
    head: tuple[float, ...]

    def of(self, mix: Mix) -> list[float]:
        """Return the time of each segment in a mix."""
        return [self.segment[precision][index] for index, precision in enumerate(mix)]


def main() -> None:
    """Parse the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="name or path of a bundle for Fashion-MNIST, without int8 segments")
    parser.add_argument("--images", type=int, default=5_000, help="of select, to run in every mix")
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of the idx.gz files")
    options = parser.parse_args()
    data = load_fashion_mnist(options.data)
    with TemporaryDirectory() as folder:
        bundle = _with_int8(edgeexit.load_bundle(options.bundle), data, Path(folder) / "bundle")
        report(bundle, data, options.images)


def report(bundle: edgeexit.Bundle, data: FashionMnist, count: int) -> None:
    """Measure the bundle and print what it comes to."""
    able = [INT8 in segment.precisions for segment in bundle.segments]
    times = measure(bundle, as_input(data.select.images[:1]))
    print(f"{bundle.name}: least time of each segment for one image, us")
    for precision in (FLOAT32, INT8):
        row = times.segment[precision]
        print(f"{precision:10}" + "".join(f"{1e6 * t:8.1f}" for t in row) + f"   together {1e6 * sum(row):.1f}")
    print(f"{'heads':10}" + "".join(f"{1e6 * t:8.1f}" for t in times.head))
    fit = samples_of_arrays({bundle.inputs[0].name: as_input(data.fit.images)}, data.fit.labels.astype(np.int64))
    static = choose_precisions(bundle, fit).precisions
    images, labels = as_input(data.select.images[:count]), data.select.labels[:count].astype(np.int64)
    mixes = list(product(*[(FLOAT32, INT8) if can else (FLOAT32,) for can in able]))
    traces = {mix: run_mix(bundle, mix, images, labels) for mix in tqdm(mixes, desc="mixes", disable=None)}
    floats, ints = (FLOAT32,) * len(able), tuple(INT8 if can else FLOAT32 for can in able)
    named = {"all in float": floats, "all in int8": ints, "static mix": static}
    print(f"\n{'':14}{'segments in int8':18}{'us':>8}   accuracy of each exit on {count:,} images of select")
    for name, mix in named.items():
        accuracies = "".join(f"{100 * a:7.2f}" for a in traces[mix].accuracies)
        print(f"{name:14}{_int8_in(mix):18}{1e6 * sum(times.of(mix)):8.1f}{accuracies}")
    _print_bounds(traces, times, named)
    _print_thresholds(traces, times, named)


def measure(bundle: edgeexit.Bundle, image: Float32) -> Times:
    """Time all pieces in turn."""
    inputs, count = {bundle.inputs[0].name: image}, len(bundle.segments)
    programs = [Engine(with_precision(bundle, precision)).program(inputs) for precision in (FLOAT32, INT8)]
    for program in programs:
        program.run_segments(0, count)
    runs: list[Callable[[], object]] = [partial(p.run_segments, i, i + 1) for p in programs for i in range(count)]
    runs += [partial(programs[0].look, e) for e in range(bundle.exit_count - 1)]
    found = least_times(runs, enough_s=10.0)
    segments = {FLOAT32: found[:count], INT8: found[count : 2 * count]}
    return Times(segments, (*found[2 * count :], 0.0))


def run_mix(bundle: edgeexit.Bundle, mix: Mix, images: Float32, labels: NDArray[np.int64]) -> Trace:
    """Record what every exit says about all images."""
    engine = Engine(with_precision(bundle, mix), fuse_heads=True, optimise=False)
    logits = []
    for start in range(0, len(images), BATCH):
        tensors = {bundle.inputs[0].name: images[start : start + BATCH]}
        for piece in engine.segments:
            piece.run(tensors)
        logits.append(np.stack([tensors[exit_.logits] for exit_ in bundle.exits], axis=1))
    return Trace(np.concatenate(logits), labels)


def least_times_to_agree(traces: Sequence[Trace], mixes: Sequence[Mix], times: Times, right: IntArray) -> FloatArray:
    """Return (S,) the least time in which some mix and exit says `right`; with one head; no one: the dearest."""
    least, dearest = np.full(len(right), np.inf), 0.0
    for trace, mix in zip(traces, mixes, strict=True):
        cost = np.cumsum(times.of(mix)) + times.head
        dearest = max(dearest, float(cost[-1]))
        least = np.minimum(least, np.where(trace.label == right[:, np.newaxis], cost, np.inf).min(axis=1))
    return np.where(np.isfinite(least), least, dearest)


def _print_bounds(traces: dict[Mix, Trace], times: Times, named: dict[str, Mix]) -> None:
    floats = named["all in float"]
    full = traces[floats].label[:, -1]
    whole = sum(times.of(floats))
    print("\nknowing in advance the cheapest that agrees with the full network in float: mean time, share of it")
    sets: dict[str, list[Mix]] = {f"exit, {name}": [mix] for name, mix in named.items()}
    sets["exit, and one of float and int8 for the whole image"] = [floats, named["all in int8"]]
    sets["exit, and a precision for each segment"] = list(traces)
    for name, mixes in sets.items():
        mean = least_times_to_agree([traces[mix] for mix in mixes], mixes, times, full).mean()
        print(f"{name:54}{1e6 * mean:8.1f} us {mean / whole:7.1%}")


def _print_thresholds(traces: dict[Mix, Trace], times: Times, named: dict[str, Mix], halvings: int = 10) -> None:
    """Print what a threshold for each exit needs in each mix, of the time of the full network in float."""
    whole = sum(times.of(named["all in float"]))
    print("\nthresholds fitted on one half, run on the other: share of the time of the full network in float")
    print(f"{'points lost':32}" + "".join(f"{drop:8g}" for drop in DROPS))
    for name, mix in named.items():
        points = []
        for seed in range(halvings):
            points.append(list(_points(traces[mix], traces[named["all in float"]], times.of(mix), times, seed)))
        means = [(float(g), float(c)) for g, c in np.mean(points, axis=0)]
        needed = [_least([*means, (0.0, whole)], -drop / 100) / whole for drop in DROPS]
        print(f"{name:32}" + "".join(f"{share:8.1%}" for share in needed))


def _points(
    trace: Trace, whole: Trace, segment_s: Sequence[float], times: Times, seed: int
) -> Iterator[tuple[float, float]]:
    """Yield accuracy gained over the full network in float, and mean time."""
    order = np.random.default_rng(seed).permutation(len(trace))
    one, other = trace.take(order[: len(order) // 2]), trace.take(order[len(order) // 2 :])
    aim = whole.take(order[len(order) // 2 :]).accuracies[-1]
    costs = _in_time(segment_s, times.head)
    scores, seen = one.confidence.astype(np.float64), other.confidence.astype(np.float64)
    path = descend_along(Samples(estimate_rightness(one), lambda _: scores, costs), PRICES, trace.exit_count)
    for rule in path:
        right, cost = rule.run(Samples(other.correct, lambda _: seen, costs))
        yield float(right.mean() - aim), float(cost.mean()) * costs.full * 1e-9


def _in_time(segment_s: Sequence[float], head_s: Sequence[float]) -> Costs:
    """Return costs in nanoseconds."""
    pieces = [tuple(round(1e9 * t) for t in part) for part in (segment_s, head_s)]
    return Costs(Workload(pieces[0], pieces[1], tuple(range(len(segment_s)))))


def _least(points: Sequence[tuple[float, float]], accuracy: float) -> float:
    least = min(cost for gained, cost in points if gained >= accuracy)
    for (low, cheap), (high, dear) in combinations(sorted(points), 2):
        if low < accuracy <= high:
            least = min(least, cheap + (dear - cheap) * (accuracy - low) / (high - low))
    return least


def _int8_in(mix: Mix) -> str:
    return ", ".join(str(index) for index, precision in enumerate(mix) if precision == INT8) or "none"


def _with_int8(bundle: edgeexit.Bundle, data: FashionMnist, folder: Path) -> edgeexit.Bundle:
    """Write the bundle with all int8 variants that can be made."""
    samples = samples_of_arrays({bundle.inputs[0].name: as_input(data.fit.images[:256])})
    variants = quantise_segments(bundle, samples)
    manifest: Manifest = variants.manifest
    files = {name: bundle.read_file(name) for name in bundle.manifest.files}
    return write_bundle(folder, manifest, {**files, **variants.files})


if __name__ == "__main__":
    main()
