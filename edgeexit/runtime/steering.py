"""Steers a session's settings for an average budget or a battery's life: sums what each inference cost."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from edgeexit.errors import OptionError
from edgeexit.runtime.battery import BatteryControl, BatteryLife, BatteryReport
from edgeexit.runtime.budget import Budget, BudgetControl, BudgetReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeexit.protocols import CostTable, PowerMeter, Workload
    from edgeexit.runtime.loop import Answer
    from edgeexit.runtime.settings import Setting

UNBOUNDED_J = 1e9
"""The target until a battery has been watched for a first interval: the most accurate setting."""


class Steering:
    """Chooses among the settings of one rule.

    Args:
        mode: What is to be held.
        settings: From the most accurate to the cheapest.
        work: The bundle's.
        start_s: The time now, on the device's clock.
    """

    def __init__(self, mode: Budget | BatteryLife, settings: Sequence[Setting], work: Workload, start_s: float) -> None:
        self._work = work
        self.unit = mode.unit if isinstance(mode, Budget) else "joules"
        target = mode.amount if isinstance(mode, Budget) else UNBOUNDED_J
        macs = work.whole_macs
        self._control = BudgetControl(
            [setting.macs_share or 1.0 for setting in settings],
            [setting.allowed_drop or 0.0 for setting in settings],
            target,
            unit=self.unit,
            start=target / macs if self.unit == "macs" else None,
        )
        self._battery = None if isinstance(mode, Budget) else BatteryControl(mode, self._control, start_s)

    @property
    def report(self) -> BudgetReport:
        """How the average budget is being held; with a battery the one that its life allows at present."""
        return self._control.report()

    @property
    def battery_report(self) -> BatteryReport | None:
        """How the battery's life is being held; None without one."""
        return None if self._battery is None else self._battery.report

    def choose(self) -> int:
        """Return the index of the setting for the next inference."""
        return self._control.choose()

    def ran(self, answers: Sequence[Answer], latency_s: float, energy_j: float | None, now_s: float) -> None:
        """Learn what an inference with the chosen setting cost, or a batch of them.

        Args:
            answers: Its answer; all of a batch.
            latency_s: Its latency; the mean of a batch.
            energy_j: Its energy by the meter, or else by the cost table, the mean of a batch; None if not known.
            now_s: The time now.
        """
        cost = self._cost(answers, latency_s, energy_j)
        if cost is None or not isfinite(cost):
            return
        self._control.ran(cost, len(answers))
        if self._battery is not None:
            self._battery.ran(cost, now_s, len(answers))

    def _cost(self, answers: Sequence[Answer], latency_s: float, energy_j: float | None) -> float | None:
        if self.unit == "joules":
            return energy_j
        if self.unit == "seconds":
            return latency_s
        return sum(self._macs(answer) for answer in answers) / len(answers)

    def _macs(self, answer: Answer) -> int:
        work = self._work
        segments = work.segment_macs[: work.exit_segments[answer.look.exit_index] + 1]
        return sum(segments) + sum(work.head_macs[look.exit_index] for look in answer.looks)


def check_energy_is_known(table: CostTable | None, meter: PowerMeter | None) -> None:
    """Refuse to hold joules where nobody knows them.

    Raises:
        OptionError: If neither the meter can tell the energy of one inference nor the cost table.
    """
    if (table is not None and table.has_energy) or (meter is not None and meter.min_window_s == 0.0):
        return
    raise OptionError(
        "joules cannot be held here: no meter tells the energy of one inference, and the cost table has no energies; "
        "measure this board with a meter, or give a budget in macs or seconds"
    )
