"""The clocks between inferences: a TX2 switches in 3 ms, and no answer waits for that or pays for it."""

from threading import Event

import numpy as np
import pytest

import edgeexit
from edgeexit.errors import DeviceError, InferenceCancelled
from edgeexit.exits.last import Last
from edgeexit.protocols import Decision, Verdict
from edgeexit.runtime.following import Follower
from edgeexit.runtime.learning import LearnedCosts
from edgeexit.testing.observations import make_cost_table

SCALE = 2000.0
IMAGE = np.zeros((1, 1, 28, 28), dtype=np.float32)
LOW, MIDDLE, HIGH = {"gpu": 114_750_000}, {"gpu": 726_750_000}, {"gpu": 1_300_500_000}
SWITCH_S = 0.003


@pytest.fixture(scope="module")
def bundle():
    return edgeexit.load_bundle("fashion-resnet")


@pytest.fixture
def board():
    with edgeexit.open_device("simulated:jetson-tx2", work_scale=SCALE) as device:
        yield device


class Resting:
    """A governor with one clock for work and one for rest; it notes what it was asked."""

    name = "resting"

    def __init__(self, work=HIGH, rest=LOW):
        self.work = work
        self.at_rest = rest
        self.asked = []
        self.rested = []

    def decide(self, observation):
        self.asked.append(observation)
        return Decision(self.work)

    def rest(self, observation):
        self.rested.append(observation)
        return Decision(self.at_rest)


class EveryExit:
    """Looks at every exit and never stops."""

    name = "every-exit"
    looks_at_every_exit = True

    def judge(self, evidence):
        return Verdict(False, len(evidence.looks))


def open_session(bundle, board, governor, **options):
    return edgeexit.Session(bundle, board, governor, **{"exit_rule": Last(6), **options})


# --- When it is asked ---------------------------------------------------------------------------------


def test_nothing_is_asked_where_the_next_request_is_not_known(bundle, board):
    governor = Resting()
    with open_session(bundle, board, governor) as session:
        session.infer(IMAGE, latency_budget_s=10.0)
        session.infer_batch(np.concatenate([IMAGE, IMAGE]))
        assert governor.rested == []
        assert session._clocking.read_clocks() == HIGH


@pytest.mark.parametrize("budget", [{"next_request_in_s": 1e-6}, {"next_request_in_s": 1e-6, "latency_budget_s": 9.0}])
def test_nothing_is_asked_once_the_next_request_is_due(bundle, board, budget):
    governor = Resting()
    with open_session(bundle, board, governor) as session:
        session.infer(IMAGE, **budget)
    assert governor.rested == []


def test_nothing_is_asked_of_a_governor_that_does_not_choose_clocks_at_rest(bundle, board):
    with open_session(bundle, board, edgeexit.load_governor("performance"), frame_rate_hz=1.0) as session:
        session.infer(IMAGE)
        assert session._clocking.read_clocks() == HIGH


def test_nothing_is_asked_after_an_inference_without_an_answer(bundle, board):
    governor = Resting()
    cancel = Event()
    cancel.set()
    with open_session(bundle, board, governor, frame_rate_hz=1.0) as session, pytest.raises(InferenceCancelled):
        session.infer(IMAGE, cancel=cancel)
    assert governor.rested == []


@pytest.mark.parametrize("options", [{"next_request_in_s": 5.0}, {}])
def test_it_is_asked_once_after_each_answer(bundle, board, options):
    governor = Resting()
    with open_session(bundle, board, governor, frame_rate_hz=None if options else 0.2) as session:
        session.infer(IMAGE, **options)
        session.infer(IMAGE, **options)
    assert [asked.next_request_s for asked in governor.rested] == [5.0, pytest.approx(5.0 + governor.asked[1].now_s)]


def test_it_sees_what_was_asked_last_and_the_time_and_the_clocks_of_the_answer(bundle, board):
    governor = Resting()
    with open_session(bundle, board, governor, exit_rule=EveryExit(), latency_guard=1.2) as session:
        result = session.infer(IMAGE, latency_budget_s=3.0, next_request_in_s=4.0, energy_budget_j=9.0)
    (seen,), last = governor.rested, governor.asked[-1]
    assert (seen.now_s, seen.clocks) == (pytest.approx(result.latency_s), HIGH)
    assert (seen.segments_done, seen.next_exit, seen.exit_distribution, seen.load) == (6, 5, None, None)
    for field in (
        "exit_count",
        "looks_at_every_exit",
        "operating_points",
        "cost_table",
        "deadline_s",
        "requested_s",
        "next_request_s",
        "usual_exits",
        "latency_guard",
        "energy_budget_j",
        "floor_exit",
    ):
        assert getattr(seen, field) == getattr(last, field), field


def test_it_is_told_the_exit_after_the_newest_and_every_segment_that_ran(bundle, board):
    table = board.modelled_costs(bundle.workload)
    governor = Resting(work=MIDDLE)
    point = next(index for index, point in enumerate(table.points) if point.clocks == MIDDLE)
    budget_s = SWITCH_S + table.work(point, 0, 3).latency_s * 1.01
    with open_session(bundle, board, governor) as session:
        result = session.infer(IMAGE, latency_budget_s=budget_s, next_request_in_s=5.0)
    assert (result.reason, result.exit_index) == ("deadline", 3)
    assert (governor.rested[0].segments_done, governor.rested[0].next_exit) == (4, 4)


# --- What it costs, and whom --------------------------------------------------------------------------


def test_the_result_holds_neither_the_time_nor_the_energy_of_the_switch(bundle, board):
    table = board.modelled_costs(bundle.workload)
    with open_session(bundle, board, Resting()) as session:
        result = session.infer(IMAGE, next_request_in_s=5.0)
        work = table.work(len(table.points) - 1, 0, 5)
        assert result.latency_s == pytest.approx(SWITCH_S + work.latency_s)
        assert result.energy_j == pytest.approx(table.switch_energy_j + work.energy_j)
        assert result.clocks == HIGH
        assert [step.clocks for step in result.clock_steps] == [HIGH]
        assert board.clock.now_s() == pytest.approx(result.latency_s + SWITCH_S)
        assert board.meter.read_energy_j() == pytest.approx(result.energy_j + table.switch_energy_j)
        assert session.switch_count == 2


def test_the_next_inference_begins_at_those_clocks(bundle, board):
    table = board.modelled_costs(bundle.workload)
    governor = Resting(work={}, rest=MIDDLE)
    with open_session(bundle, board, governor) as session:
        session.infer(IMAGE, next_request_in_s=20.0)
        board.clock.sleep_s(1.0)
        result = session.infer(IMAGE)
    assert [asked.clocks for asked in governor.asked] == [LOW, MIDDLE]
    point = next(index for index, point in enumerate(table.points) if point.clocks == MIDDLE)
    assert result.latency_s == pytest.approx(table.work(point, 0, 5).latency_s)


def test_clocks_that_are_to_stay_cost_nothing(bundle, board):
    with open_session(bundle, board, Resting(rest={})) as session:
        result = session.infer(IMAGE, next_request_in_s=5.0)
        assert board.clock.now_s() == pytest.approx(result.latency_s)
        assert session._clocking.read_clocks() == HIGH


def test_the_load_is_the_busy_share_without_the_switch_at_rest(bundle, board):
    governor = Resting()
    with open_session(bundle, board, governor) as session:
        result = session.infer(IMAGE, next_request_in_s=5.0)
        board.clock.sleep_s(3.0 * result.latency_s - SWITCH_S)
        session.infer(IMAGE)
    assert governor.asked[1].load == pytest.approx(0.25)


def test_an_average_budget_counts_inferences_without_the_switch_at_rest(bundle, board):
    with open_session(
        bundle, board, Resting(), exit_rule="fixed", budget=edgeexit.runtime.Budget(joules=1e6), frame_rate_hz=0.2
    ) as session:
        result = session.infer(IMAGE)
        assert session.budget.average == pytest.approx(result.energy_j)


def test_an_error_of_the_governor_or_of_a_closed_lease_is_the_callers(bundle, board):
    class Failing(Resting):
        def rest(self, observation):
            raise ZeroDivisionError

    class Closing(Resting):
        def rest(self, observation):
            session.close()
            return super().rest(observation)

    with open_session(bundle, board, Failing(), frame_rate_hz=0.2) as session, pytest.raises(ZeroDivisionError):
        session.infer(IMAGE)
    with open_session(bundle, board, Closing(), frame_rate_hz=0.2) as session, pytest.raises(DeviceError):
        session.infer(IMAGE)


def test_a_thread_of_its_own_changes_the_clocks_where_nobody_waits_for_them(bundle, board):
    with open_session(bundle, board, Resting(), wait_for_clocks=False) as session:
        session.infer(IMAGE, next_request_in_s=100.0)
        session._lease.wait()
        assert board.domains["gpu"].read_hz() == LOW["gpu"]


# --- Batches ------------------------------------------------------------------------------------------


def test_a_batch_is_at_rest_once_its_last_answer_stands(bundle, board):
    governor = Resting()
    with open_session(bundle, board, governor, frame_rate_hz=0.1) as session:
        results = session.infer_batch(np.concatenate([IMAGE] * 3))
        assert board.clock.now_s() == pytest.approx(results[-1].latency_s + SWITCH_S)
    (seen,) = governor.rested
    assert (seen.segments_done, seen.next_exit, seen.clocks) == (6, 5, HIGH)
    assert seen.cost_table is governor.asked[0].cost_table


def test_a_batch_that_is_run_one_by_one_rests_after_the_last(bundle, board, monkeypatch):
    monkeypatch.setattr("edgeexit.runtime.batch.BatchLoop.can_split", lambda loop, inputs: False)
    governor = Resting()
    with open_session(bundle, board, governor, frame_rate_hz=0.1) as session:
        assert len(session.infer_batch(np.concatenate([IMAGE] * 3))) == 3
    assert len(governor.asked) == 3
    assert len(governor.rested) == 1


# --- Learning -----------------------------------------------------------------------------------------


def test_a_session_learns_the_same_with_a_switch_at_rest_as_without(bundle, board):
    with open_session(bundle, board, Resting(), exit_rule=EveryExit(), learn=True, frame_rate_hz=0.2) as session:
        for _ in range(30):
            began_s = board.clock.now_s()
            session.infer(IMAGE)
            board.clock.sleep_s(5.0 + began_s - board.clock.now_s())
        learned = session._clocking._learned
        assert learned.pieces == 6 * 30
        assert learned.factors() == pytest.approx([1.0] * len(learned.factors()))
        assert learned.power._own[-1] == pytest.approx(1.0, rel=1e-3)


class Power:
    """Notes what of a stretch was told."""

    knows = True

    def __init__(self):
        self.told = []

    def __getattr__(self, what):
        return lambda *amounts: self.told.append((what, *[round(amount, 9) for amount in amounts]))


@pytest.fixture
def follower():
    learned = LearnedCosts(make_cost_table(2))
    learned.power = Power()
    return Follower(learned.base, learned, None)


SLOW, FAST = {"gpu": 100_000_000}, {"gpu": 400_000_000}


def infer(follower, start_s, clocks):
    follower.asked(start_s, 0, clocks)
    follower.begins(start_s, 0, FAST, FAST, clocks)
    follower.finished(start_s, start_s + 0.011, 0, FAST)


def test_idling_is_told_apart_at_the_switch_which_belongs_to_no_inference(follower):
    infer(follower, 1.0, FAST)
    spent_j = follower.spent_j
    follower.rested(1.5, FAST, 1.6, SLOW, SLOW)
    assert follower.spent_j == spent_j
    follower.asked(3.6, 0, SLOW)
    told = [each for each in follower.learned.power.told if each[0] != "ran"]
    assert sorted(told) == [("idled", 0.2445), ("idled", 1.0), ("switched", 0.002)]


def test_a_switch_that_did_not_come_leaves_it_open_what_idling_drew(follower):
    infer(follower, 1.0, FAST)
    follower.rested(1.011, FAST, 1.011, FAST, SLOW)
    follower.asked(3.011, 0, FAST)
    assert follower.learned.power.told[-1] == ("unknown", 2.0)


def test_a_switch_that_came_late_counts_once_the_clocks_are_as_decided(follower):
    infer(follower, 1.0, FAST)
    follower.rested(1.011, FAST, 1.011, FAST, SLOW)
    follower.asked(3.011, 0, SLOW)
    assert follower.learned.power.told[-1] == ("idled", 1.0)


def test_a_wish_for_the_clocks_as_they_are_is_no_switch(follower):
    infer(follower, 1.0, FAST)
    follower.rested(1.5, FAST, 1.5, FAST, FAST)
    follower.asked(2.011, 0, FAST)
    told = [each for each in follower.learned.power.told if each[0] != "ran"]
    assert told == [("idled", 0.5)]
