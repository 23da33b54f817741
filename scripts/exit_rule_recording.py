"""What trials of exit rules need to know of images: what the exits said, pooled features at the cuts, the pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.fashion_mnist import FashionMnist, as_input
from edgeexit.offline.traces import Trace
from edgeexit.runtime.engine import Engine

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle

Float32 = NDArray[np.float32]

BATCH: Final = 500
COARSE: Final = 7
"""Side of the image that stands for the cut before the first exit."""


@dataclass(frozen=True)
class Recorded(Trace):
    """A trace with the features that its exits read.

    Attributes:
        features: (S, F, 2, 2) float32 for each exit but the last: means of the quarters of each channel of all the
            tensors that its head reads.
        pixels: (S, 28, 28) float32 from 0 to 1.
    """

    features: tuple[Float32, ...] = ()
    pixels: Float32 = field(default_factory=lambda: np.zeros((0, 28, 28), dtype=np.float32))

    def take(self, indices: NDArray[np.int64]) -> Recorded:
        """Return the samples at `indices`, in that order."""
        features = tuple(part[indices] for part in self.features)
        return Recorded(self.logits[indices], self.labels[indices], self.task, features, self.pixels[indices])

    @cached_property
    def coarse(self) -> Float32:
        """(S, 49) float32, the images at a quarter of their side."""
        side = self.pixels.shape[1] // COARSE
        cells = self.pixels.reshape(len(self), COARSE, side, COARSE, side)
        return np.asarray(cells.mean(axis=(2, 4)).reshape(len(self), -1))


def record(bundle: Bundle, pixels: Float32, labels: NDArray[np.uint8]) -> Recorded:
    """Run all segments and heads on images of values from 0 to 1, and keep what `Recorded` has."""
    engine = Engine(bundle, optimise=False)
    logits: list[Float32] = []
    features: list[list[Float32]] = [[] for _ in bundle.exits[:-1]]
    for start in range(0, len(pixels), BATCH):
        tensors = {bundle.inputs[0].name: pixels[start : start + BATCH, np.newaxis]}
        for piece in engine.segments:
            piece.run(tensors)
        for head in engine.heads:
            if head is not None:
                head.run(tensors)
        logits.append(np.stack([tensors[exit_.logits] for exit_ in bundle.exits], axis=1))
        for exit_, parts in zip(bundle.exits[:-1], features, strict=True):
            parts.append(np.concatenate([quarters(tensors[name]) for name in exit_.inputs], axis=1))
    joined = tuple(np.concatenate(parts) for parts in features)
    return Recorded(np.concatenate(logits), labels.astype(np.int64), features=joined, pixels=pixels)


def known_images(data: FashionMnist) -> tuple[Float32, NDArray[np.uint8]]:
    """Return (S, 28, 28) values and (S,) labels of "fit" and "select": no network learnt from them, no test does."""
    images = np.concatenate([data.fit.images, data.select.images])
    return as_input(images)[:, 0], np.concatenate([data.fit.labels, data.select.labels])


def quarters(tensor: Float32) -> Float32:
    """Return (S, F, 2, 2) the means of each channel's quarters, or of vectors (S, F) the same number four times."""
    if tensor.ndim == 2:
        return np.broadcast_to(tensor[:, :, np.newaxis, np.newaxis], (*tensor.shape, 2, 2)).copy()
    height, width = tensor.shape[2:]
    rows = slice(None, (height + 1) // 2), slice(height // 2, None)
    columns = slice(None, (width + 1) // 2), slice(width // 2, None)
    return np.stack([np.stack([tensor[:, :, r, c].mean(axis=(2, 3)) for c in columns], -1) for r in rows], -2)
