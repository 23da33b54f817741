"""The rule `forecast`, judging many samples at once: see `edgeexit.offline.replaying.judging`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeexit.exits.forecast import Forecast
from edgeexit.exits.predictor import FEATURES, LEAST
from edgeexit.offline.replaying.verdict_list import VerdictList
from edgeexit.offline.traces import BoolArray, IntArray, Trace

FloatArray = NDArray[np.float64]
CLOSE = 1e-9
"""Shares that differ by less are too close to call: they are sums of rounded figures."""


class Forecasting:
    """The rule `forecast`, where calibration has counted which exits answer.

    Args:
        rule: Has `answers`, so that its verdicts are a finite set.
        trace: The samples.
        verdicts: Numbers the verdicts.
    """

    def __init__(self, rule: Forecast, trace: Trace, verdicts: VerdictList) -> None:
        self._rule = rule
        self._trace = trace
        self._stop = [verdicts.number(verdict) for verdict in rule._stop]
        self._answers = {
            step: (np.array(edges), np.array([verdicts.number(verdict) for verdict in given]))
            for step, (edges, given) in (rule._answers or {}).items()
        }

    def judge(self, samples: IntArray, before: int, e: int) -> tuple[IntArray, BoolArray]:
        """Judge samples after looks at `before` (-1: none) and `e`.

        Returns:
            (N,) the numbers of the verdicts, and (N,) where rounding could decide otherwise.
        """
        rule, later = self._rule, self._rule._later[e]
        given = np.full(len(samples), self._stop[e])
        if not later:
            return given, np.zeros(len(samples), dtype=np.bool_)
        forecast = self._shares(samples, before, e)
        settled = forecast[e].copy()
        unsure = np.abs(settled - rule._needed[e]) < CLOSE
        going = np.flatnonzero(settled < rule._needed[e])
        next_exit, close = self._next_exits(self._settle_later(forecast[:, going], e), later)
        unsure[going] |= close
        for following in np.unique(next_exit):
            places = going[next_exit == following]
            edges, numbers = self._answers[e, int(following)]
            given[places] = numbers[np.searchsorted(edges, settled[places], side="right")]
            unsure[places] |= (np.abs(settled[places, np.newaxis] - edges) < CLOSE).any(axis=1)
        return given, unsure

    def _settle_later(self, forecast: FloatArray, e: int) -> FloatArray:
        """Return how the exits behind `e` share the forecast; those left out leave theirs to the next."""
        forecast[e] = 0.0
        for left_out, instead in self._rule._moves[e]:
            forecast[instead] += forecast[left_out]
            forecast[left_out] = 0.0
        return forecast

    def _shares(self, samples: IntArray, before: int, e: int) -> FloatArray:
        """Return (E, N) the probability of each exit to be the settled one, as `Predictor.shares` works it out.

        Samples are the last axis: sums over the few exits are quick that way.
        """
        shares = np.exp(self._rule._predictor._matrices[e] @ _features(self._trace, samples, before, e))
        forecast = np.zeros((self._trace.exit_count, len(samples)))
        forecast[e:] = shares / shares.sum(axis=0)
        return forecast

    def _next_exits(self, forecast: FloatArray, later: list[int]) -> tuple[IntArray, BoolArray]:
        """Return (N,) where samples look next that go on, and where that is too close to call."""
        rule = self._rule
        total = forecast.sum(axis=0)
        reached = np.cumsum(forecast[later], axis=0)
        needed = rule._reach * total
        enough = reached >= needed
        enough[-1] = True
        close = (np.abs(reached[:-1] - needed) < CLOSE).any(axis=0)
        if rule._abstain:
            largest, least = forecast.max(axis=0), rule._abstain * total
            enough[0, largest < least] = True
            close |= np.abs(largest - least) < CLOSE
        return np.array(later)[enough.argmax(axis=0)], close


def _features(trace: Trace, samples: IntArray, before: int, e: int) -> FloatArray:
    """Return (F + 1, N) the predictor's `FEATURES` after looks at `before` and `e`, and a 1 for the bias."""
    confidence = trace.confidence[samples, e].astype(np.float64)
    log_doubt = np.log(np.maximum(1.0 - confidence, LEAST))
    rows = np.zeros((len(FEATURES) + 1, len(samples)))
    rows[0], rows[1] = confidence, confidence - trace.margin[samples, e]
    rows[2], rows[3], rows[-1] = np.log(np.maximum(confidence, LEAST)), log_doubt, 1.0
    if before >= 0:
        agrees = trace.label[samples, before] == trace.label[samples, e]
        sure = trace.confidence[samples, before].astype(np.float64)
        rows[4], rows[5], rows[6] = 1.0, agrees, sure
        rows[7], rows[8], rows[9] = agrees * sure, agrees * log_doubt, (e - before) / trace.exit_count
    return rows
