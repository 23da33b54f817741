"""The kinds of compression step."""

from __future__ import annotations

from enum import Enum


class Step(Enum):
    """A step on the way from a network to a small bundle; the order of the members is the default order.

    "The Order of Compression" (arXiv 2403.17447) finds for convolutional networks: distil, prune, quantise, and early
    exits last.
    """

    DISTIL = "distil"
    PRUNE = "prune"
    QUANTISE = "quantise"
    EXITS = "exits"
