"""What a session returns for one input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from edgeexit.bundle.manifest import CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeexit.protocols import Clocks, EnergySource, FloatArray


NO_LABEL: Final = "none"
"""Name of an answer in which no label holds."""


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The clocks that were chosen before a piece of the work, and why."""

    segments_done: int
    clocks: Clocks
    reason: str


class Result(NamedTuple):
    """The answer for one input.

    `energy_j` is None without a meter and where the inference was too short for it; `energy_source` says where it is
    from. In a batch, latency and energy are those of the whole batch up to this sample's answer.
    """

    label: int
    """The class; of a bundle whose task is "labels" the set of the labels that hold: bit i is set for label i."""
    class_name: str | None
    probabilities: FloatArray
    """(C,) float32."""
    exit_index: int
    exits_looked_at: tuple[int, ...]
    latency_s: float
    energy_j: float | None
    energy_source: EnergySource | None
    energy_uncertainty_j: float | None
    """How far `energy_j` may be off (one standard deviation), as far as the meter knows it."""
    clock_steps: tuple[ClockStep, ...]
    reason: str
    """Why this exit answered: "exit rule", "last exit", "deepest exit allowed", "deadline" or "cancelled"."""
    deadline_met: bool | None
    """None where no deadline was given."""
    allowed_drop: float | None = None
    """Accuracy that the exit rule's setting may cost, in points; None for a rule without calibration."""
    logits: FloatArray | None = None
    """(C,) float32, what the network puts out at the exit that answered; None in a result that was made by hand."""
    energy_budget_met: bool | None = None
    """Whether the work, without idling and as the cost table has it, kept its budget of energy; None without a budget,
    and where costs are not known."""

    @property
    def clocks(self) -> Clocks:
        """The clocks at the answer; empty where no clock was chosen."""
        return self.clock_steps[-1].clocks if self.clock_steps else {}


def name_answer(names: Sequence[str], label: int, task: str) -> str:
    """Return the name of a class, or the names of all labels in a set joined by " + "; "none" for the empty set.

    Args:
        names: Of the classes or labels.
        label: The class, or the set as a number with bit i for label i.
        task: "classes" or "labels".
    """
    if task == CLASSES:
        return names[label]
    return " + ".join(name for i, name in enumerate(names) if label >> i & 1) or NO_LABEL
