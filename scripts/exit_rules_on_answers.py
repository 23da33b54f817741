"""Exit rules that read what the exits say: those that ship, and those that did not earn it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from exit_rule_recording import Recorded
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edgeexit.offline.ensembles import EnsembleTable
from edgeexit.offline.exit_thresholds import ExitThresholds, Samples, descend_along
from edgeexit.offline.fitted_candidates import run_gates
from edgeexit.offline.gates import GateSet, fit_gates
from edgeexit.offline.replay import Costs
from edgeexit.offline.rightness import estimate_rightness, fit_weights, log_probabilities
from edgeexit.offline.traces import Trace
from edgeexit.offline.vectorised import Outcomes, look_in_turn

FloatArray = NDArray[np.float64]
Run = Callable[[Recorded], Outcomes]
"""A fitted rule: from other samples to what becomes of them, with what was counted as right."""
Fit = Callable[[Recorded, Costs], Sequence[Run]]
Score = Callable[[Recorded], FloatArray]
"""From samples to (S, E) figures of 0 to 1: a rule with a threshold for each exit stops where they are high."""

PRICES = tuple(np.geomspace(3000.0, 3.0, 16))
BINS = 10
SHRINKAGE = 50
NEIGHBOURS = 30


def confidence(_fitted_on: Trace) -> Score:
    """Take the largest probability."""
    return lambda trace: trace.confidence.astype(np.float64)


def margin(_fitted_on: Trace) -> Score:
    """Take the largest probability less the second largest."""
    return lambda trace: trace.margin.astype(np.float64)


def patience_and_margin(_fitted_on: Trace) -> Score:
    """Take the margin where the exit before says the same, and 0 elsewhere."""

    def score(trace: Trace) -> FloatArray:
        margins = trace.margin.astype(np.float64)
        margins[:, 1:] *= trace.label[:, 1:] == trace.label[:, :-1]
        return margins

    return score


def beem(fitted_on: Trace) -> Score:
    """Add up confidences weighted by the exits' accuracies as long as they agree (BEEM, arXiv 2502.00745)."""
    weights = fitted_on.accuracies

    def score(trace: Trace) -> FloatArray:
        said = weights * trace.confidence
        for e in range(1, trace.exit_count):
            said[:, e] += said[:, e - 1] * (trace.label[:, e] == trace.label[:, e - 1])
        return np.asarray(said / weights.cumsum())

    return score


def saturation(_fitted_on: Trace) -> Score:
    """Take the cosine between the probabilities of this exit and the one before (MuE, arXiv 2211.11152)."""

    def score(trace: Trace) -> FloatArray:
        said = trace.probabilities.astype(np.float64)
        said /= np.linalg.norm(said, axis=2, keepdims=True)
        cosines = np.zeros(trace.label.shape)
        cosines[:, 1:] = (said[:, 1:] * said[:, :-1]).sum(axis=2)
        return np.clip(cosines, 0.0, 1.0)

    return score


def class_aware(fitted_on: Trace) -> Score:
    """Shift the confidence by what the predicted class loses more than others that are as sure, shrunk."""
    right = estimate_rightness(fitted_on)
    odds = log_odds(fitted_on)
    shifts = np.zeros((fitted_on.exit_count, fitted_on.class_count))
    for e in range(fitted_on.exit_count):
        loses = right[:, -1] - right[:, e]
        bins = np.searchsorted(np.quantile(odds[:, e], np.linspace(0, 1, BINS + 1)[1:-1]), odds[:, e])
        usual = np.bincount(bins, loses, BINS) / np.maximum(np.bincount(bins, minlength=BINS), 1)
        more = np.bincount(fitted_on.label[:, e], loses - usual[bins], fitted_on.class_count)
        counts = np.bincount(fitted_on.label[:, e], minlength=fitted_on.class_count)
        shifts[e] = -30.0 * more / (counts + SHRINKAGE)
    exits = np.arange(fitted_on.exit_count)
    return lambda trace: 1.0 / (1.0 + np.exp(-(log_odds(trace) + shifts[exits, trace.label])))


def with_thresholds(
    make_score: Callable[[Recorded], Score],
    *,
    counted: bool = False,
    looks_cost: Callable[[Recorded, Costs], Costs] = lambda _trace, costs: costs,
) -> Fit:
    """Return a rule with a threshold for each exit on a score, fitted to the estimate of what is right or the count.

    Args:
        make_score: Fits the score.
        counted: True for the count.
        looks_cost: What it costs to look and to answer, where that is not the heads.
    """

    def fit(trace: Recorded, costs: Costs) -> list[Run]:
        costs = looks_cost(trace, costs)
        score = once(make_score(trace))
        scores = score(trace)
        right = trace.correct.astype(np.float64) if counted else estimate_rightness(trace)
        path = descend_along(Samples(right, lambda _: scores, costs), PRICES, trace.exit_count)

        def run(rule: ExitThresholds, other: Recorded) -> Outcomes:
            return Outcomes(*rule.run(Samples(other.correct, always(score(other)), costs)))

        return [partial(run, rule) for rule in path]

    return fit


def one_threshold(*, calibrated: bool) -> Fit:
    """Return one threshold for all exits, on confidences with a temperature for each exit or as they are."""

    def fit(trace: Trace, costs: Costs) -> list[Run]:
        logs = log_probabilities(trace)
        exits = range(trace.exit_count)
        inverse = [float(fit_weights(logs[:, [e]], trace.labels)[0]) if calibrated else 1.0 for e in exits]

        def run(threshold: float, other: Trace) -> Outcomes:
            logits = other.logits * np.array(inverse, dtype=np.float32)[:, np.newaxis]
            sure = Trace(logits, other.labels).confidence
            return look_in_turn(sure >= threshold, exits, other.correct, costs)

        return [partial(run, threshold) for threshold in (1 - np.geomspace(0.5, 1e-4, 24)).tolist()]

    return fit


def ensemble(trace: Trace, costs: Costs) -> list[Run]:
    """Fit the rule `ensemble`, for the exits that thresholds would look at."""
    table, right = EnsembleTable(trace), estimate_rightness(trace)

    def fit(exits: tuple[int, ...], price: float) -> ExitThresholds:
        samples = Samples(table.rightness(exits, right), always(table.scores(exits)), costs.of(exits))
        return descend_along(samples, [price], len(exits), may_leave_out=False)[0]

    def run(exits: tuple[int, ...], rule: ExitThresholds, other: Trace) -> Outcomes:
        there = EnsembleTable(other, weights_of=table)
        correct = there.labels(exits) == other.labels[:, np.newaxis]
        return Outcomes(*rule.run(Samples(correct, always(there.scores(exits)), costs.of(exits))))

    chosen = [tuple(exits) for exits in _chosen_exits(trace, right, costs)]
    return [partial(run, exits, fit(exits, price)) for exits, price in zip(chosen, PRICES, strict=True)]


def gate(trace: Trace, costs: Costs) -> list[Run]:
    """Fit the rule `gate`, for the exits that thresholds would look at."""
    right = estimate_rightness(trace)
    sets = fit_gates(trace, right, costs, _chosen_exits(trace, right, costs), PRICES)

    def run(gates: GateSet, other: Trace) -> Outcomes:
        return run_gates(gates, other, other.correct.astype(np.float64), costs)

    return [partial(run, gates) for gates in sets]


def jei_dnn(trace: Trace, costs: Costs) -> list[Run]:
    """Fit gates to whether a sample's cheapest exit lies no deeper (JEI-DNN, arXiv 2310.09163; heads as they are)."""
    exits = range(trace.exit_count)
    cost = (costs.depth + np.cumsum(costs.head)) / costs.full
    loss = -log_probabilities(trace)[np.arange(len(trace)), :, trace.labels]

    def run(gates: Sequence[Callable[[FloatArray], NDArray[np.bool_]]], other: Trace) -> Outcomes:
        stops = np.ones(other.label.shape, dtype=np.bool_)
        for e, opens in enumerate(gates):
            stops[:, e] = opens(_uncertainty(other, e))
        return look_in_turn(stops, exits, other.correct, costs)

    wanted = [(loss + price * cost).argmin(axis=1) for price in np.geomspace(0.001, 2.0, 24)]
    return [partial(run, [_logistic(_uncertainty(trace, e), depth <= e) for e in exits[:-1]]) for depth in wanted]


def nearest_neighbours(trace: Recorded, costs: Costs) -> list[Run]:
    """Choose the depth after the first exit, by what was right for its nearest neighbours (like RAEE, 2405.15198)."""
    right = estimate_rightness(trace)
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(_first_exit(trace))
    found = once(lambda other: right[nearest.kneighbors(_first_exit(other), return_distance=False)].mean(axis=1))
    extra = np.where(np.arange(trace.exit_count) > 0, costs.head[0], 0.0)
    cost = (costs.depth + costs.head + extra) / costs.full

    def run(price: float, other: Recorded) -> Outcomes:
        answer = (found(other) - cost / price).argmax(axis=1)
        return Outcomes(other.correct[np.arange(len(other)), answer].astype(np.float64), cost[answer])

    return [partial(run, price) for price in PRICES]


def bandit(trace: Trace, costs: Costs) -> list[Run]:
    """Learn one threshold without labels, its gain in confidence less its cost by UCB (CeeBERT, arXiv 2405.15039)."""
    arms = 1 - np.geomspace(0.5, 1e-3, 16)
    exits = range(trace.exit_count)
    cost = (costs.depth + np.cumsum(costs.head)) / costs.full
    stops = trace.confidence[:, :, np.newaxis] >= arms
    stops[:, -1] = True
    answer = stops.argmax(axis=1)
    gain = np.take_along_axis(trace.confidence, answer, axis=1) - trace.confidence[:, :1]
    found = [float(arms[_most_pulled(gain - price * cost[answer])]) for price in np.geomspace(1e-3, 1.0, 16)]

    def run(threshold: float, other: Trace) -> Outcomes:
        return look_in_turn(other.confidence >= threshold, exits, other.correct, costs)

    return [partial(run, threshold) for threshold in found]


ON_ANSWERS: dict[str, Fit] = {
    "one threshold": one_threshold(calibrated=False),
    "one threshold, temperatures": one_threshold(calibrated=True),
    "thresholds, fitted to counts": with_thresholds(confidence, counted=True),
    "thresholds": with_thresholds(confidence),
    "thresholds on margins": with_thresholds(margin),
    "patience and margin": with_thresholds(patience_and_margin),
    "class-aware thresholds": with_thresholds(class_aware),
    "BEEM score": with_thresholds(beem),
    "saturation of probabilities": with_thresholds(saturation),
    "ensemble": ensemble,
    "JEI-DNN gates": jei_dnn,
    "neighbours at exit 0": nearest_neighbours,
    "bandit": bandit,
    "gate": gate,
}


def _chosen_exits(trace: Trace, right: FloatArray, costs: Costs) -> list[list[int]]:
    """Return for each price the exits that a threshold for each would look at."""
    samples = Samples(right, always(trace.confidence.astype(np.float64)), costs)
    return [rule.exits_reached for rule in descend_along(samples, PRICES, trace.exit_count)]


def once(score: Score) -> Score:
    """Return the same score, which is not made again for the samples it was last made for."""
    last: list[tuple[Recorded, FloatArray]] = []

    def remembering(trace: Recorded) -> FloatArray:
        if not last or last[0][0] is not trace:
            last[:] = [(trace, score(trace))]
        return last[0][1]

    return remembering


def always(scores: FloatArray) -> Callable[[NDArray[np.bool_]], FloatArray]:
    """Return scores that do not depend on which exits are looked at."""
    return lambda _looked_at: scores


def log_odds(trace: Trace) -> FloatArray:
    """Return (S, E) the confidences as logarithms of odds."""
    sure = np.clip(trace.confidence.astype(np.float64), 1e-5, 1 - 1e-5)
    return np.asarray(np.log(sure) - np.log1p(-sure))


def _uncertainty(trace: Trace, e: int) -> FloatArray:
    """Return (S, 4) the features of JEI-DNN's gates."""
    said = trace.probabilities[:, e].astype(np.float64)
    squares = said**2 / (said**2).sum(axis=1, keepdims=True)
    spread = -(squares * np.log(np.maximum(squares, 1e-9))).sum(axis=1)
    return np.stack([trace.confidence[:, e], trace.entropy[:, e], trace.margin[:, e], spread], axis=1)


def _logistic(columns: FloatArray, wanted: NDArray[np.bool_]) -> Callable[[FloatArray], NDArray[np.bool_]]:
    if wanted.all() or not wanted.any():
        return lambda other: np.full(len(other), bool(wanted[0]))
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(columns, wanted)
    return lambda other: np.asarray(fitted.predict(other), dtype=np.bool_)


def _first_exit(trace: Trace) -> FloatArray:
    return np.maximum(log_probabilities(trace)[:, 0], -8.0)


def _most_pulled(rewards: FloatArray) -> int:
    """Return the arm that UCB pulls most often over all samples in turn."""
    arms = rewards.shape[1]
    pulls, means = np.ones(arms), np.diag(rewards[:arms]).copy()
    for turn in range(arms, len(rewards)):
        arm = int((means + 0.1 * np.sqrt(2 * np.log(turn) / pulls)).argmax())
        pulls[arm] += 1
        means[arm] += (rewards[turn, arm] - means[arm]) / pulls[arm]
    return int(pulls.argmax())
