"""Recorded traces: what every exit of a network said about every sample of a data set.

With them an exit rule is fitted, chosen and compared without running the network again. A file (npz, no pickle)
holds one trace for each split, as `<split>_logits` (S, E, C) float32 and `<split>_labels` (S,) integers; the
splits of the reference networks are "fit", "select" and "test".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import DataError
from edgeexit.protocols import Look

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Trace:
    """What every exit said about every sample, and what is right.

    Attributes:
        logits: (S, E, C) float32.
        labels: (S,) int64, the true classes.
    """

    logits: FloatArray
    labels: IntArray

    def __post_init__(self) -> None:
        logits, labels = np.asarray(self.logits), np.asarray(self.labels)
        if logits.ndim != 3 or labels.shape != logits.shape[:1] or 0 in logits.shape:
            raise DataError(f"a trace needs logits (S, E, C) and labels (S,), not {logits.shape} and {labels.shape}")
        if logits.dtype.kind != "f" or not np.isfinite(logits).all():
            raise DataError("a trace's logits must be finite floating-point numbers")
        if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= logits.shape[2]:
            raise DataError(f"a trace's labels must be whole numbers from 0 to {logits.shape[2] - 1}")
        object.__setattr__(self, "logits", logits.astype(np.float32, copy=False))
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def exit_count(self) -> int:
        """Number of exits, the network's own output included."""
        return int(self.logits.shape[1])

    @property
    def class_count(self) -> int:
        """Number of classes."""
        return int(self.logits.shape[2])

    @cached_property
    def probabilities(self) -> FloatArray:
        """(S, E, C) float32, the softmax of the logits."""
        powers = np.exp(self.logits - self.logits.max(axis=2, keepdims=True))
        return np.asarray(powers / powers.sum(axis=2, keepdims=True))

    @cached_property
    def label(self) -> IntArray:
        """(S, E) the class each exit says."""
        return np.asarray(self.probabilities.argmax(axis=2))

    @cached_property
    def confidence(self) -> FloatArray:
        """(S, E) float32, the largest probability."""
        return self._two_largest[..., 1]

    @cached_property
    def margin(self) -> FloatArray:
        """(S, E) float32, the largest probability less the second largest."""
        return self._two_largest[..., 1] - self._two_largest[..., 0]

    @cached_property
    def entropy(self) -> NDArray[np.float64]:
        """(S, E) of the probabilities, in nats."""
        probabilities = self.probabilities.astype(np.float64)
        terms = probabilities * np.log(np.where(probabilities > 0, probabilities, 1.0))
        return np.asarray(-terms.sum(axis=2))

    @cached_property
    def correct(self) -> BoolArray:
        """(S, E) whether the exit is right."""
        return np.asarray(self.label == self.labels[:, np.newaxis])

    @cached_property
    def accuracies(self) -> NDArray[np.float64]:
        """(E,) the share of samples that each exit gets right."""
        return np.asarray(self.correct.mean(axis=0))

    @cached_property
    def first_agreeing_exit(self) -> IntArray:
        """(S,) the first exit whose label is that of the full network."""
        return np.asarray((self.label == self.label[:, -1:]).argmax(axis=1))

    @cached_property
    def settled_exit(self) -> IntArray:
        """(S,) the first exit from which on every label is that of the full network."""
        differs = (self.label != self.label[:, -1:])[:, ::-1]
        return np.where(differs.any(axis=1), self.exit_count - differs.argmax(axis=1), 0)

    def take(self, indices: IntArray) -> Trace:
        """Return the samples at `indices`, in that order."""
        return Trace(self.logits[indices], self.labels[indices])

    def make_look(self) -> Callable[[int, int], Look]:
        """Return a fast function from sample and exit index to the `Look` an engine would have made there."""
        label, confidence, margin = self.label.tolist(), self.confidence.tolist(), self.margin.tolist()
        logits, probabilities = self.logits, self.probabilities

        def look(sample: int, exit_index: int) -> Look:
            return Look(
                exit_index,
                label[sample][exit_index],
                confidence[sample][exit_index],
                margin[sample][exit_index],
                logits[sample, exit_index],
                probabilities[sample, exit_index],
            )

        return look

    @cached_property
    def _two_largest(self) -> FloatArray:
        """(S, E, 2) the second largest and the largest probability; 0 and 1 if there is one class only."""
        if self.class_count == 1:
            return np.stack([np.zeros_like(self.logits[..., 0]), np.ones_like(self.logits[..., 0])], axis=-1)
        return np.partition(self.probabilities, (-2, -1), axis=2)[..., -2:]


def load_traces(path: Path | str) -> dict[str, Trace]:
    """Read the traces of a file by the names of their splits.

    Raises:
        DataError: If the file is missing, damaged or holds something else; the message names it.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, BadZipFile, EOFError) as error:
        raise DataError(f"{path} cannot be read as recorded traces (npz): {error}") from error
    splits = sorted(name.removesuffix("_logits") for name in arrays if name.endswith("_logits"))
    if not splits or set(arrays) != {f"{split}_{part}" for split in splits for part in ("logits", "labels")}:
        raise DataError(f"{path} must hold <split>_logits and <split>_labels, and holds {sorted(arrays)}")
    try:
        return {split: Trace(arrays[f"{split}_logits"], arrays[f"{split}_labels"]) for split in splits}
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def save_traces(path: Path | str, traces: Mapping[str, Trace]) -> None:
    """Write traces by the names of their splits, compressed."""
    arrays: dict[str, NDArray[Any]] = {}
    for split, trace in traces.items():
        arrays[f"{split}_logits"] = trace.logits
        arrays[f"{split}_labels"] = trace.labels
    np.savez_compressed(path, allow_pickle=False, **arrays)
