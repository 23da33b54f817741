"""The learned predictor: from what the exits have said to the probability of each exit to be the one that is needed.

The exit that a sample needs is the one at which it has *settled*: the first exit from which on every label is that
of the full network. For each exit looked at there is a multinomial logistic regression on a few cheap features of
the newest look and the one before it. `edgeexit.offline.fit` fits it with scikit-learn; here it is evaluated without.

Its JSON form is ``{"format": 1, "exit_count": n, "exits": [...]}`` with one entry for each exit but the last,
``{"weights": (k, f) lists, "bias": (k,) list}``: row j belongs to exit ``index + j``, columns are `FEATURES`.

A bias for the label seen was tried and left out: with 5,000 samples to fit on it did not pay for what it overfitted.
"""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgeexit.errors import OptionError
from edgeexit.exits.options import check_count, check_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from edgeexit.protocols import Look

FORMAT: Final = 1
FEATURES: Final = (
    "confidence",
    "second probability",
    "ln confidence",
    "ln (1 - confidence)",
    "1 if there is a look before",
    "1 if its label is the same (agreement)",
    "its confidence",
    "agreement times its confidence",
    "agreement times ln (1 - confidence)",
    "exits from it to this one, as a share of all",
)
LEAST: Final = 1e-6
"""Probabilities below are taken as this in a logarithm."""

LARGEST_SCORE: Final = 300.0
"""No score can pass this, so that neither an exponential nor the ratio of two leaves the range of a float."""


class Predictor:
    """Forecast at which exit a sample has settled.

    Args:
        form: The JSON form, see the module's docstring.

    Raises:
        OptionError: If the form is not exactly as it should be; the message says where.
    """

    def __init__(self, form: Mapping[str, Any]) -> None:
        check_keys("predictor", form, frozenset({"format", "exit_count", "exits"}))
        if form["format"] != FORMAT:
            raise OptionError(
                f"predictor has format {form['format']!r}, this version reads format {FORMAT}: fit it anew"
            )
        self.exit_count = check_count("predictor exit_count", form["exit_count"], least=1)
        exits = form["exits"]
        if not isinstance(exits, list | tuple) or len(exits) != self.exit_count - 1:
            raise OptionError(
                f"predictor exits must be a list of {self.exit_count - 1}, one for each exit but the last"
            )
        self._matrices = [self._read_exit(index, entry) for index, entry in enumerate(exits)]

    def shares(self, looks: Sequence[Look]) -> list[float]:
        """Return numbers in proportion to the probability of each exit from the newest look's on.

        Args:
            looks: The looks so far, at least one; the newest is not at the last exit.
        """
        look = looks[-1]
        exit_index = look.exit_index
        confidence = look.confidence
        doubt = 1.0 - confidence
        log_doubt = log(doubt if doubt > LEAST else LEAST)
        log_confidence = log(confidence if confidence > LEAST else LEAST)
        matrix = self._matrices[exit_index]
        if len(looks) == 1:
            scores = matrix.dot(
                (confidence, confidence - look.margin, log_confidence, log_doubt, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
            )
        else:
            before = looks[-2]
            gap = (exit_index - before.exit_index) / self.exit_count
            sure = before.confidence
            if before.label == look.label:
                history = (1.0, 1.0, sure, sure, log_doubt, gap, 1.0)
            else:
                history = (1.0, 0.0, sure, 0.0, 0.0, gap, 1.0)
            scores = matrix.dot((confidence, confidence - look.margin, log_confidence, log_doubt, *history))
        return list(map(exp, scores.tolist()))

    def forecast(self, looks: Sequence[Look]) -> tuple[float, ...]:
        """Return the probability of each exit from the newest look's on to be the one at which the sample settles.

        Args:
            looks: The looks so far, at least one.
        """
        if looks[-1].exit_index == self.exit_count - 1:
            return (1.0,)
        shares = self.shares(looks)
        total = sum(shares)
        return tuple([share / total for share in shares])

    def _read_exit(self, index: int, entry: object) -> NDArray[np.float64]:
        """Return a (k, f + 1) matrix; its last column is the bias."""
        name = f"predictor exits[{index}]"
        fields = check_keys(name, entry, frozenset({"weights", "bias"}))
        outcomes = self.exit_count - index
        weights = _read_array(f"{name} weights", fields["weights"], (outcomes, len(FEATURES)))
        bias = _read_array(f"{name} bias", fields["bias"], (outcomes,))
        _check_scores(name, weights, bias)
        return np.column_stack([weights, bias])


def _read_array(name: str, value: object, shape: tuple[int, ...]) -> NDArray[np.float64]:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{name} must be numbers of shape {shape}: {error}") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise OptionError(f"{name} must be finite numbers of shape {shape}, not of shape {array.shape}")
    return array


def largest_score(weights: NDArray[np.float64], bias: NDArray[np.float64]) -> float:
    """Return the largest score, either way, that weights (outcomes, features) and bias (outcomes,) could give."""
    largest_features = [-log(LEAST) if "ln" in feature else 1.0 for feature in FEATURES]
    return float((np.abs(weights).dot(largest_features) + np.abs(bias)).max())


def _check_scores(name: str, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
    """Refuse weights whose scores could leave the range in which `Predictor.shares` needs no care."""
    largest = largest_score(weights, bias)
    if largest > LARGEST_SCORE:
        raise OptionError(f"{name} has weights that could score {largest:.3g}, above {LARGEST_SCORE:g}: fit it anew")
