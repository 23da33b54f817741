"""The linear estimators of scikit-learn that heads are made of."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from edgeexit.bundle.manifest import CLASSES, LABELS
from edgeexit.offline.heads.targets import FloatArray64, Targets

FloatArray = NDArray[np.float32]
Linear = tuple[FloatArray64, FloatArray64]
"""Weights (F, C) and bias (C,) on standardised features."""

_LEAST_WANTED: Final = 0.01
"""Less likely classes are left out when a network's probabilities become weighted samples."""
_RAREST: Final = 1e-4
"""Probability that stands for 0: the least whose logarithm is taken, and that of a class which no sample has."""
_ITERATIONS: Final = 300
_TOLERANCE: Final = 1e-3


class Estimator(Protocol):
    """Fits the heads at one candidate, with one penalty after the other."""

    def fit(self, features: FloatArray, targets: Targets, penalty: float) -> Linear:
        """Return the weights for S samples.

        Args:
            features: (S, F), standardised.
            targets: Of the samples.
            penalty: On the squared weights, for each sample.
        """


class RidgeEstimator:
    """Least squares to the logarithms of the wanted probabilities, which keep what a network knows of all classes.

    (Ba and Caruana, arXiv 1312.6184, regress a net's logits.) For true classes, whose probabilities are 0 and 1, this
    is ridge regression to one-hot rows, in other units. For labels the logarithms are of the odds.
    """

    def fit(self, features: FloatArray, targets: Targets, penalty: float) -> Linear:
        """Solve the normal equations in float64: in float32 a weak penalty left them ill-conditioned."""
        wanted = np.log(np.maximum(targets.wanted, _RAREST))
        if targets.task == CLASSES:
            wanted -= wanted.mean(axis=1, keepdims=True)
        else:
            wanted -= np.log(np.maximum(1 - targets.wanted, _RAREST))
        ridge = Ridge(alpha=penalty * len(features)).fit(features.astype(np.float64), wanted)
        return np.asarray(ridge.coef_).reshape(wanted.shape[1], -1).T, np.asarray(ridge.intercept_).reshape(-1)


class LogisticEstimator:
    """Logistic regression, one for each label if several may hold; probabilities become samples that are weighted.

    Each fit begins where the one before ended.
    """

    def __init__(self) -> None:
        self._models: dict[int, Any] = {}

    def fit(self, features: FloatArray, targets: Targets, penalty: float) -> Linear:
        """Fit by L-BFGS; a fit that has not converged after 300 steps is taken as it is."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            if targets.task == LABELS:
                pairs = [self._fit_label(features, i, w, penalty) for i, w in enumerate(targets.wanted.T)]
                return np.stack([w for w, _ in pairs], axis=1), np.array([b for _, b in pairs])
            weights = _likely(targets)
            rows, classes = np.nonzero(weights)
            model = self._model(0, classes, penalty, len(features))
            model.fit(features[rows], classes, sample_weight=weights[rows, classes])
        return _spread(model, targets.wanted.shape[1])

    def _model(self, key: int, classes: NDArray[Any], penalty: float, samples: int) -> Any:
        """Return the model of the fit before, or a new one where other classes have been seen."""
        found = self._models.get(key)
        if found is None or not np.array_equal(found.classes_, np.unique(classes)):
            found = LogisticRegression(max_iter=_ITERATIONS, tol=_TOLERANCE, warm_start=True)
        self._models[key] = found
        return found.set_params(C=1 / (penalty * samples))

    def _fit_label(
        self, features: FloatArray, label: int, wanted: FloatArray64, penalty: float
    ) -> tuple[FloatArray64, float]:
        yes, no = np.flatnonzero(wanted > _LEAST_WANTED), np.flatnonzero(1 - wanted > _LEAST_WANTED)
        if not (len(yes) and len(no)):
            odds = math.log(_RAREST)
            return np.zeros(features.shape[1]), -odds if len(yes) else odds
        rows, holds = np.concatenate([yes, no]), np.arange(len(yes) + len(no)) < len(yes)
        model = self._model(label, holds, penalty, len(features))
        model.fit(features[rows], holds, sample_weight=np.where(holds, wanted[rows], 1 - wanted[rows]))
        return np.asarray(model.coef_[0], dtype=np.float64), float(model.intercept_[0])


ESTIMATORS: Final[Mapping[str, Callable[[], Estimator]]] = {"logistic": LogisticEstimator, "ridge": RidgeEstimator}
"""Kind of head -> what fits it."""


def _likely(targets: Targets) -> FloatArray64:
    """Return (S, C) the wanted probabilities without the unlikely ones; each sample's likeliest class stays."""
    kept = np.where(targets.wanted > _LEAST_WANTED, targets.wanted, 0.0)
    rows, best = np.arange(len(kept)), targets.wanted.argmax(axis=1)
    kept[rows, best] = targets.wanted[rows, best]
    return np.asarray(kept / kept.sum(axis=1, keepdims=True))


def _spread(model: Any, class_count: int) -> Linear:
    """Give weights to all classes: scikit-learn has one row for two classes, and none for those it did not see."""
    rows = np.asarray(model.coef_, dtype=np.float64)
    bias = np.asarray(model.intercept_, dtype=np.float64)
    if len(rows) == 1:
        rows, bias = np.concatenate([-rows / 2, rows / 2]), np.concatenate([-bias / 2, bias / 2])
    weights = np.zeros((rows.shape[1], class_count))
    biases = np.full(class_count, bias.min() + math.log(_RAREST))
    weights[:, model.classes_] = rows.T
    biases[model.classes_] = bias
    return weights, biases
