"""Run exit rules over recorded traces: the rule's own `judge`, sample by sample, without the network.

Cost is counted in multiply-accumulates (MACs) as the engine would spend them: the segments up to the exit that
answers and the heads that were looked at. Shares are of the full network without its early exits
(`Workload.whole_macs`); with layers that only exits read, a run to the last exit is more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from math import nan

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import DataError, OptionError
from edgeexit.offline.traces import BoolArray, IntArray, Trace
from edgeexit.protocols import CombinesLooks, Evidence, ExitRule, Look, Verdict, Workload

FloatArray = NDArray[np.float64]


class Costs:
    """MACs of a bundle's pieces, summed up by exits.

    Attributes:
        depth: (E,) MACs of the segments up to each exit.
        head: (E,) MACs of each exit's head.
        full: MACs of the full network without its early exits.
    """

    def __init__(self, workload: Workload) -> None:
        self.depth: FloatArray = np.cumsum(workload.segment_macs, dtype=np.float64)[list(workload.exit_segments)]
        self.head: FloatArray = np.array(workload.head_macs, dtype=np.float64)
        self.full = float(workload.whole_macs)

    def of(self, exits: Sequence[int]) -> Costs:
        """Return the costs of the same network with the exits `exits` only, the last of which is the network's."""
        part = copy(self)
        part.depth, part.head = self.depth[list(exits)], self.head[list(exits)]
        return part

    def answer_at(self, exit_index: IntArray) -> FloatArray:
        """Return the MACs if only the exits `exit_index` are looked at."""
        return self.depth[exit_index] + self.head[exit_index]


@dataclass(frozen=True, slots=True)
class Replay:
    """What a rule did with each of S samples.

    Attributes:
        exit_index: (S,) the exit that answered.
        label: (S,) its answer.
        correct: (S,) whether that is right.
        looks: (S,) how many exits were looked at.
        macs: (S,) segments and heads.
        next_forecast: (S,) what the rule did after its first look: that exit if it stopped there, else the exit it
            looked at next. For a rule that skips exits this is its forecast.
        mode_forecast: (S,) the likeliest exit of the distribution after the first look; -1 where there was none.
        foretold: (S,) the probability which that distribution gave to the exit that answered; nan where there was none.
        first_exit: The first exit that was looked at; -1 if that differs between samples.
        full_macs: MACs of the full network without its early exits.
    """

    exit_index: IntArray
    label: IntArray
    correct: BoolArray
    looks: IntArray
    macs: FloatArray
    next_forecast: IntArray
    mode_forecast: IntArray
    foretold: FloatArray
    first_exit: int
    full_macs: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over the samples of a replay.

    Attributes:
        accuracy: Share of right answers.
        macs: Mean MACs, heads included.
        macs_share: The same as a share of the full network.
        exit_index: Mean exit that answered.
        looks: Mean number of exits looked at.
    """

    accuracy: float
    macs: float
    macs_share: float
    exit_index: float
    looks: float


def replay(rule: ExitRule, trace: Trace, workload: Workload) -> Replay:
    """Let `rule` judge every sample of `trace`.

    Args:
        rule: Made for the trace's number of exits.
        trace: Recorded logits.
        workload: MACs of the pieces.

    Raises:
        DataError: If the workload is of a network with another number of exits.
    """
    if len(workload.exit_segments) != trace.exit_count:
        raise DataError(f"the workload has {len(workload.exit_segments)} exits, the trace has {trace.exit_count}")
    look_at = trace.make_look()
    first_exit = rule.judge(Evidence(trace.exit_count, ())).next_exit
    costs = Costs(workload)
    head = costs.head.tolist()
    combine = rule.combine if isinstance(rule, CombinesLooks) else None
    passes = [_run(rule, partial(look_at, sample), first_exit, head, combine) for sample in range(len(trace))]
    exit_index, label, looks, head_macs, following, mode, foretold = (
        np.array(column) for column in zip(*passes, strict=True)
    )
    return Replay(
        exit_index=exit_index,
        label=label,
        correct=label == trace.labels,
        looks=looks,
        macs=costs.depth[exit_index] + head_macs,
        next_forecast=following,
        mode_forecast=mode,
        foretold=foretold,
        first_exit=first_exit,
        full_macs=costs.full,
    )


def summarise(run: Replay) -> Summary:
    """Return the means over all samples."""
    macs = float(run.macs.mean())
    return Summary(
        accuracy=float(run.correct.mean()),
        macs=macs,
        macs_share=macs / run.full_macs,
        exit_index=float(run.exit_index.mean()),
        looks=float(run.looks.mean()),
    )


def answer_shares(run: Replay, exit_count: int) -> FloatArray:
    """Return how often each exit answered: the `prior` of a rule that forecasts with it."""
    return np.bincount(run.exit_index, minlength=exit_count) / len(run.exit_index)


def replay_known_exits(exit_index: IntArray, trace: Trace, workload: Workload) -> Replay:
    """Return the replay of a rule that knows each sample's exit in advance and looks at no other: a bound.

    Args:
        exit_index: (S,) for instance `Trace.first_agreeing_exit`, or the same exit for every sample.
        trace: Recorded logits.
        workload: MACs of the pieces.
    """
    costs = Costs(workload)
    samples = np.arange(len(trace))
    return Replay(
        exit_index=exit_index,
        label=trace.label[samples, exit_index],
        correct=trace.correct[samples, exit_index],
        looks=np.ones(len(trace), dtype=np.int64),
        macs=costs.answer_at(exit_index),
        next_forecast=exit_index,
        mode_forecast=exit_index,
        foretold=np.ones(len(trace)),
        first_exit=-1,
        full_macs=costs.full,
    )


def first_right_exit(trace: Trace) -> IntArray:
    """Return (S,) the first exit that is right, and exit 0 where none is, because none is better than the cheapest."""
    return np.asarray(trace.correct.argmax(axis=1))


def best_static_exit(trace: Trace, workload: Workload, allowed_drop: float) -> int:
    """Return the cheapest exit that loses at most `allowed_drop` points of accuracy if it answers for every sample."""
    enough = np.flatnonzero(trace.accuracies >= lowest_accuracy(trace, allowed_drop))
    return int(enough[Costs(workload).answer_at(enough).argmin()])


def lowest_accuracy(trace: Trace, allowed_drop: float) -> float:
    """Return the accuracy that lies `allowed_drop` percentage points below that of the full network."""
    return float(trace.accuracies[-1]) - allowed_drop / 100 - _ROUNDING


_ROUNDING = 1e-9
"""Accuracies are shares of a few thousand samples; differences this small are of the arithmetic."""


def follow(
    rule: ExitRule, look_at: Callable[[int], Look], first_exit: int, exit_count: int
) -> tuple[list[Look], list[Verdict]]:
    """Let a rule judge one sample, and return its looks and the verdict after each.

    Args:
        rule: Made for `exit_count` exits.
        look_at: From an exit index to what that exit says.
        first_exit: What the rule answers before the first look, the same for all samples.
        exit_count: Number of exits; the last answers unasked.

    Raises:
        OptionError: If the rule does not go deeper.
    """
    looks: list[Look] = []
    verdicts: list[Verdict] = []
    evidence = Evidence(exit_count, looks)
    exit_index, last = first_exit, exit_count - 1
    while True:
        looks.append(look_at(exit_index))
        verdict = rule.judge(evidence) if exit_index < last else Verdict(stop=True, next_exit=last)
        verdicts.append(verdict)
        if verdict.stop:
            return looks, verdicts
        if not exit_index < verdict.next_exit <= last:
            raise OptionError(f"exit rule {rule.name!r} goes from exit {exit_index} to {verdict.next_exit}: not deeper")
        exit_index = verdict.next_exit


def _run(
    rule: ExitRule,
    look_at: Callable[[int], Look],
    first_exit: int,
    head_macs: list[float],
    combine: Callable[[Evidence], Look] | None,
) -> tuple[int, int, int, float, int, int, float]:
    """Return one sample's exit, label, number of looks, their heads' MACs, and its forecasts as `Replay` has them."""
    looks, verdicts = follow(rule, look_at, first_exit, len(head_macs))
    spent = sum([head_macs[look.exit_index] for look in looks])
    newest = looks[-1] if combine is None else combine(Evidence(len(head_macs), looks))
    distribution = verdicts[0].distribution
    mode, foretold = -1, nan
    if distribution is not None:
        mode = max(range(len(distribution)), key=distribution.__getitem__)
        foretold = distribution[newest.exit_index]
    return newest.exit_index, newest.label, len(looks), spent, verdicts[0].next_exit, mode, foretold
