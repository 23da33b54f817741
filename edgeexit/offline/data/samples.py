"""Samples of a user: inputs that are read when they are asked for, and labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeexit.bundle import Preprocess, Tensor
from edgeexit.bundle.preprocess import preprocess_json
from edgeexit.errors import DataError
from edgeexit.offline.data.labels import labels_of_array
from edgeexit.offline.data.rows import MemoryRows
from edgeexit.offline.data.sources import ArraySource, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.protocols import IntArray

    Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples in a fixed order; no input is in memory before it is read.

    Attributes:
        source: Where the inputs are read from.
        positions: (S,) int64, which of the source's samples these are.
        labels: (S,) int64 classes, or (S, L) bool for a model that says any number of labels; None if there are none.
        class_names: One a class or label, if known.
        preprocess: How images became the inputs, for the bundle; None if the inputs were stored as they are and
            nothing was said about images.
    """

    source: Source
    positions: IntArray
    labels: NDArray[Any] | None = None
    class_names: tuple[str, ...] | None = None
    preprocess: Preprocess | None = None

    def __post_init__(self) -> None:
        if self.labels is not None and len(self.labels) != len(self.positions):
            raise DataError(f"{len(self.positions)} samples have {len(self.labels)} labels: give one for each")

    def __len__(self) -> int:
        return len(self.positions)

    def read(self, indices: IntArray) -> dict[str, Array]:
        """Return inputs by name, exactly as the model takes them.

        Args:
            indices: (M,) whole numbers from 0 to S - 1.

        Returns:
            Each input as (M, ...).

        Raises:
            DataError: If a sample is damaged or holds values that are not finite; the message names it.
        """
        return self.source.read(self.positions[indices])

    def batches(self, size: int) -> Iterator[dict[str, Array]]:
        """Read all samples in order, `size` at a time; the last batch may be smaller."""
        for start in range(0, len(self), size):
            yield self.read(np.arange(start, min(start + size, len(self))))

    def take(self, indices: IntArray) -> Samples:
        """Return the samples at `indices` (M,), in that order."""
        labels = None if self.labels is None else self.labels[indices]
        return Samples(self.source, self.positions[indices], labels, self.class_names, self.preprocess)

    def name(self, index: int) -> str:
        """Return where a sample is from, for messages: a path, or a file and a position."""
        return self.source.name(int(self.positions[index]))

    @cached_property
    def digests(self) -> tuple[bytes, ...]:
        """sha256 of each sample as it is stored, without its label: equal for two copies of one sample."""
        every = self.source.digests
        return tuple(every[position] for position in self.positions.tolist())

    @cached_property
    def sha256(self) -> str:
        """Of all that `read` and `labels` return, wherever the files lie; in hexadecimal digits.

        It covers the stored samples in their order, the preprocessing, labels and class names.
        """
        record = None if self.preprocess is None else preprocess_json(self.preprocess)
        total = hashlib.sha256(json.dumps([len(self), record, self.class_names], sort_keys=True).encode())
        for digest in self.digests:
            total.update(digest)
        if self.labels is not None:
            total.update(f"{self.labels.dtype.str} {self.labels.shape}".encode())
            total.update(np.ascontiguousarray(self.labels).tobytes())
        return total.hexdigest()


def samples_of_arrays(
    arrays: Mapping[str, Array],
    labels: NDArray[Any] | None = None,
    *,
    class_names: tuple[str, ...] | None = None,
    preprocess: Preprocess | None = None,
) -> Samples:
    """Make samples of arrays in memory that a model takes as they are.

    Args:
        arrays: (S, ...) each, by the names of the model's inputs.
        labels: (S,) whole numbers or texts, or (S, L) of 0 and 1; None if there are none.
        class_names: One a class; None: not known, or the texts.
        preprocess: How images became these arrays, if that is known; it goes into the bundle.

    Raises:
        DataError: If there is no sample, or arrays and labels do not fit together.
    """
    tensors = [Tensor(name, array.dtype.name, ("S", *array.shape[1:])) for name, array in arrays.items()]
    source = ArraySource({name: MemoryRows(a) for name, a in arrays.items()}, tensors, None, "the arrays given")
    known = None if labels is None else labels_of_array(np.asarray(labels), "labels", class_names)
    return Samples(
        source,
        np.arange(len(source)),
        None if known is None else known.values,
        class_names if known is None else known.class_names,
        preprocess,
    )
