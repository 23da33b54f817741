"""A linear head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgeexit.offline.heads.pooling import Pooling

FloatArray = NDArray[np.float32]
FloatArray64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LinearHead:
    """Logits are ``features @ weights + bias``; scaling of the features and the temperature are in the weights.

    They are computed as ``(features - centre) @ weights + offset``, which is the same but for rounding: features that
    lie far from 0 and vary little made errors of 1e-4 in float32, and with the centre less than 1e-5.

    Attributes:
        weights: (F, C) float32.
        bias: (C,) float64.
        pooling: How the features are made.
        penalty: The regularisation that was chosen, for each sample and standardised feature.
        loss: Mean cross-entropy on the samples that were held out to choose it, in nats.
        centre: (F,) float32, about the mean of the features; None for 0.
    """

    weights: FloatArray
    bias: FloatArray | FloatArray64
    pooling: Pooling
    penalty: float
    loss: float
    centre: FloatArray | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample, as `count_work` counts the head's Gemm."""
        return int(self.weights.size)

    @property
    def offset(self) -> FloatArray:
        """(C,) float32, the logits of features that are all at the centre."""
        if self.centre is None:
            return self.bias.astype(np.float32)
        return (self.bias + self.centre.astype(np.float64) @ self.weights.astype(np.float64)).astype(np.float32)

    def logits(self, features: FloatArray) -> FloatArray:
        """Return (S, C) float32 for features (S, F)."""
        centred = np.asarray(features, dtype=np.float32)
        if self.centre is not None:
            centred = centred - self.centre
        return centred @ self.weights + self.offset
