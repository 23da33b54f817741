"""Exit rules that compare the features of one cut with those of the cut before (MuE's idea, arXiv 2211.11152).

They need no classes. A look costs the maps between features, and a head runs only where it answers.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from exit_rule_recording import Recorded
from exit_rules_on_answers import Fit, FloatArray, Run, Score, log_odds, once, with_thresholds
from sklearn.linear_model import LogisticRegression

from edgeexit.offline.replay import Costs
from edgeexit.offline.vectorised import Outcomes, look_in_turn

RIDGE = 0.03
"""On standardised features, as a share of the samples."""
SHARED = 12
"""Directions that two cuts are compared in."""

Cuts = Callable[[Recorded], list[FloatArray]]
"""(S, F) features of the image and then of each exit but the last."""


class Saturation(NamedTuple):
    """How features of two cuts are compared."""

    make_score: Callable[[Recorded], Score]
    macs: Callable[[Recorded], list[float]]
    """Of a look at each exit but the last."""


def means(trace: Recorded) -> list[FloatArray]:
    """Return the mean of each channel, and the coarse image."""
    return [trace.coarse.astype(np.float64), *(part.mean(axis=(2, 3), dtype=np.float64) for part in trace.features)]


def quarter_means(trace: Recorded) -> list[FloatArray]:
    """Return the means of the quarters of each channel, and the coarse image."""
    flat = (part.reshape(len(trace), -1).astype(np.float64) for part in trace.features)
    return [trace.coarse.astype(np.float64), *flat]


def same_channels(trace: Recorded) -> Score:
    """Take the cosine of the channels' means as they are, where two cuts have as many channels, and else 0."""

    def between(before: FloatArray, here: FloatArray) -> FloatArray:
        return _cosine(before, here) if before.shape == here.shape else np.zeros(len(here))

    return _ranked(trace, means, lambda before, here: between)


def growth(trace: Recorded) -> Score:
    """Take how near the growth of the features' length is to what is usual."""

    def fit(before: FloatArray, here: FloatArray) -> Callable[[FloatArray, FloatArray], FloatArray]:
        usual = np.median(_growth(before, here))
        return lambda before, here: -np.abs(_growth(before, here) - usual)

    return _ranked(trace, means, fit)


def mapped(cuts: Cuts) -> Saturation:
    """Take the cosine between the features and what a linear map foretells of them from the cut before."""

    def fit(before: FloatArray, here: FloatArray) -> Callable[[FloatArray, FloatArray], FloatArray]:
        own, other = _standardiser(before), _standardiser(here)
        weights = _ridge(own(before), other(here))
        return lambda before, here: _cosine(own(before) @ weights, other(here))

    return Saturation(lambda trace: _ranked(trace, cuts, fit), lambda t: _products(cuts, t, lambda a, b: a * b))


def shared_directions(cuts: Cuts) -> Saturation:
    """Take the cosine in the directions that both cuts share most (canonical correlations, the kin of CKA)."""

    def fit(before: FloatArray, here: FloatArray) -> Callable[[FloatArray, FloatArray], FloatArray]:
        own, other = _whitener(before), _whitener(here)
        left, _, right = np.linalg.svd(own(before).T @ other(here))
        left, right = left[:, :SHARED], right[:SHARED].T
        return lambda before, here: _cosine(own(before) @ left, other(here) @ right)

    return Saturation(
        lambda trace: _ranked(trace, cuts, fit), lambda t: _products(cuts, t, lambda a, b: (a + b) * SHARED)
    )


def foretold_output(cuts: Cuts) -> Saturation:
    """Take the cosine between what linear maps foretell of the network's output from this cut and the one before."""

    def make_score(trace: Recorded) -> Score:
        output = trace.logits[:, -1].astype(np.float64)
        output -= output.mean(axis=0)
        scales = [_standardiser(part) for part in cuts(trace)]
        weights = [_ridge(scale(part), output) for scale, part in zip(scales, cuts(trace), strict=True)]

        def foretell(trace: Recorded) -> list[FloatArray]:
            return [scale(part) @ w for scale, part, w in zip(scales, cuts(trace), weights, strict=True)]

        return _ranked(trace, foretell, lambda before, here: _cosine)

    return Saturation(make_score, lambda t: [float(part.shape[1] * t.class_count) for part in cuts(t)[1:]])


def beside_confidence(saturation: Saturation | None) -> Fit:
    """Return thresholds on what logistic regression makes of confidence, margin and saturation at each exit."""

    def make_score(trace: Recorded) -> Score:
        saturated = saturation.make_score(trace) if saturation else None

        def columns(trace: Recorded) -> FloatArray:
            both = [log_odds(trace), trace.margin.astype(np.float64)]
            return np.stack([*both, saturated(trace)] if saturated else both, axis=2)

        known, same = columns(trace), trace.label == trace.label[:, -1:]
        exits = range(trace.exit_count - 1)
        fitted = [LogisticRegression(C=10.0).fit(known[:, e], same[:, e]) for e in exits]

        def score(trace: Recorded) -> FloatArray:
            seen, scores = columns(trace), np.ones(trace.label.shape)
            for e, regression in enumerate(fitted):
                scores[:, e] = regression.predict_proba(seen[:, e])[:, 1]
            return scores

        return score

    def looks_cost(trace: Recorded, costs: Costs) -> Costs:
        more = copy(costs)
        more.head = costs.head + np.array([*(saturation.macs(trace) if saturation else _free(trace)), 0.0])
        return more

    return with_thresholds(make_score, looks_cost=looks_cost)


def alone(saturation: Saturation) -> Fit:
    """Return thresholds, one for each exit, on a saturation."""
    return with_thresholds(saturation.make_score, looks_cost=partial(_heads_only_to_answer, saturation))


def alone_one_threshold(saturation: Saturation) -> Fit:
    """Return one threshold for all exits on a saturation."""

    def fit(trace: Recorded, costs: Costs) -> list[Run]:
        score, costs = once(saturation.make_score(trace)), _heads_only_to_answer(saturation, trace, costs)

        def run(threshold: float, other: Recorded) -> Outcomes:
            return look_in_turn(score(other) >= threshold, range(trace.exit_count), other.correct, costs)

        return [partial(run, float(threshold)) for threshold in 1 - np.geomspace(1.0, 1e-3, 24)]

    return fit


def _heads_only_to_answer(saturation: Saturation, trace: Recorded, costs: Costs) -> Costs:
    other = copy(costs)
    other.depth, other.head = costs.depth + costs.head, np.array([*saturation.macs(trace), 0.0])
    return other


def _ranked(
    trace: Recorded,
    cuts: Cuts,
    fit: Callable[[FloatArray, FloatArray], Callable[[FloatArray, FloatArray], FloatArray]],
) -> Score:
    """Return a score that compares neighbouring cuts, as the share of the samples fitted on that have less."""
    seen = cuts(trace)
    pairs = list(pairwise(seen))
    compare = [fit(before, here) for before, here in pairs]
    known = [np.sort(c(before, here)) for c, (before, here) in zip(compare, pairs, strict=True)]

    def score(trace: Recorded) -> FloatArray:
        seen, scores = cuts(trace), np.ones(trace.label.shape)
        for e, values in enumerate(known):
            scores[:, e] = np.searchsorted(values, compare[e](seen[e], seen[e + 1])) / len(values)
        return scores

    return score


def _products(cuts: Cuts, trace: Recorded, macs: Callable[[int, int], int]) -> list[float]:
    widths = [part.shape[1] for part in cuts(trace)]
    return [float(macs(before, here)) for before, here in pairwise(widths)]


def _cosine(one: FloatArray, other: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / np.maximum(lengths, 1e-12))


def _growth(before: FloatArray, here: FloatArray) -> FloatArray:
    shorter = np.maximum(np.linalg.norm(before, axis=1), 1e-9)
    return np.asarray(np.log(np.maximum(np.linalg.norm(here, axis=1), 1e-9) / shorter))


def _standardiser(values: FloatArray) -> Callable[[FloatArray], FloatArray]:
    mean, spread = values.mean(axis=0), values.std(axis=0) + 1e-6
    return lambda other: (other - mean) / spread


def _whitener(values: FloatArray) -> Callable[[FloatArray], FloatArray]:
    mean = values.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov((values - mean).T))
    scales = directions / np.sqrt(variances + 1e-3 * variances.max())
    return lambda other: (other - mean) @ scales


def _ridge(inputs: FloatArray, wanted: FloatArray) -> FloatArray:
    squares = inputs.T @ inputs + RIDGE * len(inputs) * np.eye(inputs.shape[1])
    return np.asarray(np.linalg.solve(squares, inputs.T @ wanted))


def _free(trace: Recorded) -> list[float]:
    return [0.0] * (trace.exit_count - 1)


SATURATIONS: dict[str, Saturation] = {
    "same channels": Saturation(same_channels, _free),
    "growth": Saturation(growth, _free),
    "map of means": mapped(means),
    "map of quarters": mapped(quarter_means),
    "shared directions": shared_directions(quarter_means),
    "output from means": foretold_output(means),
    "output from quarters": foretold_output(quarter_means),
}
BEST = SATURATIONS["map of quarters"]

ON_FEATURES: dict[str, Fit] = {
    **{f"features: {name}": alone(saturation) for name, saturation in SATURATIONS.items()},
    "map of quarters, one threshold": alone_one_threshold(BEST),
    "confidence and margin, fitted": beside_confidence(None),
    "... and map of quarters": beside_confidence(BEST),
}
