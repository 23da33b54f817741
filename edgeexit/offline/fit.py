"""Fit the learned predictor with scikit-learn on recorded traces; `edgeexit.exits.predictor` evaluates it without.

The target needs no true labels: the exit at which a sample has settled, that is, from which on every label is that
of the full network. The look before is drawn at random from "none" and all earlier exits, so that the predictor
knows what to do after any jump.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from edgeexit.errors import DataError
from edgeexit.exits.predictor import FEATURES, FORMAT, LARGEST_SCORE, LEAST, largest_score
from edgeexit.offline.traces import IntArray, Trace

FloatArray = NDArray[np.float64]

NO_LOOK: Final = -1
_UNSEEN_BIAS: Final = -30.0
"""For an exit at which no sample settled: possible, with a probability of about 1e-13."""


def fit_predictor(trace: Trace, *, inverse_penalty: float = 0.1, draws: int = 3, seed: int = 0) -> dict[str, Any]:
    """Fit a predictor and return its JSON form.

    Args:
        trace: The "fit" split; settings must be chosen on another.
        inverse_penalty: scikit-learn's C.
        draws: How often each sample is used, each time with another look before.
        seed: Of the looks before.

    Raises:
        DataError: If there are fewer than 100 samples.
    """
    if len(trace) < 100:
        raise DataError(f"a predictor needs at least 100 samples to be fitted on, there are {len(trace)}")
    generator = np.random.default_rng(seed)
    exits = []
    for exit_index in range(trace.exit_count - 1):
        befores = [generator.integers(NO_LOOK, exit_index, len(trace)) for _ in range(draws if exit_index else 1)]
        exits.append(_fold(fit_exit(trace, exit_index, befores, inverse_penalty), trace, exit_index))
    return {"format": FORMAT, "exit_count": trace.exit_count, "exits": exits}


def fit_exit(trace: Trace, exit_index: int, befores: list[IntArray], inverse_penalty: float) -> Pipeline | None:
    """Fit one exit's regression; None where all samples settle at the same exit.

    Args:
        trace: S samples.
        exit_index: The exit looked at.
        befores: One or more (S,) of the exit looked at before, `NO_LOOK` for none.
        inverse_penalty: scikit-learn's C.
    """
    outcome = np.maximum(trace.settled_exit, exit_index) - exit_index
    if (outcome == outcome[0]).all():
        return None
    columns = np.concatenate([features(trace, exit_index, before) for before in befores])
    regression = LogisticRegression(C=inverse_penalty, max_iter=1000)
    return make_pipeline(StandardScaler(), regression).fit(columns, np.tile(outcome, len(befores)))


def features(trace: Trace, exit_index: int, before: IntArray) -> FloatArray:
    """Return (S, F) the `FEATURES` of looks at `exit_index` after looks at `before`, as the predictor makes them."""
    samples = np.arange(len(trace))
    confidence = trace.confidence[:, exit_index].astype(np.float64)
    log_doubt = np.log(np.maximum(1.0 - confidence, LEAST))
    has_before = (before != NO_LOOK).astype(np.float64)
    agrees = has_before * (trace.label[samples, before] == trace.label[:, exit_index])
    sure = has_before * trace.confidence[samples, before]
    columns = (
        confidence,
        confidence - trace.margin[:, exit_index],
        np.log(np.maximum(confidence, LEAST)),
        log_doubt,
        has_before,
        agrees,
        sure,
        agrees * sure,
        agrees * log_doubt,
        has_before * (exit_index - before) / trace.exit_count,
    )
    return np.stack(columns, axis=1)


class ForecastTable:
    """What a predictor forecasts for each sample of a trace after any two looks, all samples at once.

    The scores are computed as `edgeexit.exits.predictor.Predictor` does; calibration asks here and is then checked
    against the rule itself.
    """

    def __init__(self, form: Mapping[str, Any], trace: Trace) -> None:
        self._form = form
        self._trace = trace
        self._known: dict[tuple[int, int], FloatArray] = {}

    def distribution(self, before: int, exit_index: int) -> FloatArray:
        """Return (S, E) the probability of each exit to be the settled one; exits passed have 0."""
        key = (before, exit_index)
        if key not in self._known:
            self._known[key] = self._evaluate(before, exit_index)
        return self._known[key]

    def _evaluate(self, before: int, exit_index: int) -> FloatArray:
        trace = self._trace
        result = np.zeros((len(trace), trace.exit_count))
        if exit_index == trace.exit_count - 1:
            result[:, -1] = 1.0
            return result
        entry = self._form["exits"][exit_index]
        columns = features(trace, exit_index, np.full(len(trace), before))
        scores = columns @ np.array(entry["weights"]).T + np.array(entry["bias"])
        shares = np.exp(scores)
        result[:, exit_index:] = shares / shares.sum(axis=1, keepdims=True)
        return result


def _fold(fitted: Pipeline | None, trace: Trace, exit_index: int) -> dict[str, Any]:
    """Return one exit's entry of the JSON form: scaling and regression as one linear map."""
    outcomes = trace.exit_count - exit_index
    weights = np.zeros((outcomes, len(FEATURES)))
    bias = np.full(outcomes, _UNSEEN_BIAS)
    if fitted is None:
        only = max(int(trace.settled_exit[0]), exit_index) - exit_index
        bias[only] = 0.0
    else:
        scaler, regression = fitted[0], fitted[-1]
        coefficients = regression.coef_ / scaler.scale_
        intercepts = regression.intercept_ - coefficients @ scaler.mean_
        if len(coefficients) == 1:  # two outcomes: scikit-learn keeps the score of the second alone
            coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
            intercepts = np.concatenate([[0.0], intercepts])
        weights[regression.classes_], bias[regression.classes_] = _bounded(coefficients, intercepts)
    return {"weights": _plain(weights), "bias": _plain(bias)}


def _bounded(coefficients: FloatArray, intercepts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Flatten a forecast whose scores could overflow: one of features that hardly ever differ, and so tell nothing."""
    largest = largest_score(coefficients, intercepts)
    if largest <= LARGEST_SCORE:
        return coefficients, intercepts
    factor = 0.99 * LARGEST_SCORE / largest
    return factor * coefficients, factor * intercepts


def _plain(array: FloatArray) -> Any:
    """Return lists of numbers with ten digits, which JSON keeps as they are."""
    rounded = np.array([float(f"{value:.10g}") for value in array.ravel()])
    return rounded.reshape(array.shape).tolist()
