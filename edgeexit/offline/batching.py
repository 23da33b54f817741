"""How many samples run at once: as many as the model takes, and as fit into the cache and into memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import DataError

Dimension = int | str | None

MOST_SAMPLES: Final = 500
_MOST_INPUT_BYTES: Final = 8 * 2**20
"""A dozen colour images of 224 x 224: their activations, some 20 times as large, stay well below 1 GB."""
_LARGEST_ELEMENT_BYTES: Final = 4


def choose_batch(shapes: Sequence[Sequence[Dimension] | None]) -> int:
    """Return how many samples to run at once.

    Args:
        shapes: Of the inputs, batch first. An input whose first dimension is a number takes exactly so many; other
            dimensions that are no numbers count as 1.

    Raises:
        DataError: If two inputs take different numbers of samples.
    """
    fixed = {fixed_batch(shape) for shape in shapes} - {None}
    if len(fixed) > 1:
        raise DataError(f"the inputs have batches of different fixed sizes, {sorted(map(str, fixed))}: export it anew")
    sizes = [math.prod(d for d in shape[1:] if isinstance(d, int)) for shape in shapes if shape]
    found = fixed.pop() if fixed else None
    if found is not None:
        return found
    return max(1, min(MOST_SAMPLES, _MOST_INPUT_BYTES // max(1, _LARGEST_ELEMENT_BYTES * sum(sizes))))


def fixed_batch(shape: Sequence[Dimension] | None) -> int | None:
    """Return the number of samples that an input of this shape takes at once; None if it takes any number."""
    first = shape[0] if shape else None
    return first if isinstance(first, int) and first > 0 else None


def pad_batch(tensors: Mapping[str, NDArray[Any]], size: int) -> dict[str, NDArray[Any]]:
    """Repeat the last sample until there are `size`: for models that take a fixed number."""
    return {
        name: np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)]) if len(array) < size else array
        for name, array in tensors.items()
    }
