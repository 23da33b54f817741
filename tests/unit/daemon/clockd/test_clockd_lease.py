"""The lease of a process that may not write clocks: clockd sets them, or nobody, and inference never waits."""

import os

import pytest
from clockd_machine import Desk, ask, connected, open_files, served, until, warned

from edgeexit.daemon.clockd.access import Access
from edgeexit.daemon.clockd.client import ClockdLease
from edgeexit.daemon.clockd.dialogue import Dialogue
from edgeexit.errors import DeviceError

LONG_S = 30.0


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clockd.sock"


@pytest.fixture
def lease_on(desk, path):
    """Makes leases, and closes them in the end."""
    leases = []

    def make():
        leases.append(ClockdLease(path, desk.device.domains))
        return leases[-1]

    yield make
    for lease in leases:
        lease.close()


def test_a_wish_is_set_by_clockd(desk, path, lease_on):
    with served(desk, path):
        lease = lease_on()
        lease.set({"cpu": 750_000_000})
        assert lease.wait(LONG_S)
        assert (lease.state, lease.reason) == ("connected", "")
        assert desk.clocks.read() == {"cpu": 750_000_000, "gpu": 306_000_000}
        assert lease.switch_count == 1


def test_the_clocks_can_be_read_at_once(desk, path, lease_on):
    with served(desk, path):
        assert lease_on().read_clocks() == {"cpu": 600_000_000, "gpu": 306_000_000}


def test_the_clocks_are_read_again_after_a_wish(desk, path, lease_on):
    with served(desk, path):
        lease = lease_on()
        lease.set({"cpu": 1_500_000_000, "gpu": 612_000_000})
        assert lease.wait(LONG_S)
        assert lease.read_clocks() == {"cpu": 1_500_000_000, "gpu": 612_000_000}


def test_what_others_change_is_seen_while_somebody_reads(desk, path, lease_on):
    with served(desk, path):
        lease = lease_on()
        desk.device.domains["cpu"].set_hz(1_000_000_000)
        assert until(lambda: lease.read_clocks()["cpu"] == 1_000_000_000)


def test_a_wish_beyond_clockds_limits_is_cut_to_them(desk, path, lease_on):
    with served(desk, path):
        lease = lease_on()
        lease.set({"cpu": 9_000_000_000})
        assert lease.wait(LONG_S)
        assert desk.clocks.read()["cpu"] == 1_500_000_000


def test_closing_gives_the_clocks_back(desk, path, lease_on):
    before = desk.settings()
    with served(desk, path):
        lease = lease_on()
        lease.set({"cpu": 750_000_000})
        assert lease.wait(LONG_S)
        assert desk.settings() != before
        lease.close()
        assert desk.settings() == before


def test_a_lease_may_be_closed_twice_and_leaves_nothing_open(desk, path):
    with served(desk, path):
        before = open_files()
        for _ in range(5):
            lease = ClockdLease(path, desk.device.domains)
            lease.set({"cpu": 750_000_000})
            lease.close()
            lease.close()
            lease.restore()
        assert until(lambda: open_files() <= before)


def test_restoring_gives_the_clocks_back_until_the_next_wish(desk, path, lease_on):
    before = desk.settings()
    with served(desk, path):
        lease = lease_on()
        lease.set({"cpu": 750_000_000})
        lease.restore()
        assert lease.wait(LONG_S)
        assert desk.settings() == before
        lease.set({"cpu": 750_000_000})
        assert lease.wait(LONG_S)
        assert desk.settings() != before


def test_a_domain_that_the_machine_does_not_have_is_an_error(lease_on):
    with pytest.raises(DeviceError, match="no clock domain is called 'npu'"):
        lease_on().set({"npu": 1})


def test_a_closed_lease_takes_no_wishes(lease_on):
    lease = lease_on()
    lease.close()
    with pytest.raises(DeviceError, match="closed"):
        lease.set({"cpu": 750_000_000})


def test_without_clockd_the_clocks_are_only_observed_with_one_warning(desk, lease_on):
    with warned() as texts:
        lease = lease_on()
        for hz in (750_000_000, 1_500_000_000, 600_000_000):
            lease.set({"cpu": hz})
            assert lease.wait(LONG_S)
    assert len(texts) == 1
    assert "clockd is not reachable" in texts[0]
    assert lease.state == "not reachable"
    assert "clockd.sock" in lease.reason
    assert lease.read_clocks()["cpu"] == 600_000_000
    assert desk.writes() == []


def test_a_lease_that_wishes_nothing_does_not_warn(lease_on):
    lease = lease_on()  # a warning would be an error: see pyproject.toml
    assert lease.wait(LONG_S)
    assert lease.state == "not reachable"


def test_once_clockd_is_there_the_last_wish_is_set(desk, path, lease_on):
    with warned() as texts:
        lease = lease_on()
        lease.set({"cpu": 750_000_000})
        lease.set({"cpu": 1_000_000_000})
        assert lease.wait(LONG_S)
    assert len(texts) == 1
    with served(desk, path):
        assert until(
            lambda: desk.tree.read_or_none("/sys/devices/system/cpu/cpufreq/policy0/scaling_setspeed") == "1000000"
        )
        assert until(lambda: lease.state == "connected")


def test_after_clockd_has_ended_and_come_back_the_last_wish_is_set_again(desk, path, lease_on):
    before = desk.settings()
    with warned() as texts:
        with served(desk, path):
            lease = lease_on()
            lease.set({"cpu": 1_000_000_000, "gpu": 612_000_000})
            assert lease.wait(LONG_S)
            held = desk.settings()
        assert desk.settings() == before
        assert until(lambda: lease.state == "not reachable")
        with served(desk, path):
            assert until(lambda: desk.settings() == held)
            assert until(lambda: lease.state == "connected")
    assert len(texts) == 1


def test_while_another_client_holds_the_clocks_it_waits_for_its_turn(desk, path, lease_on):
    with served(desk, path), warned() as texts:
        with connected(path) as other:
            ask(other, op="set", clocks={"cpu": 1_500_000_000})
            lease = lease_on()
            lease.set({"cpu": 750_000_000})
            assert lease.wait(LONG_S)
            assert lease.state == "busy"
            assert "holds the clocks" in lease.reason
            assert desk.clocks.read()["cpu"] == 1_500_000_000
        assert until(lambda: desk.clocks.read()["cpu"] == 750_000_000)
        assert until(lambda: lease.state == "connected")
    assert "clockd is busy" in texts[0]


def test_who_is_turned_away_knows_it(desk, path, lease_on):
    with served(desk, path, access=Access(frozenset(), frozenset())):
        with warned() as texts:
            lease = lease_on()
            lease.set({"cpu": 750_000_000})
            assert lease.wait(LONG_S)
        assert lease.state == "refused"
        assert "may not set clocks" in texts[0]


def test_a_hold_that_clockd_has_ended_is_taken_again(tmp_path, path):
    desk = Desk(tmp_path, silence_s=0.4)
    with served(desk, path) as server, ClockdLease(path, desk.device.domains) as lease:
        lease.set({"cpu": 750_000_000})
        assert lease.wait(LONG_S)
        server._handler.leave(server._handler.holder, "was silent")
        assert desk.clocks.read()["cpu"] == 600_000_000
        assert until(lambda: desk.clocks.read()["cpu"] == 750_000_000)
        assert until(lambda: lease.switch_count == 2)
    desk.close()


def test_where_clockd_can_set_nothing_it_says_so_and_is_asked_again(desk, path, lease_on):
    desk.run_folder.write_text("a file where the folder should be", encoding="utf-8")
    with served(desk, path):
        with warned() as texts:
            lease = lease_on()
            lease.set({"cpu": 750_000_000})
            assert lease.wait(LONG_S)
        assert lease.state == "unavailable"
        assert "clockd is unavailable" in texts[0]
        desk.run_folder.unlink()
        assert until(lambda: desk.clocks.read()["cpu"] == 750_000_000)
        assert until(lambda: lease.state == "connected")


def test_a_clock_that_cannot_be_set_is_named_and_the_others_are_set(desk, path, lease_on):
    with served(desk, path):
        lease = lease_on()
        assert lease.wait(LONG_S)
        desk.tree.remove_devfreq(desk.tree.devfreqs[0])
        lease.set({"cpu": 750_000_000, "gpu": 408_000_000})
        assert lease.wait(LONG_S)
        assert lease.state == "connected"
        assert lease.reason == "clock gpu: it cannot be set for now: busy, refused, or its device away"
        assert until(lambda: lease.read_clocks() == {"cpu": 750_000_000})


def test_of_many_wishes_the_last_one_counts(desk, path, lease_on):
    with served(desk, path):
        lease = lease_on()
        for number in range(1000):
            lease.set({"cpu": 750_000_000 if number % 2 else 1_500_000_000})
        assert lease.wait(LONG_S)
        assert desk.clocks.read()["cpu"] == 750_000_000


def test_a_forked_child_speaks_for_itself_and_leaves_its_parents_hold_alone(desk, path, lease_on):
    with served(desk, path):
        lease = lease_on()
        lease.set({"cpu": 750_000_000})
        assert lease.wait(LONG_S)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                lease.set({"cpu": 1_500_000_000})
                code = 0 if lease.wait(LONG_S) and lease.state == "busy" else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert desk.clocks.read()["cpu"] == 750_000_000


def test_nobody_is_asked_before_a_try_is_due(tmp_path):
    now = [100.0]
    dialogue = Dialogue(tmp_path / "nobody", lambda: now[0])
    tries = []
    for _ in range(6):
        dialogue.turn({"cpu": 1}, anew=False)
        tries.append(round(dialogue.due_s({"cpu": 1}) - now[0], 6))
        now[0] = dialogue.due_s({"cpu": 1})
    assert tries == [0.05, 0.1, 0.2, 0.25, 0.25, 0.25]
