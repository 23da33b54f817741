"""Labels: from numbers or texts to classes, and whether they fit a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgeexit.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.offline.data.samples import Samples

_WHOLE: Final = re.compile(r"[0-9]{1,9}\Z")
_SHOWN: Final = 5
"""How many names a message gives."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What is right for each sample.

    Attributes:
        values: (S,) int64 classes, or (S, L) bool where any number of labels may be right.
        class_names: One a class or label, if known.
    """

    values: NDArray[Any]
    class_names: tuple[str, ...] | None


def labels_of_array(array: NDArray[Any], where: str, class_names: tuple[str, ...] | None = None) -> Labels:
    """Take labels from an array.

    Args:
        array: (S,) or (S, 1) whole numbers or texts: classes; (S, L) of 0 and 1: labels of which any number is right.
        where: Name of the array, for messages.
        class_names: In the order of the model's classes, if known.

    Raises:
        DataError: If the array is nothing of that.
    """
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim == 1 and array.dtype.kind in "US":
        return labels_of_texts(array.astype(str).tolist(), where, class_names)
    if array.ndim == 1 and array.dtype.kind in "iub":
        return Labels(_classes(array.astype(np.int64), where, class_names), class_names)
    if array.ndim == 2 and array.dtype.kind in "iub" and array.shape[1] and np.isin(array, (0, 1)).all():
        _check_names(array.shape[1], where, class_names)
        return Labels(array.astype(np.bool_), class_names)
    raise DataError(
        f"{where}: labels must be whole numbers (S,), or 0 and 1 (S, L) if a sample can have several labels, not "
        f"{array.dtype} of shape {array.shape}"
    )


def labels_of_texts(texts: Sequence[str], where: str, class_names: tuple[str, ...] | None = None) -> Labels:
    """Take classes from texts: class names, or all of them whole numbers.

    Without `class_names` the classes are the texts that occur, in the order of the alphabet.

    Raises:
        DataError: If a text is empty or no known class.
    """
    found = sorted(set(texts))
    if "" in found:
        raise DataError(f"{where}: sample {list(texts).index('')} has no label")
    if all(_WHOLE.match(text) for text in found) and not set(found) <= set(class_names or ()):
        return Labels(_classes(np.array([int(t) for t in texts], np.int64), where, class_names), class_names)
    names = tuple(found) if class_names is None else class_names
    _check_known(found, names, where)
    index = {name: position for position, name in enumerate(names)}
    return Labels(np.array([index[text] for text in texts], np.int64), names)


def labels_of_sets(sets: Sequence[Sequence[str]], where: str, class_names: tuple[str, ...] | None = None) -> Labels:
    """Take labels of which any number is right, from the names of those that are.

    Raises:
        DataError: If a name is not among `class_names`.
    """
    found = sorted({name for names in sets for name in names})
    names = tuple(found) if class_names is None else class_names
    _check_known(found, names, where)
    if not names:
        raise DataError(f"{where}: no sample has a label")
    return Labels(np.array([[name in one for name in names] for one in map(set, sets)], np.bool_), names)


def check_labels(samples: Samples, class_count: int, *, every_class: bool = True) -> None:
    """Check that labels fit a model with `class_count` classes or labels, so that heads can learn them.

    Args:
        samples: With labels.
        class_count: Of the model.
        every_class: Each class must occur; of several labels each must be right for some samples and wrong for others.

    Raises:
        DataError: If there are no labels, one is out of range, there is one class only, or a class is missing.
    """
    labels = samples.labels
    if labels is None:
        raise DataError("the samples have no labels: give them, or let the heads learn the model's own outputs")
    if labels.ndim == 2:
        _check_sets(labels, class_count, samples.class_names, every_class=every_class)
        return
    bad = np.flatnonzero((labels < 0) | (labels >= class_count))
    if len(bad):
        raise DataError(
            f"{samples.name(int(bad[0]))} has label {labels[bad[0]]}, the model has the classes 0 to {class_count - 1}"
            f" ({len(bad)} such labels)"
        )
    counts = np.bincount(labels, minlength=class_count)
    present = np.flatnonzero(counts)
    if len(present) < 2:
        raise DataError(
            f"all {len(labels)} samples are of one class, {_named(samples.class_names, int(present[0]))}: heads can "
            "learn from two or more"
        )
    if every_class and len(present) < class_count:
        raise DataError(
            f"{class_count - len(present)} of the model's {class_count} classes have no sample: "
            f"{_list_of(samples.class_names, np.flatnonzero(counts == 0))}; add some, or, if folders are named after "
            "classes, put all names in the model's order into classes.txt"
        )


def _check_sets(labels: NDArray[Any], count: int, names: tuple[str, ...] | None, *, every_class: bool) -> None:
    if labels.shape[1] != count:
        raise DataError(f"the samples are labelled with {labels.shape[1]} labels, the model has {count}")
    shares = labels.mean(axis=0)
    idle = np.flatnonzero((shares == 0.0) | (shares == 1.0))
    if len(idle) == count:
        raise DataError(f"all {len(labels)} samples have the same labels: heads can learn nothing from them")
    if every_class and len(idle):
        raise DataError(f"labels that all samples have, or none: {_list_of(names, idle)}; heads need both")


def _classes(values: NDArray[np.int64], where: str, names: tuple[str, ...] | None) -> NDArray[np.int64]:
    if len(values) and values.min() < 0:
        raise DataError(f"{where}: sample {int(values.argmin())} has label {values.min()}: classes count from 0")
    if names is not None and len(values) and values.max() >= len(names):
        raise DataError(
            f"{where}: sample {int(values.argmax())} has label {values.max()}, and {len(names)} class names are known"
        )
    return values


def _check_names(count: int, where: str, names: tuple[str, ...] | None) -> None:
    if names is not None and len(names) != count:
        raise DataError(f"{where}: {count} labels a sample, but {len(names)} class names are known")


def _check_known(found: Sequence[str], names: Sequence[str], where: str) -> None:
    unknown = [text for text in found if text not in set(names)]
    if unknown:
        raise DataError(
            f"{where}: {', '.join(map(repr, unknown[:_SHOWN]))} is no known class; known are "
            f"{', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
        )


def _named(names: tuple[str, ...] | None, index: int) -> str:
    return f"{index} ({names[index]})" if names is not None and index < len(names) else str(index)


def _list_of(names: tuple[str, ...] | None, indices: NDArray[Any]) -> str:
    shown = ", ".join(_named(names, int(index)) for index in indices[:_SHOWN])
    return f"{shown}, ..." if len(indices) > _SHOWN else shown
