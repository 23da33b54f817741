"""What clockd does with its clients' requests."""

import errno
import warnings

import pytest
from clock_machines import fail_with
from clockd_machine import CPU_POINTS, GPU, GPU_POINTS, POLICY, Desk

from edgeexit.device.lease import Lease
from edgeexit.errors import ClocksUnavailable


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def test_hello_tells_the_clocks_and_what_they_take(desk):
    assert desk.ask(desk.visitor(greeted=False), op="hello", version=1) == {
        "ok": True,
        "op": "hello",
        "version": 1,
        "silence_s": 2.0,
        "clocks": {"cpu": 600_000_000, "gpu": 306_000_000},
        "domains": {"cpu": CPU_POINTS, "gpu": GPU_POINTS},
    }


def test_another_version_is_refused(desk):
    answer = desk.ask(desk.visitor(greeted=False), op="hello", version=2)
    assert answer == {
        "ok": False,
        "op": "hello",
        "fault": "version",
        "error": "version 2 was asked for; this clockd speaks 1",
    }


@pytest.mark.parametrize("message", [{"op": "read"}, {"op": "set", "clocks": {"cpu": 750_000_000}}, {"op": "alive"}])
def test_who_has_not_said_hello_gets_nothing(desk, message):
    assert desk.ask(desk.visitor(greeted=False), **message)["fault"] == "version"
    assert desk.writes() == []


def test_set_changes_clocks_and_says_what_they_came_to(desk):
    answer = desk.ask(desk.visitor(), op="set", clocks={"cpu": 700_000_000, "gpu": 408_000_000})
    applied = {"cpu": 750_000_000, "gpu": 408_000_000}
    assert answer == {"ok": True, "op": "set", "applied": applied, "not_set": {}, "switches": 2}
    assert desk.tree.read(f"{POLICY}/scaling_setspeed") == "750000"
    assert desk.tree.read(f"{GPU}/max_freq") == "408000000"


def test_what_is_set_already_counts_as_applied(desk):
    visitor = desk.visitor()
    desk.ask(visitor, op="set", clocks={"cpu": 750_000_000})
    answer = desk.ask(visitor, op="set", clocks={"cpu": 750_000_000})
    assert (answer["applied"], answer["switches"]) == ({"cpu": 750_000_000}, 0)


def test_read_tells_the_present_clocks(desk):
    visitor = desk.visitor()
    desk.ask(visitor, op="set", clocks={"cpu": 1_000_000_000})
    assert desk.ask(visitor, op="read")["clocks"] == {"cpu": 1_000_000_000, "gpu": 306_000_000}


@pytest.mark.parametrize(
    ("clocks", "fault"),
    [
        ({"npu": 600_000_000}, "unknown-domain"),
        ({"cpu": 750_000_000, "npu": 600_000_000}, "unknown-domain"),
        ({"cpu": 599_999_999}, "out-of-range"),
        ({"gpu": 408_000_000, "cpu": 1_500_000_001}, "out-of-range"),
    ],
)
def test_a_request_of_which_a_part_cannot_be_done_changes_nothing(desk, clocks, fault):
    answer = desk.ask(desk.visitor(), op="set", clocks=clocks)
    assert (answer["ok"], answer["fault"]) == (False, fault)
    assert desk.writes() == []
    assert desk.handler.holder is None


def test_one_client_at_a_time_may_set(desk):
    first, second = desk.visitor(), desk.visitor()
    desk.ask(first, op="set", clocks={"cpu": 750_000_000})
    answer = desk.ask(second, op="set", clocks={"cpu": 1_500_000_000})
    assert answer["fault"] == "busy"
    assert answer["error"] == "process 4711 of user 1000 holds the clocks; they are free when it ends"
    assert desk.ask(second, op="read")["clocks"]["cpu"] == 750_000_000


def test_after_a_release_another_may_set(desk):
    first, second = desk.visitor(), desk.visitor()
    before = desk.settings()
    desk.ask(first, op="set", clocks={"cpu": 750_000_000})
    assert desk.ask(first, op="release") == {"ok": True, "op": "release"}
    assert desk.settings() == before
    assert desk.ask(second, op="set", clocks={"cpu": 1_500_000_000})["ok"]


def test_who_does_not_hold_the_clocks_cannot_release_them(desk):
    first, second = desk.visitor(), desk.visitor()
    desk.ask(first, op="set", clocks={"cpu": 750_000_000})
    desk.ask(second, op="release")
    assert desk.handler.holder is first


def test_alive_says_whether_the_client_holds_the_clocks(desk):
    first, second = desk.visitor(), desk.visitor()
    desk.ask(first, op="set", clocks={"cpu": 750_000_000})
    assert desk.ask(first, op="alive")["holds"] is True
    assert desk.ask(second, op="alive")["holds"] is False


def test_the_clocks_come_back_when_the_holder_leaves(desk):
    before, visitor = desk.settings(), desk.visitor()
    desk.ask(visitor, op="set", clocks={"cpu": 1_500_000_000, "gpu": 612_000_000})
    assert desk.settings() != before
    desk.handler.leave(visitor, "has gone")
    assert desk.settings() == before
    assert not (desk.run_folder / "lease.json").exists()


def test_every_message_counts_as_a_sign_of_life(desk):
    visitor = desk.visitor()
    desk.ask(visitor, op="set", clocks={"cpu": 750_000_000})
    assert desk.handler.silent_at_s == 102.0
    desk.now_s = 101.0
    desk.send(visitor, b"?")
    assert desk.handler.silent_at_s == 103.0


def test_a_clock_that_has_vanished_does_not_hold_the_other_back(desk):
    visitor = desk.visitor()
    desk.tree.remove_devfreq(desk.tree.devfreqs[0])
    answer = desk.ask(visitor, op="set", clocks={"gpu": 408_000_000, "cpu": 750_000_000})
    assert answer["applied"] == {"cpu": 750_000_000}
    assert answer["not_set"] == {"gpu": "it cannot be set for now: busy, refused, or its device away"}
    assert desk.ask(visitor, op="read")["clocks"] == {"cpu": 750_000_000}


def test_a_clock_that_vanishes_while_it_is_held_does_not_stop_the_giving_back(desk):
    visitor = desk.visitor()
    before = desk.settings()
    desk.ask(visitor, op="set", clocks={"gpu": 408_000_000, "cpu": 750_000_000})
    desk.tree.remove_devfreq(desk.tree.devfreqs[0])
    desk.handler.leave(visitor, "has gone")
    assert {path: text for path, text in desk.settings().items() if path.startswith(POLICY)} == {
        path: text for path, text in before.items() if path.startswith(POLICY)
    }
    assert desk.ask(desk.visitor(), op="set", clocks={"cpu": 750_000_000})["ok"]


def test_where_nothing_can_be_journalled_no_clock_is_set_and_the_client_is_told(desk):
    desk.run_folder.rmdir() if desk.run_folder.exists() else None
    desk.run_folder.write_text("a file where the folder should be", encoding="utf-8")
    answer = desk.ask(desk.visitor(), op="set", clocks={"cpu": 750_000_000})
    assert answer["fault"] == "unavailable"
    assert "cannot be kept in" in answer["error"]
    assert desk.writes() == []
    assert desk.handler.holder is None


def test_once_it_can_be_journalled_again_clocks_are_set_again(desk):
    visitor = desk.visitor()
    desk.run_folder.write_text("a file where the folder should be", encoding="utf-8")
    desk.ask(visitor, op="set", clocks={"cpu": 750_000_000})
    desk.run_folder.unlink()
    assert desk.ask(visitor, op="set", clocks={"cpu": 750_000_000})["fault"] == "unavailable"
    desk.now_s += 1.0
    assert desk.ask(visitor, op="set", clocks={"cpu": 750_000_000})["ok"]


def test_while_another_edgeexit_holds_the_clocks_none_is_set(desk):
    with Lease(desk.device.domains, journal=desk.clocks._journal(), clock=desk.device.clock) as other:
        other.set({"cpu": 1_500_000_000})
        answer = desk.ask(desk.visitor(), op="set", clocks={"cpu": 750_000_000})
        assert answer["fault"] == "unavailable"
        assert "holds the clocks of this machine" in answer["error"]
        assert desk.tree.read(f"{POLICY}/scaling_setspeed") == "1500000"


def test_a_clock_that_cannot_be_put_back_is_tried_again(desk, monkeypatch):
    before, visitor = desk.settings(), desk.visitor()
    desk.ask(visitor, op="set", clocks={"gpu": 408_000_000})
    with monkeypatch.context() as patch:
        patch.setattr(desk.tree, "sys_write", fail_with(errno.EIO))
        desk.handler.leave(visitor, "has gone")
        assert desk.clocks.due_s == 101.0
        desk.clocks.tidy()
    assert desk.settings() != before
    desk.clocks.tidy()
    assert desk.settings() == before
    assert desk.clocks.due_s is None


def test_an_unforeseen_failure_is_answered_and_the_clocks_come_back(desk, monkeypatch):
    before, visitor = desk.settings(), desk.visitor()
    desk.ask(visitor, op="set", clocks={"cpu": 750_000_000})

    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Lease, "set", fail)
    answer = desk.ask(visitor, op="set", clocks={"cpu": 1_500_000_000})
    assert answer == {"ok": False, "op": "set", "fault": "unavailable", "error": "clockd failed at this: see its log"}
    assert desk.settings() == before
    assert desk.handler.holder is None


def test_no_warning_leaves_clockd(desk):
    desk.run_folder.write_text("a file where the folder should be", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ClocksUnavailable)
        assert not desk.ask(desk.visitor(), op="set", clocks={"cpu": 750_000_000})["ok"]
