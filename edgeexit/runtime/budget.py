"""Holds an average budget by integral feedback along the calibrated settings of one exit rule."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import exp, inf, log
from typing import TYPE_CHECKING, NamedTuple

from edgeexit.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

GAIN = 0.02
"""How much of a relative error one inference corrects: a change of load is followed within some 50 inferences."""
MOST_AT_ONCE = 10
"""A batch corrects as much as so many inferences at most, or the loop would swing."""
MEMORY = 500
"""Reported averages go back so many inferences."""
MOST_ERROR = 10.0
"""No inference counts as more than so many budgets too dear."""
TOO_DEAR = 1.02
"""The budget is said to be out of reach if the cheapest setting allowed costs more than this times the budget."""
ENOUGH = 50
"""The cheapest setting has to run so often before that is said."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What an inference may cost on average; give one of the three.

    Args:
        joules: Energy of an inference, idling left out: what the meter says, or else the cost table.
        macs: Multiply-accumulates.
        seconds: Latency.

    Raises:
        OptionError: If not just one is given, or it is not above 0 and finite.
    """

    joules: float | None = None
    macs: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.joules, self.macs, self.seconds) if value is not None]
        if len(given) != 1 or not 0.0 < given[0] < inf:
            raise OptionError(
                "a budget is joules, macs or seconds an inference, one of them and above 0, not "
                f"joules={self.joules!r}, macs={self.macs!r}, seconds={self.seconds!r}"
            )

    @property
    def unit(self) -> str:
        """What it counts: "joules", "macs" or "seconds"."""
        return "joules" if self.joules is not None else "macs" if self.macs is not None else "seconds"

    @property
    def amount(self) -> float:
        """How much an inference may cost, in its unit."""
        return next(value for value in (self.joules, self.macs, self.seconds) if value is not None)


class BudgetReport(NamedTuple):
    """How an average budget is being held."""

    unit: str
    target: float
    """What an inference may cost on average, in `unit`."""
    average: float | None
    """What inferences cost of late; None before the first."""
    allowed_drop: float
    """Accuracy that the settings in use may cost of late, on average, in points."""
    reachable: bool
    """False if even the cheapest setting that the accuracy floor allows costs more than the target."""
    inferences: int


class BudgetControl:
    """Chooses the setting for each inference so that the mean cost comes to a target.

    The settings are those of one rule, calibrated for ever larger accuracy drops, and `shares` is what each does of
    the network's work on calibration data. The controlled quantity is a share ``t`` between the largest and the
    smallest: integral feedback on the relative error, in the logarithm::

        log t -= GAIN * (cost / target - 1)

    Where cost is about in proportion to work, whatever the factor, that is a loop of gain `GAIN` about the target, for
    every rule and unit; and as ``log t`` is bounded, the mean error over n inferences is at most its range / (n GAIN).
    ``t`` is held at its ends, so that nothing winds up where the target cannot be met (clamped integrator: Astrom and
    Hagglund, "Advanced PID Control", section 3.5).

    A ``t`` between two settings is made by taking both in turn: the shortfall is carried to the next inference (error
    diffusion, as in first-order sigma-delta modulation), so the mix is as even as it can be, and deterministic.

    Args:
        shares: Mean work of each setting, falling.
        drops: Allowed accuracy drop of each setting in points, rising.
        target: Mean cost to hold, in any unit.
        unit: Of the target, for the report.
        start: The share to begin with; by default the most accurate setting's.

    Raises:
        OptionError: If there is no setting, the shares do not fall, or the target is not above 0.
    """

    def __init__(
        self, shares: Sequence[float], drops: Sequence[float], target: float, *, unit: str, start: float | None = None
    ) -> None:
        falling = all(one > other > 0.0 for one, other in pairwise(shares))
        if not shares or len(shares) != len(drops) or not falling or shares[0] <= 0.0:
            raise OptionError(f"a budget needs settings whose work falls, not {list(shares)!r} for {list(drops)!r}")
        self._shares = tuple(shares)
        self._drops = tuple(drops)
        self._unit = unit
        self._log_high, self._log_low = log(shares[0]), log(shares[-1])
        self._level = min(max(log(start), self._log_low), self._log_high) if start else self._log_high
        self._carried = 0.0
        self._setting = 0
        self._inferences = 0
        self._average: float | None = None
        self._drop = float(drops[0])
        self._cheapest_runs = 0
        self._cheapest_cost = 0.0
        self.set_target(target)

    @property
    def target(self) -> float:
        """Mean cost of an inference that is held."""
        return self._target

    def set_target(self, target: float) -> None:
        """Hold another mean cost from now on.

        Raises:
            OptionError: If it is not above 0 and finite.
        """
        if not 0.0 < target < inf:
            raise OptionError(f"a budget is above 0 and finite, not {target!r}")
        self._target = target

    def choose(self) -> int:
        """Return the index of the setting for the next inference."""
        share = exp(self._level)
        shares = self._shares
        lower = next((index for index in range(1, len(shares)) if shares[index] <= share), len(shares) - 1)
        if lower == 0:
            return 0
        upper = lower - 1
        part = min(max((shares[upper] - share) / (shares[upper] - shares[lower]), 0.0), 1.0)
        self._carried += part
        self._setting = upper
        if self._carried >= 1.0 - 1e-9:
            self._carried -= 1.0
            self._setting = lower
        return self._setting

    def ran(self, cost: float, inferences: int = 1) -> None:
        """Learn what the inference with the chosen setting cost, or each of several on average."""
        step = GAIN * min(inferences, MOST_AT_ONCE) * min(cost / self._target - 1.0, MOST_ERROR)
        self._level = min(max(self._level - step, self._log_low), self._log_high)
        self._inferences += inferences
        weight = inferences / max(inferences, min(self._inferences, MEMORY))
        self._average = cost if self._average is None else self._average + weight * (cost - self._average)
        self._drop += weight * (self._drops[self._setting] - self._drop)
        if self._setting == len(self._shares) - 1:
            self._cheapest_runs += 1
            self._cheapest_cost += (cost - self._cheapest_cost) / min(self._cheapest_runs, MEMORY)

    def report(self) -> BudgetReport:
        """Return how the budget is being held."""
        at_the_end = self._level <= self._log_low + 1e-9
        too_dear = self._cheapest_runs >= ENOUGH and self._cheapest_cost > TOO_DEAR * self._target
        return BudgetReport(
            self._unit, self._target, self._average, self._drop, not (at_the_end and too_dear), self._inferences
        )
