"""Settings of each exit rule to choose among, with the accuracy and cost that each may be expected to have.

Settings of a few numbers are tried on all images. Those that are fitted to the images, with a threshold for each
exit, are fitted on four fifths of them and tried on the last, in turn: on the images they were fitted to they look
up to half a point better than they are. What is offered is then fitted to all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeexit.exits.predictive_exit import ROUNDS
from edgeexit.exits.settings import PREDICTOR_FILE
from edgeexit.offline.exit_thresholds import ExitThresholds, Samples, descend_along
from edgeexit.offline.fit import NO_LOOK, ForecastTable
from edgeexit.offline.replay import Costs
from edgeexit.offline.traces import BoolArray, IntArray, Trace
from edgeexit.offline.vectorised import (
    ForecastSettings,
    Outcomes,
    growing_activations,
    look_in_turn,
    run_forecast,
    run_predictive_exit,
)

FloatArray = NDArray[np.float64]
Setting = TypeVar("Setting")

CONFIDENCES: Final = (
    0.0,
    *np.round(np.linspace(0.2, 0.5, 13), 4),
    *np.round(1 - np.geomspace(0.48, 1e-5, 100), 6),
    1.0,
)
"""Thresholds to try for a probability or a margin: denser towards 1, where most samples are."""

ERROR_PRICES: Final = tuple(np.geomspace(150.0, 2.0, 14))
"""What an error may cost, in full networks, when a threshold is fitted for each exit."""

TIGHTENINGS: Final = (1.0, 0.6, 0.35, 0.2, 0.1, 0.05, 0.02, 0.005)
"""Fitted thresholds are also offered nearer to 1 by these factors, to keep more accuracy than any price asks for."""

ACTIVATION_KINDS: Final = ("paper", "absolute", "largest")
REACHES: Final = (0.3, 0.5, 0.7, 0.85)
ABSTENTIONS: Final = (0.0, 0.4)
FOLDS: Final = 5


class Candidate(NamedTuple):
    """A rule's parameters, and what to expect of them.

    `accuracy` is a share; `cost` is the mean as a share of the full network.
    """

    parameters: Mapping[str, Any]
    accuracy: float
    cost: float


def mean_activations(trace: Trace, kind: str) -> FloatArray:
    """Return (E,) the T of the Predictive Exit rule.

    Args:
        trace: Recorded logits.
        kind: One of `ACTIVATION_KINDS`: "paper" for the absolute value of the mean of all logits, as published (Li
            et al., arXiv 2206.04685); it is near 0 for linear heads. "absolute" for the mean of the absolute logits;
            "largest" for the mean over samples of the largest absolute logit.
    """
    logits = trace.logits.astype(np.float64)
    if kind == "paper":
        return np.asarray(np.abs(logits.mean(axis=(0, 2))))
    if kind == "absolute":
        return np.asarray(np.abs(logits).mean(axis=(0, 2)))
    return np.asarray(np.abs(logits).max(axis=2).mean(axis=0))


def threshold_candidates(trace: Trace, costs: Costs) -> Iterator[Candidate]:
    """Offer one threshold for all exits."""
    every = range(trace.exit_count)
    for threshold in CONFIDENCES:
        outcomes = look_in_turn(trace.confidence >= threshold, every, trace, costs)
        yield _tried({"threshold": float(threshold)}, outcomes)


def check_and_cap_candidates(trace: Trace, costs: Costs) -> Iterator[Candidate]:
    """Offer a threshold, a deepest exit and a first exit."""
    for threshold in CONFIDENCES:
        stops = trace.confidence >= threshold
        for start, cap in product(_starts(trace), range(trace.exit_count)):
            if start <= cap:
                outcomes = look_in_turn(stops, range(start, cap + 1), trace, costs)
                yield _tried({"threshold": float(threshold), "cap": cap, "start": start}, outcomes)


def margin_candidates(trace: Trace, costs: Costs) -> Iterator[Candidate]:
    """Offer a margin and a first exit."""
    for threshold, start in product(CONFIDENCES, _starts(trace)):
        outcomes = look_in_turn(trace.margin >= threshold, range(start, trace.exit_count), trace, costs)
        yield _tried({"threshold": float(threshold), "start": start}, outcomes)


def entropy_candidates(trace: Trace, costs: Costs) -> Iterator[Candidate]:
    """Offer an entropy and a first exit."""
    for threshold in np.round(np.log(trace.class_count) * np.append(np.geomspace(1e-4, 1.0, 120), 0.0), 6):
        for start in _starts(trace):
            outcomes = look_in_turn(trace.entropy <= threshold, range(start, trace.exit_count), trace, costs)
            yield _tried({"threshold": float(threshold), "start": start}, outcomes)


def patience_candidates(trace: Trace, costs: Costs) -> Iterator[Candidate]:
    """Offer a number of agreements and a first exit."""
    for start in _starts(trace):
        agreements = np.zeros(trace.label.shape, dtype=np.int64)
        for exit_index in range(start + 1, trace.exit_count):
            agrees = trace.label[:, exit_index] == trace.label[:, exit_index - 1]
            agreements[:, exit_index] = (agreements[:, exit_index - 1] + 1) * agrees
        for patience in range(1, trace.exit_count - start + 1):
            outcomes = look_in_turn(agreements >= patience, range(start, trace.exit_count), trace, costs)
            yield _tried({"patience": patience, "start": start}, outcomes)


def predictive_exit_candidates(trace: Trace, costs: Costs) -> Iterator[Candidate]:
    """Offer beta, a first exit, and each way of averaging activations."""
    activations = growing_activations(trace.logits, ROUNDS)
    for kind in ACTIVATION_KINDS:
        means = np.array([float(f"{mean:.6g}") for mean in mean_activations(trace, kind)])
        largest_ratio = float((activations[..., 0] / means).max())
        betas = [float(f"{beta:.4g}") for beta in np.geomspace(largest_ratio / 100, largest_ratio, 60)]
        for beta, start in product(betas, range(trace.exit_count)):
            outcomes = run_predictive_exit(activations, beta * means, start, trace, costs)
            yield _tried({"beta": beta, "activations": means.tolist(), "start": start}, outcomes)


def thresholds_candidates(trace: Trace, costs: Costs) -> Iterator[Candidate]:
    """Offer a threshold for each exit, or None for exits not to look at."""
    confidence = trace.confidence.astype(np.float64)
    samples = Samples(trace.correct, lambda _: confidence, costs)

    def fit(indices: IntArray) -> list[ExitThresholds]:
        path = descend_along(samples.take(indices), ERROR_PRICES, trace.exit_count)
        return [rule.tightened(factor) for rule, factor in product(path, TIGHTENINGS)]

    def run(rule: ExitThresholds, indices: IntArray) -> Outcomes:
        return Outcomes(*rule.run(samples.take(indices)))

    for rule, outcomes in _cross_validate(fit, run, len(trace)):
        yield _tried({"threshold": rule.as_list()}, outcomes)


def forecast_candidates(trace: Trace, costs: Costs, table: ForecastTable) -> Iterator[Candidate]:
    """Offer a stop probability for each exit, reach and abstain; those with reach 0 skip no exit by forecast.

    Args:
        trace: Recorded logits.
        costs: Of the network.
        table: Of the predictor and this trace.
    """
    samples = Samples(trace.correct, lambda looked_at: _settled_scores(table, looked_at, trace), costs)

    def fit(indices: IntArray) -> list[ForecastSettings]:
        chosen = samples.take(indices)
        paths = [descend_along(chosen, ERROR_PRICES, trace.exit_count, may_leave_out=may) for may in (True, False)]
        rules = [rule.tightened(factor) for path in paths for rule, factor in product(path, TIGHTENINGS)]
        variants = [(0.0, 0.0), *product(REACHES, ABSTENTIONS)]
        return [_forecast_settings(rule, reach, abstain) for rule, (reach, abstain) in product(rules, variants)]

    def run(settings: ForecastSettings, indices: IntArray) -> Outcomes:
        return run_forecast(table, settings, trace, costs, indices)

    for settings, outcomes in _cross_validate(fit, run, len(trace)):
        yield _tried({"predictor": PREDICTOR_FILE, **settings._asdict()}, outcomes)


def _cross_validate(
    fit: Callable[[IntArray], list[Setting]], run: Callable[[Setting, IntArray], Outcomes], sample_count: int
) -> Iterator[tuple[Setting, Outcomes]]:
    """Yield each setting fitted to all samples, with the outcomes of its likes on samples they were not fitted to."""
    everything = np.arange(sample_count)
    held_out = [everything[fold::FOLDS] for fold in range(FOLDS)]
    fitted = [fit(np.setdiff1d(everything, fold)) for fold in held_out]
    for setting, *likes in zip(fit(everything), *fitted, strict=True):
        parts = [run(like, fold) for like, fold in zip(likes, held_out, strict=True)]
        correct, cost = (np.concatenate(column) for column in zip(*parts, strict=True))
        yield setting, Outcomes(correct, cost)


def _settled_scores(table: ForecastTable, looked_at: BoolArray, trace: Trace) -> FloatArray:
    """Return (S, E) the probability of having settled at each exit, if the exits `looked_at` are looked at in turn."""
    scores = np.empty((len(trace), trace.exit_count))
    before = NO_LOOK
    for exit_index in range(trace.exit_count):
        scores[:, exit_index] = table.distribution(before, exit_index)[:, exit_index]
        before = exit_index if looked_at[exit_index] else before
    return scores


def _forecast_settings(rule: ExitThresholds, reach: float, abstain: float) -> ForecastSettings:
    stop = rule.as_list()
    looked_at = [e for e, value in enumerate(stop) if value is not None]
    cap = next(e for e in looked_at if stop[e] == 0.0)
    return ForecastSettings(tuple(stop), reach, abstain, looked_at[0], cap)


def _starts(trace: Trace) -> range:
    """First exits worth a try: in the deeper half a rule has little left to decide."""
    return range((trace.exit_count + 1) // 2)


def _tried(parameters: Mapping[str, Any], outcomes: Outcomes) -> Candidate:
    return Candidate(parameters, float(outcomes.correct.mean()), float(outcomes.cost.mean()))
