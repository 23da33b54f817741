"""Fit linear heads on pooled features with scikit-learn.

The linear algebra runs on one thread: its matrices are small, and where other work ran on the same two cores the
threads of OpenBLAS waited for each other and took 14 times the processor time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from edgeexit.bundle.manifest import CLASSES
from edgeexit.errors import DataError, OptionError
from edgeexit.offline.heads.estimators import ESTIMATORS, Estimator, Linear
from edgeexit.offline.heads.linear import LinearHead
from edgeexit.offline.heads.targets import FloatArray64, Targets, read_targets
from edgeexit.offline.heads.temperature import cross_entropy, fit_sharpness

if TYPE_CHECKING:
    from edgeexit.offline.heads.features import Features
    from edgeexit.offline.heads.pooling import Pooling

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

PENALTIES: Final = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""Regularisations that may be chosen, from the strongest; for each sample, on standardised features."""
FEWEST_SAMPLES: Final = 40
"""Of them a quarter is held out to choose the regularisation and the temperature."""

_HELD_OUT: Final = 4
_MOST_TO_CHOOSE: Final = 8000
"""Samples on which the regularisation is chosen, where there are more."""
_FLATTEST: Final = 1e-3
"""A feature that spreads less than this part of the average feature is scaled as if it spread so much: a feature
that hardly ever changes would get a huge weight."""


def fit_heads(
    features: Features,
    targets: NDArray[Any],
    *,
    kind: str = "ridge",
    task: str = CLASSES,
    seed: int = 0,
    progress: bool = False,
) -> tuple[LinearHead, ...]:
    """Fit a head at each candidate.

    A quarter of the samples is held out first: on it the regularisation is chosen, from the strongest to the weakest
    until the loss grows, and the temperature fitted. Then the head is fitted to all samples. The loss is the
    cross-entropy of the answers, also where a head is fitted to probabilities: its confidence then says how likely it
    is to agree with the network.

    Args:
        features: Of S samples; none of them may be used to choose exit rules.
        targets: (S,) the true classes; (S, C) which labels hold; or (S, C) the network's own probabilities where there
            are no labels.
        kind: "ridge": least squares; "logistic": logistic regression, some five times slower and, on small images,
            up to 3 points more accurate at early exits.
        task: "classes", one of which is right, or "labels", each of which may hold.
        seed: Of the samples held out.
        progress: True for a progress bar on stderr.

    Raises:
        OptionError: If `kind` or `task` is unknown.
        DataError: If there are fewer than 40 samples, or targets do not fit.
    """
    if kind not in ESTIMATORS:
        raise OptionError(f"a head is of the kind {' or '.join(sorted(ESTIMATORS))}, not {kind!r}")
    wanted = read_targets(targets, features.logits.shape[1], task)
    if len(wanted) != len(features):
        raise DataError(f"{len(wanted)} targets were given for the features of {len(features)} samples")
    if len(wanted) < FEWEST_SAMPLES:
        raise DataError(f"heads need at least {FEWEST_SAMPLES} samples to be fitted on, there are {len(wanted)}")
    parts = hold_out(wanted.groups, seed)
    pairs = list(zip(features.pooled, features.poolings, strict=True))
    with threadpool_limits(1):
        bar = tqdm(pairs, desc=f"{kind} heads", unit="head", disable=not progress)
        return tuple(_fit_head(pooled, pooling, wanted, parts, ESTIMATORS[kind]()) for pooled, pooling in bar)


@dataclass(frozen=True, slots=True)
class _Scaling:
    """Features are standardised by ``(features - mean) / spread``."""

    mean: FloatArray64
    spread: FloatArray64

    @classmethod
    def of(cls, features: FloatArray) -> _Scaling:
        spread = features.std(axis=0, dtype=np.float64)
        average = float(np.sqrt(np.mean(spread**2))) or 1.0
        return cls(features.mean(axis=0, dtype=np.float64), np.maximum(spread, _FLATTEST * average))

    def apply(self, features: FloatArray) -> FloatArray:
        return ((features - self.mean.astype(np.float32)) / self.spread.astype(np.float32)).astype(np.float32)

    def fold(self, linear: Linear, sharpness: float) -> tuple[FloatArray, FloatArray64, FloatArray]:
        """Return weights, bias and centre for features as they are."""
        weights = (sharpness * linear[0] / self.spread[:, np.newaxis]).astype(np.float32)
        centre = self.mean.astype(np.float32)
        bias = sharpness * linear[1] - centre.astype(np.float64) @ weights.astype(np.float64)
        return weights, bias, centre


def hold_out(groups: IntArray, seed: int) -> tuple[IntArray, IntArray]:
    """Return the samples to fit and those to choose on: of each group every fourth, drawn at random.

    Args:
        groups: (S,) the group of each sample; of more than 8,000 samples so many are drawn.
        seed: Of the draw.
    """
    random = np.random.default_rng(seed).permutation(len(groups))[:_MOST_TO_CHOOSE]
    order = random[np.argsort(groups[random], kind="stable")]
    held = np.arange(len(order)) % _HELD_OUT == _HELD_OUT - 1
    return np.sort(order[~held]), np.sort(order[held])


def _fit_head(
    pooled: FloatArray, pooling: Pooling, targets: Targets, parts: tuple[IntArray, IntArray], estimator: Estimator
) -> LinearHead:
    features = np.asarray(pooled, dtype=np.float32)
    scaling = _Scaling.of(features)
    scaled = scaling.apply(features)
    penalty, sharpness, loss = _choose(scaled, targets, parts, estimator)
    weights, bias, centre = scaling.fold(estimator.fit(scaled, targets, penalty), sharpness)
    return LinearHead(weights, bias, pooling, penalty, loss, centre)


def _choose(
    scaled: FloatArray, targets: Targets, parts: tuple[IntArray, IntArray], estimator: Estimator
) -> tuple[float, float, float]:
    """Return the penalty of the least loss on the samples held out, with the sharpness and the loss there."""
    learn, held = parts
    x, y = scaled[learn], targets.take(learn)
    held_x, held_y = scaled[held].astype(np.float64), targets.take(held).hardened()
    best = (PENALTIES[0], 1.0, np.inf)
    for penalty in PENALTIES:
        weights, bias = estimator.fit(x, y, penalty)
        scores = held_x @ weights + bias
        sharpness = fit_sharpness(scores, held_y)
        loss = cross_entropy(sharpness * scores, held_y)
        if loss >= best[2]:
            break
        best = (penalty, sharpness, loss)
    return best
