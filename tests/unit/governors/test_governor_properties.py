"""What holds for every governor and every observation, and the deadline for every forecast however wrong."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from edgeexit.protocols import CostTable, Observation, PointCosts
from edgeexit.registry import load_governor
from edgeexit.testing.observations import without_energy

GOVERNORS = [
    load_governor("deadline"),
    load_governor("fixed", frequency_hz=250),
    load_governor("fixed", frequency_hz={"gpu": 250}),
    load_governor("ondemand"),
    load_governor("performance"),
    load_governor("powersave"),
    load_governor("predictive-exit"),
    load_governor("predictive-exit", forecast="expected"),
    load_governor("schedutil"),
    load_governor("stock"),
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
    allowed = draw(st.lists(st.sampled_from([50, 100, 150, 200, 300, 400]), unique=True, min_size=1).map(sorted))
    return Observation(
        now_s=draw(st.floats(0.0, 1e6)),
        segments_done=done,
        next_exit=next_exit,
        exit_count=exit_count,
        exit_distribution=draw(st.none() | rows(seconds, exit_count)),
        looks_at_every_exit=draw(st.booleans()),
        operating_points=draw(st.sampled_from([{}, {"gpu": tuple(allowed)}, {"cpu": (7, 9), "gpu": tuple(allowed)}])),
        clocks=draw(st.sampled_from([{}, {"gpu": 100}, {"cpu": 7, "gpu": 400}, {"gpu": 333}])),
        cost_table=draw(st.sampled_from([None, table, without_energy(table)])),
        deadline_s=draw(st.none() | st.floats(-1.0, 1e6 + 10.0)),
        load=draw(st.none() | st.floats(0.0, 1.0)),
        power_w=draw(sensor),
        temperature_c=draw(sensor),
    )


@given(observations())
def test_every_governor_decides_on_allowed_clocks_only(observation):
    for governor in GOVERNORS:
        for name, frequency_hz in governor.decide(observation).clocks.items():
            assert frequency_hz in observation.operating_points[name]


@given(observations())
def test_every_governor_decides_the_same_again(observation):
    for governor in GOVERNORS:
        assert governor.decide(observation) == governor.decide(replace(observation))


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
    )
    for governor in GOVERNORS:
        decision = governor.decide(blind)
        assert decision.max_exit is None
        assert decision.reason


@given(st.data())
def test_the_deadline_holds_whatever_the_forecasts_are_where_it_can_be_kept(data):
    exit_count = data.draw(st.integers(1, 5))
    table = data.draw(cost_tables(exit_count))
    metered = data.draw(st.booleans())
    table = table if metered else without_energy(table)
    points = {"gpu": tuple(point.clocks["gpu"] for point in table.points)}
    every = data.draw(st.booleans())
    governor = load_governor("deadline")
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
        assert decision.reason.startswith("cheapest in time" if metered else "energy not known")
        if decision.clocks["gpu"] != current:
            current = decision.clocks["gpu"]
            now_s += table.switch_latency_s
        now_s += table.work(current // 100 - 1, done, next_exit).latency_s
        done = table.exit_segments[next_exit] + 1
        if next_exit == exit_count - 1:
            break
        next_exit = next_exit + 1 if every else data.draw(st.integers(next_exit + 1, exit_count - 1))
    assert now_s <= deadline_s + 1e-9
