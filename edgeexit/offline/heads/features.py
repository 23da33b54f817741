"""Pooled features of many samples at many places of a network, and what heads make of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeexit.bundle.manifest import CLASSES
from edgeexit.errors import DataError
from edgeexit.offline.heads.linear import LinearHead
from edgeexit.offline.traces import Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeexit.offline.heads.conv_head import Head
    from edgeexit.offline.heads.maps import RecordedMaps
    from edgeexit.offline.heads.pooling import Pooling
    from edgeexit.offline.traces import IntArray

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Features:
    """What one pass over S samples recorded.

    Attributes:
        pooled: (S, F) float32 for each of K candidates; views into one array, which may lie in a file.
        logits: (S, C) float32 of the network's own output; the logarithm of the probabilities where it returns those.
        poolings: How the features of each candidate are made.
        maps: For each candidate what a head with layers of its own reads, None where there is none; empty if none was
            asked for.
    """

    pooled: tuple[FloatArray, ...]
    logits: FloatArray
    poolings: tuple[Pooling, ...]
    maps: tuple[RecordedMaps | None, ...] = ()

    def __len__(self) -> int:
        return len(self.logits)

    def take(self, indices: IntArray) -> Features:
        """Return the samples at `indices`, in that order, copied into memory."""
        maps = tuple(None if m is None else m.take(indices) for m in self.maps)
        return Features(tuple(part[indices] for part in self.pooled), self.logits[indices], self.poolings, maps)

    def keep(self, candidates: Sequence[int]) -> Features:
        """Return the features at the candidates of these indices alone; nothing is copied."""
        pooled = tuple(self.pooled[i] for i in candidates)
        maps = tuple(self.maps[i] for i in candidates) if self.maps else ()
        return Features(pooled, self.logits, tuple(self.poolings[i] for i in candidates), maps)

    def logits_at(self, candidate: int, head: Head) -> FloatArray:
        """Return (S, C) float32 what a head says at a candidate.

        Raises:
            DataError: If it reads maps, and none were recorded there.
        """
        if isinstance(head, LinearHead):
            return head.logits(self.pooled[candidate])
        maps = self.maps[candidate] if self.maps else None
        if maps is None:
            raise DataError(f"the head at {head.pooling.tensor!r} reads maps, and none were recorded there")
        return head.logits(maps)


def trace_of(
    features: Features, heads: Sequence[Head], labels: NDArray[Any] | None = None, *, task: str = CLASSES
) -> Trace:
    """Return what a network with these heads says about the samples, without running it again.

    Args:
        features: Of S samples, none of which a head was fitted to if the trace shall be used to choose or to judge.
        heads: One for each candidate; the network's own output is the last exit.
        labels: (S,) the true classes, or for labels (S,) sets or (S, C) bool; None where there are none: then the
            network's own answers count as right, and accuracy is agreement with the full network.
        task: "classes" or "labels".

    Raises:
        DataError: If the numbers of heads and candidates differ, or a label is out of range.
    """
    if len(heads) != len(features.pooled):
        raise DataError(f"{len(heads)} heads were given for features at {len(features.pooled)} candidates")
    early = [features.logits_at(index, head) for index, head in enumerate(heads)]
    logits = np.stack([*early, features.logits], axis=1)
    return labelled_trace(logits, labels, task)


def labelled_trace(logits: FloatArray, labels: NDArray[Any] | None, task: str) -> Trace:
    """Return the trace of logits (S, E, C); without labels, the last exit's answers count as right."""
    if labels is None:
        labels = Trace(logits, np.zeros(len(logits), dtype=np.int64), task).label[:, -1]
    return Trace(logits, labels, task)
