"""clockd's socket: who gets in, how fast it is read, and what becomes of the clocks when a client goes or is silent."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from clock_machines import fail_with
from clockd_machine import Desk, ask, connected, open_files, served, until

from edgeexit.daemon.clockd.access import Access
from edgeexit.daemon.clockd.listening import listening
from edgeexit.daemon.clockd.server import Limits
from edgeexit.errors import ServeError

ROOT_ALONE = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
ASK_AS_ANOTHER = """
import os, socket, sys
user, group, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
os.setgroups([group]); os.setgid(user); os.setuid(user)
client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
client.connect(path)
if len(sys.argv) == 4:
    client.send(b'{"op": "hello", "version": 1}')
print(client.recv(65536).decode(), end="")
"""
USER, GROUP = 61_001, 61_002


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clockd.sock"


@pytest.fixture
def open_path():
    """A path that any user may reach."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder / "clockd.sock"
    shutil.rmtree(folder)


def ask_as_another(path, *options):
    command = [sys.executable, "-c", ASK_AS_ANOTHER, str(USER), str(GROUP), str(path), *options]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout)


def flood(client):
    for _ in range(100_000):
        client.send(b'{"op": "hello", "version": 1}')


def hold(client):
    assert ask(client, op="set", clocks={"cpu": 1_500_000_000})["ok"]


def test_a_client_sets_clocks_over_the_socket(desk, path):
    with served(desk, path), connected(path) as client:
        answer = ask(client, op="set", clocks={"cpu": 750_000_000})
        assert answer["applied"] == {"cpu": 750_000_000}


def test_the_clocks_come_back_when_the_holders_connection_ends(desk, path):
    before = desk.settings()
    with served(desk, path), connected(path) as watcher:
        with connected(path) as client:
            hold(client)
            assert desk.settings() != before
        assert until(lambda: ask(watcher, op="read")["clocks"]["cpu"] == 600_000_000)
        assert desk.settings() == before


def test_what_a_client_sent_before_it_went_is_not_done_any_more(desk, path):
    before = desk.settings()
    with served(desk, path), connected(path) as watcher:
        with connected(path) as client:
            hold(client)
            for _ in range(50):
                client.send(b'{"op": "set", "clocks": {"cpu": 1000000000}}')
        assert until(lambda: desk.handler.holder is None and desk.settings() == before)
        assert ask(watcher, op="set", clocks={"cpu": 750_000_000})["ok"]


def test_a_silent_holder_loses_the_clocks_but_not_its_connection(tmp_path, path):
    desk = Desk(tmp_path, silence_s=0.2)
    before = desk.settings()
    with served(desk, path), connected(path) as client:
        hold(client)
        assert until(lambda: desk.settings() == before)
        assert ask(client, op="alive")["holds"] is False
        hold(client)
    desk.close()


def test_a_holder_that_says_it_is_alive_keeps_the_clocks(tmp_path, path):
    desk = Desk(tmp_path, silence_s=1.0)
    with served(desk, path), connected(path) as client:
        hold(client)
        for _ in range(30):
            time.sleep(0.05)
            assert ask(client, op="alive")["holds"]
    desk.close()


def test_an_idle_connection_is_closed(desk, path):
    with served(desk, path, limits=Limits(idle_s=0.1)), connected(path) as client:
        assert json.loads(client.recv(65536))["fault"] == "idle"
        assert client.recv(65536) == b""


def test_one_connection_too_many_is_closed(desk, path):
    two = Limits(connections=2)
    with served(desk, path, limits=two), connected(path), connected(path), connected(path, greeted=False) as third:
        assert json.loads(third.recv(65536))["fault"] == "full"
        assert third.recv(65536) == b""


def test_a_place_is_free_again_when_a_client_has_gone(desk, path):
    with served(desk, path, limits=Limits(connections=1)):
        for _ in range(5):
            with connected(path) as client:
                assert ask(client, op="alive")["ok"]


def test_a_connection_is_read_no_faster_than_its_rate(desk, path):
    with served(desk, path, limits=Limits(rate_hz=50.0, burst=10)), connected(path) as client:
        start_s = time.monotonic()
        assert all(ask(client, op="alive")["ok"] for _ in range(39))  # with the hello 30 more than the burst
        assert time.monotonic() - start_s >= 30 / 50.0 - 0.01


def test_a_client_that_is_over_its_rate_does_not_hold_up_another(desk, path):
    with served(desk, path, limits=Limits(rate_hz=0.1, burst=2)), connected(path) as greedy:
        for _ in range(10):
            greedy.send(b'{"op": "alive"}')
        with connected(path) as other:
            assert ask(other, op="alive")["ok"]


def test_a_client_that_reads_no_answers_is_parted_with(desk, path):
    with served(desk, path, limits=Limits(rate_hz=1e6, burst=10**6)), connected(path) as deaf:
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            flood(deaf)
        with connected(path) as other:
            assert ask(other, op="alive")["ok"]


@pytest.mark.parametrize("data", [b"x" * 4097, b"x" * 60_000, b"[" * 4096, b"\0"])
def test_a_malformed_packet_is_answered_and_the_connection_stays(desk, path, data):
    with served(desk, path), connected(path) as client:
        client.send(data)
        assert json.loads(client.recv(65536))["fault"] == "malformed"
        assert ask(client, op="alive")["ok"]


def test_descriptors_that_a_client_sends_along_are_not_kept(desk, path):
    with served(desk, path), connected(path) as client:
        before = open_files()
        for _ in range(20):
            socket.send_fds(client, [b'{"op": "alive"}'], [0, 0, 0])
            assert json.loads(client.recv(65536))["ok"]
        assert open_files() == before


def test_clients_that_come_and_go_leave_nothing_open(desk, path):
    with served(desk, path):
        with connected(path):
            pass
        before = open_files()
        for _ in range(100):
            with connected(path):
                pass
        assert until(lambda: open_files() <= before)


@ROOT_ALONE
def test_another_user_is_turned_away(desk, open_path):
    with served(desk, open_path, access=Access(frozenset({0, USER + 1}), frozenset())):
        answer = ask_as_another(open_path, "unasked")
        assert answer["fault"] == "denied"
        assert f"user {USER}" in answer["error"]


@ROOT_ALONE
def test_another_user_who_is_named_is_let_in(desk, open_path):
    with served(desk, open_path, access=Access(frozenset({0, USER}), frozenset())):
        assert ask_as_another(open_path)["ok"]


@ROOT_ALONE
def test_a_member_of_a_group_that_is_named_is_let_in(desk, open_path):
    with served(desk, open_path, access=Access(frozenset({0}), frozenset({GROUP}))):
        assert ask_as_another(open_path)["ok"]


@ROOT_ALONE
def test_others_cannot_even_connect_where_nobody_else_is_named(desk, open_path):
    with listening(open_path):
        assert open_path.stat().st_mode & 0o777 == 0o600


@ROOT_ALONE
def test_a_single_group_owns_the_socket(open_path):
    with listening(open_path, groups=[GROUP]):
        status = open_path.stat()
        assert (status.st_gid, status.st_mode & 0o777) == (GROUP, 0o660)


def test_where_the_socket_cannot_be_given_to_the_group_who_connects_is_looked_at_alone(path, monkeypatch):
    monkeypatch.setattr(os, "chown", fail_with(errno.EPERM))
    with listening(path, groups=[GROUP]):
        assert path.stat().st_mode & 0o777 == 0o666


def test_when_clockd_ends_its_clients_are_told_and_the_clocks_come_back(desk, path):
    before = desk.settings()
    with served(desk, path) as server, connected(path) as client:
        hold(client)
        server.stop()
        assert json.loads(client.recv(65536))["fault"] == "ending"
        assert client.recv(65536) == b""
        assert desk.settings() == before


def test_the_socket_is_gone_when_clockd_is(desk, path):
    with served(desk, path):
        assert path.is_socket()
    assert not path.exists()


def test_the_socket_of_a_clockd_that_was_killed_is_cleared_away(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(path))
    with listening(path) as listener:
        assert listener.getsockname() == str(path)


def test_a_second_clockd_on_the_same_socket_is_refused(path):
    with listening(path), pytest.raises(ServeError, match="another clockd"), listening(path):
        pass


def test_what_is_no_socket_is_not_deleted(path):
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(ServeError, match="is no socket"), listening(path):
        pass
    assert path.read_text(encoding="utf-8") == "precious"


def test_a_path_that_is_too_long_is_an_error_of_one_line(tmp_path):
    with pytest.raises(ServeError, match="cannot listen"), listening(tmp_path / ("x" * 120)):
        pass
