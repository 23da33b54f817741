"""How large a head with layers of its own is at each place, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgeexit.offline.heads.conv_head import head_macs
from edgeexit.offline.heads.maps import MapPooling, map_pooling_of

if TYPE_CHECKING:
    from edgeexit.offline.graph.cut_candidates import CutCandidate

MOST_OF_NETWORK: Final = 0.06
"""Work of a head in parts of the network's: those of the reference nets, which pay, take 3 to 7 %."""
MOST_OF_REST: Final = 0.33
"""Work of a head in parts of what comes behind its place: an exit that saves no more than its head costs is none."""
WIDTHS: Final = (128, 96, 64, 48, 32, 24, 16)
"""Channels of the last layers that may be chosen, from the most."""

_COARSE: Final = 7
"""Side of a map from which on down the layers keep it; a larger one is halved."""


@dataclass(frozen=True, slots=True)
class ConvPlan:
    """A head with layers of its own that can be trained.

    Attributes:
        pooling: How the map that it reads is made.
        layers: (channels, stride) of its separable convolutions.
        class_count: Number of its logits.
    """

    pooling: MapPooling
    layers: tuple[tuple[int, int], ...]
    class_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRecipe:
    """How to train a head.

    Attributes:
        distillation: Share of the loss that comes from the network's own logits, the rest from the targets.
        temperature: Softens both distributions of the distillation.
        steps: Of the optimiser at least, if `most_epochs` allow it.
        fewest_epochs: Passes over the samples at least.
        most_epochs: Passes at most.
        batch_size: Samples a step.
        peak_rate: Highest learning rate of the one-cycle schedule.
        weight_decay: Of AdamW.
        seed: Of the samples held out, the first weights and the order of the samples.
    """

    distillation: float = 0.6
    temperature: float = 2.0
    steps: int = 1000
    fewest_epochs: int = 20
    most_epochs: int = 60
    batch_size: int = 64
    peak_rate: float = 4e-3
    weight_decay: float = 0.02
    seed: int = 0

    def epochs(self, batches: int) -> int:
        """Return how many passes of so many batches are made."""
        return min(self.most_epochs, max(self.fewest_epochs, -(-self.steps // batches)))


@dataclass(frozen=True, slots=True)
class NoConvHead:
    """No head with layers of its own, and why.

    Attributes:
        why: Half a sentence.
    """

    why: str


def plan_head(candidate: CutCandidate, whole_macs: int, class_count: int) -> ConvPlan | NoConvHead:
    """Choose the widest head that costs at most 6 % of the network and a third of what comes behind it.

    Args:
        candidate: Where it would be.
        whole_macs: Multiply-accumulates of the whole network.
        class_count: Number of its classes.
    """
    pooling = map_pooling_of(candidate)
    if pooling is None:
        return NoConvHead("what can be read there is no image-like map, of a known size, that suits one")
    most = min(MOST_OF_NETWORK * whole_macs, MOST_OF_REST * (whole_macs - candidate.macs_before))
    for width in WIDTHS:
        layers = layers_of(pooling.shape, width)
        if head_macs(pooling.shape, layers, class_count) <= most:
            return ConvPlan(pooling, layers, class_count)
    return NoConvHead("the smallest one would cost too much of what it can save")


def layers_of(shape: Sequence[int], width: int) -> tuple[tuple[int, int], ...]:
    """Return the layers of a head of `width` channels: two on a coarse map, three on a finer one, which they halve.

    Args:
        shape: Channels, height and width of the map.
        width: Channels of the last layers.
    """
    if max(shape[1:]) > _COARSE:
        return (width // 2, 1), (width, 2), (width, 1)
    return (width, 1), (width, 1)
