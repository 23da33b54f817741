from dataclasses import replace

import pytest

from edgeexit.protocols import Decision
from edgeexit.registry import load_governor
from edgeexit.testing.governors import check_governor
from edgeexit.testing.observations import make_cost_table, make_observation, sample_observations

OURS = [
    ("deadline", {}),
    ("fixed", {"frequency_hz": 250_000_000}),
    ("fixed", {"frequency_hz": {"gpu": 250_000_000}}),
    ("ondemand", {}),
    ("ondemand", {"up_threshold": 50.0}),
    ("performance", {}),
    ("powersave", {}),
    ("predictive-exit", {}),
    ("predictive-exit", {"forecast": "expected"}),
    ("schedutil", {}),
    ("stock", {}),
]


@pytest.mark.parametrize(("name", "options"), OURS)
def test_our_governors_keep_the_contract(name, options):
    check_governor(load_governor(name, **options))


class Breaks:
    """A governor that breaks the contract in one way."""

    name = "breaks"

    def __init__(self, decide):
        self.decide = decide


def lowest(observation):
    return {name: points[0] for name, points in observation.operating_points.items()}


@pytest.mark.parametrize(
    ("decide", "message"),
    [
        (lambda o: Decision({name: hz + 1 for name, hz in lowest(o).items()}), "is not allowed"),
        (lambda o: Decision({**lowest(o), "npu": 1}), "npu at 1 Hz is not allowed"),
        (lambda o: Decision(lowest(o), max_exit=o.exit_count), "max_exit 1 does not exist"),
        (lambda o: Decision(lowest(o), max_exit=-1), "max_exit -1 does not exist"),
        (lambda o: Decision(lowest(o), reason=None), "the reason is no text"),
        (lowest, "not a Decision"),
    ],
)
def test_a_wrong_decision_is_found(decide, message):
    with pytest.raises(AssertionError, match=message):
        check_governor(Breaks(decide))


def test_a_governor_with_a_memory_is_found():
    asked = []

    def decide(observation):
        asked.append(observation)
        return Decision({}, reason=f"asked {len(asked)} times")

    with pytest.raises(AssertionError, match="not pure"):
        check_governor(Breaks(decide))


def test_a_governor_that_changes_its_observation_is_found():
    def decide(observation):
        observation.clocks["gpu"] = 1
        return Decision({})

    with pytest.raises(AssertionError, match="changed its observation"):
        check_governor(Breaks(decide))


def test_what_is_no_governor_is_found():
    with pytest.raises(AssertionError, match="no name or no decide"):
        check_governor(object())
    nameless = Breaks(lambda o: Decision({}))
    nameless.name = ""
    with pytest.raises(AssertionError, match="name is a text"):
        check_governor(nameless)


def test_own_observations_can_be_given():
    check_governor(load_governor("performance"), [make_observation()])


def test_the_sample_observations_cover_what_may_be_missing():
    observations = list(sample_observations())
    assert len(observations) > 4000
    for field in ("cost_table", "exit_distribution", "deadline_s", "load", "power_w", "temperature_c"):
        values = [getattr(observation, field) is None for observation in observations]
        assert any(values), field
        assert not all(values), field


def test_the_made_up_board_costs_what_its_description_says():
    table = make_cost_table()
    assert table.work(0, 0, 0).latency_s == pytest.approx(0.044)
    assert table.work(3, 0, 3, first_head=0).latency_s == pytest.approx(0.044)
    assert table.work(3, 0, 3, first_head=0).energy_j == pytest.approx(0.3256)
    assert replace(make_observation(), deadline_s=1.0) == make_observation(deadline_s=1.0)


def test_a_table_without_energies_has_times_alone():
    table = make_cost_table(metered=False)
    assert make_cost_table().has_energy
    assert not table.has_energy
    assert table.work(3, 0, 3, first_head=0).latency_s == pytest.approx(0.044)
    assert table.work(3, 0, 3, first_head=0).energy_j is None
    assert table.scaled(2.0).work(0, 0, 0) == (pytest.approx(0.088), None)


def test_one_energy_that_is_missing_makes_a_table_incomplete():
    table = make_cost_table()
    assert not replace(table, switch_energy_j=None).has_energy
    assert not replace(table, points=(*table.points, replace(table.points[0], idle_power_w=None))).has_energy
