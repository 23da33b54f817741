"""The one number by which a head's scores are multiplied, so that its probabilities are what they say."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from edgeexit.bundle.manifest import CLASSES
from edgeexit.offline.heads.targets import FloatArray64, Targets

_LEAST_SHARPNESS: Final = 1e-3
_MOST_SHARPNESS: Final = 1e3
_HALVINGS: Final = 40
"""Of a range of 6 decades: the sharpness is found to 1e-10 of itself."""


def fit_sharpness(scores: FloatArray64, targets: Targets) -> float:
    """Return the factor (1 / temperature) under which the scores' probabilities fit the targets best.

    It minimises the mean cross-entropy (Guo et al., arXiv 1706.04599), which is convex in the factor, so that its
    slope is brought to 0 by bisection on a logarithmic scale. It lies between 0.001 and 1000. One more sample counts
    as undecided (after Platt, 1999), so that a few samples that are all right make no certainty.

    Args:
        scores: (S, C) of samples that the scores were not fitted to.
        targets: What is wanted of them.
    """
    undecided = 1 / targets.wanted.shape[1] if targets.task == CLASSES else 0.5
    wanted = targets.wanted + (undecided - targets.wanted) / (len(targets) + 1)
    low, high = math.log(_LEAST_SHARPNESS), math.log(_MOST_SHARPNESS)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        slope = ((probabilities(math.exp(middle) * scores, targets.task) - wanted) * scores).sum()
        low, high = (middle, high) if slope < 0 else (low, middle)
    return math.exp((low + high) / 2)


def probabilities(logits: FloatArray64, task: str) -> FloatArray64:
    """Return (S, C) the softmax of logits of classes, or the sigmoid of those of labels."""
    if task == CLASSES:
        power = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(power / power.sum(axis=1, keepdims=True))
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))


def cross_entropy(logits: FloatArray64, targets: Targets) -> float:
    """Return the mean over the samples, in nats; for labels the mean over those too."""
    wanted = targets.wanted
    if targets.task == CLASSES:
        shifted = logits - logits.max(axis=1, keepdims=True)
        logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return float(-(wanted * logarithms).sum(axis=1).mean())
    return float((np.logaddexp(0.0, logits) - wanted * logits).mean())
