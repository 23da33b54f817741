"""What heads are fitted to: labels, or the network's own probabilities where there are none (distillation)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgeexit.bundle.manifest import CLASSES, TASKS
from edgeexit.errors import DataError, OptionError

FloatArray64 = NDArray[np.float64]

_SUM_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Targets:
    """What is wanted of S samples.

    Attributes:
        wanted: (S, C) float64. For the task "classes" the probabilities that are wanted, 1 in each row; for "labels"
            one probability for each label.
        task: "classes", one of which is right, or "labels", each of which may hold.
    """

    wanted: FloatArray64
    task: str

    def __len__(self) -> int:
        return len(self.wanted)

    def take(self, indices: NDArray[np.int64]) -> Targets:
        """Return the samples at `indices`."""
        return Targets(self.wanted[indices], self.task)

    def hardened(self) -> Targets:
        """Return the answers alone: the likeliest class, or the labels with more than a half.

        An exit that agrees with the full network is right, however sure that was: so it is by the answers that a
        head's probabilities are judged.
        """
        if self.task == CLASSES:
            return Targets(np.eye(self.wanted.shape[1])[self.wanted.argmax(axis=1)], self.task)
        return Targets((self.wanted > 0.5).astype(np.float64), self.task)

    @property
    def groups(self) -> NDArray[np.int64]:
        """(S,) samples of one group want about the same: the likeliest class; for labels, how many hold."""
        if self.task == CLASSES:
            return np.asarray(self.wanted.argmax(axis=1))
        return np.asarray((self.wanted > 0.5).sum(axis=1))


def read_targets(targets: NDArray[Any], class_count: int, task: str) -> Targets:
    """Check targets and bring them into one form.

    Args:
        targets: (S,) whole numbers, the true classes; (S, C) bool or 0 and 1, which labels hold; or (S, C) floats,
            the probabilities that a network gave.
        class_count: C, the number of classes or labels of the network.
        task: "classes" or "labels".

    Raises:
        OptionError: If the task is unknown.
        DataError: If shape or values do not fit, or all samples want the same.
    """
    if task not in TASKS:
        raise OptionError(f"there is no task {task!r}; it is one of {', '.join(sorted(TASKS))}")
    array = np.asarray(targets)
    if array.ndim == 1 and task == CLASSES:
        wanted = _one_hot(array, class_count)
    elif array.ndim == 2 and array.shape[1] == class_count and array.dtype.kind in "biuf":
        wanted = array.astype(np.float64)
        _check_probabilities(wanted, task)
    else:
        form = f"(S,) classes or (S, {class_count}) probabilities" if task == CLASSES else f"(S, {class_count}) labels"
        raise DataError(
            f"targets of the shape {array.shape} and dtype {array.dtype} do not fit {class_count} {task}: give {form}"
        )
    found = Targets(wanted, task)
    answers = found.hardened().wanted
    if len(answers) and not np.ptp(answers, axis=0).any():
        raise DataError("all samples have the same answer: nothing can be learnt; give samples with other answers too")
    return found


def _one_hot(labels: NDArray[Any], class_count: int) -> FloatArray64:
    if labels.dtype.kind not in "iu":
        raise DataError(f"labels must be whole numbers, not {labels.dtype}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < class_count):
        raise DataError(
            f"labels go from {labels.min()} to {labels.max()}, the network has the classes 0 to {class_count - 1}; "
            "without labels of its own classes, fit the heads to the network's own outputs"
        )
    return np.asarray(np.eye(class_count)[labels])


def _check_probabilities(wanted: FloatArray64, task: str) -> None:
    if not np.isfinite(wanted).all() or wanted.min(initial=0.0) < 0 or wanted.max(initial=1.0) > 1 + _SUM_TOLERANCE:
        raise DataError("targets must be probabilities from 0 to 1, and not all are")
    if task == CLASSES and len(wanted) and np.abs(wanted.sum(axis=1) - 1).max() > _SUM_TOLERANCE:
        raise DataError('probabilities of classes must add up to 1 for each sample; if each may hold: task="labels"')
