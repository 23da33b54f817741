"""`gate`: at each exit a learned gate says whether stopping there is worth more than going on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from math import exp, inf, log
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgeexit.errors import OptionError
from edgeexit.exits.answers import read_answers
from edgeexit.exits.options import check_exit_count, check_number
from edgeexit.exits.verdicts import check_prior, prepare_verdicts
from edgeexit.protocols import Evidence, Look, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURES: Final = (
    "confidence",
    "second probability",
    "ln (confidence / (1 - confidence))",
    "ln second probability",
    "1 if there is a look before and its label is the same (agreement)",
    "confidence of the look before, 0 if there is none",
    "agreement times that confidence",
    "agreement times ln (confidence / (1 - confidence))",
)
"""The columns of a gate's weights; behind them stand ln (p + `FLOOR`) of each class, if they are used, and the bias."""

LEAST: Final = 1e-6
"""Probabilities below are taken as this in a logarithm."""

FLOOR: Final = 1e-4
"""Added to a class's probability before its logarithm is taken: what is rarer tells nothing."""

LARGEST_WEIGHT: Final = 1e6
"""Weights beyond are refused; a score then stays a finite number."""


class Gate:
    """Stop where a learned gate is open: where answering now is worth more than all that may follow.

    The gate of an exit is a logistic function of a few figures of the newest look and the one before it
    (`FEATURES`), and of the logarithms of the classes' probabilities. All gates are fitted together, for the price
    of an error in work, against the answers that are probably right (`edgeexit.offline.gates`); gates beside frozen
    heads are the idea of JEI-DNN (arXiv 2310.09163).

    Args:
        exit_count: Number of exits.
        gates: For each exit its weights and bias, a list of `FEATURES`, or of these and one for each class, and the
            bias; None for exits not to look at. That of the last exit does not count, because it always answers.
        stop: How open a gate must be, as a probability; 0 always stops, 1 never.
        prior: How often each exit answers, from calibration; with it the rule forecasts.
        answers: How often each exit answered in calibration after the rule went on from one exit to another, by how
            open the gate was; see `edgeexit.exits.forecast.Forecast`.
    """

    name: Final = "gate"

    def __init__(
        self,
        exit_count: int,
        *,
        gates: Sequence[Sequence[float] | None],
        stop: float = 0.5,
        prior: Sequence[float] | None = None,
        answers: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        exit_count = check_exit_count(exit_count)
        self._gates = read_gates(gates, exit_count)
        self._needed = logit_of(check_number("stop", stop, low=0.0, high=1.0))
        looked_at = [*[e for e, gate in enumerate(self._gates) if gate is not None], exit_count - 1]
        self.looks_at_every_exit = len(looked_at) == exit_count
        known_prior = check_prior(prior, exit_count)
        self._verdicts = prepare_verdicts(exit_count, looked_at, known_prior)
        self._answers = None if answers is None else read_answers(answers, exit_count, looked_at, known_prior)

    def judge(self, evidence: Evidence) -> Verdict:
        """Stop if the newest look's gate is open enough, else go on to the next exit that has one."""
        looks = evidence.looks
        if not looks:
            return self._verdicts.first
        exit_index = looks[-1].exit_index
        go_on = self._verdicts.go_on[exit_index]
        if go_on.stop:
            return go_on
        score = self.score(looks)
        if score >= self._needed:
            return self._verdicts.stop[exit_index]
        if self._answers is None:
            return go_on
        edges, verdicts = self._answers[exit_index, go_on.next_exit]
        return verdicts[bisect_right(edges, openness(score))]

    def score(self, looks: Sequence[Look]) -> float:
        """Return the logit of how open the newest look's gate is; -inf at an exit without one.

        Args:
            looks: The looks so far, at least one; the newest is not at the last exit.
        """
        look = looks[-1]
        gate = self._gates[look.exit_index]
        if gate is None:
            return -inf
        figures = _figures(look, looks[-2] if len(looks) > 1 else None)
        score = float(gate[: len(FEATURES)].dot(figures)) + gate.item(-1)
        of_classes = gate[len(FEATURES) : -1]
        if len(of_classes):
            score += float(of_classes.dot(np.log(look.probabilities + np.float64(FLOOR))))
        return score


def _figures(look: Look, before: Look | None) -> tuple[float, ...]:
    confidence, second = look.confidence, look.confidence - look.margin
    doubt = 1.0 - confidence
    odds = log(confidence if confidence > LEAST else LEAST) - log(doubt if doubt > LEAST else LEAST)
    log_second = log(second if second > LEAST else LEAST)
    if before is None:
        return (confidence, second, odds, log_second, 0.0, 0.0, 0.0, 0.0)
    sure = before.confidence
    if before.label == look.label:
        return (confidence, second, odds, log_second, 1.0, sure, sure, odds)
    return (confidence, second, odds, log_second, 0.0, sure, 0.0, 0.0)


def openness(score: float) -> float:
    """Return the logistic function of a score."""
    if score < 0:
        power = exp(max(score, -_LARGEST_SCORE))
        return power / (1.0 + power)
    return 1.0 / (1.0 + exp(-min(score, _LARGEST_SCORE)))


_LARGEST_SCORE: Final = 500.0


def logit_of(probability: float) -> float:
    """Return ln (p / (1 - p)), infinite at 0 and 1."""
    if probability in (0.0, 1.0):
        return inf if probability else -inf
    return log(probability / (1.0 - probability))


def read_gates(gates: object, exit_count: int) -> tuple[NDArray[np.float64] | None, ...]:
    """Return each exit's gate as an array; None for exits not to look at, and for the last.

    Raises:
        OptionError: If they are not one for each exit, or not of equal length.
    """
    if not isinstance(gates, list | tuple) or len(gates) != exit_count:
        raise OptionError(f"gates must be a list of {exit_count}, one for each exit, None for exits not to look at")
    read = [None if gate is None else _read_gate(f"gates[{e}]", gate) for e, gate in enumerate(gates[:-1])]
    lengths = {len(gate) for gate in read if gate is not None}
    if len(lengths) > 1:
        raise OptionError(f"gates must all have the same number of weights, not {sorted(lengths)}")
    return (*read, None)


def _read_gate(name: str, gate: object) -> NDArray[np.float64]:
    try:
        array = np.asarray(gate, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{name} must be a list of numbers: {error}") from error
    if array.ndim != 1 or len(array) <= len(FEATURES) or not (np.abs(array) <= LARGEST_WEIGHT).all():
        raise OptionError(
            f"{name} must be at least {len(FEATURES) + 1} numbers of at most {LARGEST_WEIGHT:g}, not {gate!r:.80}"
        )
    return array
