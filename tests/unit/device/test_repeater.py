import threading

import pytest

from edgeexit.device.repeater import Repeater

LONG_S = 3600.0
PATIENCE_S = 30.0


@pytest.fixture
def stepped():
    return threading.Event()


def test_nothing_is_called_before_the_start(stepped):
    Repeater(stepped.set, LONG_S, "idle")
    assert not stepped.is_set()


def test_it_steps_at_once_and_in_a_daemon_thread_of_its_name(stepped):
    seen = []

    def step():
        seen.append(threading.current_thread())
        stepped.set()

    repeater = Repeater(step, LONG_S, "meter VDD_IN")
    repeater.start()
    assert stepped.wait(PATIENCE_S)
    assert seen[0].name == "meter VDD_IN"
    assert seen[0].daemon
    repeater.close()
    assert not seen[0].is_alive()


def test_it_steps_again_and_again():
    steps = []
    third = threading.Event()

    def step():
        steps.append(1)
        if len(steps) == 3:
            third.set()

    repeater = Repeater(step, 0.0, "busy")
    repeater.start()
    assert third.wait(PATIENCE_S)
    repeater.close()


def test_a_second_start_makes_no_second_thread(stepped):
    repeater = Repeater(stepped.set, LONG_S, "only one of me")
    repeater.start()
    repeater.start()
    assert [thread.name for thread in threading.enumerate()].count("only one of me") == 1
    repeater.close()


def test_a_start_after_the_close_does_nothing(stepped):
    repeater = Repeater(stepped.set, LONG_S, "closed")
    repeater.close()
    repeater.close()
    repeater.start()
    assert "closed" not in [thread.name for thread in threading.enumerate()]
    assert not stepped.is_set()


def test_a_step_that_fails_is_logged_once_and_called_again(caplog):
    third = threading.Event()
    steps = []

    def fail():
        steps.append(1)
        if len(steps) == 3:
            third.set()
        raise ZeroDivisionError

    repeater = Repeater(fail, 0.0, "meter VDD_IN")
    repeater.start()
    assert third.wait(PATIENCE_S)
    repeater.close()
    assert caplog.text.count("meter VDD_IN failed and goes on") == 1


def test_a_step_may_close_what_calls_it():
    done = threading.Event()

    def close():
        repeater.close()
        done.set()

    repeater = Repeater(close, 0.0, "closes itself")
    repeater.start()
    assert done.wait(PATIENCE_S)
