"""The rule `gate`, judging many samples at once: see `edgeexit.offline.replaying.judging`."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from edgeexit.exits.gate import Gate
from edgeexit.offline.gates import gate_scores
from edgeexit.offline.replaying.verdict_list import VerdictList
from edgeexit.offline.traces import BoolArray, IntArray, Trace

CLOSE = 1e-9
"""Scores, and how open gates are, that differ by less are too close to call: they are sums of rounded figures."""


class Gating:
    """The rule `gate`.

    Args:
        rule: The rule.
        trace: The samples.
        verdicts: Numbers the verdicts.
    """

    def __init__(self, rule: Gate, trace: Trace, verdicts: VerdictList) -> None:
        self._rule = rule
        self._trace = trace
        self._stop = [verdicts.number(verdict) for verdict in rule._verdicts.stop]
        self._go_on = [verdicts.number(verdict) for verdict in rule._verdicts.go_on]
        self._answers = {
            step: (np.array(edges), np.array([verdicts.number(verdict) for verdict in given]))
            for step, (edges, given) in (rule._answers or {}).items()
        }

    def judge(self, samples: IntArray, before: int, e: int) -> tuple[IntArray, BoolArray]:
        """Judge samples after looks at `before` (-1: none) and `e`.

        Returns:
            (N,) the numbers of the verdicts, and (N,) where rounding could decide otherwise.
        """
        go_on, gate = self._rule._verdicts.go_on[e], self._rule._gates[e]
        given = np.full(len(samples), self._go_on[e])
        if go_on.stop or gate is None:
            return given, np.zeros(len(samples), dtype=np.bool_)
        scores = gate_scores(gate, self._trace.take(samples), e, before)
        stops = scores >= self._rule._needed
        unsure = np.abs(scores - self._rule._needed) < CLOSE
        if self._answers:
            edges, numbers = self._answers[e, go_on.next_exit]
            opens = expit(scores)
            given = numbers[np.searchsorted(edges, opens, side="right")]
            unsure |= (np.abs(opens[:, np.newaxis] - edges) < CLOSE).any(axis=1)
        return np.where(stops, self._stop[e], given), unsure
