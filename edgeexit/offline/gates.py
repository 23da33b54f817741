"""Fit the gates of all exits together; `edgeexit.exits.gate` evaluates them without scipy.

What is least is the expected price of a sample: its work as a share of the full network, plus the price of an error
times the probability that its answer is wrong (`edgeexit.offline.rightness`). While it is fitted a gate is open by
its logistic function, not just open or shut, so that the price has a slope in every weight, and the gates of all exits
follow it at once: each learns to stop the samples for which the gates behind it do no better. Fitting each exit for
itself, by regression on what going on would gain (backward induction), needed more work on the same samples.

Letting a gate choose any exit behind it, and not the next alone, gained nothing: which exits to look at is the same
for all samples, and chosen with a threshold for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from edgeexit.exits.gate import FEATURES, FLOOR, LEAST
from edgeexit.offline.replay import Costs
from edgeexit.offline.traces import Trace

FloatArray = NDArray[np.float64]

NO_LOOK: Final = -1
MOST_CLASSES: Final = 32
"""With more classes than these, a gate sees none of them one by one."""
PENALTY: Final = 1e-3
"""In full networks, on the square of each weight of a feature scaled to a standard deviation of 1."""
STEPS: Final = 60
"""Of L-BFGS, for each price; the next price starts where the last one ended."""
_ODDS: Final = 2
"""The column of the logit of the confidence, with which gates begin."""


class GateSet(NamedTuple):
    """The gates of all exits.

    Attributes:
        gates: For each exit its weights and bias, None where it is not looked at; the last has no weights.
        stop: How open a gate must be.
    """

    gates: tuple[tuple[float, ...] | None, ...]
    stop: float = 0.5

    @property
    def looked_at(self) -> list[int]:
        """The exits that are looked at; the last is."""
        return [e for e, gate in enumerate(self.gates) if gate is not None]

    def as_lists(self) -> list[list[float] | None]:
        """Return the gates as the rule's parameter."""
        return [None if gate is None else list(gate) for gate in self.gates]


def gate_features(trace: Trace, exit_index: int, before: int, *, of_classes: bool) -> FloatArray:
    """Return (S, F) what a gate sees after looks at `before` and `exit_index`, without the 1 for the bias.

    Args:
        trace: S samples.
        exit_index: The exit looked at.
        before: The exit looked at before, `NO_LOOK` for none.
        of_classes: True if the gate sees each class's probability.
    """
    confidence = trace.confidence[:, exit_index].astype(np.float64)
    second = confidence - trace.margin[:, exit_index]
    odds = np.log(np.maximum(confidence, LEAST)) - np.log(np.maximum(1.0 - confidence, LEAST))
    agrees, sure = np.zeros((2, len(trace)))
    if before != NO_LOOK:
        agrees = (trace.label[:, before] == trace.label[:, exit_index]).astype(np.float64)
        sure = trace.confidence[:, before].astype(np.float64)
    log_second = np.log(np.maximum(second, LEAST))
    columns = [confidence, second, odds, log_second, agrees, sure, agrees * sure, agrees * odds]
    if of_classes:
        columns += list(np.log(trace.probabilities[:, exit_index].astype(np.float64) + FLOOR).T)
    return np.stack(columns, axis=1)


class GateProblem:
    """The gates of some exits, to be fitted for one price of an error after the other.

    Args:
        trace: S samples.
        right: (S, E) how probably each exit is right.
        costs: Of the network.
        looked_at: The exits that are looked at, ascending; the last exit of the network is the last of them.
    """

    def __init__(self, trace: Trace, right: FloatArray, costs: Costs, looked_at: Sequence[int]) -> None:
        seen = list(looked_at)
        self._seen = seen
        self._exit_count = trace.exit_count
        self._right = right[:, seen].T
        self._cost = (costs.depth[seen] + np.cumsum(costs.head[seen])) / costs.full
        of_classes = trace.class_count <= MOST_CLASSES
        steps = zip([NO_LOOK, *seen], seen[:-1], strict=False)
        features = [gate_features(trace, e, before, of_classes=of_classes) for before, e in steps]
        self._mean = [columns.mean(axis=0) for columns in features]
        deviations = [columns.std(axis=0) for columns in features]
        self._scale = [np.where(deviation > _CONSTANT, deviation, 1.0) for deviation in deviations]
        self._columns = [
            np.column_stack([(columns - mean) / scale, np.ones(len(trace))])
            for columns, mean, scale in zip(features, self._mean, self._scale, strict=True)
        ]
        self._width = len(FEATURES) + 1 if not features else features[0].shape[1] + 1

    def start(self) -> FloatArray:
        """Return weights (K, F + 1) with which all gates open with confidence, to begin with."""
        weights = np.zeros((len(self._columns), self._width))
        weights[:, _ODDS] = 1.5
        return weights

    def fit(self, error_price: float, start: FloatArray) -> FloatArray:
        """Return weights (K, F + 1) with the least expected price.

        Args:
            error_price: What one error costs, in full networks.
            start: Where to begin.
        """
        if not len(start):
            return start
        found = minimize(
            self.price, start.ravel(), args=(error_price,), jac=True, method="L-BFGS-B", options={"maxiter": STEPS}
        )
        return np.asarray(found.x.reshape(start.shape))

    def price(self, flat: FloatArray, error_price: float) -> tuple[float, FloatArray]:
        """Return the expected price of a sample with its penalty, and its slope in every weight.

        Args:
            flat: The weights in one row.
            error_price: What one error costs, in full networks.
        """
        weights = flat.reshape(len(self._columns), self._width)
        prices = error_price * (1.0 - self._right) + self._cost[:, np.newaxis]
        opens = [expit(columns @ row) for columns, row in zip(self._columns, weights, strict=True)]
        ahead = [prices[-1]]
        for here, stops in zip(prices[-2::-1], opens[::-1], strict=True):
            ahead.append(stops * here + (1.0 - stops) * ahead[-1])
        ahead.reverse()
        slope = np.empty_like(weights)
        reach = np.ones(len(prices[0]))
        for k, (columns, stops) in enumerate(zip(self._columns, opens, strict=True)):
            gain = reach * stops * (1.0 - stops) * (prices[k] - ahead[k + 1])
            slope[k] = gain @ columns / len(reach)
            reach = reach * (1.0 - stops)
        penalised = weights.copy()
        penalised[:, -1] = 0.0
        value = float(ahead[0].mean()) + PENALTY * float((penalised**2).sum())
        return value, (slope + 2 * PENALTY * penalised).ravel()

    def gates(self, weights: FloatArray) -> GateSet:
        """Return gates as the rule takes them: the scaling is folded into the weights.

        Args:
            weights: (K, F + 1) as `fit` returns them.
        """
        gates: list[tuple[float, ...] | None] = [None] * self._exit_count
        for e, row, mean, scale in zip(self._seen[:-1], weights, self._mean, self._scale, strict=True):
            folded = row[:-1] / scale
            gates[e] = _plain(np.append(folded, row[-1] - folded @ mean))
        gates[-1] = ()
        return GateSet(tuple(gates))


def open_gates(gate_set: GateSet, trace: Trace) -> FloatArray:
    """Return (S, K) the score of each exit that is looked at; the last, which always answers, has none but infinity.

    Args:
        gate_set: The gates.
        trace: S samples.
    """
    seen = gate_set.looked_at
    scores = np.full((len(trace), len(seen)), np.inf)
    for k, (before, e) in enumerate(zip([NO_LOOK, *seen], seen[:-1], strict=False)):
        scores[:, k] = gate_scores(np.array(gate_set.gates[e]), trace, e, before)
    return scores


def gate_scores(gate: FloatArray, trace: Trace, exit_index: int, before: int) -> FloatArray:
    """Return (S,) the score of one exit's gate, as `edgeexit.exits.gate.Gate.score` works it out.

    Args:
        gate: Its weights and bias.
        trace: S samples.
        exit_index: The exit looked at.
        before: The exit looked at before, `NO_LOOK` for none.
    """
    columns = gate_features(trace, exit_index, before, of_classes=len(gate) > len(FEATURES) + 1)
    return np.asarray(columns @ gate[:-1] + gate[-1])


def fit_gates(
    trace: Trace,
    right: FloatArray,
    costs: Costs,
    looked_at: Sequence[Sequence[int]],
    error_prices: Sequence[float],
) -> list[GateSet]:
    """Return the gates for each price of an error.

    Args:
        trace: S samples.
        right: (S, E) how probably each exit is right.
        costs: Of the network.
        looked_at: For each price the exits to look at.
        error_prices: In full networks.
    """
    problems: dict[tuple[int, ...], tuple[GateProblem, FloatArray]] = {}
    found = []
    for exits, error_price in zip(looked_at, error_prices, strict=True):
        key = tuple(exits)
        if key not in problems:
            problem = GateProblem(trace, right, costs, key)
            problems[key] = problem, problem.start()
        problem, start = problems[key]
        weights = problem.fit(error_price, start)
        problems[key] = problem, weights
        found.append(problem.gates(weights))
    return found


_CONSTANT: Final = 1e-9


def _plain(numbers: FloatArray) -> tuple[float, ...]:
    """Return numbers with eight digits, which JSON keeps as they are."""
    return tuple(float(f"{number:.8g}") for number in numbers)
