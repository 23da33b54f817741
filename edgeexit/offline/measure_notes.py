"""What the reader of measured figures has to know."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from edgeexit.protocols import Clocks

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.bundle.costs import PointRecord
    from edgeexit.offline.measure_plan import Plan
    from edgeexit.protocols import Device

BUSY: Final = 0.2
"""Share of all cores that others may keep busy before it is said that they spoil the figures."""
HIGHER: Final = 1.05
NO_QUICKER: Final = 0.98
"""A clock that is so many times as high and still leaves this share of the latency is pointed out."""


def make_notes(
    bundle: Bundle, device: Device, plan: Plan, records: Sequence[PointRecord], *, pinned: bool
) -> list[str]:
    """Say how the figures came about, and what may be wrong with them.

    Args:
        bundle: What was measured.
        device: Where.
        plan: The operating points asked for.
        records: Those measured, from the slowest to the fastest.
        pinned: False if no clock could be set.
    """
    notes = []
    if device.simulated:
        notes.append("Simulated: the figures are those of the board's model, not of a real board.")
    if device.meter is None:
        notes.append("No meter: latencies only; power and energy are not known.")
    elif any(record.load_power_w is None for record in records):
        notes.append("The meter gave nothing at one point or more: energy is not known there.")
    methods = {record.energy_method for record in records if record.energy_method}
    notes.extend(f"Energy of the pieces: {method}." for method in sorted(methods))
    if not pinned:
        notes.append("No clock was set: measured at the clocks as they are, which may have moved meanwhile.")
    if not plan.is_grid:
        notes.append("Each clock domain was moved alone, the others at their highest: all combinations are too many.")
    if any(not isinstance(size, int) for tensor in bundle.inputs for size in (tensor.shape or ("",))[1:]):
        notes.append("The bundle leaves sizes of its input open; they counted as 1.")
    return [*notes, *_meter_error(device, records), *_other_work(records), *_useless_clocks(records)]


def clocks_text(clocks: Clocks) -> str:
    """Name an operating point."""
    return ", ".join(f"{name} {hz / 1e6:g} MHz" for name, hz in clocks.items()) or "clocks as they are"


def _meter_error(device: Device, records: Sequence[PointRecord]) -> list[str]:
    """Say how far the meter itself may be off, by one second at the highest power."""
    watts = [record.load_power_w.median for record in records if record.load_power_w is not None]
    error_j = device.meter.uncertainty_j(max(watts), 1.0) if device.meter is not None and watts else None
    if not error_j:
        return []
    return [
        f"The meter's own error: about {error_j / max(watts):.1%} of the power under load (one standard deviation)."
    ]


def _other_work(records: Sequence[PointRecord]) -> list[str]:
    busiest = max((record.cpu_load for record in records if record.cpu_load is not None), default=0.0)
    if busiest <= BUSY:
        return []
    return [f"Other work kept up to {busiest:.0%} of the cores busy: the figures may be too high."]


def _useless_clocks(records: Sequence[PointRecord]) -> list[str]:
    """Point out clocks that change nothing: the work is bound by memory, or the clock is not what it says.

    A Raspberry Pi 5 lists clocks below 1500 MHz if it is told to, and runs at 1500 MHz (raspberrypi/linux issue 5876).
    """
    notes = []
    for name in records[0].costs.clocks:
        rows = _rows_along(name, records)
        steps = [(slow, fast) for row in rows for slow, fast in pairwise(row)]
        useless = sorted({fast.costs.clocks[name] for slow, fast in steps if _is_useless(name, slow, fast)})
        if useless:
            listed = ", ".join(f"{hz / 1e6:g}" for hz in useless)
            notes.append(
                f"Clock {name} at {listed} MHz makes the network no quicker than one step lower: it is bound by "
                "something else, or the clock is not what it says."
            )
    return notes


def _rows_along(name: str, records: Sequence[PointRecord]) -> list[list[PointRecord]]:
    """Return the records in rows along one clock, ascending, the other clocks the same in a row."""
    rows: dict[tuple[int, ...], list[PointRecord]] = {}
    for record in sorted(records, key=lambda each: each.costs.clocks[name]):
        others = tuple(hz for other, hz in record.costs.clocks.items() if other != name)
        rows.setdefault(others, []).append(record)
    return list(rows.values())


def _is_useless(name: str, slow: PointRecord, fast: PointRecord) -> bool:
    higher = fast.costs.clocks[name] >= HIGHER * slow.costs.clocks[name]
    return higher and fast.whole_latency_s.median >= NO_QUICKER * slow.whole_latency_s.median
