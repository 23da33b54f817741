"""Retries and deadlines of a call, with a clock and a server that the test plays."""

import pytest

from edgeexit.client.exchange import Call, Persistence, Reply, Send, Unreached, Wait, persist
from edgeexit.errors import (
    BundleError,
    DeadlinePassed,
    Denied,
    InputError,
    ModelNotFound,
    ModelNotReady,
    OptionError,
    Refused,
    ServeError,
)

OK = Reply(200, {}, b"{}")
NOBODY = Unreached("nobody listens", never_sent=True)
BROKEN = Unreached("the connection broke", never_sent=False)
BUSY = Reply(503, {"retry-after": "1"}, b'{"error": "the queue is full", "retry_after_s": 0.2}')


class Played:
    """Runs a call: `outcomes` come one after the other, each after `takes_s`; waits pass at once."""

    def __init__(self, *outcomes, takes_s=0.0, draw=0.0, **options):
        self.now_s = 100.0
        self.sent = []
        self.waited_s = []
        self._outcomes = list(outcomes)
        self._takes_s = takes_s
        self._persistence = Persistence(now_s=lambda: self.now_s, draw=lambda: draw, **options)

    def run(self, call):
        steps, outcome = persist(call, self._persistence), None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                return done.value
            outcome = self._do(step)

    def _do(self, step):
        if isinstance(step, Wait):
            self.now_s += step.for_s
            self.waited_s.append(step.for_s)
            return None
        assert isinstance(step, Send)
        self.sent.append(step)
        self.now_s += self._takes_s
        return self._outcomes.pop(0)


def asking(budget_s=None):
    return Call("POST", "/infer", lambda left_s: ({}, repr(left_s).encode()), budget_s)


def budgets(played):
    return [float(step.body) for step in played.sent]


def test_the_first_good_reply_is_returned():
    played = Played(OK)
    assert played.run(asking()) == OK
    assert len(played.sent) == 1


def test_a_refused_connection_is_tried_again():
    played = Played(NOBODY, NOBODY, OK)
    assert played.run(asking()) == OK
    assert len(played.sent) == 3


def test_a_call_without_an_end_to_its_bad_luck_gives_up_after_its_retries():
    played = Played(NOBODY, NOBODY, NOBODY, retries=2)
    with pytest.raises(ServeError, match="nobody listens"):
        played.run(asking())
    assert len(played.sent) == 3


def test_a_connection_that_broke_is_not_tried_again_as_the_request_may_have_had_its_effect():
    played = Played(BROKEN, OK)
    with pytest.raises(ServeError, match="broke"):
        played.run(asking())
    assert len(played.sent) == 1


def test_waits_as_long_as_the_server_asks_for():
    played = Played(BUSY, OK)
    assert played.run(asking()) == OK
    assert played.waited_s == [0.2]


def test_reads_whole_seconds_of_retry_after_where_the_body_has_no_exact_figure():
    played = Played(Reply(503, {"retry-after": "2"}, b'{"error": "full"}'), OK)
    played.run(asking())
    assert played.waited_s == [2.0]


def test_the_wait_is_drawn_below_a_bound_that_doubles_up_to_the_longest():
    played = Played(*[NOBODY] * 4, OK, retries=4, first_wait_s=0.1, longest_wait_s=0.4, draw=0.5)
    played.run(asking())
    assert played.waited_s == [0.05, 0.1, 0.2, 0.2]


def test_chance_comes_on_top_of_what_the_server_asks_for():
    played = Played(BUSY, OK, first_wait_s=0.1, draw=0.5)
    played.run(asking())
    assert played.waited_s == [0.25]


def test_a_retry_sends_what_is_left_of_the_budget():
    played = Played(BUSY, OK, takes_s=0.1)
    played.run(asking(budget_s=1.0))
    assert budgets(played) == [pytest.approx(1.0), pytest.approx(0.7)]


def test_no_retry_begins_when_the_answer_would_be_due():
    played = Played(BUSY, OK)
    with pytest.raises(Refused) as caught:
        played.run(asking(budget_s=0.2))
    assert caught.value.retry_after_s == 0.2
    assert len(played.sent) == 1
    assert played.waited_s == []


def test_no_retry_begins_after_the_timeout():
    played = Played(NOBODY, OK, takes_s=3.0, timeout_s=3.0)
    with pytest.raises(ServeError):
        played.run(asking())
    assert len(played.sent) == 1


def test_a_retry_may_take_only_what_is_left_of_the_timeout():
    played = Played(NOBODY, OK, takes_s=1.0, timeout_s=3.0)
    played.run(asking())
    assert [step.timeout_s for step in played.sent] == [3.0, 2.0]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, InputError),
        (401, Denied),
        (403, Denied),
        (404, ModelNotFound),
        (409, BundleError),
        (413, InputError),
        (422, Refused),
        (500, ServeError),
        (503, ModelNotReady),
        (504, DeadlinePassed),
    ],
)
def test_a_status_becomes_the_error_that_the_daemon_meant(status, error):
    played = Played(Reply(status, {}, b'{"error": "what is wrong"}'))
    with pytest.raises(error, match="what is wrong"):
        played.run(asking())
    assert len(played.sent) == 1


def test_a_refusal_for_good_says_that_no_other_try_is_worth_it():
    with pytest.raises(Refused) as caught:
        Played(Reply(422, {}, b'{"error": "never"}')).run(asking())
    assert caught.value.retry_after_s is None


def test_an_error_that_is_not_of_the_protocol_is_shown_as_it_came():
    with pytest.raises(ServeError, match=r"status 502.*Bad Gateway"):
        Played(Reply(502, {}, b"<h1>Bad Gateway</h1>")).run(asking())


@pytest.mark.parametrize("options", [{"timeout_s": 0.0}, {"timeout_s": float("nan")}, {"retries": -1}])
def test_refuses_options_out_of_range(options):
    with pytest.raises(OptionError):
        Persistence(**options)
