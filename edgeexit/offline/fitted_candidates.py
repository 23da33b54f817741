"""Settings that are fitted to samples, to choose among, with the accuracy and cost each may be expected to have.

They are fitted on four fifths of the samples and tried on the last, in turn: on the samples they were fitted to they
look up to half a point better than they are. What is offered is then fitted to all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeexit.exits.gate import logit_of
from edgeexit.exits.settings import PREDICTOR_FILE
from edgeexit.offline.candidates import Candidate, tried
from edgeexit.offline.ensembles import EnsembleTable
from edgeexit.offline.exit_thresholds import ExitThresholds, Samples, descend_along
from edgeexit.offline.fit import NO_LOOK, ForecastTable
from edgeexit.offline.gates import GateSet, fit_gates, open_gates
from edgeexit.offline.replay import Costs
from edgeexit.offline.rightness import Truth
from edgeexit.offline.traces import BoolArray, IntArray, Trace
from edgeexit.offline.vectorised import ForecastSettings, Outcomes, look_in_turn, run_forecast

FloatArray = NDArray[np.float64]
Setting = TypeVar("Setting")

ERROR_PRICES: Final = tuple(np.geomspace(3000.0, 2.0, 24))
"""What an error may cost, in full networks."""

FEWER_PRICES: Final = ERROR_PRICES[::2]
"""For settings that are slow to fit, or are varied in other ways too."""

TIGHTENINGS: Final = (1.0, 0.6, 0.35, 0.2, 0.1, 0.05, 0.02, 0.005)
"""Fitted thresholds are also offered nearer to 1 by these factors, to keep more accuracy than any price asks for."""

OPENNESSES: Final = (0.5, 0.62, 0.73, 0.88, 0.95)
"""How open gates must be: they are fitted to stop from a half on, and more asks for more accuracy."""

REACHES: Final = (0.3, 0.5, 0.7, 0.85)
ABSTENTIONS: Final = (0.0, 0.4)
FOLDS: Final = 5


def thresholds_candidates(trace: Trace, costs: Costs, truth: Truth) -> Iterator[Candidate]:
    """Offer a threshold for each exit, or None for exits not to look at."""
    confidence = trace.confidence.astype(np.float64)

    def fit(indices: IntArray) -> list[ExitThresholds]:
        path = descend_along(_samples(truth.estimated, confidence, costs, indices), ERROR_PRICES, trace.exit_count)
        return [rule.tightened(factor) for rule, factor in product(path, TIGHTENINGS)]

    def run(rule: ExitThresholds, indices: IntArray) -> Outcomes:
        return Outcomes(*rule.run(_samples(truth.expected, confidence, costs, indices)))

    for rule, outcomes in _cross_validate(fit, run, len(trace)):
        yield tried({"threshold": rule.as_list()}, outcomes)


def gate_candidates(trace: Trace, costs: Costs, truth: Truth) -> Iterator[Candidate]:
    """Offer gates for the exits that a threshold for each would look at."""
    confidence = trace.confidence.astype(np.float64)

    def fit(indices: IntArray) -> list[GateSet]:
        path = descend_along(_samples(truth.estimated, confidence, costs, indices), FEWER_PRICES, trace.exit_count)
        chosen = [rule.exits_reached for rule in path]
        sets = fit_gates(trace.take(indices), truth.estimated[indices], costs, chosen, FEWER_PRICES)
        return [gates._replace(stop=stop) for gates, stop in product(sets, OPENNESSES)]

    def run(gates: GateSet, indices: IntArray) -> Outcomes:
        return run_gates(gates, trace.take(indices), truth.expected[indices], costs)

    for gates, outcomes in _cross_validate(fit, run, len(trace)):
        yield tried({"gates": gates.as_lists(), "stop": gates.stop}, outcomes)


def run_gates(gates: GateSet, trace: Trace, right: FloatArray, costs: Costs) -> Outcomes:
    """Run the rule `gate`.

    Args:
        gates: Its parameters.
        trace: S samples.
        right: (S, E) whether, or how probably, each exit's answer is right.
        costs: Of the network.
    """
    stops = np.zeros(right.shape, dtype=np.bool_)
    stops[:, gates.looked_at] = open_gates(gates, trace) >= logit_of(gates.stop)
    return look_in_turn(stops, gates.looked_at, right, costs)


class _EnsembleSetting(NamedTuple):
    exits: tuple[int, ...]
    rule: ExitThresholds
    """Of the exits looked at alone."""


def ensemble_candidates(trace: Trace, costs: Costs, truth: Truth) -> Iterator[Candidate]:
    """Offer a threshold for each exit on what the exits seen say together, which then is the answer."""
    confidence = trace.confidence.astype(np.float64)
    everything = np.arange(len(trace))
    samples = _samples(truth.estimated, confidence, costs, everything)
    path = descend_along(samples, FEWER_PRICES, trace.exit_count)
    subsets = sorted({tuple(rule.exits_reached) for rule in path} | {tuple(range(trace.exit_count))})
    table = EnsembleTable(trace)

    known = {
        exits: (table.scores(exits), table.rightness(exits, truth.estimated), table.rightness(exits, truth.expected))
        for exits in subsets
    }

    def fit(indices: IntArray) -> list[_EnsembleSetting]:
        found = []
        for exits in subsets:
            scores, estimated, _ = known[exits]
            chosen = _samples(estimated, scores, costs.of(exits), indices)
            rules = descend_along(chosen, FEWER_PRICES, len(exits), may_leave_out=False)
            found += [_EnsembleSetting(exits, r.tightened(f)) for r, f in product(rules, TIGHTENINGS[:4])]
        return found

    def run(setting: _EnsembleSetting, indices: IntArray) -> Outcomes:
        scores, _, expected = known[setting.exits]
        return Outcomes(*setting.rule.run(_samples(expected, scores, costs.of(setting.exits), indices)))

    for setting, outcomes in _cross_validate(fit, run, len(trace)):
        thresholds: list[float | None] = [None] * trace.exit_count
        for e, value in zip(setting.exits, setting.rule.as_list(), strict=True):
            thresholds[e] = value
        yield tried({"threshold": thresholds, "weights": table.weights(setting.exits)}, outcomes)


def forecast_candidates(trace: Trace, costs: Costs, truth: Truth, table: ForecastTable) -> Iterator[Candidate]:
    """Offer a stop probability for each exit, reach and abstain; those with reach 0 skip no exit by forecast.

    Args:
        trace: Recorded logits.
        costs: Of the network.
        truth: Of the trace.
        table: Of the predictor and this trace.
    """

    def samples_of(right: FloatArray, indices: IntArray) -> Samples:
        return Samples(right[indices], lambda looked_at: _settled_scores(table, looked_at, trace)[indices], costs)

    def fit(indices: IntArray) -> list[ForecastSettings]:
        chosen = samples_of(truth.estimated, indices)
        paths = [descend_along(chosen, FEWER_PRICES, trace.exit_count, may_leave_out=may) for may in (True, False)]
        rules = [rule.tightened(factor) for path in paths for rule, factor in product(path, TIGHTENINGS)]
        variants = [(0.0, 0.0), *product(REACHES, ABSTENTIONS)]
        return [_forecast_settings(rule, reach, abstain) for rule, (reach, abstain) in product(rules, variants)]

    def run(settings: ForecastSettings, indices: IntArray) -> Outcomes:
        return run_forecast(table, settings, truth.expected, costs, indices)

    for settings, outcomes in _cross_validate(fit, run, len(trace)):
        yield tried({"predictor": PREDICTOR_FILE, **settings._asdict()}, outcomes)


def _cross_validate(
    fit: Callable[[IntArray], Sequence[Setting]], run: Callable[[Setting, IntArray], Outcomes], sample_count: int
) -> Iterator[tuple[Setting, Outcomes]]:
    """Yield each setting fitted to all samples, with the outcomes of its likes on samples they were not fitted to."""
    everything = np.arange(sample_count)
    held_out = [everything[fold::FOLDS] for fold in range(FOLDS)]
    fitted = [fit(np.setdiff1d(everything, fold)) for fold in held_out]
    for setting, *likes in zip(fit(everything), *fitted, strict=True):
        parts = [run(like, fold) for like, fold in zip(likes, held_out, strict=True)]
        right, cost = (np.concatenate(column) for column in zip(*parts, strict=True))
        yield setting, Outcomes(right, cost)


def _samples(right: FloatArray, scores: FloatArray, costs: Costs, indices: IntArray) -> Samples:
    chosen = scores[indices]
    return Samples(right[indices], lambda _: chosen, costs)


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
