"""Whether labels and preprocessing are those of the model: if not, nothing that is learnt from them means anything."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from edgeexit.errors import DataError
from edgeexit.offline.preparing.sources import ONE_LABEL

if TYPE_CHECKING:
    from edgeexit.offline.heads import Features
    from edgeexit.offline.preparing.sources import Material

ABOVE_CHANCE: Final = 0.5
"""A network that is right for less than this above chance, in parts of chance, has not learnt these labels."""
MOST_ABOVE: Final = 0.05
"""The same as a share of the samples at most: with two classes half of chance above chance is a network of use."""
ERRORS: Final = 3.0
"""Standard errors of a network that guesses, which decide where the samples are few for so many classes."""


def check_network(features: Mapping[str, Features], material: Material) -> None:
    """Check, before anything is learnt, that the full network is right more often than by chance.

    Agreement with the full network, and sets of labels, are not looked at.

    Args:
        features: Of all parts, with the network's own logits.
        material: The samples, their labels in the same order.

    Raises:
        DataError: If it is not.
    """
    if not material.by_labels or material.task != ONE_LABEL:
        return
    right = [found.logits.argmax(axis=1) == material.parts[part].labels for part, found in features.items()]
    accuracy, samples = float(np.concatenate(right).mean()), sum(map(len, right))
    class_count = next(iter(features.values())).logits.shape[1]
    if accuracy <= most_by_chance(class_count, samples):
        raise DataError(
            f"the full network is right for {100 * accuracy:.3g} % of the samples, with {class_count} classes no more "
            "than about chance: the labels or the preprocessing are not those of the model. Give the order of its "
            "classes (classes.txt in the samples' folder) or what makes its input of an image (--preprocess), or count "
            "agreement with its own answers (--against full)"
        )


def most_by_chance(class_count: int, samples: int) -> float:
    """Return the share of right answers up to which a network may well be guessing.

    Args:
        class_count: Number of classes.
        samples: Number of samples that were looked at.
    """
    chance = 1.0 / class_count
    noise = sqrt(chance * (1.0 - chance) / samples)
    return chance + max(min(ABOVE_CHANCE * chance, MOST_ABOVE), ERRORS * noise)
