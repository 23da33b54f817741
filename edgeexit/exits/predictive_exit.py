"""`predictive-exit`: the rule of the Predictive Exit paper, with its training-free forecast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edgeexit.errors import OptionError
from edgeexit.exits.options import check_count, check_exit_count, check_exit_index, check_list, check_number
from edgeexit.exits.verdicts import check_prior, condition, prepare_stop
from edgeexit.protocols import Evidence, Verdict

ROUNDS: Final = 8
"""How far the published engine looks ahead (Li et al., arXiv 2206.04685)."""


class PredictiveExit:
    """Stop where the largest activation is high enough; else forecast where it will be, and look only there.

    From Li et al., "Predictive Exit", arXiv 2206.04685. Exit l lets a sample out if its largest absolute logit m_l
    is at least beta * T_l. If not, the logits are convolved with [1, 1, 1], zero-padded, again and again; the first
    round i after which their largest absolute value is at least beta * T_(l+i) forecasts exit l + i, and if none of
    `rounds` does, exit l + rounds is looked at.

    The paper's T_l is the absolute value of the mean of all logits of exit l. Linear heads have logits whose mean is
    near 0, which would let every sample out, so pass the mean of the largest absolute logit, or the mean of the
    absolute logits, instead: `edgeexit.offline.candidates.mean_activations` computes all three. They differ in scale,
    and `beta` has to be chosen for the one that is passed.

    Args:
        exit_count: Number of exits.
        beta: The higher, the deeper and the more accurate.
        activations: T, one positive number for each exit.
        start: The first exit to look at.
        rounds: The longest jump.
        prior: How often each exit answers, from calibration; with it the rule gives a distribution.
    """

    name: Final = "predictive-exit"
    looks_at_every_exit: Final = False

    def __init__(
        self,
        exit_count: int,
        *,
        beta: float,
        activations: Sequence[float],
        start: int = 0,
        rounds: int = ROUNDS,
        prior: Sequence[float] | None = None,
    ) -> None:
        exit_count = check_exit_count(exit_count)
        beta = check_number("beta", beta, low=0.0)
        activations = check_list("activations", activations, exit_count, low=0.0)
        if min(activations) == 0.0:
            raise OptionError(f"activations must be above 0, or an exit lets every sample out, not {activations}")
        self._rounds = check_count("rounds", rounds, least=1)
        self._thresholds = tuple(beta * activation for activation in activations)
        self._prepare(exit_count, check_exit_index("start", start, exit_count), check_prior(prior, exit_count))

    def judge(self, evidence: Evidence) -> Verdict:
        """Stop if the newest look's activation is high enough, else go to the exit that the engine forecasts."""
        looks = evidence.looks
        if not looks:
            return self._first
        look = looks[-1]
        exit_index = look.exit_index
        thresholds = self._thresholds
        logits = look.logits.tolist()
        if largest_activation(logits) >= thresholds[exit_index] or exit_index + 1 == len(thresholds):
            return self._stop[exit_index]
        return self._jump[exit_index][forecast_jump(logits, thresholds[exit_index + 1 :][: self._rounds]) - 1]

    def _prepare(self, exit_count: int, start: int, prior: Sequence[float] | None) -> None:
        """Make the verdicts: `_jump[e][i - 1]` goes from exit e to exit e + i."""

        def go_to(exit_index: int) -> Verdict:
            distribution = condition(exit_count, prior, range(exit_index, exit_count))
            return Verdict(stop=False, next_exit=exit_index, distribution=distribution)

        verdicts = tuple(go_to(exit_index) for exit_index in range(exit_count))
        self._first = verdicts[start]
        self._stop = tuple(
            prepare_stop(exit_count, exit_index, forecasts=prior is not None) for exit_index in range(exit_count)
        )
        self._jump = tuple(verdicts[exit_index + 1 :] for exit_index in range(exit_count))


def forecast_jump(logits: Sequence[float], thresholds: Sequence[float]) -> int:
    """Return how many exits ahead the published engine forecasts the answer, 1 to ``len(thresholds)``.

    Args:
        logits: Of the newest look; the result depends on the order of the classes.
        thresholds: beta * T of the exits that follow, at least one.
    """
    values = list(logits)
    for jump, threshold in enumerate(thresholds, start=1):
        padded = [0.0, *values, 0.0]
        values = [left + middle + right for left, middle, right in zip(padded, values, padded[2:], strict=False)]
        if largest_activation(values) >= threshold:
            return jump
    return len(thresholds)


def largest_activation(values: Sequence[float]) -> float:
    """Return the largest absolute value."""
    return max(max(values), -min(values))  # noqa: PLW3301  # flattened it would copy the values
