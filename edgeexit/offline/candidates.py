"""Settings of a few numbers to choose among, with the accuracy and cost that each may be expected to have.

All are tried on all samples: few numbers follow little of their noise. Settings that are fitted stand in
`edgeexit.offline.fitted_candidates`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeexit.exits.predictive_exit import ROUNDS
from edgeexit.offline.replay import Costs
from edgeexit.offline.traces import Trace
from edgeexit.offline.vectorised import Outcomes, growing_activations, look_in_turn, run_predictive_exit

FloatArray = NDArray[np.float64]

CONFIDENCES: Final = (
    0.0,
    *np.round(np.linspace(0.2, 0.5, 13), 4),
    *np.round(1 - np.geomspace(0.48, 1e-5, 100), 6),
    1.0,
)
"""Thresholds to try for a probability or a margin: denser towards 1, where most samples are."""

ACTIVATION_KINDS: Final = ("paper", "absolute", "largest")


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


def threshold_candidates(trace: Trace, costs: Costs, right: FloatArray) -> Iterator[Candidate]:
    """Offer one threshold for all exits.

    Here as in all others `right` is (S, E), how probably each exit is right, as settings are chosen by it.
    """
    every = range(trace.exit_count)
    for threshold in CONFIDENCES:
        outcomes = look_in_turn(trace.confidence >= threshold, every, right, costs)
        yield tried({"threshold": float(threshold)}, outcomes)


def check_and_cap_candidates(trace: Trace, costs: Costs, right: FloatArray) -> Iterator[Candidate]:
    """Offer a threshold, a deepest exit and a first exit."""
    for threshold in CONFIDENCES:
        stops = trace.confidence >= threshold
        for start, cap in product(_starts(trace), range(trace.exit_count)):
            if start <= cap:
                outcomes = look_in_turn(stops, range(start, cap + 1), right, costs)
                yield tried({"threshold": float(threshold), "cap": cap, "start": start}, outcomes)


def margin_candidates(trace: Trace, costs: Costs, right: FloatArray) -> Iterator[Candidate]:
    """Offer a margin and a first exit."""
    for threshold, start in product(CONFIDENCES, _starts(trace)):
        outcomes = look_in_turn(trace.margin >= threshold, range(start, trace.exit_count), right, costs)
        yield tried({"threshold": float(threshold), "start": start}, outcomes)


def entropy_candidates(trace: Trace, costs: Costs, right: FloatArray) -> Iterator[Candidate]:
    """Offer an entropy and a first exit."""
    for threshold in np.round(np.log(trace.class_count) * np.append(np.geomspace(1e-4, 1.0, 120), 0.0), 6):
        for start in _starts(trace):
            outcomes = look_in_turn(trace.entropy <= threshold, range(start, trace.exit_count), right, costs)
            yield tried({"threshold": float(threshold), "start": start}, outcomes)


def patience_candidates(trace: Trace, costs: Costs, right: FloatArray) -> Iterator[Candidate]:
    """Offer a number of agreements and a first exit."""
    for start in _starts(trace):
        agreements = np.zeros(trace.label.shape, dtype=np.int64)
        for exit_index in range(start + 1, trace.exit_count):
            agrees = trace.label[:, exit_index] == trace.label[:, exit_index - 1]
            agreements[:, exit_index] = (agreements[:, exit_index - 1] + 1) * agrees
        for patience in range(1, trace.exit_count - start + 1):
            outcomes = look_in_turn(agreements >= patience, range(start, trace.exit_count), right, costs)
            yield tried({"patience": patience, "start": start}, outcomes)


def predictive_exit_candidates(trace: Trace, costs: Costs, right: FloatArray) -> Iterator[Candidate]:
    """Offer beta, a first exit, and each way of averaging activations."""
    activations = growing_activations(trace.logits, ROUNDS)
    for kind in ACTIVATION_KINDS:
        means = np.array([float(f"{mean:.6g}") for mean in mean_activations(trace, kind)])
        largest_ratio = float((activations[..., 0] / means).max())
        betas = [float(f"{beta:.4g}") for beta in np.geomspace(largest_ratio / 100, largest_ratio, 60)]
        for beta, start in product(betas, range(trace.exit_count)):
            outcomes = run_predictive_exit(activations, beta * means, start, right, costs)
            yield tried({"beta": beta, "activations": means.tolist(), "start": start}, outcomes)


def _starts(trace: Trace) -> range:
    """First exits worth a try: in the deeper half a rule has little left to decide."""
    return range((trace.exit_count + 1) // 2)


def tried(parameters: Mapping[str, Any], outcomes: Outcomes) -> Candidate:
    """Return a candidate with the means of what became of the samples it was tried on."""
    return Candidate(parameters, float(outcomes.right.mean()), float(outcomes.cost.mean()))
