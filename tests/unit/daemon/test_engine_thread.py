"""The engine's thread with a session that does as it is told."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from edgeexit.daemon import engine as engine_module
from edgeexit.daemon.contracts import InferOptions
from edgeexit.daemon.engine import EngineThread
from edgeexit.daemon.jobs import Job, RunningMean
from edgeexit.errors import DeadlinePassed, EngineError, InputError, Refused, ServeError

PATIENCE_S = 20.0


class Hold:
    switch_count = 0

    def __init__(self):
        self.given_back = threading.Event()

    def set(self, clocks):
        return ()

    def read_clocks(self):
        return {}

    def restore(self):
        self.given_back.set()

    def close(self):
        pass


class Session:
    """Answers with what it was asked; holds still while `go` is not set."""

    def __init__(self, error=None):
        self.error = error
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Semaphore(0)
        self.asked = []
        self.apart_s = []
        self.rested = threading.Semaphore(0)

    def infer(self, inputs, **asked):
        self.begun.release()
        assert self.go.wait(PATIENCE_S)
        self.asked.append(asked)
        if self.error is not None:
            raise self.error
        return SimpleNamespace(latency_s=0.25)

    def rest(self):
        self.rested.release()

    def worked_apart(self, duration_s):
        self.apart_s.append(duration_s)


class Slot:
    def __init__(self, session, least_s=0.0):
        self.session = session
        self.served = SimpleNamespace(name="m", version="1", max_batch=1)
        self.pace = RunningMean()
        self.expected_s = 0.0
        self.least_s = least_s


class Outcomes:
    def __init__(self):
        self.all = []
        self.come = threading.Semaphore(0)

    def __call__(self, job, outcome):
        self.all.append((job.number, outcome))
        self.come.release()

    def wait(self, count):
        for _ in range(count):
            assert self.come.acquire(timeout=PATIENCE_S)
        return dict(self.all)


@pytest.fixture
def hold():
    return Hold()


@pytest.fixture
def make(hold):
    made = []

    def start(*slots, simulated=False, limit=8):
        engine = EngineThread(limit, hold, lambda: slots, simulated=simulated)
        engine.start()
        made.append((engine, slots))
        return engine

    yield start
    for engine, slots in made:
        for slot in slots:
            slot.session.go.set()
        engine.close()


def job(slot, outcomes, number=0, due_in_s=None, **options):
    now_s = time.perf_counter()
    return Job(
        slot,
        {"image": np.zeros((1, 3), np.float32)},
        1,
        InferOptions(latency_budget_s=due_in_s, **options),
        now_s,
        None if due_in_s is None else now_s + due_in_s,
        number,
        outcomes,
    )


def test_a_job_gets_its_answer(make):
    slot, outcomes = Slot(Session()), Outcomes()
    make(slot).submit(job(slot, outcomes))
    answer = outcomes.wait(1)[0]
    assert (answer.model, answer.version, len(answer.results)) == ("m", "1", 1)
    assert answer.latency_s >= answer.queue_s >= 0.0
    assert answer.deadline_met is None


def test_on_a_simulated_board_the_latency_is_the_boards(make):
    slot, outcomes = Slot(Session()), Outcomes()
    make(slot, simulated=True).submit(job(slot, outcomes, due_in_s=0.2))
    answer = outcomes.wait(1)[0]
    assert answer.latency_s == answer.queue_s + 0.25
    assert answer.deadline_met is False


def test_while_one_runs_the_others_come_in_the_order_of_their_deadlines(make):
    slot, outcomes = Slot(Session()), Outcomes()
    slot.session.go.clear()
    engine = make(slot)
    engine.submit(job(slot, outcomes, 0))
    assert slot.session.begun.acquire(timeout=PATIENCE_S)
    for number, due_in_s in ((1, None), (2, 500.0), (3, 100.0)):
        engine.submit(job(slot, outcomes, number, due_in_s))
    slot.session.go.set()
    outcomes.wait(4)
    assert [number for number, _ in outcomes.all] == [0, 3, 2, 1]


def test_an_error_of_one_job_is_its_own(make):
    bad, good, outcomes = Slot(Session(InputError("wrong"))), Slot(Session()), Outcomes()
    engine = make(bad, good)
    engine.submit(job(bad, outcomes, 0))
    engine.submit(job(good, outcomes, 1))
    done = outcomes.wait(2)
    assert isinstance(done[0], InputError)
    assert done[1].model == "m"


def test_what_nobody_foresaw_becomes_an_engine_error_and_the_thread_lives_on(make, caplog):
    slot, outcomes = Slot(Session(KeyError("oh"))), Outcomes()
    engine = make(slot)
    engine.submit(job(slot, outcomes))
    assert isinstance(outcomes.wait(1)[0], EngineError)
    assert engine.alive
    assert "an inference failed" in caplog.text


def test_a_job_whose_time_is_up_when_its_turn_comes_is_told_so_and_not_run(make):
    slot, outcomes = Slot(Session()), Outcomes()
    slot.session.go.clear()
    engine = make(slot)
    engine.submit(job(slot, outcomes, 0))
    assert slot.session.begun.acquire(timeout=PATIENCE_S)
    engine.submit(job(slot, outcomes, 1, due_in_s=0.01))
    time.sleep(0.02)
    slot.session.go.set()
    done = outcomes.wait(2)
    assert isinstance(done[1], DeadlinePassed)
    assert len(slot.session.asked) == 1


def test_a_client_that_left_while_it_waited_costs_no_inference(make):
    slot, outcomes = Slot(Session()), Outcomes()
    slot.session.go.clear()
    engine = make(slot)
    engine.submit(job(slot, outcomes, 0))
    assert slot.session.begun.acquire(timeout=PATIENCE_S)
    left = job(slot, outcomes, 1)
    engine.submit(left)
    engine.withdraw(left)
    slot.session.go.set()
    done = outcomes.wait(2)
    assert isinstance(done[1], ServeError)
    assert len(slot.session.asked) == 1


def test_a_client_that_leaves_in_the_middle_sets_the_cancel_token(make):
    slot, outcomes = Slot(Session()), Outcomes()
    slot.session.go.clear()
    engine = make(slot)
    running = job(slot, outcomes)
    engine.submit(running)
    assert slot.session.begun.acquire(timeout=PATIENCE_S)
    engine.withdraw(running)
    slot.session.go.set()
    outcomes.wait(1)
    assert slot.session.asked[0]["cancel"].is_set()


def test_who_waits_hurries_who_runs(make):
    slot, outcomes = Slot(Session()), Outcomes()
    slot.session.go.clear()
    engine = make(slot)
    for number in range(3):
        engine.submit(job(slot, outcomes, number))
        if not number:
            assert slot.session.begun.acquire(timeout=PATIENCE_S)
    slot.session.go.set()
    outcomes.wait(3)
    first, second, third = (asked["wanted_in_s"] for asked in slot.session.asked)
    assert first is None
    assert second < 1e-5
    assert third is None


def test_the_clocks_for_the_wait_are_chosen_once_nobody_waits(make):
    slot, outcomes = Slot(Session()), Outcomes()
    slot.session.go.clear()
    engine = make(slot)
    for number in range(3):
        engine.submit(job(slot, outcomes, number))
    slot.session.go.set()
    outcomes.wait(3)
    assert slot.session.rested.acquire(timeout=PATIENCE_S)
    assert not slot.session.rested.acquire(timeout=0.01)


def test_a_full_queue_refuses(make):
    slot, outcomes = Slot(Session()), Outcomes()
    slot.session.go.clear()
    engine = make(slot, limit=1)
    engine.submit(job(slot, outcomes, 0))
    assert slot.session.begun.acquire(timeout=PATIENCE_S)
    engine.submit(job(slot, outcomes, 1))
    with pytest.raises(Refused, match="queue is full"):
        engine.submit(job(slot, outcomes, 2))


def test_a_call_runs_on_the_engines_thread_and_brings_its_result_or_error_back(make):
    engine = make()
    assert engine.call(lambda: threading.current_thread().name).result(PATIENCE_S) == "edgeexit-engine"
    with pytest.raises(ZeroDivisionError):
        engine.call(lambda: 1 // 0).result(PATIENCE_S)
    assert engine.alive


def test_the_work_of_one_bundle_is_no_idle_time_of_another(make):
    busy, idle, outcomes = Slot(Session()), Slot(Session()), Outcomes()
    make(busy, idle).submit(job(busy, outcomes))
    outcomes.wait(1)
    assert len(idle.session.apart_s) == 1
    assert busy.session.apart_s == []
    assert busy.pace.value == idle.session.apart_s[0]


def test_clocks_are_given_back_when_nobody_asks_any_more(make, hold, monkeypatch):
    monkeypatch.setattr(engine_module, "IDLE_S", 0.01)
    slot, outcomes = Slot(Session()), Outcomes()
    engine = make(slot)
    assert not hold.given_back.is_set()
    engine.submit(job(slot, outcomes))
    assert hold.given_back.wait(PATIENCE_S)


def test_a_close_answers_what_runs_and_refuses_what_waits(make):
    slot, outcomes = Slot(Session()), Outcomes()
    slot.session.go.clear()
    engine = make(slot)
    engine.submit(job(slot, outcomes, 0))
    assert slot.session.begun.acquire(timeout=PATIENCE_S)
    engine.submit(job(slot, outcomes, 1))
    closing = threading.Thread(target=engine.close)
    closing.start()
    assert isinstance(outcomes.wait(1)[1], Refused)
    slot.session.go.set()
    closing.join(PATIENCE_S)
    assert outcomes.wait(1)[0].model == "m"
    assert not engine.alive
    with pytest.raises(Refused, match="being stopped"):
        engine.submit(job(slot, outcomes, 2))
