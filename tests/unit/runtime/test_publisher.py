from threading import Event, current_thread

from edgeexit.protocols import Decision
from edgeexit.runtime.learning import LearnedCosts
from edgeexit.runtime.publishing import Publisher
from edgeexit.testing.observations import make_cost_table


class Preparing:
    """A governor that prepares once it is let."""

    name = "preparing"

    def __init__(self, error=None):
        self.may = Event()
        self.may.set()
        self.error = error
        self.prepared = []

    def decide(self, observation):
        return Decision({})

    def prepare(self, cost_table, operating_points, looks_at_every_exit):
        assert self.may.wait(10.0)
        self.prepared.append((cost_table, current_thread().name, looks_at_every_exit))
        if self.error is not None:
            raise self.error


class Plain:
    """A governor that has nothing to prepare."""

    name = "plain"

    def decide(self, observation):
        return Decision({})


def correction():
    costs = LearnedCosts(make_cost_table())
    costs.observe(0, 0.01, 0.02)
    return costs.propose()


def test_where_nobody_waits_the_table_is_ready_at_once():
    governor, offered = Preparing(), correction()
    publisher = Publisher(governor, {}, background=False)
    publisher.offer(offered, True)
    assert publisher.take() is offered
    assert governor.prepared == [(offered.table, "MainThread", True)]
    assert not publisher.busy


def test_a_table_is_taken_once():
    publisher = Publisher(None, {}, background=False)
    publisher.offer(correction(), True)
    assert publisher.busy
    publisher.take()
    assert publisher.take() is None


def test_in_the_background_the_table_comes_when_it_is_ready():
    governor, offered = Preparing(), correction()
    publisher = Publisher(governor, {}, background=True)
    governor.may.clear()
    publisher.offer(offered, False)
    assert publisher.take() is None
    assert publisher.busy
    governor.may.set()
    publisher.close()
    assert publisher.take() is offered
    assert governor.prepared == [(offered.table, "edgeexit-costs", False)]


def test_a_governor_that_does_not_prepare_needs_no_thread():
    publisher, offered = Publisher(Plain(), {}, background=True), correction()
    publisher.offer(offered, True)
    assert publisher.take() is offered


def test_a_governor_that_fails_to_prepare_still_gets_the_table(caplog):
    publisher, offered = Publisher(Preparing(ArithmeticError("a test")), {}, background=True), correction()
    publisher.offer(offered, True)
    publisher.close()
    assert publisher.take() is offered
    assert "could not prepare" in caplog.text
