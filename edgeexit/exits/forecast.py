"""`forecast`: a learned distribution over the exits decides where to look next."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Final

from edgeexit.errors import OptionError
from edgeexit.exits.answers import read_answers
from edgeexit.exits.options import check_exit_count, check_exit_index, check_number, check_numbers_or_none
from edgeexit.exits.predictor import Predictor
from edgeexit.exits.verdicts import check_prior, prepare_stop, prepare_verdicts
from edgeexit.protocols import Evidence, Verdict


class Forecast:
    """Stop where the sample has probably settled; else look only at the exit where it probably will have.

    At each look the predictor gives the probability of each exit from there on to be the one at which the sample
    settles. The rule stops if that of the newest exit is at least `stop`. Otherwise, given that it is not the newest,
    the rule looks at the first exit by which the sample has settled with probability `reach`; or at the very next,
    if the forecast is unsure: if no exit has a probability of at least `abstain`.

    A sample often answers later than it settles, because the rule wants to be sure. So a verdict's distribution comes
    from `answers`, counts of the exits that answered after a like forecast; without them it is the settled exit's.

    Args:
        exit_count: Number of exits.
        predictor: The JSON form of an `edgeexit.exits.predictor.Predictor`.
        stop: A probability, or a list of one for each exit with None for exits not to look at. That of the last exit
            does not count, because it always answers.
        reach: A probability; with 0 no exit is skipped but those whose `stop` is None.
        abstain: A probability; with 0 the forecast is always trusted.
        start: The first exit to look at.
        cap: The deepest exit, at which every sample ends; the last by default.
        prior: How often each exit answers, from calibration: the forecast before the first look.
        answers: How often each exit answered in calibration after the rule went from one exit to another: a list of
            ``{"exit": e, "next_exit": j, "edges": [...], "shares": [[...], ...]}``, where `edges` divide the
            probability of having settled at e into classes, and each class has the shares of the exits from j on.
    """

    name: Final = "forecast"

    def __init__(
        self,
        exit_count: int,
        *,
        predictor: Mapping[str, Any],
        stop: float | Sequence[float | None],
        reach: float,
        abstain: float = 0.0,
        start: int = 0,
        cap: int | None = None,
        prior: Sequence[float] | None = None,
        answers: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        exit_count = check_exit_count(exit_count)
        start = check_exit_index("start", start, exit_count)
        cap = exit_count - 1 if cap is None else check_exit_index("cap", cap, exit_count, least=start)
        self._predictor = Predictor(predictor)
        if self._predictor.exit_count != exit_count:
            raise OptionError(f"the predictor is for {self._predictor.exit_count} exits, the bundle has {exit_count}")
        stops = check_numbers_or_none("stop", stop, exit_count, low=0.0, high=1.0)
        self._needed = tuple(inf if value is None else value for value in stops)
        self._reach = check_number("reach", reach, low=0.0, high=1.0)
        self._abstain = check_number("abstain", abstain, low=0.0, high=1.0)
        looked_at = [e for e in range(start, cap) if stops[e] is not None] + [cap]
        self.looks_at_every_exit = self._reach == 0.0 and looked_at == list(range(cap + 1))
        known_prior = check_prior(prior, exit_count)
        self._first = prepare_verdicts(exit_count, looked_at, known_prior).first
        self._answers = None if answers is None else read_answers(answers, exit_count, looked_at, known_prior)
        self._stop = tuple(prepare_stop(exit_count, e, forecasts=True) for e in range(exit_count))
        self._later = tuple([e for e in looked_at if e > exit_index] for exit_index in range(exit_count))
        self._nothing = tuple([0.0] * (exit_index + 1) for exit_index in range(exit_count))
        self._moves = tuple(_moves(looked_at, exit_index, exit_count) for exit_index in range(exit_count))

    def judge(self, evidence: Evidence) -> Verdict:
        """Stop if the sample has probably settled, else go where it probably will have."""
        looks = evidence.looks
        if not looks:
            return self._first
        exit_index = looks[-1].exit_index
        if not self._later[exit_index]:
            return self._stop[exit_index]
        shares = self._predictor.shares(looks)
        settled, total = shares[0], sum(shares)
        if settled >= self._needed[exit_index] * total:
            return self._stop[exit_index]
        forecast = self._settle_later(exit_index, shares)
        next_exit = self._next_exit(exit_index, forecast)
        if self._answers is not None:
            edges, verdicts = self._answers[exit_index, next_exit]
            return verdicts[bisect_right(edges, settled / total)]
        return _go_on(next_exit, forecast)

    def _settle_later(self, exit_index: int, shares: list[float]) -> list[float]:
        """Return how the exits behind `exit_index` share the forecast; those left out leave theirs to the next."""
        forecast = self._nothing[exit_index] + shares[1:]
        for left_out, instead in self._moves[exit_index]:
            forecast[instead] += forecast[left_out]
            forecast[left_out] = 0.0
        return forecast

    def _next_exit(self, exit_index: int, forecast: list[float]) -> int:
        later = self._later[exit_index]
        total = sum(forecast)
        if self._abstain and max(forecast) < self._abstain * total:
            return later[0]
        needed = self._reach * total
        reached = 0.0
        for next_exit in later:
            reached += forecast[next_exit]
            if reached >= needed:
                return next_exit
        return later[-1]


def _go_on(next_exit: int, forecast: list[float]) -> Verdict:
    """Make the verdict to look at `next_exit`, which answers for the exits before it too."""
    forecast[next_exit] = sum(forecast[: next_exit + 1])
    scale = 1.0 / sum(forecast[next_exit:])
    passed = [0.0] * next_exit
    return Verdict(False, next_exit, tuple(passed + [share * scale for share in forecast[next_exit:]]))


def _moves(looked_at: list[int], exit_index: int, exit_count: int) -> list[tuple[int, int]]:
    """Return, for each exit behind `exit_index` that is not looked at, the one that answers in its place."""
    cap = looked_at[-1]
    left_out = [e for e in range(exit_index + 1, exit_count) if e not in looked_at]
    return [(e, min([other for other in looked_at if other > e], default=cap)) for e in left_out]
