"""`edgeexit clockd` as a user meets it."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from clockd_machine import ask, connected, until

from edgeexit.cli import main


def test_a_simulated_board_is_refused_in_one_line(tmp_path, capsys):
    code = main(["clockd", "--device", "simulated:jetson-tx2", "--socket", str(tmp_path / "clockd.sock")])
    assert code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is simulated" in said


@pytest.mark.parametrize("option", ["--allow-user", "--allow-group"])
def test_a_name_that_nobody_has_is_refused_in_one_line(tmp_path, capsys, option):
    code = main(["clockd", "--device", "host", "--socket", str(tmp_path / "clockd.sock"), option, "no-such-name"])
    assert code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{option} no-such-name" in said


@pytest.mark.parametrize("silence", ["0", "-1", "nan", "3600"])
def test_a_silence_that_makes_no_sense_is_refused(silence, capsys):
    assert main(["clockd", "--silence-s", silence]) == 2
    assert "--silence-s" in capsys.readouterr().err


def test_it_serves_until_sigterm_and_ends_with_success(tmp_path):
    path = tmp_path / "clockd.sock"
    command = [sys.executable, "-m", "edgeexit", "clockd", "--device", "host", "--socket", str(path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert until(path.exists)
        said = process.stderr.readline()
        assert "listening on" in said
        with connected(path, greeted=False) as client:
            assert ask(client, op="hello", version=1)["ok"]
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert not path.exists()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_systemd_is_told_that_it_is_ready_alive_and_stopping(tmp_path):
    path = tmp_path / "clockd.sock"
    command = [sys.executable, "-m", "edgeexit", "clockd", "--device", "host", "--socket", str(path)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60.0)
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "250000"}
        process = subprocess.Popen(command, env={**os.environ, **told}, stderr=subprocess.DEVNULL)
        try:
            heard = [systemd.recv(4096) for _ in range(4)]
            assert heard[0].startswith(b"READY=1")
            assert heard[1:] == [b"WATCHDOG=1"] * 3
            process.terminate()
            while (last := systemd.recv(4096)) == b"WATCHDOG=1":
                pass
            assert last == b"STOPPING=1"
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
            process.wait()
