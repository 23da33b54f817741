import threading
from math import inf

import pytest

from edgeexit.clock import ManualClock
from edgeexit.errors import EngineError
from edgeexit.runtime.idling import IdleWorker, Turn

LONG_S = 60.0


class Runs:
    """Stands for shadow runs: tells when a segment has begun, and ends it when it is told to."""

    def __init__(self, clock=None, error=None):
        self.waiting = 1
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.asked = []
        self.stopped = []
        self.error = error

    def work(self, until_s, stop):
        self.asked.append(until_s)
        self.begun.set()
        assert self.may_end.wait(LONG_S)
        self.stopped.append(stop())
        self.waiting = 0
        if self.error is not None:
            raise self.error
        return 1


@pytest.fixture
def clock():
    clock = ManualClock()
    clock.advance_s(100.0)
    return clock


def start(runs, turn, clock):
    worker = IdleWorker(runs, turn, clock, quiet_s=0.001)
    worker.wake()
    return worker


def test_an_inference_has_its_turn_as_soon_as_the_segment_that_runs_has_ended(clock):
    runs, turn = Runs(), Turn()
    worker = start(runs, turn, clock)
    assert runs.begun.wait(LONG_S)
    had = threading.Event()

    def infer():
        with turn:
            had.set()

    session = threading.Thread(target=infer)
    session.start()
    while not turn.is_wanted():
        pass
    assert not had.is_set()
    runs.may_end.set()
    assert had.wait(LONG_S)
    session.join()
    worker.close()
    assert runs.stopped == [True]


def test_idle_work_does_not_begin_while_an_inference_runs():
    turn = Turn()
    with turn:
        assert not turn.take_if_free()
    assert turn.take_if_free()
    turn.give_back()
    with turn:
        pass


def test_no_segment_may_last_beyond_the_next_request(clock):
    runs, turn = Runs(), Turn()
    turn.ended_s, turn.next_request_s = 99.0, 100.5
    runs.may_end.set()
    worker = start(runs, turn, clock)
    assert runs.begun.wait(LONG_S)
    worker.close()
    assert runs.asked == [100.5]


def test_where_no_request_is_expected_there_is_no_limit(clock):
    runs, turn = Runs(), Turn()
    turn.ended_s = 99.0
    runs.may_end.set()
    worker = start(runs, turn, clock)
    assert runs.begun.wait(LONG_S)
    worker.close()
    assert runs.asked == [inf]


@pytest.mark.parametrize(("ended_s", "next_request_s"), [(100.0, None), (98.0, 100.0)])
def test_it_waits_until_the_session_has_been_quiet(clock, ended_s, next_request_s):
    """Nothing begins right after an inference, nor when the next is due; 1 ms later it does."""
    runs, turn = Runs(), Turn()
    turn.ended_s, turn.next_request_s = ended_s, next_request_s
    runs.may_end.set()
    worker = start(runs, turn, clock)
    assert not runs.begun.wait(0.05)
    clock.advance_s(0.002)
    assert runs.begun.wait(LONG_S)
    worker.close()
    assert runs.asked == [inf]


def test_a_run_that_fails_ends_neither_the_thread_nor_the_session(clock, caplog):
    runs, turn = Runs(error=EngineError("out of memory")), Turn()
    runs.may_end.set()
    worker = start(runs, turn, clock)
    assert runs.begun.wait(LONG_S)
    runs.error, runs.begun = None, threading.Event()
    runs.waiting = 1
    worker.wake()
    assert runs.begun.wait(LONG_S)
    worker.close()
    with turn:
        pass


def test_closing_stops_the_thread_and_none_is_started_any_more(clock):
    runs, turn = Runs(), Turn()
    worker = IdleWorker(runs, turn, clock, quiet_s=0.001)
    worker.close()
    worker.wake()
    assert not runs.begun.wait(0.02)
    worker.close()
