"""What `edgeexit run` is asked to hold over many samples: an average energy, or a battery's life."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import click

from edgeexit.errors import OptionError

if TYPE_CHECKING:
    from edgeexit.protocols import Device
    from edgeexit.runtime import BatteryLife, Budget, Session
    from edgeexit.runtime.battery import BatteryReport
    from edgeexit.runtime.budget import BudgetReport

HOUR_S = 3600.0


class Held(NamedTuple):
    """The options, as they were given."""

    average_budget_mj: float | None
    battery_hours: float | None
    battery_wh: float | None

    def check(self, allowed_drop: float | None) -> None:
        """Refuse options that do not go together.

        Raises:
            click.UsageError: If they do not.
        """
        if self.average_budget_mj is not None and self.battery_hours is not None:
            raise click.UsageError("give one of --average-budget-mj and --battery-hours: both choose the exit setting")
        if self.battery_wh is not None and self.battery_hours is None:
            raise click.UsageError("--battery-wh says what is in a battery, --battery-hours how long it shall last")
        if allowed_drop and (self.average_budget_mj is not None or self.battery_hours is not None):
            raise click.UsageError(
                "--allowed-drop fixes the exit setting, which an average budget or a battery's life moves: bound it "
                "with --max-drop"
            )

    def to_hold(self, board: Device) -> Budget | BatteryLife | None:
        """Return what the session shall hold on a board; None for nothing.

        Raises:
            OptionError: If nobody can tell what is left in the battery.
        """
        from edgeexit.runtime import BatteryLife, Budget  # noqa: PLC0415  keeps the command light to import

        if self.average_budget_mj is not None:
            return Budget(joules=self.average_budget_mj / 1000.0)
        if self.battery_hours is None:
            return None
        life_s = self.battery_hours * HOUR_S
        if self.battery_wh is not None:
            return BatteryLife(life_s, _made_up_battery(board, self.battery_wh))
        _check_own_battery(board)
        return BatteryLife(life_s)


def _check_own_battery(board: Device) -> None:
    """Make sure that this machine has a battery to read: a session would wait for one."""
    from edgeexit.device.battery import read_battery  # noqa: PLC0415
    from edgeexit.device.sysfs import Tree  # noqa: PLC0415

    battery = None if board.simulated else read_battery(Tree())
    if battery is None or battery.energy_left_j is None:
        raise OptionError(f"{board.name} has no battery that tells what is left in it: say so with --battery-wh")


def _made_up_battery(board: Device, battery_wh: float) -> Callable[[], float | None]:
    """Return what reads a battery that holds `battery_wh` now and loses what the board's meter counts."""
    meter = board.meter
    start_j = None if meter is None else meter.read_energy_j()
    if meter is None or start_j is None:
        raise OptionError(
            f"--battery-wh needs a meter to tell what is drawn from the battery, and {board.name} has none"
        )
    full_j = battery_wh * HOUR_S + start_j

    def read_energy_j() -> float | None:
        counted_j = meter.read_energy_j()
        return None if counted_j is None else full_j - counted_j

    return read_energy_j


def held_text(session: Session) -> str | None:
    """Return a line on what was held; None where nothing was to be."""
    budget = session.budget
    if budget is None or not budget.inferences:
        return None
    simulated = " (simulated)" if session.device.simulated else ""
    if session.battery is None:
        return f"{_budget_text(budget, simulated)}; {_accuracy_text(budget)}"
    return f"{_battery_text(session.battery, simulated)}; {_accuracy_text(budget)}"


def _budget_text(budget: BudgetReport, simulated: str) -> str:
    average = "not known" if budget.average is None else f"{budget.average * 1e3:.3g} mJ"
    reach = "" if budget.reachable else ", out of reach of the settings allowed"
    return f"average budget {budget.target * 1e3:.3g} mJ: {average} a sample of late{simulated}{reach}"


def _battery_text(battery: BatteryReport, simulated: str) -> str:
    if battery.left_j is None or battery.allowed_w is None:
        return "battery: its time is over" if battery.left_s <= 0.0 else "battery: cannot be read now"
    left = f"{battery.left_j / HOUR_S:.3g} Wh for {battery.left_s / HOUR_S:.3g} h, {battery.allowed_w:.3g} W"
    if battery.power_w is None or battery.lasts_s is None:
        return f"battery: {left}{simulated}; too short a run to tell what is drawn"
    return f"battery: {left}; drawn {battery.power_w:.3g} W, lasts {battery.lasts_s / HOUR_S:.3g} h{simulated}"


def _accuracy_text(budget: BudgetReport) -> str:
    return f"settings that may cost {budget.allowed_drop:.2g} points of accuracy"
