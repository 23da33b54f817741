"""A request on its way through the daemon, and how long its like has taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from threading import Event
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgeexit.daemon.contracts import InferAnswer, InferOptions
    from edgeexit.daemon.slot import Slot

    Array = NDArray[Any]

_WEIGHT: Final = 0.1
"""Of the newest figure in a running mean: the last twenty or so count."""


@dataclass(slots=True, eq=False)
class Job:
    """One request, from handing over to its answer.

    Attributes:
        slot: The loaded bundle that answers it.
        inputs: By name, checked.
        samples: Size of its batch.
        options: What the request asked for, with the daemon's deadline where it brought none.
        submitted_s: When it was handed over.
        deadline_s: When its answer is due; None for never.
        number: Grows with every job: who came first.
        deliver: Told the answer or the error, once, on the engine's thread.
        cancel: Set when the client has left.
        expected_s: How long the engine will be busy with it, as far as is known; else 0.
        least_s: The least time that an answer takes.
        spread_s: How far such times are off, mostly.
    """

    slot: Slot
    inputs: Mapping[str, Array]
    samples: int
    options: InferOptions
    submitted_s: float
    deadline_s: float | None
    number: int
    deliver: Callable[[Job, InferAnswer | Exception], None]
    cancel: Event = field(default_factory=Event)
    expected_s: float = 0.0
    least_s: float = 0.0
    spread_s: float = 0.0

    @property
    def turn(self) -> tuple[int, float, int]:
        """Sorts jobs: by priority, then the earliest deadline, then who came first."""
        return (-self.options.priority, inf if self.deadline_s is None else self.deadline_s, self.number)

    def joins(self, other: Job) -> bool:
        """Return whether both can run in one batch: same bundle, setting and shapes, and no budget of their own."""
        mine, theirs = self.options, other.options
        return (
            self.slot is other.slot
            and (mine.exit_rule, mine.allowed_drop) == (theirs.exit_rule, theirs.allowed_drop)
            and mine.energy_budget_j is None
            and theirs.energy_budget_j is None
            and all(array.shape[1:] == other.inputs[name].shape[1:] for name, array in self.inputs.items())
        )


class RunningMean:
    """Mean of the last figures, the newest weighing most; the first ones weigh alike.

    Attributes:
        spread: How far figures are from it on average.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = 0.0
        self.spread = 0.0

    @property
    def value(self) -> float | None:
        """The mean; None before the first figure."""
        return self._mean if self._count else None

    def add(self, figure: float) -> None:
        """Take a figure in."""
        self._count += 1
        weight = max(_WEIGHT, 1.0 / self._count)
        off = abs(figure - self._mean) if self._count > 1 else 0.0
        self.spread += (off - self.spread) * weight
        self._mean += (figure - self._mean) * weight


class Arrivals:
    """Expects the next request a mean gap after the last one."""

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._gap = RunningMean()

    def came(self, now_s: float) -> None:
        """Note a request."""
        if self._last_s is not None:
            self._gap.add(now_s - self._last_s)
        self._last_s = now_s

    def next_in_s(self, now_s: float) -> float | None:
        """Return the time until the next one is expected; None if it is not known, or should have come already."""
        gap_s = self._gap.value
        if gap_s is None or self._last_s is None:
            return None
        left_s = self._last_s + gap_s - now_s
        return left_s if left_s > 0.0 else None
