import logging
import os
import threading

import pytest
from clock_machines import a_machine, journal_of, knob_texts

from edgeexit.device.cpufreq import find_cpufreq
from edgeexit.device.lease import Lease
from edgeexit.device.writer import ClockWriter
from edgeexit.errors import ClockBusy, ClocksUnavailable, DeviceError
from edgeexit.protocols import Applied

LONG_S = 60.0
"""Longer than anything here takes; a test that waits so long has failed."""


class BlockedDomain:
    """A domain whose driver takes until it is let go; it notes who reads and writes it."""

    operating_points_hz = (100, 200, 300)
    knobs = ()
    name = "gpu"

    def __init__(self, *, blocked=False):
        self.hz = 100
        self.writes = []
        self.readers = set()
        self.entered = threading.Event()
        self.go = threading.Event()
        self.fail_with = None
        if not blocked:
            self.go.set()

    def read_hz(self):
        self.readers.add(threading.current_thread().name)
        return self.hz

    def set_hz(self, frequency_hz):
        self.entered.set()
        assert self.go.wait(LONG_S)
        error, self.fail_with = self.fail_with, None
        if error is not None:
            raise error
        self.writes.append(frequency_hz)
        self.hz = frequency_hz
        return Applied(frequency_hz, frequency_hz, "read back", 0.0)


@pytest.fixture
def gpu():
    return BlockedDomain()


@pytest.fixture
def blocked():
    domain = BlockedDomain(blocked=True)
    yield domain
    domain.go.set()


def writer_of(domain):
    return ClockWriter(Lease({"gpu": domain}), ("gpu",))


def test_a_wish_is_handed_over_and_written(gpu):
    writer = writer_of(gpu)
    assert writer.set({"gpu": 300}) == ()
    writer.wait()
    assert gpu.hz == 300
    assert writer.switch_count == 1
    writer.close()


def test_a_driver_that_blocks_does_not_keep_who_asks(blocked):
    writer = writer_of(blocked)
    writer.set({"gpu": 300})
    assert blocked.entered.wait(LONG_S)
    writer.set({"gpu": 200})  # returns, or the test would never end: the driver is let go below
    assert blocked.writes == []
    assert writer.read_clocks() == {"gpu": 100}
    blocked.go.set()
    writer.close()


def test_of_wishes_that_come_meanwhile_the_last_one_counts(blocked):
    writer = writer_of(blocked)
    writer.set({"gpu": 300})
    assert blocked.entered.wait(LONG_S)
    for hz in (200, 100, 300, 200):
        writer.set({"gpu": hz})
    blocked.go.set()
    writer.wait()
    assert blocked.writes == [300, 200]
    writer.close()


def test_the_last_wish_for_each_domain_counts():
    gpu, cpu = BlockedDomain(blocked=True), BlockedDomain()
    with ClockWriter(Lease({"gpu": gpu, "cpu": cpu}), ("gpu", "cpu")) as writer:
        writer.set({"gpu": 300})
        assert gpu.entered.wait(LONG_S)
        writer.set({"gpu": 200})
        writer.set({"cpu": 300})
        gpu.go.set()
        writer.wait()
        assert (gpu.hz, cpu.hz) == (200, 300)


def test_reading_the_clocks_never_touches_a_driver(blocked):
    writer = writer_of(blocked)
    blocked.readers.clear()
    writer.set({"gpu": 300})
    assert blocked.entered.wait(LONG_S)
    for _ in range(100):
        assert writer.read_clocks() == {"gpu": 100}
    assert threading.current_thread().name not in blocked.readers
    blocked.go.set()
    writer.wait()
    assert writer.read_clocks() == {"gpu": 300}
    assert blocked.readers == {"edgeexit-clocks"}
    writer.close()


def test_clocks_that_somebody_else_changes_are_seen_after_a_while(gpu):
    writer = writer_of(gpu)
    writer.set({"gpu": 300})
    writer.wait()
    gpu.hz = 200
    pause = threading.Event()
    for _ in range(6000):
        if writer.read_clocks() == {"gpu": 200}:
            break
        pause.wait(0.01)
    assert writer.read_clocks() == {"gpu": 200}
    writer.close()


def test_no_thread_is_started_before_somebody_asks(gpu):
    before = threading.active_count()
    with writer_of(gpu) as writer:
        assert threading.active_count() == before
        writer.wait()
    assert gpu.writes == []


def test_closing_writes_what_is_wanted_and_then_gives_it_back(blocked):
    writer = writer_of(blocked)
    writer.set({"gpu": 300})
    assert blocked.entered.wait(LONG_S)
    writer.set({"gpu": 200})
    blocked.go.set()
    writer.close()
    assert blocked.writes == [300, 200, 100]
    assert blocked.hz == 100


def test_closing_ends_the_thread_and_closing_twice_does_nothing_more(gpu):
    writer = writer_of(gpu)
    writer.set({"gpu": 300})
    writer.close()
    writer.close()
    assert gpu.writes == [300, 100]
    assert "edgeexit-clocks" not in {thread.name for thread in threading.enumerate()}


def test_a_closed_writer_takes_no_wish(gpu):
    writer = writer_of(gpu)
    writer.close()
    with pytest.raises(DeviceError, match="closed"):
        writer.set({"gpu": 300})
    writer.wait()


def test_an_unknown_domain_is_refused_and_nothing_is_set(gpu):
    with writer_of(gpu) as writer:
        with pytest.raises(DeviceError, match="no clock domain is called 'npu'; there are: gpu"):
            writer.set({"npu": 300, "gpu": 300})
        writer.wait()
        assert gpu.writes == []


def test_a_machine_without_clocks_says_so():
    with ClockWriter(Lease({}), ()) as writer, pytest.raises(DeviceError, match="there are: none"):
        writer.set({"gpu": 300})


@pytest.mark.parametrize("error", [ClockBusy("not now"), ZeroDivisionError("a driver with a bug"), OSError(5, "odd")])
def test_an_error_in_a_driver_ends_neither_inference_nor_the_thread(gpu, error, caplog):
    with writer_of(gpu) as writer:
        gpu.fail_with = error
        writer.set({"gpu": 300})
        writer.wait()
        assert gpu.writes == []
        writer.set({"gpu": 200})
        writer.wait()
        assert gpu.hz == 200
    assert gpu.hz == 100
    assert [record.levelno >= logging.WARNING for record in caplog.records] == [True]


def test_a_lease_that_was_closed_by_the_end_of_python_keeps_nobody_waiting(blocked):
    lease = Lease({"gpu": blocked})
    writer = ClockWriter(lease, ("gpu",))
    blocked.go.set()
    writer.set({"gpu": 300})
    writer.wait()
    lease.close()
    writer.set({"gpu": 200})
    writer.wait()
    assert blocked.hz == 100
    with pytest.raises(DeviceError, match="closed"):
        writer.set({"gpu": 200})
    writer.close()


def test_a_clock_that_cannot_be_set_is_warned_of_once(tmp_path):
    tree = a_machine()
    tree.add_cpufreq_policy(0)
    tree.as_user(True)
    domains = {domain.name: domain for domain in find_cpufreq(tree)}
    writer = ClockWriter(Lease(domains, journal=journal_of(tree, tmp_path / "run")), tuple(domains))

    def ask():
        for hz in (1_000_000_000, 600_000_000):
            writer.set({"cpu": hz})
            writer.wait()

    with pytest.warns(ClocksUnavailable, match="Permission denied") as caught:
        ask()
    assert len(caught) == 1
    writer.close()


def test_a_real_clock_is_given_back_by_the_writer(tmp_path):
    tree = a_machine()
    policy = tree.add_cpufreq_policy(0)
    before = knob_texts(tree)
    domains = {domain.name: domain for domain in find_cpufreq(tree)}
    with ClockWriter(Lease(domains, journal=journal_of(tree, tmp_path / "run")), tuple(domains)) as writer:
        for hz in (1_000_000_000, 600_000_000, 1_500_000_000):
            writer.set({"cpu": hz})
        writer.wait()
        assert policy.cur_khz == 1_500_000
    assert knob_texts(tree) == before


def test_a_forked_child_ends_though_the_parents_thread_held_the_lock(blocked):
    writer = writer_of(blocked)
    writer.set({"gpu": 300})
    assert blocked.entered.wait(LONG_S)  # the thread is in the driver, with the lease's lock
    child = os.fork()
    if child == 0:
        writer.read_clocks()
        writer.close()
        os._exit(len(blocked.writes))
    assert os.waitpid(child, 0)[1] == 0
    blocked.go.set()
    writer.close()
    assert blocked.writes == [300, 100]
