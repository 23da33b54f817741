"""What a user can ask of a preparation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeexit.errors import OptionError

CONV: Final = "conv"
HEADS: Final = ("ridge", "logistic", CONV)
PLACES: Final = ("dp", "paper", "all")
COSTS: Final = ("macs", "time")
RISKS: Final = ("labels", "full")
MOST_CANDIDATES: Final = 16
"""Places that are tried; more make the pass over the samples longer, and neighbours differ little."""

SHARES: Final[Mapping[str, float]] = {"heads": 0.35, "fit": 0.15, "select": 0.2, "certify": 0.3}
"""Parts of the samples: the heads learn on the first, exits are placed and the predictor is fitted on the second, the
rules' settings are chosen on the third, and the fourth, on which nothing is chosen, certifies them: its size decides
what can be certified."""

LEARNT_FROM: Final = ("heads", "fit")
"""The parts that shape what a calibration leaves as it is: heads, exits and compression."""

FEWEST_SAMPLES: Final = 100
"""Of each part: fewer cannot fit a predictor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareOptions:
    """What a user can ask of a preparation; the defaults suit a first try.

    Attributes:
        exits: How many early exits to keep; None leaves it to the placement.
        cuts: Tensors at which the network is cut, each with an exit; empty: found.
        labels: File of the labels, where they are not within the data.
        preprocess: JSON file that says how an image becomes the input; None: derived from the model's input.
        head: "ridge" or "logistic": how linear heads are fitted; "conv": heads with layers of their own, trained with
            PyTorch, where there is a map to read and they say more than linear ones.
        max_accuracy_drop: What the certified setting may cost, in percentage points.
        confidence: Of the certificate, from 0.5 to below 1.
        against: "labels": accuracy counts, and heads learn the labels; "full": agreement with the full network
            counts, and heads learn its outputs. None: "labels" where there are some.
        certify_rule: Name of the setting whose variants are certified; None takes the one that is likely to end
            cheapest.
        place: "dp": the exits of least expected cost; "paper": the rule of the Predictive Exit paper; "all": every
            candidate gets an exit.
        cost: What placement counts: "macs", or "time" as measured on this machine.
        quantise: Try int8 variants of the segments, and keep those that gain.
        prune: Share of the channels of convolutions to take out first; None: none.
        search_order: Try the compression steps in each order first, and take the best.
        seed: Of the split of the samples and of all other chance.
        limit: Take at most so many samples; None: all.
        multi_label: A sample can have several labels or none; it is seen from labels that say so.
        model_output: The output with the classes, where the model has several.
        replace: Take the place of a bundle that is there already.
        keep_work: Leave the work folder where it is at the end.
        dry_run: Find the cuts, and make nothing.

    Raises:
        OptionError: If an option is out of its range, or two contradict each other.
    """

    exits: int | None = None
    cuts: tuple[str, ...] = ()
    labels: Path | None = None
    preprocess: Path | None = None
    head: str = "logistic"
    max_accuracy_drop: float = 0.5
    confidence: float = 0.95
    against: str | None = None
    certify_rule: str | None = None
    place: str = "dp"
    cost: str = "macs"
    quantise: bool = False
    prune: float | None = None
    search_order: bool = False
    seed: int = 0
    limit: int | None = None
    multi_label: bool = False
    model_output: str | None = None
    replace: bool = False
    keep_work: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        self._check_words()
        self._check_numbers()
        if self.cuts and self.exits is not None:
            raise OptionError("exits and cuts contradict each other: every named cut gets an exit")
        if len(set(self.cuts)) < len(self.cuts):
            raise OptionError(f"the cuts {', '.join(self.cuts)} name one tensor twice")
        if self.search_order and not (self.quantise or self.prune):
            raise OptionError("to search the order of compression steps there must be some: quantise or prune")

    def _check_words(self) -> None:
        words = (("head", self.head, HEADS), ("place", self.place, PLACES), ("cost", self.cost, COSTS))
        for name, value, allowed in (*words, ("against", self.against or RISKS[0], RISKS)):
            if value not in allowed:
                raise OptionError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")

    def _check_numbers(self) -> None:
        if not (math.isfinite(self.max_accuracy_drop) and 0.0 <= self.max_accuracy_drop < 100.0):
            raise OptionError(f"max_accuracy_drop must be from 0 to below 100 points, not {self.max_accuracy_drop}")
        if not 0.5 <= self.confidence < 1.0:
            raise OptionError(f"confidence must be from 0.5 to below 1, not {self.confidence}")
        if self.prune is not None and not 0.0 < self.prune < 1.0:
            raise OptionError(f"prune must be a share between 0 and 1, not {self.prune}")
        for name, value, least in (("exits", self.exits, 1), ("limit", self.limit, 1), ("seed", self.seed, 0)):
            if value is not None and value < least:
                raise OptionError(f"{name} must be {least} or more, not {value}")
