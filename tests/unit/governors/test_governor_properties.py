"""What holds for every governor and every observation, and the deadline for every forecast however wrong."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeexit.governors.capped import worst_power_w
from edgeexit.protocols import CostTable, DecidesMany, Observation, PointCosts, PreparesAhead, SetsClocksAtRest
from edgeexit.registry import load_governor
from edgeexit.testing.observations import without_energy

GOVERNORS = [
    load_governor("deadline"),
    load_governor("fixed", frequency_hz=250),
    load_governor("fixed", frequency_hz={"gpu": 250}),
    load_governor("interactive"),
    load_governor("ondemand"),
    load_governor("performance"),
    load_governor("plan"),
    load_governor("plan", per_sample=False),
    load_governor("power-cap", power_cap_w=1.0, governor=load_governor("stock")),
    load_governor("power-cap", power_cap_w=0.5, governor=load_governor("plan")),
    load_governor("powersave"),
    load_governor("predictive-exit"),
    load_governor("predictive-exit", forecast="expected"),
    load_governor("schedutil"),
    load_governor("stock"),
    load_governor("temperature-ceiling", ceiling_c=60.0, band_c=40.0, governor=load_governor("deadline")),
    load_governor("temperature-ceiling", ceiling_c=60.0, band_c=40.0, governor=load_governor("plan")),
]
seconds = st.floats(0.0, 1.0)
positive = st.floats(1e-4, 1.0)
sensor = st.none() | st.floats(0.0, 100.0)


def rows(values, length):
    return st.lists(values, min_size=length, max_size=length).map(tuple)


@st.composite
def cost_tables(draw, exit_count):
    """A board with the clocks 100, 200, ...: arbitrary costs, also a fast clock that is slower than one below it."""
    segment_count = exit_count + draw(st.integers(0, 3))
    inner = draw(st.permutations(range(segment_count - 1)))[: exit_count - 1]
    points = tuple(
        PointCosts(
            clocks={"gpu": 100 * (index + 1)},
            idle_power_w=draw(seconds),
            segment_latency_s=draw(rows(positive, segment_count)),
            segment_energy_j=draw(rows(positive, segment_count)),
            head_latency_s=draw(rows(seconds, exit_count)),
            head_energy_j=draw(rows(seconds, exit_count)),
        )
        for index in range(draw(st.integers(1, 4)))
    )
    exits = (*sorted(inner), segment_count - 1)
    return CostTable(points, exits, draw(st.floats(0.0, 0.1)), draw(seconds), source="modelled")


@st.composite
def observations(draw):
    exit_count = draw(st.integers(1, 5))
    table = draw(cost_tables(exit_count))
    next_exit = draw(st.integers(0, exit_count - 1))
    done = 0 if next_exit == 0 else table.exit_segments[draw(st.integers(0, next_exit - 1))] + 1
    now_s = draw(st.floats(0.0, 1e6))
    soon_s = st.none() | st.floats(-1.0, 10.0).map(lambda later_s: now_s + later_s)
    allowed = draw(st.lists(st.sampled_from([50, 100, 150, 200, 300, 400]), unique=True, min_size=1).map(sorted))
    return Observation(
        now_s=now_s,
        segments_done=done,
        next_exit=next_exit,
        exit_count=exit_count,
        exit_distribution=draw(st.none() | rows(seconds, exit_count)),
        looks_at_every_exit=draw(st.booleans()),
        operating_points=draw(st.sampled_from([{}, {"gpu": tuple(allowed)}, {"cpu": (7, 9), "gpu": tuple(allowed)}])),
        clocks=draw(st.sampled_from([{}, {"gpu": 100}, {"cpu": 7, "gpu": 400}, {"gpu": 333}])),
        cost_table=draw(st.sampled_from([None, table, without_energy(table)])),
        deadline_s=draw(soon_s),
        load=draw(st.none() | st.floats(0.0, 1.0)),
        power_w=draw(sensor),
        temperature_c=draw(sensor),
        requested_s=draw(soon_s),
        next_request_s=draw(soon_s),
        usual_exits=draw(st.none() | rows(seconds, exit_count)),
        latency_guard=draw(st.floats(1.0, 3.0)),
        energy_budget_j=draw(st.none() | st.floats(0.0, 5.0)),
        floor_exit=draw(st.integers(0, exit_count - 1)),
    )


@given(observations())
def test_every_governor_decides_on_allowed_clocks_and_exits_only(observation):
    for governor in GOVERNORS:
        decision = governor.decide(observation)
        for name, frequency_hz in decision.clocks.items():
            assert frequency_hz in observation.operating_points[name]
        if decision.max_exit is not None:
            assert observation.floor_exit <= decision.max_exit < observation.exit_count


@given(observations())
def test_every_governor_decides_the_same_again(observation):
    for governor in GOVERNORS:
        assert governor.decide(observation) == governor.decide(replace(observation))


@given(observations(), observations())
def test_no_governor_remembers_what_it_was_asked_in_between(observation, other):
    for governor in GOVERNORS:
        decision = governor.decide(observation)
        governor.decide(other)
        assert governor.decide(observation) == decision


@given(observations())
def test_every_governor_survives_without_table_sensors_and_deadline(observation):
    blind = replace(
        observation,
        cost_table=None,
        exit_distribution=None,
        deadline_s=None,
        load=None,
        power_w=None,
        temperature_c=None,
        requested_s=None,
        next_request_s=None,
        usual_exits=None,
    )
    for governor in GOVERNORS:
        decision = governor.decide(blind)
        assert decision.max_exit is None
        assert decision.reason


OPTIONAL = ["cost_table", "exit_distribution", "deadline_s", "load", "power_w", "temperature_c", "requested_s"]


@pytest.mark.parametrize("field", [*OPTIONAL, "next_request_s", "usual_exits", "energy_budget_j"])
@settings(max_examples=20)
@given(observation=observations())
def test_every_governor_survives_without_any_one_of_them(field, observation):
    for governor in GOVERNORS:
        assert governor.decide(replace(observation, **{field: None})).reason


@given(observations(), st.lists(st.floats(0.0, 5.0), max_size=5))
def test_deciding_many_is_deciding_each(observation, later_s):
    times_s = [observation.now_s + later for later in later_s]
    for governor in GOVERNORS:
        if isinstance(governor, DecidesMany):
            decisions, which = governor.decide_many(observation, np.array(times_s))
            for now_s, index in zip(times_s, which, strict=True):
                alone = governor.decide(replace(observation, now_s=now_s))
                assert replace(decisions[index], reason="") == replace(alone, reason="")


@settings(max_examples=30)
@given(observations(), st.integers(0, 3))
def test_a_prepared_governor_decides_as_it_would_have(observation, number):
    makers = [
        lambda: load_governor("plan"),
        lambda: load_governor("plan", per_sample=False),
        lambda: load_governor("power-cap", power_cap_w=1.0, governor=load_governor("plan")),
        lambda: load_governor("temperature-ceiling", ceiling_c=50.0, governor=load_governor("plan")),
    ]
    fresh, prepared = makers[number](), makers[number]()
    assert isinstance(prepared, PreparesAhead)
    if observation.cost_table is not None:
        prepared.prepare(observation.cost_table, observation.operating_points, observation.looks_at_every_exit)
    assert prepared.decide(observation) == fresh.decide(observation)


@given(observations(), observations())
def test_clocks_at_rest_are_allowed_ones_and_depend_on_nothing_else(observation, other):
    resting = [governor for governor in GOVERNORS if isinstance(governor, SetsClocksAtRest)]
    assert [governor.name for governor in resting] == ["plan", "plan", "power-cap(plan)", "temperature-ceiling(plan)"]
    for governor in resting:
        decision, decided = governor.rest(observation), governor.decide(observation)
        for name, frequency_hz in decision.clocks.items():
            assert frequency_hz in observation.operating_points[name]
        governor.rest(other)
        governor.decide(other)
        assert governor.rest(replace(observation)) == decision
        assert governor.decide(observation) == decided


@given(observations(), st.sampled_from([False, True]))
def test_the_plan_changes_clocks_at_rest_only_where_there_is_time_and_what_to_gain(observation, per_sample):
    governor = load_governor("plan", per_sample=per_sample)
    decision = governor.rest(observation)
    if not decision.clocks:
        return
    table, due_s = observation.cost_table, observation.next_request_s
    assert decision.clocks["gpu"] != observation.clocks.get("gpu")
    assert due_s is not None
    assert table.has_energy
    assert observation.now_s + table.switch_latency_s <= due_s
    assert decision.max_exit is None
    assert decision.next_exit is None
    rested = replace(observation, now_s=observation.now_s + table.switch_latency_s, clocks=decision.clocks)
    idling_j = table.switch_latency_s * max(point.idle_power_w for point in table.points)
    if table.switch_energy_j > idling_j + 1e-6:  # else a change may pay for the idling that it takes the place of
        assert governor.rest(rested).clocks == {}


@given(observations(), st.floats(0.1, 20.0))
def test_no_clock_that_draws_more_than_the_cap_is_set_or_left(observation, power_cap_w):
    table = observation.cost_table
    if table is None or not table.has_energy:
        return
    for inner in ("performance", "schedutil", "deadline", "plan"):
        governor = load_governor("power-cap", power_cap_w=power_cap_w, governor=load_governor(inner))
        decisions = [governor.decide(observation)]
        if isinstance(governor, SetsClocksAtRest):
            decisions.append(governor.rest(observation))
        allowed = table.allowed_points(observation.operating_points)
        drawn = {table.points[index].clocks["gpu"]: worst_power_w(table.points[index]) for index in allowed}
        if drawn and min(drawn.values()) == drawn[min(drawn)] <= power_cap_w:
            for decision in decisions:
                clocks = {**observation.clocks, **decision.clocks}
                assert drawn.get(clocks.get("gpu"), 0.0) <= power_cap_w


@pytest.mark.parametrize("name", ["deadline", "plan"])
@given(data=st.data())
def test_the_deadline_holds_whatever_the_forecasts_are_where_it_can_be_kept(name, data):
    exit_count = data.draw(st.integers(1, 5))
    table = data.draw(cost_tables(exit_count))
    metered = data.draw(st.booleans())
    table = table if metered else without_energy(table)
    points = {"gpu": tuple(point.clocks["gpu"] for point in table.points)}
    every = data.draw(st.booleans())
    governor = load_governor(name)
    now_s, done, next_exit, current = 0.0, 0, 0 if every else data.draw(st.integers(0, exit_count - 1)), 100
    at_top_s = table.switch_latency_s + table.work(-1, 0, exit_count - 1, first_head=next_exit).latency_s
    deadline_s = data.draw(st.floats(1.0, 3.0)) * at_top_s
    while True:
        observation = Observation(
            now_s=now_s,
            segments_done=done,
            next_exit=next_exit,
            exit_count=exit_count,
            exit_distribution=data.draw(st.none() | rows(st.floats(1e-6, 1.0), exit_count)),
            looks_at_every_exit=every,
            operating_points=points,
            clocks={"gpu": current},
            cost_table=table,
            deadline_s=deadline_s,
        )
        decision = governor.decide(observation)
        assert decision.max_exit is None
        if name == "deadline":
            assert decision.reason.startswith("cheapest in time" if metered else "energy not known")
        if decision.clocks["gpu"] != current:
            current = decision.clocks["gpu"]
            now_s += table.switch_latency_s
        next_exit = max(next_exit, decision.next_exit or 0)
        now_s += table.work(current // 100 - 1, done, next_exit).latency_s
        done = table.exit_segments[next_exit] + 1
        if next_exit == exit_count - 1:
            break
        next_exit = next_exit + 1 if every else data.draw(st.integers(next_exit + 1, exit_count - 1))
    assert now_s <= deadline_s + 1e-9
