"""`ensemble`: the exits seen answer together, and the rule stops where what they say together is sure enough."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from edgeexit.errors import OptionError
from edgeexit.exits.options import check_exit_count, check_list, check_numbers_or_none
from edgeexit.exits.threshold import exits_to_look_at
from edgeexit.exits.verdicts import check_prior, prepare_verdicts
from edgeexit.protocols import Evidence, Look, Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Ensemble:
    """Answer with a weighted mean of the logits of the exits seen, and stop where it is sure enough.

    The weights are learned, none below 0, and make the mean's probabilities true to how often it is right; the
    weight of an exit alone is its inverse temperature. Zero Time Waste (arXiv 2106.05409) and BEEM (arXiv 2502.00745)
    combine the exits seen in like ways.

    Args:
        exit_count: Number of exits.
        threshold: A probability, or a list of one for each exit with None for exits not to look at. That of the
            last exit does not count, because it always answers.
        weights: For each exit that may be the newest, the weights of the exits up to it, as a list of lists: row e
            has e + 1 numbers.
        prior: How often each exit answers, from calibration; with it the rule forecasts.
    """

    name: Final = "ensemble"

    def __init__(
        self,
        exit_count: int,
        *,
        threshold: float | Sequence[float | None],
        weights: Sequence[Sequence[float]],
        prior: Sequence[float] | None = None,
    ) -> None:
        exit_count = check_exit_count(exit_count)
        thresholds = check_numbers_or_none("threshold", threshold, exit_count, low=0.0, high=1.0)
        looked_at = exits_to_look_at(thresholds)
        self.looks_at_every_exit = looked_at == list(range(len(looked_at)))
        self._thresholds = tuple(inf if value is None else value for value in thresholds)
        self._weights = _read_weights(weights, exit_count)
        self._verdicts = prepare_verdicts(exit_count, looked_at, check_prior(prior, exit_count))

    def judge(self, evidence: Evidence) -> Verdict:
        """Stop if the exits seen are together sure enough, else go on to the next exit."""
        looks = evidence.looks
        if not looks:
            return self._verdicts.first
        exit_index = looks[-1].exit_index
        needed = self._thresholds[exit_index]
        if needed <= 1.0 and float(_softmax(self._mean(looks)).max()) >= needed:
            return self._verdicts.stop[exit_index]
        return self._verdicts.go_on[exit_index]

    def combine(self, evidence: Evidence) -> Look:
        """Return what the exits seen say together, with the exit index of the newest."""
        looks = evidence.looks
        logits = self._mean(looks)
        probabilities = _softmax(logits)
        label = int(probabilities.argmax())
        confidence = float(probabilities[label])
        second = float(np.delete(probabilities, label).max(initial=0.0))
        return Look(
            looks[-1].exit_index,
            label,
            confidence,
            confidence - second,
            logits.astype(np.float32),
            probabilities.astype(np.float32),
        )

    def _mean(self, looks: Sequence[Look]) -> NDArray[np.float64]:
        """Return (C,) the weighted sum of the looks' logits.

        Where no look seen has a weight, as when the exits that have one were passed by, the newest stands alone.
        """
        row = self._weights[looks[-1].exit_index]
        weighted = [(row[look.exit_index], look.logits) for look in looks if row[look.exit_index]]
        if not weighted:
            return looks[-1].logits.astype(np.float64)
        total = weighted[0][0] * weighted[0][1].astype(np.float64)
        for weight, logits in weighted[1:]:
            total += weight * logits
        return total


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


def _read_weights(weights: object, exit_count: int) -> list[list[float]]:
    if not isinstance(weights, list | tuple) or len(weights) != exit_count:
        raise OptionError(f"weights must be a list of {exit_count} lists, one for each exit")
    return [check_list(f"weights[{e}]", row, e + 1, low=0.0, high=_LARGEST_WEIGHT) for e, row in enumerate(weights)]


_LARGEST_WEIGHT: Final = 1e3
