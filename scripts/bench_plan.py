#!/usr/bin/env python3
"""Time and memory of the governor `plan`, beside the governor `deadline` in the same run.

    python scripts/bench_plan.py [--rounds N]

Asks for every situation that the calibrated forecast of a reference bundle can bring a governor into on the simulated
TX2: each of its distributions, from each clock, with deadlines from 1.0 to 4 times the whole network. Hot is a decision
in a situation that has come up before, first is one that has not. Memory is what all these plans hold.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from itertools import product

import edgeexit
from edgeexit.device import reference_scale
from edgeexit.device.costs import CostModel
from edgeexit.protocols import CostTable, Governor, Observation, PreparesAhead
from edgeexit.testing.observations import make_cost_table, make_observation

DEADLINES = (1.0, 1.1, 1.25, 1.5, 2.0, 4.0)
LIMITS = "limits: a decision 15 us, a plan 50 ms, memory 4 MB"

Forecast = tuple[int, int, tuple[float, ...]]
"""Segments done, next exit, and distribution."""


def main() -> None:
    """Print a line for each cost table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often every situation is asked for (default 5)")
    rounds = parser.parse_args().rounds
    print(LIMITS)
    profile = edgeexit.load_profile("jetson-tx2")
    for name in ("fashion-resnet", "fashion-vgg"):
        bundle = edgeexit.load_bundle(name)
        table = CostModel(profile, work_scale=reference_scale(profile, bundle.workload)).cost_table(bundle.workload)
        rules = bundle.read_rules()["settings"]["forecast"]["parameters"]["0"]
        report(f"{name}, Jetson TX2", table, list(forecasts_of(rules, bundle.exit_count)), rounds)
    made_up = make_cost_table(20, frequencies_hz=tuple(100_000_000 * step for step in range(1, 14)))
    report("made up: 20 exits, 13 operating points", made_up, list(made_up_forecasts(20)), rounds)


def forecasts_of(parameters: dict[str, object], exit_count: int) -> Iterator[Forecast]:
    """Yield the distributions of a calibrated forecast."""
    prior, answers = parameters["prior"], parameters["answers"]
    assert isinstance(prior, list)
    assert isinstance(answers, list)
    yield 0, next(e for e, share in enumerate(prior) if share), tuple(prior)
    for entry in answers:
        for shares in entry["shares"]:
            yield entry["exit"] + 1, entry["next_exit"], (0.0,) * (exit_count - len(shares)) + tuple(shares)


def made_up_forecasts(exit_count: int) -> Iterator[Forecast]:
    """Yield three distributions before each exit: even, early, and late."""
    for first in range(exit_count):
        ahead = exit_count - first
        yield first, first, (0.0,) * first + (1.0 / ahead,) * ahead
        for ratio in (0.5, 2.0):
            weights = [ratio**step for step in range(ahead)]
            yield first, first, (0.0,) * first + tuple(weight / sum(weights) for weight in weights)


def report(title: str, table: CostTable, forecasts: list[Forecast], rounds: int) -> None:
    """Measure one table and print what was seen."""
    situations = list(make_situations(table, forecasts))
    points = situations[0].operating_points
    make_plan(table, points).decide(situations[0])  # what Python and NumPy load at the first call is not the plans'
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    traced = make_plan(table, points)
    for observation in situations:
        traced.decide(observation)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    start = time.perf_counter()
    plan = make_plan(table, points)
    planned_s = time.perf_counter() - start
    first = time_decisions(plan, situations)
    # a board meets a few hundred situations in a row, not thousands: ask for each several times before the next
    hot = [t for o in situations for t in time_decisions(plan, [o] * (rounds + 1))[1:]]
    peer = time_decisions(edgeexit.load_governor("deadline"), situations)
    ratio = statistics.median(hot) / statistics.median(peer)
    print(
        f"{title}: {len(situations)} situations; a decision {quantiles(hot)} hot, {quantiles(first)} over all once; "
        f"governor deadline {quantiles(peer)}; ratio of the medians {ratio:.2f}; "
        f"a plan {1e3 * planned_s:.1f} ms; memory {held / 1e6:.2f} MB"
    )


def make_plan(table: CostTable, points: Mapping[str, tuple[int, ...]]) -> Governor:
    """Return the governor with its sequences for a table found."""
    governor = edgeexit.load_governor("plan")
    assert isinstance(governor, PreparesAhead)
    governor.prepare(table, points, False)
    return governor


def make_situations(table: CostTable, forecasts: list[Forecast]) -> Iterator[Observation]:
    """Yield what a governor is asked: each forecast, from each clock, with each deadline."""
    whole_s = table.work(len(table.points) - 1, 0, len(table.exit_segments) - 1).latency_s
    points_hz = tuple(point.clocks["gpu"] for point in table.points)
    usual = forecasts[0][2]
    for (done, next_exit, distribution), clock_hz, factor in product(forecasts, points_hz, DEADLINES):
        yield make_observation(
            now_s=0.7 * whole_s * done / len(table.points[0].segment_latency_s),
            segments_done=done,
            next_exit=next_exit,
            exit_count=len(table.exit_segments),
            exit_distribution=distribution,
            looks_at_every_exit=False,
            operating_points={"gpu": points_hz},
            clocks={"gpu": clock_hz},
            cost_table=table,
            deadline_s=factor * whole_s,
            requested_s=0.0,
            usual_exits=usual,
        )


def time_decisions(governor: Governor, observations: list[Observation]) -> list[float]:
    """Return the seconds that each decision took."""
    times_s = []
    for observation in observations:
        start = time.perf_counter()
        governor.decide(observation)
        times_s.append(time.perf_counter() - start)
    return times_s


def quantiles(times_s: list[float]) -> str:
    """Say median and 99th percentile in microseconds."""
    return f"{1e6 * statistics.median(times_s):.1f} us (p99 {1e6 * statistics.quantiles(times_s, n=100)[98]:.1f})"


if __name__ == "__main__":
    main()
