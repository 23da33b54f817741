"""How good forecasts of exits are: the learned predictor's, the published engine's, and those a rule really made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgeexit.exits.predictive_exit import ROUNDS
from edgeexit.exits.verdicts import condition
from edgeexit.offline.candidates import ACTIVATION_KINDS, mean_activations
from edgeexit.offline.fit import NO_LOOK, ForecastTable
from edgeexit.offline.replay import Replay
from edgeexit.offline.traces import IntArray, Trace
from edgeexit.offline.vectorised import growing_activations

FloatArray = NDArray[np.float64]

_BETAS: Final = 200


@dataclass(frozen=True, slots=True)
class ForecastQuality:
    """How far forecast exits are from what came true.

    Attributes:
        exact: Share of forecasts that came true.
        mean_absolute_error: In exits.
        overshoot: Share of forecasts that were too deep.
        undershoot: Share of forecasts that were not deep enough.
    """

    exact: float
    mean_absolute_error: float
    overshoot: float
    undershoot: float


@dataclass(frozen=True, slots=True)
class DistributionQuality:
    """How well distributions foretold the exits that answered, for the samples that went on after the first look.

    Attributes:
        samples: How many went on.
        surprise: Mean of -ln of the probability given to the exit that answered; less is better.
        prior_surprise: The same if the distribution is that of all such samples together.
    """

    samples: int
    surprise: float
    prior_surprise: float


def forecast_quality(forecast: IntArray, came_true: IntArray) -> ForecastQuality:
    """Compare forecast exits with those that came true.

    Args:
        forecast: (S,) exit indices.
        came_true: (S,) for instance `Trace.settled_exit`, or the exit that answered.
    """
    error = forecast - came_true
    return ForecastQuality(
        exact=float((error == 0).mean()),
        mean_absolute_error=float(np.abs(error).mean()),
        overshoot=float((error > 0).mean()),
        undershoot=float((error < 0).mean()),
    )


def constant_quality(select: Trace, trace: Trace, exit_index: int) -> ForecastQuality:
    """Judge the forecast that needs no look: the settled exit that was commonest on `select`, `exit_index` or later."""
    commonest = int(np.bincount(_settled_from(select, exit_index)).argmax())
    return forecast_quality(np.full(len(trace), commonest), _settled_from(trace, exit_index))


def predictor_quality(
    predictor: Mapping[str, Any], select: Trace, trace: Trace, exit_index: int
) -> tuple[ForecastQuality, DistributionQuality]:
    """Judge the predictor's forecast of the settled exit after one look, at `exit_index`; the prior is of `select`."""
    given = ForecastTable(predictor, trace).distribution(NO_LOOK, exit_index)
    came_true = _settled_from(trace, exit_index)
    prior = (np.bincount(_settled_from(select, exit_index), minlength=trace.exit_count) + 1) / (len(select) + 1)
    distribution = DistributionQuality(
        samples=len(trace),
        surprise=float(-np.log(given[np.arange(len(trace)), came_true]).mean()),
        prior_surprise=float(-np.log(prior[came_true]).mean()),
    )
    return forecast_quality(given.argmax(axis=1), came_true), distribution


def engine_quality(select: Trace, trace: Trace, exit_index: int) -> ForecastQuality:
    """Judge the [1, 1, 1] engine in the same way, with the beta and activations that forecast best on `select`."""
    activations = _activations(select, exit_index)
    came_true = _settled_from(select, exit_index)
    settings = [
        beta * mean_activations(select, kind)[exit_index:]
        for kind, beta in product(ACTIVATION_KINDS, np.geomspace(0.1, 1000.0, _BETAS))
    ]
    hits = [(_engine_forecasts(activations, thresholds, exit_index) == came_true).mean() for thresholds in settings]
    tuned = settings[int(np.argmax(hits))]
    forecasts = _engine_forecasts(_activations(trace, exit_index), tuned, exit_index)
    return forecast_quality(forecasts, _settled_from(trace, exit_index))


def distribution_quality(run: Replay, prior: Sequence[float]) -> DistributionQuality | None:
    """Judge a rule's distributions after the first look; None if it gave none or no sample went on.

    Args:
        run: The rule's replay.
        prior: How often each exit answered when the rule was calibrated.
    """
    went_on = run.exit_index > run.first_exit
    if run.first_exit < 0 or not went_on.any() or np.isnan(run.foretold).any():
        return None
    population = np.array(condition(len(prior), prior, range(run.first_exit + 1, len(prior))))
    return DistributionQuality(
        samples=int(went_on.sum()),
        surprise=float(-np.log(run.foretold[went_on]).mean()),
        prior_surprise=float(-np.log(population[run.exit_index[went_on]]).mean()),
    )


def _settled_from(trace: Trace, exit_index: int) -> IntArray:
    return np.maximum(trace.settled_exit, exit_index)


def _activations(trace: Trace, exit_index: int) -> FloatArray:
    """Return (S, 1 + rounds) the largest absolute logits of one exit after each round of the engine."""
    rounds = min(ROUNDS, trace.exit_count - 1 - exit_index)
    return growing_activations(trace.logits[:, exit_index : exit_index + 1], rounds)[:, 0]


def _engine_forecasts(activations: FloatArray, thresholds: FloatArray, exit_index: int) -> IntArray:
    """Return (S,) the exit that the engine forecasts from `exit_index`, that exit itself if it lets the sample out."""
    enough = activations >= thresholds[: activations.shape[1]]
    enough[:, -1] = True
    return np.asarray(exit_index + enough.argmax(axis=1))
