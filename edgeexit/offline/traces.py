"""Recorded traces: what every exit of a network said about every sample of a data set.

With them an exit rule is fitted, chosen and compared without running the network again. A file (npz, no pickle)
holds one trace for each split, as `<split>_logits` (S, E, C) float32 and `<split>_labels` (S,) integers; the
splits of the reference networks are "fit", "select" and "test". Where several labels may hold at once there is
`<split>_task` too, the text "labels", and a sample's label is the set of those that hold, as a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from edgeexit.bundle.manifest import CLASSES, LABELS, MOST_LABELS, TASKS
from edgeexit.errors import DataError
from edgeexit.protocols import Look

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
FloatArray64 = NDArray[np.float64]

_HOLDS: Final = 0.5
"""Probability above which a label holds."""


@dataclass(frozen=True)
class Trace:
    """What every exit said about every sample, and what is right.

    With the task "labels" each of the C labels may hold, and an answer is the set of those that do, as a number with
    bit i for label i: right is what names all of them and no other. Probabilities are then sigmoids, an answer's
    confidence c is that of its least certain label, and its margin 2 c - 1 (`offline.graph.evidence` does the same).

    Attributes:
        logits: (S, E, C) float32.
        labels: (S,) int64, the true classes, or the sets of the true labels; (S, C) bool may be given for sets.
        task: "classes" or "labels".
    """

    logits: FloatArray
    labels: IntArray
    task: str = CLASSES

    def __post_init__(self) -> None:
        logits, labels = np.asarray(self.logits), np.asarray(self.labels)
        _check_task(self.task, logits)
        if self.task == LABELS and labels.ndim == 2:
            labels = _sets_of(labels, logits.shape[-1])
        if logits.ndim != 3 or labels.shape != logits.shape[:1] or 0 in logits.shape:
            raise DataError(f"a trace needs logits (S, E, C) and labels (S,), not {logits.shape} and {labels.shape}")
        if logits.dtype.kind != "f" or not np.isfinite(logits).all():
            raise DataError("a trace's logits must be finite floating-point numbers")
        answers = logits.shape[2] if self.task == CLASSES else 2 ** logits.shape[2]
        if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= answers:
            raise DataError(f"a trace's labels must be whole numbers from 0 to {answers - 1}")
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
        """Number of classes, or of labels."""
        return int(self.logits.shape[2])

    @cached_property
    def probabilities(self) -> FloatArray:
        """(S, E, C) float32, the softmax of the logits; with the task "labels" the sigmoid of each."""
        if self.task == LABELS:
            falling = np.exp(-np.abs(self.logits))
            return np.asarray(np.where(self.logits >= 0, 1, falling) / (1 + falling))
        powers = np.exp(self.logits - self.logits.max(axis=2, keepdims=True))
        return np.asarray(powers / powers.sum(axis=2, keepdims=True))

    @cached_property
    def label(self) -> IntArray:
        """(S, E) the class each exit says, or the set of labels."""
        if self.task == LABELS:
            return label_sets(self.probabilities > _HOLDS)
        return np.asarray(self.probabilities.argmax(axis=2))

    @cached_property
    def confidence(self) -> FloatArray:
        """(S, E) float32, the largest probability; of sets, that of the least certain label to be as it says."""
        return self._two_largest[..., 1]

    @cached_property
    def margin(self) -> FloatArray:
        """(S, E) float32, the largest probability less the second largest."""
        return self._two_largest[..., 1] - self._two_largest[..., 0]

    @cached_property
    def entropy(self) -> NDArray[np.float64]:
        """(S, E) of the probabilities, in nats; of sets, the sum over the labels, each taken by itself."""
        probabilities = self.probabilities.astype(np.float64)
        terms = _times_logarithm(probabilities)
        if self.task == LABELS:
            terms = terms + _times_logarithm(1.0 - probabilities)
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
        return Trace(self.logits[indices], self.labels[indices], self.task)

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
        """(S, E, 2) the second largest and the largest probability; 0 and 1 if there is one class only.

        Of sets, the probability of the least certain label not to be, and to be, as the answer says.
        """
        if self.task == LABELS:
            least = np.maximum(self.probabilities, 1 - self.probabilities).min(axis=2)
            return np.stack([1 - least, least], axis=-1)
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
    needed = {f"{split}_{part}" for split in splits for part in ("logits", "labels")}
    if not splits or not needed <= set(arrays) <= needed | {f"{split}_task" for split in splits}:
        raise DataError(f"{path} must hold <split>_logits and <split>_labels, and holds {sorted(arrays)}")
    try:
        return {
            split: Trace(
                arrays[f"{split}_logits"], arrays[f"{split}_labels"], str(arrays.get(f"{split}_task", CLASSES))
            )
            for split in splits
        }
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def save_traces(path: Path | str, traces: Mapping[str, Trace]) -> None:
    """Write traces by the names of their splits, compressed."""
    arrays: dict[str, NDArray[Any]] = {}
    for split, trace in traces.items():
        arrays[f"{split}_logits"] = trace.logits
        arrays[f"{split}_labels"] = trace.labels
        if trace.task != CLASSES:
            arrays[f"{split}_task"] = np.array(trace.task)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def join_traces(traces: Sequence[Trace]) -> Trace:
    """Return the samples of all traces, which must be of one network, in one."""
    logits, labels = (np.concatenate([getattr(t, part) for t in traces]) for part in ("logits", "labels"))
    return replace(traces[0], logits=logits, labels=labels)


def label_sets(holds: NDArray[Any]) -> IntArray:
    """Return sets of labels as numbers: bit i is set where label i holds.

    Args:
        holds: (..., C) bool, or 0 and 1; C at most 62.

    Returns:
        (...) int64.

    Raises:
        DataError: If there is anything but 0 and 1, or more than 62 labels.
    """
    if holds.shape[-1] > MOST_LABELS or not np.isin(holds, (0, 1)).all():
        raise DataError(f"a set of labels is 0 or 1 for each of at most {MOST_LABELS} labels, not {holds.shape[-1]}")
    bits = np.int64(1) << np.arange(holds.shape[-1], dtype=np.int64)
    return np.asarray(np.where(holds != 0, bits, 0).sum(axis=-1, dtype=np.int64))


def _sets_of(holds: NDArray[Any], count: int) -> IntArray:
    if holds.shape[1] != count:
        raise DataError(f"sets of {count} labels are needed, and those given have {holds.shape[1]}")
    return label_sets(holds)


def _check_task(task: str, logits: NDArray[Any]) -> None:
    if task not in TASKS:
        raise DataError(f"a trace's task is one of {', '.join(sorted(TASKS))}, not {task!r}")
    if task == LABELS and logits.shape[-1] > MOST_LABELS:
        raise DataError(f"a set can have {MOST_LABELS} labels, and the trace has {logits.shape[-1]}")


def _times_logarithm(probabilities: FloatArray64) -> FloatArray64:
    """Return p log p, 0 where p is 0."""
    return np.asarray(probabilities * np.log(np.where(probabilities > 0, probabilities, 1.0)))
