"""What an exit rule does with each sample of a trace, if nobody cuts it short.

Every rule that ships gives one of a finite set of verdicts. So a path is a few numbers, and a replay can treat alike
the samples that a governor cannot tell apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import OptionError
from edgeexit.offline.replay import Costs, Replay, follow
from edgeexit.offline.replaying.judging import Judging, combined_labels, judge_one, make_judging
from edgeexit.offline.replaying.verdict_list import VerdictList
from edgeexit.offline.traces import BoolArray, IntArray, Trace
from edgeexit.protocols import CombinesLooks, Evidence, ExitRule, Verdict, Workload

FloatArray = NDArray[np.float64]
NONE = -1
"""Stands in the arrays behind a path's end."""


@dataclass(frozen=True)
class Paths:
    """The ways of S samples through the exits of a rule that is never cut short.

    Before each look a governor is asked; A is how often at most. Ask 0 is before the first look, and in all arrays
    (S, A) what lies behind a sample's last ask is -1.

    Attributes:
        rule: The exit rule.
        trace: S samples.
        verdicts: The distinct verdicts that occur, the first is that before the first look.
        verdict: (S, A) which verdict held at each ask, as an index into `verdicts`.
        next_exit: (S, A) the exit that was looked at after each ask.
        asks: (S,) how many asks, and looks, there were.
        exit_index: (S,) the exit that answered: the last that was looked at.
    """

    rule: ExitRule
    trace: Trace
    verdicts: tuple[Verdict, ...]
    verdict: IntArray
    next_exit: IntArray
    asks: IntArray
    exit_index: IntArray

    def __len__(self) -> int:
        return len(self.asks)

    @property
    def exit_count(self) -> int:
        """Number of exits, the network's own output included."""
        return self.trace.exit_count

    @cached_property
    def label(self) -> IntArray:
        """(S,) the answer."""
        if isinstance(self.rule, CombinesLooks):
            looked_at = [row[row != NONE].tolist() for row in self.next_exit]
            return combined_labels(self.rule, self.trace, range(len(self)), looked_at)
        return np.asarray(self.trace.label[np.arange(len(self)), self.exit_index])

    def correct_at(self, samples: IntArray, exit_index: IntArray) -> BoolArray:
        """Return (N,) whether the answers are right of samples that were cut short or sent on.

        A rule that combines looks answers there with those its path has before the exit, and the exit's.

        Args:
            samples: (N,) of the trace.
            exit_index: (N,) the exits that answered.
        """
        if not isinstance(self.rule, CombinesLooks):
            return np.asarray(self.trace.correct[samples, exit_index])
        right = self.correct[samples]
        astray = np.flatnonzero(exit_index != self.exit_index[samples])
        rows = [self.next_exit[samples[place]] for place in astray]
        looked_at = [
            [*row[(row != NONE) & (row < e)].tolist(), int(e)] for row, e in zip(rows, exit_index[astray], strict=True)
        ]
        labels = combined_labels(self.rule, self.trace, samples[astray].tolist(), looked_at)
        right[astray] = labels == self.trace.labels[samples[astray]]
        return right

    @cached_property
    def look_label(self) -> IntArray:
        """(S, A) what each look said."""
        labels = np.take_along_axis(self.trace.label, np.maximum(self.next_exit, 0), axis=1)
        return np.where(self.next_exit == NONE, NONE, labels)

    @cached_property
    def correct(self) -> BoolArray:
        """(S,) whether the answer is right."""
        return np.asarray(self.label == self.trace.labels)

    @cached_property
    def looked_share(self) -> float:
        """How many of the exits between the first look and the answer, of those the rule may look at, it looked at."""
        prior = self.verdicts[0].distribution
        possible = np.ones(self.exit_count) if prior is None else np.array(prior) > 0.0
        before = np.concatenate([[0.0], np.cumsum(possible)])
        first = np.minimum(self.next_exit[:, 0] + 1, self.exit_index)
        passed = float((before[self.exit_index] - before[first]).sum())
        return min(1.0, float(np.maximum(self.asks - 2, 0).sum()) / passed) if passed else 1.0

    def as_replay(self, workload: Workload) -> Replay:
        """Return the paths with their work, as `edgeexit.offline.replay.replay` works it out sample by sample.

        Args:
            workload: MACs of the pieces of a network with as many exits.
        """
        costs = Costs(workload)
        heads = np.where(self.next_exit == NONE, 0.0, costs.head[self.next_exit]).sum(axis=1)
        mode, foretold = self._forecasts()
        return Replay(
            exit_index=self.exit_index,
            label=self.label,
            correct=self.correct,
            looks=self.asks,
            macs=costs.depth[self.exit_index] + heads,
            next_forecast=np.where(self.asks > 1, self.next_exit[:, 1:2].max(axis=1, initial=NONE), self.exit_index),
            mode_forecast=mode,
            foretold=foretold,
            first_exit=self.verdicts[0].next_exit,
            full_macs=costs.full,
        )

    def _forecasts(self) -> tuple[IntArray, FloatArray]:
        """Return (S,) the likeliest exit after the first look, and the probability foretold for the one that came."""
        if self.verdicts[0].distribution is None:
            return np.full(len(self), -1), np.full(len(self), np.nan)
        table = np.array([verdict.distribution for verdict in self.verdicts])
        first = self.verdict[:, 1] if self.verdict.shape[1] > 1 else np.full(len(self), NONE)
        unasked = self.exit_index[first == NONE] == self.exit_count - 1  # the last exit answers without a verdict
        modes, foretold = table.argmax(axis=1)[first], table[first, self.exit_index]
        modes[first == NONE] = np.where(unasked, -1, self.exit_index[first == NONE])
        foretold[first == NONE] = np.where(unasked, np.nan, 1.0)
        return modes, foretold


def trace_paths(rule: ExitRule, trace: Trace) -> Paths:
    """Work out the path of every sample.

    The rules that ship are run for all samples at once, any other by its own `judge`, sample by sample.

    Args:
        rule: Made for the trace's number of exits.
        trace: S samples.

    Raises:
        OptionError: If the rule does not go deeper from look to look.
    """
    verdicts = VerdictList()
    first = rule.judge(Evidence(trace.exit_count, ()))
    verdicts.number(first)
    judging = make_judging(rule, trace, verdicts)
    walk = _Walk(len(trace), trace.exit_count)
    if judging is None:
        _walk_one_by_one(rule, trace, first, verdicts, walk)
    else:
        _walk_together(rule, trace, first, verdicts, judging, walk)
    most = int(walk.asks.max())
    return Paths(
        rule,
        trace,
        verdicts.as_tuple(),
        np.ascontiguousarray(walk.verdict[:, :most]),
        np.ascontiguousarray(walk.next_exit[:, :most]),
        walk.asks,
        walk.next_exit[np.arange(len(trace)), walk.asks - 1],
    )


class _Walk:
    """The arrays of `Paths` while they are filled."""

    def __init__(self, samples: int, exits: int) -> None:
        self.verdict = np.full((samples, exits), NONE)
        self.next_exit = np.full((samples, exits), NONE)
        self.asks = np.zeros(samples, dtype=np.int64)

    def look(self, samples: IntArray, verdict: IntArray, exit_index: int) -> None:
        """Note that `samples` look at `exit_index` because of their verdicts."""
        ask = self.asks[samples]
        self.verdict[samples, ask] = verdict
        self.next_exit[samples, ask] = exit_index
        self.asks[samples] = ask + 1


def _walk_together(
    rule: ExitRule, trace: Trace, first: Verdict, verdicts: VerdictList, judging: Judging, walk: _Walk
) -> None:
    """Go from exit to exit, and judge all samples that look at it."""
    looks_at = np.full(len(trace), first.next_exit)
    held = np.zeros(len(trace), dtype=np.int64)
    before = np.full(len(trace), NONE)
    last = trace.exit_count - 1
    for exit_index in range(first.next_exit, last + 1):
        here = np.flatnonzero(looks_at == exit_index)
        walk.look(here, held[here], exit_index)
        if exit_index == last:
            break
        for earlier in np.unique(before[here]):
            samples = here[before[here] == earlier]
            given, unsure = judging(samples, int(earlier), exit_index)
            for place in np.flatnonzero(unsure):
                given[place] = verdicts.number(judge_one(rule, trace, int(samples[place]), walk.next_exit))
            stops, follows = verdicts.stops[given], verdicts.next_exits[given]
            _check_deeper(rule, exit_index, follows[~stops], last)
            looks_at[samples] = np.where(stops, NONE, follows)
            held[samples] = given
        before[here] = exit_index


def _walk_one_by_one(rule: ExitRule, trace: Trace, first: Verdict, verdicts: VerdictList, walk: _Walk) -> None:
    look_at = trace.make_look()
    for sample in range(len(trace)):
        looks, given = follow(rule, lambda e, s=sample: look_at(s, e), first.next_exit, trace.exit_count)  # type: ignore[misc]  # mypy cannot type a default of a lambda
        held: Iterable[Verdict] = [first, *given]
        for ask, (look, verdict) in enumerate(zip(looks, held, strict=False)):
            walk.next_exit[sample, ask] = look.exit_index
            walk.verdict[sample, ask] = verdicts.number(verdict)
        walk.asks[sample] = len(looks)


def _check_deeper(rule: ExitRule, exit_index: int, following: IntArray, last: int) -> None:
    wrong = following[(following <= exit_index) | (following > last)]
    if len(wrong):
        raise OptionError(f"exit rule {rule.name!r} goes from exit {exit_index} to {wrong[0]}: not deeper")
