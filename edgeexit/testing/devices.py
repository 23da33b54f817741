"""The contract checks for boards and their clock domains."""

from __future__ import annotations

from itertools import pairwise

from edgeexit.protocols import Applied, ClockDomain, CostTable, Device, EnergySource, PointCosts, Workload

WORKLOAD = Workload(
    segment_macs=(3_000_000, 2_000_000, 1_000_000), head_macs=(10_000, 0, 30_000), exit_segments=(0, 1, 2)
)
"""A small network's work, to ask a board's model with."""


def check_clock_domain(domain: ClockDomain) -> None:
    """Check that a clock domain keeps the contract of `edgeexit.protocols.ClockDomain`.

    Every operating point is set, up and down; so are frequencies between, below and above them. What was set before is
    set again at the end.

    Raises:
        AssertionError: If it breaks the contract.
        ClockNotWritable: If the clock cannot be set, which the contract allows.
    """
    _require(isinstance(domain.name, str) and bool(domain.name), "a clock domain's name is a text")
    points = domain.operating_points_hz
    _require(isinstance(points, tuple) and len(points) > 0, f"{domain.name}: no tuple of operating points: {points!r}")
    _require(
        all(isinstance(hz, int) and hz > 0 for hz in points), f"{domain.name}: frequencies are int, in Hz: {points}"
    )
    _require(list(points) == sorted(set(points)), f"{domain.name}: operating points do not ascend: {points}")
    start_hz = domain.read_hz()
    try:
        for frequency_hz in (*points, *reversed(points)):
            _require(_set(domain, frequency_hz) == frequency_hz, f"{domain.name} did not take {frequency_hz} Hz")
            _require(_set(domain, frequency_hz) == frequency_hz, f"{domain.name} did not keep {frequency_hz} Hz")
        for low, high in pairwise(points):
            _require(_set(domain, (low + high) // 2) in (low, high), f"{domain.name}: not next to {low} or {high} Hz")
        _require(_set(domain, points[-1] * 2) == points[-1], f"{domain.name} went above its highest operating point")
        _require(_set(domain, 1) == points[0], f"{domain.name} went below its lowest operating point")
    finally:
        domain.set_hz(start_hz)


def check_device(device: Device) -> None:
    """Check that a board keeps the contract of `edgeexit.protocols.Device`, its clock domains included.

    The board is closed at the end.

    Raises:
        AssertionError: If it breaks the contract.
        ClockNotWritable: If a clock cannot be set, which the contract allows.
    """
    _require(isinstance(device, Device), f"{device!r} lacks a part of the contract edgeexit.Device")
    _require(isinstance(device.name, str) and bool(device.name), "a device's name is a text")
    for name, domain in device.domains.items():
        _require(name == domain.name, f"clock domain {domain.name!r} is listed as {name!r}")
        check_clock_domain(domain)
    _check_clock(device)
    _check_meter(device)
    table = device.modelled_costs(WORKLOAD)
    if table is not None:
        _check_cost_table(device, table)
    with device as entered:
        _require(entered is device, "a device used in a with statement is itself")
    device.close()


def _set(domain: ClockDomain, frequency_hz: int) -> int:
    applied = domain.set_hz(frequency_hz)
    _require(isinstance(applied, Applied), f"set_hz() returned {applied!r}, not Applied")
    _require(applied.requested_hz == frequency_hz, f"{domain.name}: asked for {frequency_hz} Hz, answered {applied}")
    _require(applied.effective_hz == domain.read_hz(), f"{domain.name}: reads {domain.read_hz()} Hz after {applied}")
    _require(applied.elapsed_s >= 0.0 and bool(applied.verified_by), f"{domain.name}: {applied} is not complete")
    return applied.effective_hz


def _check_clock(device: Device) -> None:
    clock = device.clock
    start_s = clock.now_s()
    clock.sleep_s(0.0)
    clock.sleep_s(-1.0)
    _require(clock.now_s() >= start_s, "the clock runs backwards")
    start_s = clock.now_s()
    clock.sleep_s(0.002)
    slept_s = clock.now_s() - start_s
    _require(slept_s >= 0.002 - 1e-6, f"the clock moved {slept_s} s while 0.002 s were slept")


def _check_meter(device: Device) -> None:
    meter = device.meter
    if meter is None:
        return
    _require(isinstance(meter.source, EnergySource), f"the meter's source is {meter.source!r}")
    simulated = meter.source is EnergySource.SIMULATED
    _require(simulated == device.simulated, f"simulated is {device.simulated}, energy is {meter.source.value}")
    before_j = meter.read_energy_j()
    device.work_done(0)
    device.work_done(1_000_000)
    device.clock.sleep_s(0.001)
    after_j = meter.read_energy_j()
    _require(before_j is None or after_j is None or after_j >= before_j, f"energy fell from {before_j} to {after_j} J")


def _check_cost_table(device: Device, table: CostTable) -> None:
    _require(table.exit_segments == WORKLOAD.exit_segments, f"the table's exits are {table.exit_segments}")
    _require(table.source in ("modelled", "measured"), f"the table's source is {table.source!r}")
    _require(min(table.switch_latency_s, table.switch_energy_j or 0.0) >= 0.0, "a switch cannot cost less than nothing")
    for point in table.points:
        for name, frequency_hz in point.clocks.items():
            allowed = device.domains[name].operating_points_hz if name in device.domains else ()
            _require(frequency_hz in allowed, f"the table has {name} at {frequency_hz} Hz, allowed are {allowed}")
        _check_row(point, "segments", len(WORKLOAD.segment_macs), point.segment_latency_s, point.segment_energy_j)
        _check_row(point, "heads", len(WORKLOAD.head_macs), point.head_latency_s, point.head_energy_j)
    if device.simulated:
        _check_table_and_board_agree(device, table)


def _check_row(
    point: PointCosts, what: str, count: int, latency_s: tuple[float, ...], energy_j: tuple[float, ...] | None
) -> None:
    """Check one figure for each piece, none below 0; energies may be missing as a whole."""
    for row in (latency_s, latency_s if energy_j is None else energy_j):
        _require(len(row) == count and min(row) >= 0.0, f"{dict(point.clocks)}: {what} {row}")


def _check_table_and_board_agree(device: Device, table: CostTable) -> None:
    """Run the workload's segments and last head at every operating point, and compare with the table."""
    macs = (*WORKLOAD.segment_macs, WORKLOAD.head_macs[-1])
    for index, point in enumerate(table.points):
        for name, frequency_hz in point.clocks.items():
            device.domains[name].set_hz(frequency_hz)
        start_s, start_j = device.clock.now_s(), _energy_j(device)
        for piece in macs:
            device.work_done(piece)
        expected = table.work(index, 0, len(WORKLOAD.exit_segments) - 1)
        took_s, drew_j = device.clock.now_s() - start_s, _energy_j(device) - start_j
        _require(
            abs(took_s - expected.latency_s) < 1e-9, f"{dict(point.clocks)}: {took_s} s, table {expected.latency_s} s"
        )
        energy_j = expected.energy_j
        _require(energy_j is not None, f"{dict(point.clocks)}: a simulated board's table has no energy")
        _require(abs(drew_j - (energy_j or 0.0)) < 1e-9, f"{dict(point.clocks)}: {drew_j} J, table {energy_j} J")


def _energy_j(device: Device) -> float:
    return (device.meter and device.meter.read_energy_j()) or 0.0


def _require(condition: bool, message: str) -> None:
    """Raise AssertionError also where Python runs with -O, which drops assert statements."""
    if not condition:
        raise AssertionError(message)
