"""Frame rate, budgets, the accuracy floor, and what is tracked, as a user of a session sees them."""

import numpy as np
import pytest

import edgeexit
from edgeexit.errors import ExitsDrifted, GovernorError, InputError, OptionError
from edgeexit.exits.last import Last
from edgeexit.protocols import Decision, Verdict
from edgeexit.runtime import BatteryLife, Budget
from edgeexit.testing.observations import without_energy

SCALE = 2000.0


@pytest.fixture(scope="module")
def bundle():
    return edgeexit.load_bundle("fashion-resnet")


@pytest.fixture(scope="module")
def images():
    from pathlib import Path

    with np.load(Path(edgeexit.__file__).parent / "reference" / "fashion-images.npz") as file:
        return file["images"][:, None].astype(np.float32) / 255.0


@pytest.fixture
def board():
    with edgeexit.open_device("simulated:jetson-tx2", work_scale=SCALE) as device:
        yield device


class Noting:
    """A governor that notes what it was asked, and answers what it was told."""

    name = "noting"

    def __init__(self, decision=None):
        self.decision = Decision({}) if decision is None else decision
        self.asked = []

    def decide(self, observation):
        self.asked.append(observation)
        return self.decision


class EveryExit:
    """Looks at every exit and never stops."""

    name = "every-exit"
    looks_at_every_exit = True

    def judge(self, evidence):
        return Verdict(False, evidence.looks[-1].exit_index + 1 if evidence.looks else 0)


def test_an_observation_says_when_it_was_asked_for_and_no_more(bundle, board, images):
    governor = Noting()
    with edgeexit.Session(bundle, board, governor, exit_rule=Last(6)) as session:
        board.clock.advance_s(5.0)
        session.infer(images[:1])
    (asked,) = governor.asked
    assert (asked.requested_s, asked.next_request_s, asked.deadline_s) == (5.0, None, None)
    assert (asked.energy_budget_j, asked.latency_guard, asked.floor_exit) == (None, 1.0, 0)
    assert asked.usual_exits == (0.0,) * 5 + (1.0,)


def test_a_frame_rate_gives_the_deadline_and_the_next_request(bundle, board, images):
    governor = Noting()
    with edgeexit.Session(bundle, board, governor, exit_rule=Last(6), frame_rate_hz=0.5) as session:
        result = session.infer(images[:1])
        session.infer(images[:1], latency_budget_s=0.7, next_request_in_s=3.0)
        session.infer_batch(images[:2])
    periodic, otherwise, batch = governor.asked
    assert (periodic.deadline_s, periodic.next_request_s) == (2.0, 2.0)
    assert result.deadline_met is not None
    assert otherwise.deadline_s == pytest.approx(otherwise.requested_s + 0.7)
    assert otherwise.next_request_s == pytest.approx(otherwise.requested_s + 3.0)
    assert batch.deadline_s == pytest.approx(batch.requested_s + 2.0)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_a_frame_rate_that_is_none_is_refused(bundle, board, rate):
    with pytest.raises(OptionError, match="frame_rate_hz"):
        edgeexit.Session(bundle, board, frame_rate_hz=rate)


@pytest.mark.parametrize("option", ["energy_budget_j", "next_request_in_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(bundle, board, images, option, value):
    with edgeexit.Session(bundle, board) as session, pytest.raises(InputError, match=option):
        session.infer(images[:1], **{option: value})


def test_what_ran_is_taken_off_an_energy_budget(bundle, board, images):
    governor = Noting()
    table = board.modelled_costs(bundle.workload)
    with edgeexit.Session(bundle, board, governor, exit_rule=EveryExit()) as session:
        result = session.infer(images[:1], energy_budget_j=10.0)
    first, second, *_, last = governor.asked
    assert first.energy_budget_j == 10.0
    assert second.energy_budget_j == pytest.approx(10.0 - table.work(0, 0, 0).energy_j)
    drawn = table.work(0, 0, 4, first_head=0).energy_j
    assert last.energy_budget_j == pytest.approx(10.0 - drawn)
    assert result.energy_j > drawn


def test_a_switch_is_taken_off_an_energy_budget_and_nothing_below_zero(bundle, board, images):
    governor = Noting(Decision({"gpu": 1_300_500_000}))
    table = board.modelled_costs(bundle.workload)
    with edgeexit.Session(bundle, board, governor, exit_rule=EveryExit()) as session:
        session.infer(images[:1], energy_budget_j=1.0)
        session.infer(images[:1], energy_budget_j=1e-9)
    assert governor.asked[1].energy_budget_j == pytest.approx(
        1.0 - table.work(12, 0, 0).energy_j - table.switch_energy_j
    )
    assert governor.asked[7].energy_budget_j == 0.0


@pytest.mark.parametrize(("budget_j", "met"), [(None, None), (10.0, True), (1e-9, False)])
def test_an_answer_says_whether_it_kept_its_energy_budget(bundle, board, images, budget_j, met):
    with edgeexit.Session(bundle, board, Noting(), exit_rule=EveryExit()) as session:
        assert session.infer(images[:1], energy_budget_j=budget_j).energy_budget_met is met


@pytest.mark.parametrize("nonsense", [3, "fast", {"gpu": 1}, Decision({}, max_exit=-3)])
def test_a_governor_that_decides_nonsense_is_named(bundle, board, images, nonsense):
    with (
        edgeexit.Session(bundle, board, Noting(nonsense), exit_rule=EveryExit()) as session,
        pytest.raises(GovernorError, match=r"governor '.*' answered .* must be a Decision"),
    ):
        session.infer(images[:1])


def test_a_governor_may_have_looks_skipped(bundle, board, images):
    with edgeexit.Session(bundle, board, Noting(Decision({}, next_exit=3)), exit_rule=EveryExit()) as session:
        assert session.infer(images[:1]).exits_looked_at == (3, 4, 5)
        assert session.infer_batch(images[:2])[1].exits_looked_at == (3, 4, 5)


# --- The accuracy floor -------------------------------------------------------------------------------


@pytest.mark.parametrize(("max_drop", "anytime"), [(None, True), (1.0, True), (0.6, True), (1.0, False), (None, False)])
def test_the_floor_is_the_exit_that_keeps_the_accuracy_alone(bundle, board, images, max_drop, anytime):
    governor = Noting()
    with edgeexit.Session(bundle, board, governor, exit_rule=Last(6), max_drop=max_drop, anytime=anytime) as session:
        session.infer(images[:1])
    fixed = bundle.read_rules()["settings"]["fixed"]["parameters"]
    expected = {None: 0, 1.0: fixed["1"]["exit_index"], 0.6: fixed["0.5"]["exit_index"]}[max_drop]
    assert governor.asked[0].floor_exit == (expected if anytime else 5)


def test_a_floor_below_zero_is_refused(bundle, board):
    with pytest.raises(OptionError, match="max_drop"):
        edgeexit.Session(bundle, board, max_drop=-0.1)


# --- Budgets ------------------------------------------------------------------------------------------


def answer(session, images, count):
    return [session.infer(images[index % 300 : index % 300 + 1]) for index in range(count)]


def test_a_budget_of_macs_is_held_on_average(bundle, board, images):
    work = bundle.workload
    full = sum(work.segment_macs) + work.head_macs[-1]
    with edgeexit.Session(bundle, board, exit_rule="threshold", budget=Budget(macs=0.15 * full)) as session:
        results = answer(session, images, 1200)[300:]
        report = session.budget
    spent = [
        sum(work.segment_macs[: r.exit_index + 1]) + sum(work.head_macs[e] for e in r.exits_looked_at) for r in results
    ]
    assert np.mean(spent) == pytest.approx(0.15 * full, rel=0.04)
    assert len({r.allowed_drop for r in results}) > 1
    assert report.unit == "macs"
    assert report.reachable


def test_a_budget_of_joules_never_goes_below_the_floor_and_says_that_it_cannot_be_met(bundle, board, images):
    with edgeexit.Session(bundle, board, budget=Budget(joules=1e-3), max_drop=0.5) as session:
        results = answer(session, images, 400)
        assert not session.budget.reachable
    assert max(r.allowed_drop for r in results) == 0.5
    assert results[-1].allowed_drop == 0.5


def test_a_budget_of_seconds_is_held_by_a_batch_too(bundle, board, images):
    with edgeexit.Session(bundle, board, exit_rule="threshold", budget=Budget(seconds=1e9)) as session:
        session.infer_batch(images[:8])
        assert session.budget.inferences == 8
        assert session.budget.allowed_drop == 0.0


def test_the_cost_table_tells_joules_where_the_meter_cannot(bundle, board, images):
    board.meter.min_window_s = 1e9
    table = board.modelled_costs(bundle.workload)
    with edgeexit.Session(bundle, board, exit_rule="fixed", budget=Budget(joules=100.0)) as session:
        result = session.infer(images[:1])
        assert result.energy_j is None
        assert session.budget.average == pytest.approx(table.work(0, 0, result.exit_index).energy_j)


def test_joules_that_nobody_knows_are_refused(bundle):
    with edgeexit.open_device("host") as host:
        table = without_energy(edgeexit.open_device("simulated:jetson-tx2").modelled_costs(bundle.workload))
        with pytest.raises(OptionError, match="joules cannot be held"):
            edgeexit.Session(bundle, host, cost_table=table, budget=Budget(joules=1.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exit_rule": Last(6)}, "calibrated settings"),
        ({"exit_rule": "last"}, "calibrated settings"),
        ({"allowed_drop": 1.0}, "max_drop"),
    ],
)
def test_a_budget_needs_settings_to_move_along(bundle, board, options, message):
    with pytest.raises(OptionError, match=message):
        edgeexit.Session(bundle, board, budget=Budget(macs=1e6), **options)


def test_a_setting_that_costs_more_than_a_more_accurate_one_is_left_out(bundle, board):
    with edgeexit.Session(bundle, board, exit_rule="forecast", budget=Budget(macs=1e6)) as session:
        shares = [setting.macs_share for setting in session._settings]
    assert shares == sorted(shares, reverse=True)
    assert len(set(shares)) == len(shares)


def test_a_battery_lasts_as_long_as_asked(bundle, board, images):
    # Idling takes 1.9 W of the TX2; an inference 0.1 to 0.3 J, five times a second: 600 s at 2.8 W.
    capacity_j, life_s = 2.8 * 600.0, 600.0
    battery = BatteryLife(life_s, lambda: capacity_j - board.meter.read_energy_j())
    governor = edgeexit.load_governor("performance")
    with edgeexit.Session(bundle, board, governor, exit_rule="threshold", budget=battery) as session:
        index = 0
        while board.meter.read_energy_j() < capacity_j:
            result = session.infer(images[index % 300 : index % 300 + 1])
            board.clock.sleep_s(0.2 - result.latency_s)
            index += 1
        assert board.clock.now_s() == pytest.approx(life_s, rel=0.02)
        assert session.battery.allowed_w is None or session.battery.allowed_w > 0.0


def test_without_a_budget_there_is_nothing_to_report(bundle, board):
    with edgeexit.Session(bundle, board) as session:
        assert session.budget is None
        assert session.battery is None


# --- Tracking -----------------------------------------------------------------------------------------


def test_samples_like_the_calibrations_are_no_drift(bundle, board, images, recwarn):
    with edgeexit.Session(bundle, board, exit_rule="threshold") as session:
        answer(session, images, 600)
        assert session.drift.answers == 576
        assert session.drift.statistic is not None
        assert not session.drift.drifted
    assert not [warning for warning in recwarn if warning.category is ExitsDrifted]


def test_other_samples_are_a_drift_and_one_warning_says_so(bundle, board, images):
    negatives = 1.0 - images
    governor = Noting()
    with edgeexit.Session(bundle, board, governor, exit_rule="threshold", allowed_drop=1.0) as session:
        with pytest.warns(ExitsDrifted, match="drifted from calibration") as warned:
            answer(session, negatives, 1100)
        assert session.drift.drifted
        assert session.drift.since_s is not None
    assert len(warned) == 1
    assert governor.asked[-1].usual_exits != governor.asked[0].usual_exits
    assert sum(governor.asked[-1].usual_exits) == pytest.approx(1.0)


def test_answers_that_a_governor_cuts_short_are_no_drift(bundle, board, images):
    with edgeexit.Session(bundle, board, Noting(Decision({}, max_exit=1)), exit_rule="threshold") as session:
        assert {r.exit_index for r in answer(session, images, 600)} == {0, 1}
        assert not session.drift.drifted
