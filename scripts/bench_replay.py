#!/usr/bin/env python3
"""How many samples a second a replay does: rules alone, with a governor, and with noisy latencies.

    python scripts/bench_replay.py --traces traces

Rules alone are timed from recorded logits to exits, labels and work, over the 10,000 test images; the governor `plan`
at a deadline of 1.5, periodic, on the simulated TX2. Beside each the same rule judged one by one, in the same run.
FOLDER has BUNDLE.npz, as `scripts/governor_results.py` records them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import edgeexit
from edgeexit.device import reference_scale
from edgeexit.device.costs import CostModel
from edgeexit.exits.settings import make_rule
from edgeexit.offline.replay import replay
from edgeexit.offline.replaying.arrivals import Periodic
from edgeexit.offline.replaying.engine import ReplayOptions, replay_governor
from edgeexit.offline.replaying.noise import Noise
from edgeexit.offline.replaying.paths import trace_paths
from edgeexit.offline.traces import Trace, load_traces

RULES = ("threshold", "thresholds", "check-and-cap", "forecast", "predictive-exit")
JUDGED = 1000
"""Samples that are judged one by one, for comparison."""


def main() -> None:
    """Print a line for each bundle and rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, required=True, help="folder of the recorded traces, BUNDLE.npz")
    folder = parser.parse_args().traces
    print("wanted: rules alone 200,000 samples/s, planned 20,000")
    for name in ("fashion-resnet", "fashion-vgg"):
        trace = load_traces(folder / f"{name}.npz")["test"]
        for rule in RULES:
            report(name, rule, trace)


def report(name: str, setting: str, trace: Trace) -> None:
    """Time one rule and print what was seen."""
    bundle, profile = edgeexit.load_bundle(name), edgeexit.load_profile("jetson-tx2")
    workload = bundle.workload
    rule = make_rule(setting, bundle.exit_count, bundle.read_rules(), bundle.read_predictor(), 0.0)
    table = CostModel(profile, work_scale=reference_scale(profile, workload)).cost_table(workload)
    deadline_s = 1.5 * table.work(len(table.points) - 1, 0, bundle.exit_count - 1).latency_s
    paths = trace_paths(rule, trace)

    def rule_only() -> int:
        fresh = Trace(trace.logits, trace.labels)  # what a trace works out once is part of the work
        trace_paths(rule, fresh).as_replay(workload)
        return len(fresh)

    def one_by_one() -> int:
        replay(rule, Trace(trace.logits[:JUDGED], trace.labels[:JUDGED]), workload)
        return JUDGED

    def planned(noise: Noise | None) -> Callable[[], int]:
        options = ReplayOptions(inferences=100_000, noise=noise, guard=1.0 if noise is None else noise.guard or 1.0)

        def run() -> int:
            governor, arrivals = edgeexit.load_governor("plan"), Periodic(deadline_s)
            replay_governor(paths, table, workload, governor, arrivals=arrivals, deadline_s=deadline_s, options=options)
            return 100_000

        return run

    alone, judged = rate(rule_only), rate(one_by_one)
    print(
        f"{name}, {setting}: rule alone {alone:,.0f} samples/s ({alone / judged:.1f} times judging one by one), "
        f"with plan {rate(planned(None)):,.0f}, with noise of 10 % {rate(planned(Noise(0.1))):,.0f}",
        flush=True,
    )


def rate(run: Callable[[], int]) -> float:
    """Return the samples a second, the best of three."""
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        samples = run()
        best = max(best, samples / (time.perf_counter() - start))
    return best


if __name__ == "__main__":
    main()
