"""Count which exits answer after the rule `forecast` or `gate` has gone on: what it then forecasts to governors.

The predictor says where a sample settles; the rule answers where it is sure of that, which is later. On both
reference networks the settled exit's distribution foretold the answering exit worse than the plain frequencies did.
Counts by step and by the probability of having settled foretold it better than either; those of `gate` are by how
open the gate was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgeexit.exits.forecast import Forecast
from edgeexit.exits.gate import Gate, openness
from edgeexit.exits.predictor import Predictor
from edgeexit.offline.replay import follow
from edgeexit.offline.traces import Trace
from edgeexit.protocols import Evidence, ExitRule, Look

FloatArray = NDArray[np.float64]
Counts = Mapping[tuple[int, int], list[tuple[float, int]]]

LEAST_SAMPLES: Final = 20
"""A step with fewer samples keeps the prior."""

SAMPLES_IN_A_CLASS: Final = 50
MOST_CLASSES: Final = 4
SHRINKAGE: Final = 10
"""Samples that the coarser shares weigh in the finer: of all exits in a step, of a step in its classes."""


def count_answers(parameters: Mapping[str, Any], prior: Sequence[float], trace: Trace) -> list[dict[str, Any]]:
    """Return the parameter `answers` of `edgeexit.exits.forecast.Forecast` or `edgeexit.exits.gate.Gate`.

    Args:
        parameters: The rule's other parameters, the predictor in its JSON form; with "gates" they are those of `gate`.
        prior: How often each exit answers.
        trace: The "select" split.
    """
    entries = []
    for (exit_index, next_exit), seen in sorted(_follow_all(parameters, trace).items()):
        if len(seen) >= LEAST_SAMPLES:
            settled = np.array([probability for probability, _ in seen])
            answered = np.array([answer - next_exit for _, answer in seen])
            edges, shares = _classes(settled, answered, np.array(prior[next_exit:]))
            entries.append({"exit": exit_index, "next_exit": next_exit, "edges": edges, "shares": shares})
    return entries


def _follow_all(parameters: Mapping[str, Any], trace: Trace) -> Counts:
    """Return, for each step the rule took, the probabilities of having settled and the exits that answered."""
    rule, probability = _make(parameters, trace.exit_count)
    first_exit = rule.judge(Evidence(trace.exit_count, ())).next_exit
    look_at = trace.make_look()
    counts: dict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)
    for sample in range(len(trace)):
        looks, verdicts = follow(rule, partial(look_at, sample), first_exit, trace.exit_count)
        for seen, verdict in enumerate(verdicts[:-1], start=1):
            counts[looks[seen - 1].exit_index, verdict.next_exit].append(
                (probability(looks[:seen]), looks[-1].exit_index)
            )
    return counts


def _make(parameters: Mapping[str, Any], exit_count: int) -> tuple[ExitRule, Callable[[list[Look]], float]]:
    """Return the rule, and the probability by which its steps are divided into classes."""
    if "gates" in parameters:
        gate = Gate(exit_count, **{name: value for name, value in parameters.items() if name != "predictor"})
        return gate, lambda looks: openness(gate.score(looks))
    predictor = Predictor(parameters["predictor"])
    return Forecast(exit_count, **parameters), lambda looks: predictor.forecast(looks)[0]


def _classes(settled: FloatArray, answered: NDArray[np.int64], prior: FloatArray) -> tuple[list[float], Any]:
    """Divide a step's samples into classes of equal size; return their edges and their smoothed shares."""
    coarse = _smooth(answered, prior / max(prior.sum(), 1e-9))
    count = int(np.clip(len(settled) // SAMPLES_IN_A_CLASS, 1, MOST_CLASSES))
    edges = np.round(np.quantile(settled, np.linspace(0, 1, count + 1)[1:-1]), 6)
    of = np.searchsorted(edges, settled, side="right")
    shares = [_smooth(answered[of == index], coarse) for index in range(count)]
    return edges.tolist(), np.round(shares, 5).tolist()


def _smooth(answered: NDArray[np.int64], coarser: FloatArray) -> FloatArray:
    counts = np.bincount(answered, minlength=len(coarser))
    return np.asarray((counts + SHRINKAGE * coarser) / (counts.sum() + SHRINKAGE))
