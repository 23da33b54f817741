"""Choose at which places of a network exits are worth their cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.placement_problem import Costs, Problem, check_options, make_problem

if TYPE_CHECKING:
    from edgeexit.offline.traces import Trace

FloatArray = NDArray[np.float64]

LEAST_GAIN: Final = 0.002
"""Part of the full network's cost that an exit must save: less is noise, and each exit is one more piece to keep."""
ERROR_PRICES: Final = tuple(np.geomspace(0.1, 1000.0, 61).tolist())
"""Prices of an error, in full networks, that are tried; the cheapest result of a low enough drop is taken."""
PAPER_SHARE: Final = 0.5
"""TH of the paper's rule."""

_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Placement:
    """Which candidates get an exit, and what is expected of them on the samples that they were chosen on.

    Attributes:
        kept: Indices of the candidates that get an exit, ascending.
        refused: Index of each other candidate -> why it gets none.
        leaves: Share of the samples that leaves at each exit of `kept`, and last at the network's own output.
        accuracy: Share of right answers, with a confidence threshold of its own for each exit.
        full_accuracy: That of the network's own output.
        cost: Mean cost of a sample, in parts of the full network's.
        error_price: What one error was taken to cost, in full networks.
    """

    kept: tuple[int, ...]
    refused: Mapping[int, str]
    leaves: tuple[float, ...]
    accuracy: float
    full_accuracy: float
    cost: float
    error_price: float


def place_exits(
    trace: Trace,
    segment_costs: Sequence[float],
    head_costs: Sequence[float],
    *,
    allowed_drop: float,
    count: int | None = None,
    least_gain: float = LEAST_GAIN,
) -> Placement:
    """Choose the exits that together cost least, by an exact dynamic program.

    For each price of an error every candidate gets a threshold, from which follows where each sample is ready to leave
    (`make_problem`). It leaves at the first exit at or behind that place, and the price is the mean cost of the
    segments run and the heads looked at, and of the errors. Since a sample that is ready has left at the next exit,
    what comes behind an exit depends on no exit before it, and the best set is a shortest path over the candidates.

    Args:
        trace: What heads at all E - 1 candidates, and last the network's own output, say about samples that the heads
            were not fitted to.
        segment_costs: E costs, from the input to the first candidate, from one to the next, and to the output; in any
            one unit (MACs, seconds, joules).
        head_costs: E costs of the heads in the same unit; the last may be 0 if the own output's is in its segment.
            What a cut itself costs (a call, a copy) belongs here.
        allowed_drop: Percentage points that the accuracy may lie below the network's own.
        count: How many early exits there shall be; None for as many as are worth it.
        least_gain: What an exit must save, in parts of the full network's cost; not looked at with `count`.

    Raises:
        DataError: If costs are not one for each exit, or negative.
        OptionError: If `allowed_drop` or `count` is out of range.
    """
    check_options(trace.exit_count, allowed_drop, count)
    costs = Costs.of(segment_costs, head_costs, trace.exit_count)

    def choose(problem: Problem) -> tuple[int, ...]:
        return best_exits(problem, count, 0.0 if count is not None else least_gain)

    problem, kept = _cheapest(trace, costs, allowed_drop, choose)
    return _placement(problem, kept, _refusals(problem, kept, count, least_gain))


def paper_rule(
    trace: Trace,
    segment_costs: Sequence[float],
    head_costs: Sequence[float],
    *,
    allowed_drop: float,
    count: int | None = None,
) -> Placement:
    """Choose exits one by one as Predictive Exit does (Li et al., arXiv 2206.04685): a baseline for `place_exits`.

    Exit l is kept where ``(TH - c) y' - (1 - c) e - (1 - TH) y >= 0``: c is the share of the samples that it lets out,
    e its head's cost, y and y' the costs of the segment behind it and of the one behind that (0 behind the output),
    and TH = 0.5. Between segments of equal cost that keeps no exit that lets anybody out, whatever the exit saves: it
    asks for a segment behind that is much cheaper than the next.

    Args:
        trace: As for `place_exits`.
        segment_costs: As for `place_exits`.
        head_costs: As for `place_exits`.
        allowed_drop: Percentage points that the accuracy may lie below the network's own.
        count: How many early exits there shall be: those where the term is largest; None keeps those where it is not
            below 0.

    Raises:
        DataError: If costs are not one for each exit, or negative.
        OptionError: If `allowed_drop` or `count` is out of range.
    """
    check_options(trace.exit_count, allowed_drop, count)
    costs = Costs.of(segment_costs, head_costs, trace.exit_count)

    def choose(problem: Problem) -> tuple[int, ...]:
        terms = _paper_terms(problem)
        kept = np.flatnonzero(terms >= 0) if count is None else np.argsort(-terms, kind="stable")[:count]
        return tuple(sorted(kept.tolist()))

    problem, kept = _cheapest(trace, costs, allowed_drop, choose)
    chosen, terms = choose(problem), _paper_terms(problem).tolist()
    refused = {i: _paper_refusal(term, i in chosen, count) for i, term in enumerate(terms) if i not in kept}
    return _placement(problem, kept, refused)


def best_exits(problem: Problem, count: int | None = None, charge: float = 0.0) -> tuple[int, ...]:
    """Return the exits that make the price least, ascending; an exact shortest path over the candidates.

    Args:
        problem: With E - 1 candidates.
        count: How many exits exactly; None for any number.
        charge: What each exit costs on top, whether or not a sample reaches it.
    """
    steps = problem.prices.copy()
    steps[:, :-1] += charge
    return _shortest_path(steps) if count is None else _shortest_path_of(steps, count)


def _shortest_path(steps: FloatArray) -> tuple[int, ...]:
    """Return the exits on the way from the input to the last exit, both left out, that make the sum least."""
    count = steps.shape[1]
    best, before = np.full(count + 1, np.inf), np.zeros(count, dtype=np.int64)
    best[0] = 0.0
    for exit_index in range(count):
        options = best + steps[:, exit_index]
        before[exit_index] = options.argmin() - 1
        best[exit_index + 1] = options.min()
    path = [int(before[-1])]
    while path[-1] >= 0:
        path.append(int(before[path[-1]]))
    return tuple(reversed(path[:-1]))


def _shortest_path_of(steps: FloatArray, count: int) -> tuple[int, ...]:
    """Return the same with exactly `count` exits, 1 or more, on the way."""
    best = steps[0]
    befores: list[NDArray[np.intp]] = []
    for _ in range(count):
        options = best[:-1, np.newaxis] + steps[1:-1]
        befores.append(options.argmin(axis=0))
        best = options.min(axis=0)
    path = [steps.shape[1] - 1]
    for before in reversed(befores):
        path.append(int(before[path[-1]]))
    return tuple(reversed(path[1:]))


def _cheapest(
    trace: Trace, costs: Costs, allowed_drop: float, choose: Callable[[Problem], tuple[int, ...]]
) -> tuple[Problem, tuple[int, ...]]:
    """Try all prices of an error; return what costs least with a low enough drop, of equals that of the highest price.

    The drop is that of samples that leave where they reach the threshold of the very exit they are at. Exits at which
    nobody leaves are left out.
    """
    least = float(trace.accuracies[-1]) - allowed_drop / 100 - _ROUNDING
    found: list[tuple[float, Problem, tuple[int, ...]]] = []
    for price in ERROR_PRICES:
        problem = make_problem(trace, costs, price)
        kept = choose(problem)
        leaves, _, _ = problem.run(kept)
        kept = tuple(index for index, share in zip(kept, leaves, strict=False) if share > 0)
        _, accuracy, cost = problem.run(kept)
        if accuracy >= least:
            found.append((cost, problem, kept))
    if not found:
        return make_problem(trace, costs, ERROR_PRICES[-1]), ()
    _, problem, kept = min(found, key=lambda item: (item[0], -item[1].error_price))
    return problem, kept


def _placement(problem: Problem, kept: tuple[int, ...], refused: Mapping[int, str]) -> Placement:
    leaves, accuracy, cost = problem.run(kept)
    full = float(problem.trace.accuracies[-1])
    return Placement(kept, refused, tuple(leaves.tolist()), accuracy, full, cost, problem.error_price)


def _paper_terms(problem: Problem) -> FloatArray:
    """Return (E - 1,) the term of each candidate."""
    segment = np.append(problem.costs.segment[1:], 0.0)
    let_out = (problem.trace.confidence >= problem.thresholds).mean(axis=0)[:-1]
    head = problem.costs.head[:-1]
    terms = (PAPER_SHARE - let_out) * segment[1:] - (1 - let_out) * head - (1 - PAPER_SHARE) * segment[:-1]
    return np.asarray(terms)


def _paper_refusal(term: float, chosen: bool, count: int | None) -> str:
    if chosen:
        return "no sample leaves here"
    why = "less than 0" if count is None else f"that of others to more, and no more than {count} were asked for"
    return f"the term of the paper's rule comes to {term:.4f}, {why}"


def _refusals(problem: Problem, kept: tuple[int, ...], count: int | None, least_gain: float) -> dict[int, str]:
    others = set(range(problem.trace.exit_count - 1)) - set(kept)
    return {index: _refusal(problem, kept, index, count, least_gain) for index in sorted(others)}


def _refusal(problem: Problem, kept: tuple[int, ...], index: int, count: int | None, least_gain: float) -> str:
    """Say why one candidate gets no exit: what it would change beside those that are kept."""
    places = [-1, *kept, problem.trace.exit_count - 1]
    before, behind = max(p for p in places if p < index), min(p for p in places if p > index)
    leaving = float(problem.reach[before + 1] - problem.reach[index + 1])
    if leaving <= 0:
        return "no sample gains by leaving here, errors counted"
    costs = problem.costs
    saved = leaving * float(costs.depth[behind] + costs.head[behind] - costs.depth[index])
    spent = float(problem.reach[before + 1] * costs.head[index])
    gain = problem.price(kept) - problem.price(sorted((*kept, index)))
    figures = f"{leaving:.1%} of the samples would leave here and save {saved:.2%} of the cost"
    if count is not None and gain > 0:
        return f"{figures}; others save more, and no more than {count} were asked for"
    if saved <= spent:
        return f"{figures}, no more than its head costs ({spent:.2%})"
    if gain <= 0:
        return f"{figures}; its head costs {spent:.2%}, and its errors more than the rest"
    return f"{figures}, its head costs {spent:.2%}: with its errors it gains less than {least_gain:.2%}"
