"""The policy table: what every exit rule does with images that nobody has chosen anything on.

Settings come from `edgeexit.offline.calibrate`, which has seen the "select" split only. Beside the rules stand the
bounds (the exit known in advance) and the controls that explain a rule's gain: the best single exit, `check-and-cap`,
a threshold for each exit, and the forecast's own stop test without its skipping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import DataError
from edgeexit.exits.settings import make_rule
from edgeexit.offline.bootstrap import Estimate, Resamples
from edgeexit.offline.calibrate import IN_TURN
from edgeexit.offline.comparison import Comparison, compare
from edgeexit.offline.forecast_quality import (
    DistributionQuality,
    ForecastQuality,
    constant_quality,
    distribution_quality,
    engine_quality,
    forecast_quality,
    predictor_quality,
)
from edgeexit.offline.net_alone import NetAlone
from edgeexit.offline.replay import Costs, Replay, first_right_exit, replay, replay_known_exits, summarise
from edgeexit.offline.traces import Trace
from edgeexit.protocols import Workload

FloatArray = NDArray[np.float64]

SHOWN_DROPS: Final = (0.0, 0.5, 1.0)
FORECASTERS: Final = ("forecast", IN_TURN, "gate", "predictive-exit")
CONTROLS: Final[Mapping[str, tuple[str, ...]]] = {
    "forecast": ("thresholds", "check-and-cap", IN_TURN),
    "gate": ("thresholds", "ensemble", "forecast"),
}
"""Learned rules, and what each has to beat, or what its gain is explained with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rule at one allowed accuracy drop.

    Attributes:
        name: Of the setting or the bound.
        allowed_drop: In percentage points on the "select" split; None for bounds, which choose nothing.
        accuracy: Share of right answers.
        macs_share: Work with heads, as a share of the full network.
        exit_index: Mean exit that answered.
        looks: Mean number of exits looked at.
        wall_time_s: Mean measured time of an inference; None if it was not measured.
    """

    name: str
    allowed_drop: float | None
    accuracy: Estimate
    macs_share: Estimate
    exit_index: float
    looks: float
    wall_time_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastRow:
    """How good forecasts after the first look were.

    Attributes:
        name: Of the setting, or what forecast on its own.
        allowed_drop: In percentage points; None for the predictor and the engine on their own.
        forecast: Which forecast: "next exit" is what the rule did, "likeliest exit" the mode of its distribution.
        came_true: What it is compared with: "settled exit", from which on no label changes, or "answering exit".
        quality: Hits and errors.
        distribution: How well the distribution foretold the answering exit; None where that is not asked.
    """

    name: str
    allowed_drop: float | None
    forecast: str
    came_true: str
    quality: ForecastQuality
    distribution: DistributionQuality | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTable:
    """All rules on one network's test images."""

    network: str
    samples: int
    rows: tuple[Row, ...]
    forecasts: tuple[ForecastRow, ...]
    comparisons: tuple[Comparison, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the table as JSON can hold it."""
        return asdict(self)


def policy_table(
    network: str,
    select: Trace,
    test: Trace,
    workload: Workload,
    rules: Mapping[str, Any],
    predictor: Mapping[str, Any] | None,
    *,
    wall_times_s: Mapping[str, Mapping[str, float]] | None = None,
    alone: Mapping[str, NetAlone] | None = None,
    drops: Sequence[float] = SHOWN_DROPS,
    seed: int = 0,
) -> PolicyTable:
    """Replay every calibrated setting on `test`.

    Args:
        network: Its name.
        select: What the settings were chosen on; the published engine is tuned on it as a forecaster.
        test: The images to report on.
        workload: MACs of the bundle's pieces.
        rules: The bundle's `rules.json`.
        predictor: The bundle's `predictor.json`.
        wall_times_s: Mean measured times by setting and drop, for instance ``{"forecast": {"0.5": 0.0012}}``; those
            of bounds and of the full network have the drop "".
        alone: Other nets by name, each run to its end on the same images: what a plain smaller net does, for instance.
        drops: The allowed drops to show; all that were calibrated help to compare rules at equal accuracy.
        seed: Of the bootstrap.
    """
    runs = _replay_settings(test, workload, rules, predictor)
    resamples = Resamples(len(test), seed)
    bounds = _replay_bounds(test, workload)
    times = wall_times_s or {}
    rows = [_row(name, None, run, resamples, times) for name, run in bounds.items()]
    rows += [_row_alone(name, net, workload, resamples) for name, net in (alone or {}).items()]
    rows += [_row(name, drop, run, resamples, times) for (name, drop), run in runs.items() if drop in drops]
    comparisons = [
        comparison
        for rule, controls in CONTROLS.items()
        for comparison in compare(rule, controls, runs, test, workload, resamples)
    ]
    return PolicyTable(
        network=network,
        samples=len(test),
        rows=tuple(rows),
        forecasts=(
            *_lone_forecast_rows(select, test, predictor),
            *_forecast_rows({key: run for key, run in runs.items() if key[1] in drops}, test, rules),
        ),
        comparisons=tuple(comparison for comparison in comparisons if comparison.allowed_drop in drops),
    )


def _replay_bounds(test: Trace, workload: Workload) -> dict[str, Replay]:
    last = np.full(len(test), test.exit_count - 1)
    known = {
        "full network": last,
        "oracle: first exit that agrees with it": test.first_agreeing_exit,
        "oracle: first exit that is right": first_right_exit(test),
    }
    return {name: replay_known_exits(exits, test, workload) for name, exits in known.items()}


def _replay_settings(
    test: Trace, workload: Workload, rules: Mapping[str, Any], predictor: Mapping[str, Any] | None
) -> dict[tuple[str, float], Replay]:
    if not rules:
        raise DataError("there are no calibrated settings to replay: calibrate the bundle first")
    return {
        (name, float(drop)): replay(make_rule(name, test.exit_count, rules, predictor, float(drop)), test, workload)
        for name, setting in rules["settings"].items()
        for drop in setting["parameters"]
    }


def _row(
    name: str,
    drop: float | None,
    run: Replay,
    resamples: Resamples,
    times: Mapping[str, Mapping[str, float]],
) -> Row:
    summary = summarise(run)
    return Row(
        name=name,
        allowed_drop=drop,
        accuracy=resamples.estimate(run.correct),
        macs_share=resamples.estimate(run.macs / run.full_macs),
        exit_index=summary.exit_index,
        looks=summary.looks,
        wall_time_s=times.get(name, {}).get("" if drop is None else f"{drop:g}"),
    )


def _row_alone(name: str, net: NetAlone, workload: Workload, resamples: Resamples) -> Row:
    share = np.full(len(net.correct), net.macs / Costs(workload).full)
    return Row(
        name=name,
        allowed_drop=None,
        accuracy=resamples.estimate(net.correct),
        macs_share=resamples.estimate(share),
        exit_index=0.0,
        looks=1.0,
    )


def _forecast_rows(
    runs: Mapping[tuple[str, float], Replay], test: Trace, rules: Mapping[str, Any]
) -> list[ForecastRow]:
    """Judge what the rules forecast on their way."""
    rows = []
    for (name, drop), run in runs.items():
        if name in FORECASTERS:
            prior = rules["settings"][name]["parameters"][f"{drop:g}"]["prior"]
            judged = [
                ("next exit", "settled exit", forecast_quality(run.next_forecast, test.settled_exit), None),
                (
                    "likeliest exit",
                    "answering exit",
                    forecast_quality(run.mode_forecast, run.exit_index),
                    distribution_quality(run, prior),
                ),
            ]
            rows += [
                ForecastRow(
                    name=name, allowed_drop=drop, forecast=kind, came_true=truth, quality=quality, distribution=given
                )
                for kind, truth, quality, given in judged
            ]
    return rows


def _lone_forecast_rows(select: Trace, test: Trace, predictor: Mapping[str, Any] | None) -> list[ForecastRow]:
    """Judge forecasters on their own, after one look: the first exit's, and one's at a quarter of the depth."""
    rows = []
    for exit_index in sorted({0, test.exit_count // 4}):
        judged: dict[str, tuple[ForecastQuality, DistributionQuality | None]] = {
            "the commonest exit": (constant_quality(select, test, exit_index), None),
            "[1,1,1] engine": (engine_quality(select, test, exit_index), None),
        }
        if predictor is not None:
            judged["predictor"] = predictor_quality(predictor, select, test, exit_index)
        rows += [
            ForecastRow(
                name=f"{name} at {exit_index}",
                allowed_drop=None,
                forecast="likeliest exit",
                came_true="settled exit",
                quality=quality,
                distribution=distribution,
            )
            for name, (quality, distribution) in judged.items()
        ]
    return rows
