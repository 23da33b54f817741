"""The exit rules that ship, judging many samples at once.

Each rule has one implementation that counts, its own `judge`. What stands here does the same sums over arrays, so it
knows the rules' insides; where rounding could decide otherwise, because a figure lies next to its threshold, the
rule's own `judge` is asked. Tests hold both equal sample by sample, for every calibrated setting of the reference
bundles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeexit.exits.check_and_cap import CheckAndCap
from edgeexit.exits.entropy import Entropy
from edgeexit.exits.fixed import Fixed
from edgeexit.exits.forecast import Forecast
from edgeexit.exits.gate import Gate
from edgeexit.exits.last import Last
from edgeexit.exits.margin import Margin
from edgeexit.exits.patience import Patience
from edgeexit.exits.predictive_exit import PredictiveExit
from edgeexit.exits.threshold import Threshold
from edgeexit.exits.verdicts import Verdicts
from edgeexit.offline.replaying.forecasting import Forecasting
from edgeexit.offline.replaying.gating import Gating
from edgeexit.offline.replaying.verdict_list import VerdictList
from edgeexit.offline.traces import BoolArray, IntArray, Trace
from edgeexit.protocols import CombinesLooks, Evidence, ExitRule, Look, Verdict

FloatArray = NDArray[np.float64]
Judging = Callable[[IntArray, int, int], tuple[IntArray, BoolArray]]
"""From samples (N,), the exit looked at before (-1: none) and the newest one to (N,) the numbers of the
verdicts, and (N,) where the rule itself has to be asked."""
_Stops = Callable[[IntArray, int], tuple[BoolArray, BoolArray]]
"""From samples and the newest exit to whether the rule stops, and whether that is too close to call."""
CLOSE_ENTROPY = 1e-4
"""Entropies, in nats, that differ by less are too close to call: the rule sums them in single precision."""


def judge_after(rule: ExitRule, trace: Trace, sample: int, exits: list[int]) -> Verdict:
    """Return what the rule itself says of one sample after looks at `exits`."""
    return rule.judge(Evidence(trace.exit_count, [_look(trace, sample, exit_index) for exit_index in exits]))


def judge_one(rule: ExitRule, trace: Trace, sample: int, next_exit: IntArray) -> Verdict:
    """Return what the rule itself says of one sample after its looks so far, row `sample` of `next_exit`."""
    return judge_after(rule, trace, sample, [int(e) for e in next_exit[sample] if e >= 0])


def combined_labels(
    rule: CombinesLooks, trace: Trace, samples: Iterable[int], looked_at: Iterable[Sequence[int]]
) -> IntArray:
    """Return (N,) what a rule answers that combines looks.

    Args:
        rule: The rule.
        trace: The samples.
        samples: N of them.
        looked_at: For each the exits looked at.
    """
    look_at = trace.make_look()
    evidence = (
        Evidence(trace.exit_count, [look_at(sample, e) for e in exits])
        for sample, exits in zip(samples, looked_at, strict=True)
    )
    return np.array([rule.combine(each).label for each in evidence], dtype=np.int64)


def _look(trace: Trace, sample: int, exit_index: int) -> Look:
    return Look(
        exit_index,
        int(trace.label[sample, exit_index]),
        float(trace.confidence[sample, exit_index]),
        float(trace.margin[sample, exit_index]),
        trace.logits[sample, exit_index],
        trace.probabilities[sample, exit_index],
    )


def make_judging(rule: ExitRule, trace: Trace, verdicts: VerdictList) -> Judging | None:
    """Return how to run `rule` over many samples of `trace` at once; None if it is not among those that ship."""
    stops = _stops_of(rule, trace)
    if stops is not None:
        return _stop_or_go(rule._verdicts, stops, verdicts)  # type: ignore[attr-defined]  # every rule of _stops_of has them
    if type(rule) is PredictiveExit:
        return _predictive_exit(rule, trace, verdicts)
    if type(rule) is Forecast and rule._answers is not None:
        return Forecasting(rule, trace, verdicts).judge
    if type(rule) is Gate:
        return Gating(rule, trace, verdicts).judge
    return None


def _stops_of(rule: ExitRule, trace: Trace) -> _Stops | None:  # noqa: PLR0911  one return a rule
    """Return when a rule that stops or goes on to the one next exit stops; None for any other rule."""
    if type(rule) is Threshold:
        thresholds = rule._thresholds
        return lambda samples, e: _surely(trace.confidence[samples, e].astype(np.float64) >= thresholds[e])
    if type(rule) is CheckAndCap:
        threshold = rule._threshold
        return lambda samples, e: _surely(trace.confidence[samples, e].astype(np.float64) >= threshold)
    if type(rule) is Margin:
        margins = rule._thresholds
        return lambda samples, e: _surely(trace.margin[samples, e].astype(np.float64) >= margins[e])
    if type(rule) is Entropy:
        return lambda samples, e: _entropy_stops(trace, samples, e, rule._thresholds[e])
    if type(rule) is Patience:
        agreements = _agreements(trace, rule._verdicts.first.next_exit)
        return lambda samples, e: _surely(agreements[samples, e] >= rule._patience)
    if type(rule) in (Last, Fixed):
        return lambda samples, e: _surely(np.zeros(len(samples), dtype=np.bool_))
    return None


def _surely(stops: BoolArray) -> tuple[BoolArray, BoolArray]:
    return stops, np.zeros(len(stops), dtype=np.bool_)


def _entropy_stops(trace: Trace, samples: IntArray, e: int, threshold: float) -> tuple[BoolArray, BoolArray]:
    """Return where the entropy is at most the threshold: ln(sum e^z) - p.z with p the softmax of z."""
    logits = trace.logits[samples, e].astype(np.float64)
    top = np.take_along_axis(logits, trace.label[samples, e][:, np.newaxis], axis=1)[:, 0]
    log_sum = top - np.log(trace.confidence[samples, e].astype(np.float64))
    entropy = log_sum - (trace.probabilities[samples, e] * logits).sum(axis=1)
    return entropy <= threshold, np.abs(entropy - threshold) < CLOSE_ENTROPY


def _agreements(trace: Trace, start: int) -> IntArray:
    """Return (S, E) how many exits in a row before each one have its label, beginning with exit `start`."""
    counts = np.zeros(trace.label.shape, dtype=np.int64)
    for e in range(start + 1, trace.exit_count):
        counts[:, e] = np.where(trace.label[:, e] == trace.label[:, e - 1], counts[:, e - 1] + 1, 0)
    return counts


def _stop_or_go(prepared: Verdicts, stops: _Stops, verdicts: VerdictList) -> Judging:
    stop = [verdicts.number(verdict) for verdict in prepared.stop]
    go_on = [verdicts.number(verdict) for verdict in prepared.go_on]

    def judge(samples: IntArray, before: int, e: int) -> tuple[IntArray, BoolArray]:
        stopping, unsure = stops(samples, e)
        return np.where(stopping, stop[e], go_on[e]), unsure

    return judge


def _predictive_exit(rule: PredictiveExit, trace: Trace, verdicts: VerdictList) -> Judging:
    stop = [verdicts.number(verdict) for verdict in rule._stop]
    jump = [np.array([verdicts.number(verdict) for verdict in row], dtype=np.int64) for row in rule._jump]
    thresholds, rounds = rule._thresholds, rule._rounds

    def judge(samples: IntArray, before: int, e: int) -> tuple[IntArray, BoolArray]:
        values = trace.logits[samples, e].astype(np.float64)
        given = np.full(len(samples), stop[e])
        going = np.flatnonzero(np.abs(values).max(axis=1) < thresholds[e])
        given[going] = jump[e][_jumps(values[going], np.array(thresholds[e + 1 :][:rounds])) - 1]
        return _surely_numbered(given)

    return judge


def _surely_numbered(given: IntArray) -> tuple[IntArray, BoolArray]:
    return given, np.zeros(len(given), dtype=np.bool_)


def _jumps(values: FloatArray, thresholds: FloatArray) -> IntArray:
    """Return (N,) how many exits ahead the published engine looks, as `predictive_exit.forecast_jump` does."""
    jump = np.full(len(values), len(thresholds))
    waiting = np.arange(len(values))
    for ahead, threshold in enumerate(thresholds[:-1], start=1):
        padded = np.pad(values, ((0, 0), (1, 1)))
        values = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
        enough = np.abs(values).max(axis=1) >= threshold
        jump[waiting[enough]] = ahead
        values, waiting = values[~enough], waiting[~enough]
    return jump
