"""Observations and cost tables to ask a governor with: a made-up board whose figures are easy to work out by hand.

Its clock domain "gpu" has four frequencies, 100 to 400 MHz. Work takes time in inverse proportion to the frequency,
and power is a static part and a part that grows with its cube: 1 W + 0.1 W (f / 100 MHz)^3 under load, 0.5 W idle.
At 100 MHz a segment takes 40 ms and a head 4 ms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, cycle, product
from typing import Any

from edgeexit.protocols import CostTable, Distribution, Observation, PointCosts

FREQUENCIES_HZ = (100_000_000, 200_000_000, 300_000_000, 400_000_000)
SEGMENT_S = 0.040
"""Time of a segment at 100 MHz."""
HEAD_S = 0.004
"""Time of a head at 100 MHz."""


def make_cost_table(
    exit_count: int = 4,
    *,
    frequencies_hz: Sequence[int] = FREQUENCIES_HZ,
    domains: Sequence[str] = ("gpu",),
    switch_latency_s: float = 0.001,
    switch_energy_j: float = 0.002,
    metered: bool = True,
) -> CostTable:
    """Return the cost table of a network with one segment and one head an exit.

    Args:
        exit_count: Number of exits, the network's own output included.
        frequencies_hz: The operating points, ascending.
        domains: The clock domains; all of them run at the same frequency.
        switch_latency_s: Time of a switch.
        switch_energy_j: Energy of a switch.
        metered: False leaves out every power and energy, as on a board without a meter.
    """
    points = tuple(_make_point(frequency_hz, domains, exit_count) for frequency_hz in frequencies_hz)
    table = CostTable(points, tuple(range(exit_count)), switch_latency_s, switch_energy_j, source="modelled")
    return table if metered else without_energy(table)


def without_energy(table: CostTable) -> CostTable:
    """Return a cost table as it is where there is no meter: times alone."""
    points = tuple(
        replace(point, idle_power_w=None, segment_energy_j=None, head_energy_j=None) for point in table.points
    )
    return replace(table, points=points, switch_energy_j=None)


def make_observation(**changes: Any) -> Observation:
    """Return an observation before the first of four segments, with `changes` applied to its fields.

    As it stands every exit is looked at and equally probable, the clock is at 200 MHz, the cost table is that of
    `make_cost_table`, and there is no deadline and no sensor.
    """
    table = changes["cost_table"] if "cost_table" in changes else make_cost_table()
    observation = Observation(
        now_s=10.0,
        segments_done=0,
        next_exit=0,
        exit_count=4,
        exit_distribution=(0.25, 0.25, 0.25, 0.25),
        looks_at_every_exit=True,
        operating_points={"gpu": FREQUENCIES_HZ},
        clocks={"gpu": 200_000_000},
        cost_table=table,
        deadline_s=None,
    )
    return replace(observation, **changes)


def sample_observations() -> Iterator[Observation]:
    """Yield some thousands of observations that a governor may meet, the awkward ones included.

    With and without cost table, energy figures in it, distribution, deadline and sensors; deadlines that have passed,
    are tight, or far off; at each exit of networks with one and with four exits; on boards with no, one and two clock
    domains, one of them capped for heat, and one with a cost table of another board. Requests that come one by one,
    late, or at a known rate; latencies that are guarded; exits that usually answer; energy budgets that are ample,
    tight or spent; and floors below which no exit may be cut.
    """
    sensors = cycle(_sensors())
    numbers = count()
    for board, exit_count in product(_boards(), (1, 4)):
        table = make_cost_table(exit_count, domains=tuple(board["operating_points"]) or ("gpu",))
        for cost_table, next_exit in product((None, table, without_energy(table)), range(exit_count)):
            for distribution, every, time_left_s in product(
                _distributions(exit_count, next_exit),
                (False, True),
                (None, -0.01, 0.0, 0.02, 0.05, 0.08, 0.12, 0.5, 1e6),
            ):
                yield make_observation(
                    segments_done=next_exit,
                    next_exit=next_exit,
                    exit_count=exit_count,
                    exit_distribution=distribution,
                    looks_at_every_exit=every,
                    cost_table=cost_table,
                    deadline_s=None if time_left_s is None else 10.0 + time_left_s,
                    **board,
                    **next(sensors),
                    **_demand(next(numbers), exit_count),
                )


def _make_point(frequency_hz: int, domains: Sequence[str], exit_count: int) -> PointCosts:
    speed = frequency_hz / 100e6
    power_w = 1.0 + 0.1 * speed**3
    segment_s, head_s = SEGMENT_S / speed, HEAD_S / speed
    return PointCosts(
        clocks=dict.fromkeys(domains, frequency_hz),
        idle_power_w=0.5,
        segment_latency_s=(segment_s,) * exit_count,
        segment_energy_j=(power_w * segment_s,) * exit_count,
        head_latency_s=(head_s,) * exit_count,
        head_energy_j=(power_w * head_s,) * exit_count,
    )


def _boards() -> tuple[Mapping[str, Any], ...]:
    return (
        {"operating_points": {}, "clocks": {}},
        {"operating_points": {"gpu": FREQUENCIES_HZ}, "clocks": {"gpu": 200_000_000}},
        {"operating_points": {"gpu": FREQUENCIES_HZ}, "clocks": {"gpu": 250_000_000}},
        {"operating_points": {"gpu": FREQUENCIES_HZ}, "clocks": {}},
        {"operating_points": {"gpu": FREQUENCIES_HZ[:2]}, "clocks": {"gpu": 400_000_000}},
        {"operating_points": {"gpu": (50_000_000, 90_000_000)}, "clocks": {"gpu": 50_000_000}},
        {
            "operating_points": {"cpu": FREQUENCIES_HZ, "gpu": FREQUENCIES_HZ},
            "clocks": {"cpu": 100_000_000, "gpu": 400_000_000},
        },
    )


def _distributions(exit_count: int, next_exit: int) -> tuple[Distribution | None, ...]:
    ahead = exit_count - next_exit
    return (
        None,
        (0.0,) * next_exit + (1.0 / ahead,) * ahead,
        (0.0,) * next_exit + (1.0,) + (0.0,) * (ahead - 1),
        (0.0,) * (exit_count - 1) + (1.0,),
    )


def _sensors() -> tuple[Mapping[str, float | None], ...]:
    return (
        {"load": None, "power_w": None, "temperature_c": None},
        {"load": 0.0, "power_w": 0.0, "temperature_c": -10.0},
        {"load": 0.87, "power_w": 7.5, "temperature_c": 55.0},
        {"load": 1.0, "power_w": 15.0, "temperature_c": 95.0},
    )


def _demand(number: int, exit_count: int) -> Mapping[str, Any]:
    """Return one of eleven kinds of demand: a prime number of them, so that they meet every deadline and sensor."""
    last = exit_count - 1
    even = (1.0 / exit_count,) * exit_count
    kinds: tuple[Mapping[str, Any], ...] = (
        {},
        {"requested_s": 10.0, "next_request_s": 10.1},
        {"requested_s": 9.9, "next_request_s": 10.05, "latency_guard": 1.3},
        {"next_request_s": 9.95, "usual_exits": even},
        {"next_request_s": 10.5, "usual_exits": (1.0,) + (0.0,) * last, "floor_exit": last},
        {"latency_guard": 2.0, "floor_exit": min(1, last)},
        {"energy_budget_j": 0.15},
        {"energy_budget_j": 0.05, "floor_exit": min(1, last), "next_request_s": 10.2},
        {"energy_budget_j": 0.0, "latency_guard": 1.1},
        {"energy_budget_j": 1e6, "usual_exits": even},
        {"energy_budget_j": 0.1, "floor_exit": last, "usual_exits": (0.0,) * last + (1.0,)},
    )
    return kinds[number % len(kinds)]
