"""What systemd is told."""

import os
import re
import socket

import pytest

from edgeexit.daemon.notify import Notifier


@pytest.fixture
def systemd(tmp_path):
    """systemd's end of the socket, and its address."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(address)
        end.settimeout(10.0)
        yield end, address


def test_ready_comes_with_what_is_served(systemd):
    end, address = systemd
    Notifier(address).ready("serving 2 bundles")
    assert end.recv(200) == b"READY=1\nSTATUS=serving 2 bundles"


def test_a_reload_comes_with_its_time(systemd):
    end, address = systemd
    Notifier(address).reloading()
    assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=[0-9]+", end.recv(200))


def test_stopping_and_a_sign_of_life(systemd):
    end, address = systemd
    notifier = Notifier(address)
    notifier.stopping()
    notifier.alive()
    assert (end.recv(200), end.recv(200)) == (b"STOPPING=1", b"WATCHDOG=1")


def test_an_address_without_a_file_works():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("\0edgeexit-test-" + str(os.getpid()))
        end.settimeout(10.0)
        Notifier(f"@edgeexit-test-{os.getpid()}").alive()
        assert end.recv(200) == b"WATCHDOG=1"


def test_without_systemd_nothing_happens():
    Notifier.from_environment({}).ready()


def test_a_systemd_that_is_gone_harms_nobody(tmp_path):
    Notifier(str(tmp_path / "gone")).ready()


def test_signs_of_life_come_more_than_twice_within_the_watchdog_s_time():
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}
    assert Notifier.from_environment(environment).ping_every_s == 4.0


@pytest.mark.parametrize(
    "environment",
    [
        {"WATCHDOG_USEC": "10000000"},
        {"NOTIFY_SOCKET": "/x"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"},
    ],
)
def test_a_watchdog_that_is_not_for_us_wants_no_sign_of_life(environment):
    assert Notifier.from_environment(environment).ping_every_s is None
