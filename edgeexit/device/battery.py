"""The battery as a meter of the whole machine while it is discharging (kernel: ABI/testing/sysfs-class-power)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from edgeexit.device.sysfs import Tree

POWER_SUPPLY = "/sys/class/power_supply"
INTERVAL_S = 1.0
"""Time between two samples: gauges update about once a second or slower."""
RELATIVE_ERROR = 0.05
"""Gauges publish no error: 5 % is assumed."""
DISCHARGING = "Discharging"
_W_PER_UW = 1e-6
_J_PER_UWH = 3600e-6
_PER_UA_UV = 1e-12


class Battery(NamedTuple):
    """All batteries of a machine together."""

    status: str
    """The kernel's word: "Discharging", "Charging", "Full", "Not charging", "Unknown"."""
    energy_left_j: float | None
    power_w: float | None
    """What is drawn from it; None unless it is discharging."""
    percent: float | None


class _Pack(NamedTuple):
    status: str
    energy_j: float | None
    full_j: float | None
    power_w: float | None
    percent: int | None


def read_battery(tree: Tree) -> Battery | None:
    """Return how the machine's batteries are, or None if it has none.

    Batteries of mice and the like (scope Device) do not count. One that is discharging among several makes the whole
    discharging: that is how machines with two drain them.
    """
    packs = tuple(_read_pack(tree, f"{POWER_SUPPLY}/{name}") for name in _battery_names(tree))
    if not packs:
        return None
    draining = tuple(pack for pack in packs if pack.status == DISCHARGING)
    return Battery(
        status=DISCHARGING if draining else packs[0].status,
        energy_left_j=_sum(pack.energy_j for pack in packs),
        power_w=_sum(pack.power_w for pack in draining) if draining else None,
        percent=_percent(packs),
    )


def _battery_names(tree: Tree) -> list[str]:
    return [name for name in tree.names(POWER_SUPPLY) if _is_battery(tree, f"{POWER_SUPPLY}/{name}")]


def _is_battery(tree: Tree, folder: str) -> bool:
    return (
        tree.read_or_none(f"{folder}/type") == "Battery"
        and tree.read_or_none(f"{folder}/scope") != "Device"
        and tree.read_or_none(f"{folder}/present") != "0"
    )


def _read_pack(tree: Tree, folder: str) -> _Pack:
    def read(name: str) -> int | None:
        return tree.read_int_or_none(f"{folder}/{name}")

    voltage_uv = read("voltage_now")
    return _Pack(
        status=tree.read_or_none(f"{folder}/status") or "Unknown",
        energy_j=_scaled(read("energy_now"), _J_PER_UWH, read("charge_now"), voltage_uv, 3600.0 * _PER_UA_UV),
        full_j=_scaled(read("energy_full"), _J_PER_UWH, read("charge_full"), voltage_uv, 3600.0 * _PER_UA_UV),
        power_w=_scaled(read("power_now"), _W_PER_UW, read("current_now"), voltage_uv, _PER_UA_UV),
        percent=read("capacity"),
    )


def _scaled(
    direct: int | None, scale: float, charge: int | None, voltage_uv: int | None, product_scale: float
) -> float | None:
    """The value itself, else charge or current times voltage; some drivers count a drain below 0."""
    if direct is not None:
        return abs(direct) * scale
    if charge is None or voltage_uv is None:
        return None
    return abs(charge) * voltage_uv * product_scale


def _sum(values: Iterable[float | None]) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _percent(packs: tuple[_Pack, ...]) -> float | None:
    if len(packs) == 1 and packs[0].percent is not None:
        return float(packs[0].percent)
    left_j, full_j = _sum(p.energy_j for p in packs), _sum(p.full_j for p in packs)
    return None if left_j is None or not full_j else 100.0 * left_j / full_j
