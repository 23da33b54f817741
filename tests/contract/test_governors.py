from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from edgeexit.protocols import Decision
from edgeexit.registry import load_governor
from edgeexit.testing.governors import check_governor
from edgeexit.testing.observations import make_cost_table, make_observation, sample_observations

OURS = [
    ("deadline", {}),
    ("fixed", {"frequency_hz": 250_000_000}),
    ("fixed", {"frequency_hz": {"gpu": 250_000_000}}),
    ("interactive", {}),
    ("interactive", {"target_load": 50.0, "go_hispeed_load": 80.0}),
    ("ondemand", {}),
    ("ondemand", {"up_threshold": 50.0}),
    ("performance", {}),
    ("plan", {}),
    ("powersave", {}),
    ("predictive-exit", {}),
    ("predictive-exit", {"forecast": "expected"}),
    ("schedutil", {}),
    ("stock", {}),
]


@pytest.mark.parametrize(("name", "options"), OURS)
def test_our_governors_keep_the_contract(name, options):
    check_governor(load_governor(name, **options))


@pytest.mark.parametrize("options", [{"per_sample": False}, {"joules_per_second": 3.0}])
def test_the_planning_governor_keeps_it_whatever_its_options(options):
    check_governor(load_governor("plan", **options), SOME)


WRAPPERS = [
    ("power-cap", {"power_cap_w": 0.1}),
    ("power-cap", {"power_cap_w": 2.0}),
    ("power-cap", {"power_cap_w": 100.0}),
    ("temperature-ceiling", {"ceiling_c": 0.0}),
    ("temperature-ceiling", {"ceiling_c": 55.5, "band_c": 1.0}),
    ("temperature-ceiling", {"ceiling_c": 100.0, "band_c": 60.0}),
]


SOME = list(sample_observations())[::7]
"""Each seventh: all deadlines, sensors and demands are among them, as their numbers have no factor 7."""
WARMING = sorted(SOME, key=lambda o: o.temperature_c or 0.0)
"""By temperature, so that a ceiling does not cut the clocks otherwise from each to the next."""


@pytest.mark.parametrize("inner", ["deadline", "plan", "schedutil"])
@pytest.mark.parametrize(("name", "options"), WRAPPERS)
def test_our_governors_keep_the_contract_below_a_cap(name, options, inner):
    check_governor(
        load_governor(name, governor=load_governor(inner), **options), WARMING if "ceiling_c" in options else SOME
    )


def test_a_cap_below_a_ceiling_keeps_the_contract():
    capped = load_governor("power-cap", power_cap_w=4.0, governor=load_governor("plan"))
    check_governor(load_governor("temperature-ceiling", ceiling_c=56.0, band_c=2.0, governor=capped), WARMING)


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
        (lambda o: Decision(lowest(o), max_exit=0), "max_exit 0 lies before the floor, exit [13]"),
        (lambda o: Decision(lowest(o), next_exit=o.exit_count), "next_exit 1 does not exist"),
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


class BreaksMany(Breaks):
    """A governor that decides for many times at once otherwise than for one."""

    def __init__(self, decide, which):
        super().__init__(decide)
        self.which = which

    def decide_many(self, observation, now_s):
        lowest_points, highest_points = lowest(observation), highest(observation)
        decisions = [Decision(lowest_points), Decision(highest_points), Decision(lowest_points, max_exit=0)]
        return decisions, np.array(self.which(now_s))


def highest(observation):
    return {name: points[-1] for name, points in observation.operating_points.items()}


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (lambda now_s: np.where(now_s > 10.02, 1, 0), r"decide_many\(\) is not decide\(\) at 10.05 s"),
        (lambda now_s: np.where(now_s > 10.5, 2, 0), r"decide_many\(\) is not decide\(\) at 11.0 s"),
        (lambda now_s: [0], "answers for 1 of 4 times"),
    ],
)
def test_decisions_for_many_times_that_are_other_than_for_one_are_found(which, message):
    with pytest.raises(AssertionError, match=message):
        check_governor(BreaksMany(lambda o: Decision(lowest(o)), which))


def test_the_same_decisions_for_many_times_may_have_other_reasons():
    check_governor(BreaksMany(lambda o: Decision(lowest(o), reason="slow"), lambda now_s: np.zeros(len(now_s), int)))


class Prepares:
    """A governor that decides otherwise once it is prepared."""

    name = "prepares"
    prepared = False

    def prepare(self, cost_table, operating_points, looks_at_every_exit):
        self.prepared = True

    def decide(self, observation):
        return Decision(lowest(observation) if self.prepared else {})


def test_decisions_that_change_with_preparation_are_found():
    with pytest.raises(AssertionError, match=r"prepare\(\) changes decisions"):
        check_governor(Prepares())


class Rests(Breaks):
    """A governor that breaks the contract between inferences."""

    def __init__(self, rest):
        super().__init__(lambda o: Decision(lowest(o)))
        self.rest = rest


NUMBERS = count()


def changing(observation):
    observation.clocks["gpu"] = 1
    return Decision({})


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (lambda o: Decision({"npu": 1}), "npu at 1 Hz is not allowed"),
        (lambda o: Decision({name: hz + 1 for name, hz in lowest(o).items()}), "is not allowed"),
        (lowest, r"rest\(\) returned .*, not a Decision"),
        (changing, r"rest\(\) changed its observation"),
        (lambda o: Decision({}, reason=str(next(NUMBERS))), r"rest\(\) is not pure"),
    ],
)
def test_wrong_clocks_at_rest_are_found(rest, message):
    with pytest.raises(AssertionError, match=message):
        check_governor(Rests(rest))


def test_at_rest_a_governor_is_asked_as_after_an_answer():
    asked = []
    check_governor(Rests(lambda o: asked.append(o) or Decision({})))
    assert len(asked) > 1000
    assert {o.exit_distribution for o in asked} == {None}
    assert {o.segments_done for o in asked} == {1, 2, 3, 4}
    assert all(o.next_request_s is not None for o in asked)


def test_clocks_at_rest_that_change_with_preparation_are_found():
    class Both(Prepares):
        def decide(self, observation):
            return Decision({})

        def rest(self, observation):
            return super().decide(observation)

    with pytest.raises(AssertionError, match=r"rest\(\) is another once it is prepared"):
        check_governor(Both())


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
    sensors = ("load", "power_w", "temperature_c")
    demands = ("requested_s", "next_request_s", "usual_exits", "energy_budget_j")
    for field in ("cost_table", "exit_distribution", "deadline_s", *sensors, *demands):
        values = [getattr(observation, field) is None for observation in observations]
        assert any(values), field
        assert not all(values), field


def test_the_sample_observations_hold_each_demand_at_each_deadline():
    observations = [o for o in sample_observations() if o.exit_count == 4]
    for deadline_s in {observation.deadline_s for observation in observations}:
        there = [observation for observation in observations if observation.deadline_s == deadline_s]
        assert {observation.latency_guard for observation in there} == {1.0, 1.1, 1.3, 2.0}
        assert {observation.floor_exit for observation in there} == {0, 1, 3}
        assert {observation.energy_budget_j for observation in there} == {None, 0.0, 0.05, 0.1, 0.15, 1e6}


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
