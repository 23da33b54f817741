"""Meet a mean budget of work, time or energy: EERO (Valade, Hebiri and Gay, arXiv 2402.03779).

Which share of the samples each exit answers follows from a labelled split: the shares p that minimise

    sum_e p_e R_e + KL(p || even shares) / beta,   where   sum_e p_e C_e <= budget,

with the risk R_e of exit e and the cost C_e of an answer there, have the closed form p_e ~ exp(-beta R_e - lambda C_e)
(exponential weights), and one number lambda is found by bisection. The shares become thresholds on samples that need
no labels: the first exit's threshold is what its share of the samples reaches in confidence, the next one's what its
share reaches of those that went on, and so on. Here beta and the exits that are looked at are chosen too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from math import comb, floor, inf, isfinite
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import DataError, OptionError
from edgeexit.offline.traces import BoolArray, IntArray, Trace
from edgeexit.protocols import PointCosts, Workload

FloatArray = NDArray[np.float64]

SETTING: Final = "budget"
"""Name in rules.json."""
BETAS: Final = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
"""From even shares to the best mixture of two exits; the paper finds 20 good."""
MOST_SUBSETS: Final = 700
"""Sets of exits that are tried: all of up to 9 exits, and of 16 exits those of three or fewer."""
MACS, LATENCY, ENERGY = "macs", "latency", "energy"
UNITS: Final = {MACS: "of the full network's MACs", LATENCY: "s", ENERGY: "J"}
_BISECTIONS: Final = 60


class PieceCosts(NamedTuple):
    """What a bundle's pieces cost for one sample, in the unit of a budget.

    Attributes:
        kind: One of `UNITS`.
        depth: (E,) all segments up to each exit.
        head: (E,) each exit's head.
    """

    kind: str
    depth: FloatArray
    head: FloatArray

    def answer_at(self, looked_at: IntArray) -> FloatArray:
        """Return what an answer costs at each of the exits `looked_at`, which are looked at one after the other."""
        return np.asarray(self.depth[looked_at] + np.cumsum(self.head[looked_at]))


class Budget(NamedTuple):
    """A mean cost that is not to be exceeded.

    Attributes:
        kind: "macs" as a share of the full network's, "latency" in seconds or "energy" in joules.
        amount: Above 0.
    """

    kind: str
    amount: float


class BudgetSetting(NamedTuple):
    """Thresholds that keep a budget.

    Attributes:
        parameters: Of the exit rule "threshold".
        shares: (E,) of the samples that were planned to be answered at each exit.
        cost: Mean cost on the samples that the thresholds are from; at most the budget.
        beta: That was chosen.
    """

    parameters: Mapping[str, Any]
    shares: FloatArray
    cost: float
    beta: float


class BudgetCheck(NamedTuple):
    """What a budget setting did on samples that nothing was chosen on.

    Attributes:
        samples: How many.
        cost: Their mean cost.
        error: Standard error of that mean.
        accuracy: Share of right answers.
        full_accuracy: That of the full network.
    """

    samples: int
    cost: float
    error: float
    accuracy: float
    full_accuracy: float


def macs_costs(workload: Workload) -> PieceCosts:
    """Return the pieces' work as shares of the full network's, see `Workload.whole_macs`."""
    depth = np.cumsum(workload.segment_macs, dtype=np.float64)[list(workload.exit_segments)]
    head = np.array(workload.head_macs, dtype=np.float64)
    full = workload.whole_macs
    return PieceCosts(MACS, depth / full, head / full)


def point_costs(point: PointCosts, exit_segments: tuple[int, ...], kind: str) -> PieceCosts:
    """Return the pieces' cost at one operating point of a board.

    Args:
        point: Of a cost table.
        exit_segments: The segment behind which each exit stands.
        kind: "latency" or "energy".

    Raises:
        OptionError: If the table has no energies.
    """
    rows = (
        (point.segment_latency_s, point.head_latency_s)
        if kind == LATENCY
        else (point.segment_energy_j, point.head_energy_j)
    )
    segments, heads = rows
    if segments is None or heads is None:
        raise OptionError("the cost table has no energies: measure the board with a power meter, or give --board")
    return PieceCosts(kind, np.cumsum(segments)[list(exit_segments)], np.array(heads))


def budget_met(labelled: Trace, unlabelled: Trace, costs: PieceCosts, budget: Budget) -> BudgetSetting:
    """Return the thresholds with the highest accuracy on `labelled` whose mean cost keeps the budget.

    Args:
        labelled: Risks are from it, and the choice.
        unlabelled: Thresholds are from it, and on it the cost is at most the budget; its labels are not looked at.
        costs: In the budget's unit.
        budget: A mean over samples.

    Raises:
        OptionError: If the budget is not above 0, of another kind than the costs, or too small for any exit.
    """
    if costs.kind != budget.kind:
        raise OptionError(f"a budget of {budget.kind} needs costs of that kind, not of {costs.kind}")
    if not (isfinite(budget.amount) and budget.amount > 0):
        raise OptionError(f"a budget must be a number above 0, not {budget.amount:g}")
    least = float(costs.answer_at(np.array([0]))[0])
    if budget.amount < least:
        raise OptionError(
            f"a budget of {budget.amount:.4g} {UNITS[budget.kind]} is too small: the first exit alone takes {least:.4g}"
        )
    best: tuple[float, float, BudgetSetting] | None = None
    for looked_at in _subsets(labelled.exit_count):
        cost = costs.answer_at(looked_at)
        for beta in BETAS if cost[0] <= budget.amount else ():
            shares = exponential_weights(1 - labelled.accuracies[looked_at], cost, budget.amount, beta)
            thresholds = sequential_thresholds(unlabelled.confidence[:, looked_at], shares)
            tried = _try(looked_at, thresholds, labelled, unlabelled, cost)
            if tried.cost_unlabelled <= budget.amount * (1 + 1e-9) and (best is None or tried.rank > best[:2]):
                best = (*tried.rank, _setting(looked_at, thresholds, shares, tried.cost_unlabelled, beta, labelled))
    if best is None:
        raise DataError(f"no thresholds keep a budget of {budget.amount:.4g} {UNITS[budget.kind]} on these samples")
    return best[2]


def check_budget(setting: BudgetSetting, test: Trace, costs: PieceCosts) -> BudgetCheck:
    """Return what a setting does on samples that took no part in making it."""
    thresholds = setting.parameters["threshold"]
    looked_at = np.array([e for e, value in enumerate(thresholds) if value is not None])
    limits = np.array([thresholds[e] for e in looked_at])
    turn = _answering(test.confidence[:, looked_at], limits)
    cost = costs.answer_at(looked_at)[turn]
    correct = test.correct[np.arange(len(test)), looked_at[turn]]
    error = float(cost.std(ddof=1) / np.sqrt(len(test))) if len(test) > 1 else inf
    return BudgetCheck(len(test), float(cost.mean()), error, float(correct.mean()), float(test.accuracies[-1]))


def exponential_weights(risks: FloatArray, costs: FloatArray, budget: float, beta: float) -> FloatArray:
    """Return the shares of samples that each exit answers, with a mean cost of at most `budget`.

    Args:
        risks: (E,) error rates.
        costs: (E,) of an answer; the first is at most the budget.
        budget: Of the mean cost.
        beta: How much the risk weighs against even shares.
    """

    def shares(price: float) -> FloatArray:
        exponents = -beta * risks - price * costs
        weights = np.exp(exponents - exponents.max())
        return np.asarray(weights / weights.sum())

    free = shares(0.0)
    if free @ costs <= budget:
        return free
    low, high = 0.0, 1.0 / float(costs.max())
    while shares(high) @ costs > budget and high < 1e12 / float(costs.max()):
        high *= 2
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if shares(middle) @ costs <= budget else (middle, high)
    return shares(high)


def sequential_thresholds(confidence: NDArray[np.float32], shares: FloatArray) -> FloatArray:
    """Return (E,) thresholds with which at least the shares (E,) of the samples stop early enough.

    Args:
        confidence: (S, E) of the exits that are looked at.
        shares: (E,) to be answered at each; where samples are equally confident, more are.
    """
    going = np.arange(len(confidence))
    thresholds = np.zeros(len(shares))
    due = np.round(np.cumsum(shares) * len(confidence)).astype(np.int64)
    for turn in range(len(shares) - 1):
        here = confidence[going, turn]
        wanted = due[turn] - (len(confidence) - len(going))
        thresholds[turn] = _reached_by(here, int(wanted))
        going = going[here < thresholds[turn]]
    return thresholds


def _reached_by(confidence: NDArray[np.float32], wanted: int) -> float:
    """Return the confidence that at least `wanted` samples reach; 1 if none is wanted, just above 0 if all are."""
    if wanted <= 0 or not len(confidence):
        return 1.0
    threshold = float(np.sort(confidence)[::-1][min(wanted, len(confidence)) - 1])
    return max(floor(threshold * 1e6) / 1e6, 1e-6)


class _Tried(NamedTuple):
    accuracy: float
    cost_labelled: float
    cost_unlabelled: float

    @property
    def rank(self) -> tuple[float, float]:
        return self.accuracy, -self.cost_labelled


def _try(looked_at: IntArray, thresholds: FloatArray, labelled: Trace, unlabelled: Trace, cost: FloatArray) -> _Tried:
    turn = _answering(labelled.confidence[:, looked_at], thresholds)
    correct: BoolArray = labelled.correct[np.arange(len(labelled)), looked_at[turn]]
    other = _answering(unlabelled.confidence[:, looked_at], thresholds)
    return _Tried(float(correct.mean()), float(cost[turn].mean()), float(cost[other].mean()))


def _answering(confidence: NDArray[np.float32], thresholds: FloatArray) -> IntArray:
    """Return (S,) the position, among the exits looked at, of the one that answers."""
    stops = confidence.astype(np.float64) >= thresholds
    stops[:, -1] = True
    return np.asarray(stops.argmax(axis=1))


def _subsets(exit_count: int) -> Iterator[IntArray]:
    """Yield sets of exits to look at, ascending: all of them, or as many as are worth the time, small ones first."""
    tried = 0
    for size in range(1, exit_count + 1):
        tried += comb(exit_count, size)
        if tried > MOST_SUBSETS:
            break
        yield from map(np.array, combinations(range(exit_count), size))


def _setting(
    looked_at: IntArray, thresholds: FloatArray, shares: FloatArray, cost: float, beta: float, trace: Trace
) -> BudgetSetting:
    listed: list[float | None] = [None] * trace.exit_count
    planned = np.zeros(trace.exit_count)
    for position, exit_index in enumerate(looked_at.tolist()):
        listed[exit_index] = float(thresholds[position])
        planned[exit_index] = shares[position]
    return BudgetSetting({"threshold": listed}, planned, cost, beta)
