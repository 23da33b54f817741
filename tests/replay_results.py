"""Replay results worked out by hand, for tests of reports: no replay is run."""

from dataclasses import replace

from edgeexit.offline.bootstrap import Estimate
from edgeexit.offline.replaying.results import BoardReplay, Bounds, ForecastRow, GovernorRun, TimelineStep

DEADLINE_S = 0.1
STEPS = (
    TimelineStep(0.0, 0.003, "gpu 726.75 MHz", "switch", 9.6),
    TimelineStep(0.003, 0.043, "gpu 726.75 MHz", "segment 0", 8.0),
    TimelineStep(0.043, 0.045, "gpu 726.75 MHz", "head 0", 7.0),
    TimelineStep(0.045, 0.125, "gpu 726.75 MHz", "idle", 2.0),
    TimelineStep(0.125, 0.165, "gpu 726.75 MHz", "segment 0", 8.0),
    TimelineStep(0.165, 0.168, "gpu 1300.5 MHz", "switch", 9.6),
    TimelineStep(0.168, 0.2, "gpu 1300.5 MHz", "segment 1", 16.0),
    TimelineStep(0.2, 0.25, "gpu 1300.5 MHz", "idle", 2.0),
)


def run(rule="threshold", governor="plan", energy_mj=100.0, *, accuracy=0.9, half=0.01, factor=1.25, **changes):
    """Return a run whose energy lies within 1 % for certain, and its accuracy within `half`."""
    made = GovernorRun(
        rule=rule,
        governor=governor,
        deadline_factor=factor,
        deadline_s=None if factor is None else factor * DEADLINE_S,
        arrivals="periodic, every 0.125 s",
        inferences=1000,
        accuracy=Estimate(accuracy, accuracy - half, accuracy + half),
        energy_j=Estimate(energy_mj / 1e3, 0.99 * energy_mj / 1e3, 1.01 * energy_mj / 1e3),
        energy_parts_j={"work": 0.8 * energy_mj / 1e3, "switches": 0.0, "idle": 0.2 * energy_mj / 1e3},
        rail_energy_j={"gpu": Estimate(energy_mj / 2e3, energy_mj / 2e3, energy_mj / 2e3)},
        latency_s={"mean": 0.06, "p50": 0.05, "p95": 0.08, "p99": 0.09, "max": 0.1},
        latency_histogram=((0.0, 0.04, 0.08, 0.12), (200, 700, 100)),
        misses=0,
        cut_short=0,
        exit_counts=(500, 300, 200),
        sent_on=0,
        looks=1.5,
        macs_share=0.6,
        switches=0.5,
        residency={"gpu 726.75 MHz": 0.75, "gpu 1300.5 MHz": 0.25},
        timeline=STEPS,
    )
    return replace(made, **changes)


def replay(*runs, **changes):
    """Return the results that hold these runs."""
    made = BoardReplay(
        board="jetson-tx2",
        bundle="tiny",
        samples=1000,
        work_scale=5.0,
        static_share=None,
        full_latency_s=DEADLINE_S,
        runs=tuple(runs),
        provenance="measured by others",
    )
    return replace(made, **changes)


def whole_study(factor=1.25):
    """Return runs that answer all three questions: exits yes, clocks yes, the forecast hardly for them."""
    return (
        run("last", "stock", 400.0, factor=factor, exit_counts=(0, 0, 1000)),
        run("last", "performance", 380.0, factor=factor, exit_counts=(0, 0, 1000)),
        run("last", "best-fixed", 300.0, factor=factor, exit_counts=(0, 0, 1000)),
        run("threshold", "stock", 240.0, factor=factor),
        run("threshold", "performance", 230.0, factor=factor),
        run("threshold", "best-fixed", 200.0, factor=factor),
        run("threshold", "plan", 180.0, factor=factor),
        run("forecast", "stock", 210.0, factor=factor, looks=1.2),
        run("forecast", "plan", 150.0, factor=factor, looks=1.2),
        run("forecast", "plan-population", 153.0, factor=factor, looks=1.2),
        run("forecast", "deadline", 160.0, factor=factor, looks=1.2, misses=3),
    )


def bounds(factor=1.25):
    """Return the bounds of `whole_study`."""
    return (
        Bounds(rule="forecast", deadline_factor=factor, clairvoyant_j=0.14, optimum_j=0.149, without_looks_j=0.12),
        Bounds(rule="threshold", deadline_factor=factor, clairvoyant_j=0.16, optimum_j=0.178),
    )


FORECAST = (
    ForecastRow(
        rule="forecast",
        samples=400,
        exact=0.6,
        mean_absolute_error=0.5,
        overshoot=0.3,
        undershoot=0.1,
        surprise=0.8,
        usual_surprise=1.0,
        reliability=((0.05, 0.04, 300), (0.35, 0.4, 200), (0.75, 0.7, 300)),
    ),
)
