"""Sessions on a simulated board whose real speed is another than the cost table says."""

from dataclasses import replace
from itertools import pairwise
from threading import Event

import numpy as np
import pytest

import edgeexit
from edgeexit.errors import OptionError
from edgeexit.exits.last import Last
from edgeexit.exits.threshold import Threshold
from edgeexit.protocols import Decision, Verdict

IMAGE = np.zeros((1, 1, 28, 28), dtype=np.float32)
SCALE = 2000.0


class EveryExit:
    """Looks at every exit and never stops."""

    name = "every-exit"
    looks_at_every_exit = True

    def judge(self, evidence):
        return Verdict(False, len(evidence.looks))


class Alternating:
    """A governor that runs odd pieces fast and even ones at half the clock."""

    name = "alternating"

    def decide(self, observation):
        points = observation.operating_points["gpu"]
        return Decision({"gpu": points[-1 if observation.segments_done % 2 else 6]})


def slow_down(board, factor):
    """Have a simulated board take so many times as long as its model says."""
    work_done = type(board).work_done
    board.work_done = lambda macs: work_done(board, round(macs * factor))


def sped_up(table, factor):
    """A cost table that takes the board for so many times as fast."""
    points = tuple(
        replace(
            point,
            segment_latency_s=tuple(x / factor for x in point.segment_latency_s),
            segment_energy_j=tuple(x / factor for x in point.segment_energy_j),
            head_latency_s=tuple(x / factor for x in point.head_latency_s),
            head_energy_j=tuple(x / factor for x in point.head_energy_j),
        )
        for point in table.points
    )
    return replace(table, points=points)


@pytest.fixture(scope="module")
def bundle():
    return edgeexit.load_bundle("fashion-resnet")


@pytest.fixture
def board():
    with edgeexit.open_device("simulated:jetson-tx2", work_scale=SCALE) as device:
        yield device


@pytest.fixture
def table(board, bundle):
    return board.modelled_costs(bundle.workload)


def full_s(table):
    return table.work(len(table.points) - 1, 0, 5, first_head=0).latency_s


def open_session(bundle, board, table, governor="deadline", **options):
    options = {"exit_rule": EveryExit(), "anytime": False, "learn": True, **options}
    return edgeexit.Session(bundle, board, edgeexit.load_governor(governor), cost_table=table, **options)


def run(session, count, budget_s):
    """Answer `count` times, one request each `budget_s`; return which were late."""
    late = []
    for index in range(count):
        result = session.infer(IMAGE, latency_budget_s=budget_s)
        late += [] if result.deadline_met else [index]
        session.device.clock.sleep_s(budget_s - result.latency_s)
    return late


@pytest.mark.parametrize("governor", ["deadline", "plan"])
def test_a_table_that_is_twice_too_fast_makes_no_inference_late_but_the_first(bundle, board, table, governor):
    budget_s = 1.3 * full_s(table)
    with open_session(bundle, board, sped_up(table, 2.0), governor) as session:
        late = run(session, 100, budget_s)
        assert session.cost_table.work(12, 0, 5).latency_s == pytest.approx(table.work(12, 0, 5).latency_s)
        assert session.cost_table.work(12, 0, 5).energy_j == pytest.approx(table.work(12, 0, 5).energy_j, rel=0.01)
    assert set(late) <= {0, 1}


def test_without_learning_such_a_table_makes_them_late(bundle, board, table):
    with open_session(bundle, board, sped_up(table, 2.0), learn=False) as session:
        assert len(run(session, 20, 1.1 * full_s(table))) == 20


@pytest.mark.parametrize("governor", ["deadline", "plan"])
def test_heat_that_comes_on_makes_only_a_few_late(bundle, board, table, governor):
    budget_s = 2.5 * full_s(table)
    with open_session(bundle, board, table, governor) as session:
        assert run(session, 50, budget_s) == []
        slow_down(board, 1.8)
        late = run(session, 200, budget_s)
    assert len(late) <= 3
    assert all(index < 5 for index in late)


def test_a_table_that_is_too_slow_is_corrected_too(bundle, board, table):
    with open_session(bundle, board, sped_up(table, 0.6)) as session:
        run(session, 50, 2.0 * full_s(table))
        assert session.cost_table.work(12, 0, 5).latency_s == pytest.approx(table.work(12, 0, 5).latency_s, rel=0.02)


def test_noise_is_guarded_against(bundle, board, table):
    generator = np.random.default_rng(0)
    work_done = type(board).work_done
    board.work_done = lambda macs: work_done(board, round(macs * (1.0 + 0.1 * np.clip(generator.normal(), -3, 3))))
    with open_session(bundle, board, table) as session:
        late = run(session, 400, 1.5 * full_s(table))
        assert 1.1 <= session.latency_guard <= 1.45
    assert len(late) <= 1


def test_every_piece_at_two_clocks_is_learnt_from(bundle, board, table):
    with edgeexit.Session(
        bundle, board, Alternating(), cost_table=sped_up(table, 2.0), exit_rule=EveryExit(), learn=True
    ) as session:
        session.infer(IMAGE)
        learned = session._clocking._learned
        assert learned.pieces == 6
        assert learned._counts[6] == learned._counts[12] == 3


def test_a_clock_that_somebody_else_changes_meanwhile_teaches_nothing(bundle, board, table):
    class Meddling(EveryExit):
        def judge(self, evidence):
            board.domains["gpu"].set_hz(board.domains["gpu"].operating_points_hz[3 + len(evidence.looks) % 2])
            return super().judge(evidence)

    with edgeexit.Session(bundle, board, None, cost_table=table, exit_rule=Meddling(), learn=True) as session:
        session.infer(IMAGE)
        assert session._clocking._learned.pieces == 1  # the last: nobody judges after it


def test_a_cancelled_piece_teaches_nothing(bundle, board, table):
    cancel = Event()
    work_done = type(board).work_done

    def cancelling(macs):
        work_done(board, macs)
        cancel.set()

    board.work_done = cancelling
    with edgeexit.Session(bundle, board, None, cost_table=table, exit_rule=Last(6), learn=True) as session:
        assert session.infer(IMAGE, cancel=cancel).reason == "cancelled"
        assert session._clocking._learned.pieces == 0


def test_a_batch_teaches_nothing_and_is_no_harm(bundle, board, table):
    with open_session(bundle, board, table) as session:
        session.infer_batch(np.concatenate([IMAGE] * 3))
        assert session._clocking._learned.pieces == 0
        session.infer(IMAGE)
        assert session._clocking._learned.pieces == 6


def test_the_power_of_a_board_is_learnt(bundle, board, table):
    dearer = replace(
        table,
        points=tuple(
            replace(p, segment_energy_j=tuple(0.5 * x for x in p.segment_energy_j), idle_power_w=2.0 * p.idle_power_w)
            for p in table.points
        ),
    )
    with open_session(bundle, board, dearer, exit_rule=Last(6)) as session:
        for index in range(400):
            session.infer(IMAGE)
            board.clock.sleep_s((0.05, 0.3)[index % 2])
        point = next(i for i, p in enumerate(table.points) if p.clocks == board_clocks(session))
        learnt = session.cost_table
    assert learnt.work(point, 0, 5).energy_j == pytest.approx(table.work(point, 0, 5).energy_j, rel=0.06)
    assert learnt.points[point].idle_power_w == pytest.approx(table.points[point].idle_power_w, rel=0.06)


def board_clocks(session):
    return session._clocking.read_clocks()


# --- The guard, and preparing ------------------------------------------------------------------------


def test_a_simulated_board_does_not_learn_unless_told(bundle, board, table):
    with edgeexit.Session(bundle, board, edgeexit.load_governor("deadline")) as session:
        session.infer(IMAGE)
        assert session.cost_table == table
        assert session.latency_guard == 1.0


def test_a_real_board_without_costs_has_nothing_to_learn(bundle):
    with edgeexit.open_device("host") as host, edgeexit.Session(bundle, host) as session:
        session.infer(IMAGE)
        assert session.cost_table is None


def test_a_guard_that_is_given_stays(bundle, board, table):
    with open_session(bundle, board, table, latency_guard=1.25) as session:
        run(session, 5, 2.0 * full_s(table))
        assert session.latency_guard == 1.25


@pytest.mark.parametrize("guard", [0.9, float("inf"), float("nan")])
def test_a_guard_below_one_is_refused(bundle, board, guard):
    with pytest.raises(OptionError, match="latency_guard"):
        edgeexit.Session(bundle, board, latency_guard=guard)


def test_the_guard_also_stops_an_inference_before_the_segment_that_might_miss(bundle, board, table):
    top = len(table.points) - 1
    budget_s = table.switch_latency_s + table.work(top, 0, 4).latency_s * 1.01
    performance = edgeexit.load_governor("performance")
    exits = {}
    for guard in (None, 2.0):
        with edgeexit.Session(bundle, board, performance, exit_rule=Last(6), latency_guard=guard) as session:
            exits[guard] = session.infer(IMAGE, latency_budget_s=budget_s).exit_index
    assert exits == {None: 4, 2.0: 2}


class Preparing:
    """A governor that notes the tables it was asked to prepare for, and those it was asked with."""

    name = "preparing"

    def __init__(self):
        self.prepared = []
        self.asked = []

    def prepare(self, cost_table, operating_points, looks_at_every_exit):
        self.prepared.append((cost_table, looks_at_every_exit))

    def decide(self, observation):
        self.asked.append(observation)
        return Decision({})


def test_a_governor_prepares_when_the_session_begins(bundle, board, table):
    governor = Preparing()
    with edgeexit.Session(bundle, board, governor, exit_rule=Threshold(6, threshold=0.9)):
        assert governor.prepared == [(table, True)]


def test_a_governor_prepares_for_a_corrected_table_before_it_is_asked_with_it(bundle, board, table):
    governor = Preparing()
    with edgeexit.Session(
        bundle, board, governor, cost_table=sped_up(table, 2.0), exit_rule=EveryExit(), learn=True
    ) as session:
        for _ in range(10):
            session.infer(IMAGE)
    tables = [observation.cost_table for observation in governor.asked]
    changes = sum(one is not other for one, other in pairwise(tables))
    assert changes == 1
    assert [prepared for prepared, _ in governor.prepared] == [tables[0], tables[-1]]
