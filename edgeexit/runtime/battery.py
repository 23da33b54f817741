"""Makes a battery last: a slow controller that turns energy left and time left into joules an inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from edgeexit.device.battery import read_battery
from edgeexit.device.sysfs import Tree
from edgeexit.errors import OptionError

if TYPE_CHECKING:
    from edgeexit.runtime.budget import BudgetControl

UPDATES = 500
"""So often is the target set anew over the whole time."""
LEAST_INTERVAL_S, MOST_INTERVAL_S = 5.0, 60.0
"""Gauges update about once a second, and loads change within minutes."""
WEIGHT = 0.3
"""Of the newest interval in the request rate and in the power of everything else."""
LEAST_SHARE = 1e-3
"""The target never falls below this share of what an inference costs: it has to be above 0."""


@dataclass(frozen=True, slots=True)
class BatteryLife:
    """How long the battery shall last.

    Args:
        life_s: Seconds from the session's start.
        read_energy_j: Returns the joules left, or None if they cannot be read now; by default this machine's
            batteries.
        reserve_j: To be left at the end, in joules.

    Raises:
        OptionError: If `life_s` is not above 0 and finite, or `reserve_j` is below 0.
    """

    life_s: float
    read_energy_j: Callable[[], float | None] | None = None
    reserve_j: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.life_s < inf or not 0.0 <= self.reserve_j < inf:
            raise OptionError(
                f"a battery's life is in seconds above 0 and its reserve in joules, not {self.life_s!r} and "
                f"{self.reserve_j!r}"
            )


class BatteryReport(NamedTuple):
    """How a battery's life is being held."""

    left_s: float
    """Until it shall be empty."""
    left_j: float | None
    """In it, less the reserve; None if it could not be read."""
    power_w: float | None
    """What everything drew in the newest interval."""
    allowed_w: float | None
    """What everything may draw on average from now on."""
    lasts_s: float | None
    """How long it would last at the power of the newest interval."""


class _Reading(NamedTuple):
    now_s: float
    left_j: float


class BatteryControl:
    """Sets the target of a `BudgetControl` so that the battery is empty when it shall be, and not before.

    At the end of each interval, with the energy that the battery has lost in it::

        allowed power = (energy left - reserve) / time left
        rate          = inferences / interval                          [averaged over some intervals]
        other power   = (energy lost - energy of inferences) / interval   [averaged over some intervals]
        target        = (allowed power - other power) / rate           [joules an inference]

    The allowed power is worked out anew from what is really left, so whatever was wrong (the energy of an inference,
    a gauge, a load that changed) is made good over the rest of the time.

    Args:
        life: What is asked for.
        budget: The controller of joules an inference.
        start_s: The time now.
    """

    def __init__(self, life: BatteryLife, budget: BudgetControl, start_s: float) -> None:
        self._read_energy_j = _read_own_battery if life.read_energy_j is None else life.read_energy_j
        self._reserve_j = life.reserve_j
        self._end_s = start_s + life.life_s
        self._budget = budget
        self._interval_s = min(max(life.life_s / UPDATES, LEAST_INTERVAL_S), MOST_INTERVAL_S, life.life_s / 20.0)
        self._now_s = start_s
        self._due_s = start_s + self._interval_s
        self._before = self._read(start_s)
        self._inferences = 0
        self._energy_j = 0.0
        self._rate_hz: float | None = None
        self._other_w: float | None = None
        self._power_w: float | None = None

    @property
    def report(self) -> BatteryReport:
        """How the life is being held, as of the newest interval."""
        before = self._before
        left_s = max(self._end_s - self._now_s, 0.0)
        left_j = None if before is None else before.left_j
        allowed_w = None if left_j is None or left_s <= 0.0 else left_j / left_s
        lasts_s = None if left_j is None or not self._power_w else left_j / self._power_w
        return BatteryReport(left_s, left_j, self._power_w, allowed_w, lasts_s)

    def ran(self, energy_j: float, now_s: float, inferences: int = 1) -> None:
        """Count an inference, or several of the same energy; at an interval's end set the budget's target anew."""
        self._inferences += inferences
        self._energy_j += inferences * energy_j
        self._now_s = now_s
        if now_s >= self._due_s:
            self._due_s = now_s + self._interval_s
            self._end_interval(now_s)

    def _end_interval(self, now_s: float) -> None:
        before, reading = self._before, self._read(now_s)
        if reading is None:
            return  # the interval goes on until the battery can be read again
        if before is not None:
            self._learn(before, reading)
        self._before = reading
        self._inferences, self._energy_j = 0, 0.0

    def _learn(self, before: _Reading, reading: _Reading) -> None:
        duration_s, lost_j = reading.now_s - before.now_s, before.left_j - reading.left_j
        self._power_w = lost_j / duration_s
        self._rate_hz = _averaged(self._rate_hz, self._inferences / duration_s)
        self._other_w = _averaged(self._other_w, (lost_j - self._energy_j) / duration_s)
        left_s = self._end_s - reading.now_s
        if left_s <= 0.0:
            return
        target_j = (reading.left_j / left_s - self._other_w) / self._rate_hz
        least_j = LEAST_SHARE * self._energy_j / self._inferences
        if max(target_j, least_j) > 0.0:
            self._budget.set_target(max(target_j, least_j))

    def _read(self, now_s: float) -> _Reading | None:
        left_j = self._read_energy_j()
        return None if left_j is None else _Reading(now_s, max(left_j - self._reserve_j, 0.0))


def _averaged(average: float | None, newest: float) -> float:
    return newest if average is None else average + WEIGHT * (newest - average)


def _read_own_battery() -> float | None:
    """Return what is left in this machine's batteries, in joules."""
    battery = read_battery(Tree())
    return None if battery is None else battery.energy_left_j
