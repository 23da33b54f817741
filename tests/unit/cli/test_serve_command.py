"""`edgeexit serve` and `edgeexit install-service` on the command line; tests/e2e runs the daemon itself."""

import os

import pytest

from edgeexit.cli import main


@pytest.mark.parametrize("flag", ["--host", "--latency-budget-s", "--log-level", "--set", "--check", "--no-tcp"])
def test_help_names_the_flags(flag, capsys):
    assert main(["serve", "--help"]) == 0
    assert flag in capsys.readouterr().out


def test_check_prints_bundles_and_settings(capsys):
    assert (
        main(["serve", "a@3=fashion-resnet", "--set", "limits.headers=9", "--no-tcp", "--unix", "/x", "--check"]) == 0
    )
    printed = capsys.readouterr().out
    assert "  a version 3: " in printed
    assert "  limits.headers = 9  (flag --set limits.headers)" in printed
    assert "  tcp = false  (flag --no-tcp)" in printed


def test_check_remarks_on_a_socket_whose_folder_is_not_there(tmp_path, capsys):
    socket = tmp_path / "missing" / "s"
    assert main(["serve", "fashion-resnet", "--unix", str(socket), "--check"]) == 0
    assert f"Remark: the folder of the Unix socket {socket} is not there now" in capsys.readouterr().out


def test_a_set_without_a_value_is_refused(capsys):
    assert main(["serve", "fashion-resnet", "--set", "port", "--check"]) == 2
    assert "--set takes KEY=VALUE, not 'port'" in capsys.readouterr().err


def test_nothing_to_listen_on_is_refused(capsys):
    assert main(["serve", "fashion-resnet", "--no-tcp"]) == 2
    assert "there is nothing to listen on" in capsys.readouterr().err


def test_a_token_that_others_may_read_is_refused(tmp_path, capsys):
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")
    token.chmod(0o644)
    assert main(["serve", "fashion-resnet", "--token-file", str(token), "--check"]) == 2
    assert "others may read or write the token file" in capsys.readouterr().err


def test_a_dry_run_prints_every_file_and_changes_nothing(capsys):
    assert main(["install-service", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "# file /etc/systemd/system/edgeexit-clockd.service (mode 0644)" in printed
    assert "Type=notify" in printed
    assert "# run systemctl enable --now edgeexit-clockd.service edgeexit-server.service" in printed


def test_a_dry_run_of_removing_is_refused(capsys):
    assert main(["install-service", "--dry-run", "--remove"]) == 2
    assert "leave out --remove" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--remove"]])
def test_an_ordinary_user_is_asked_to_be_root(arguments, capsys, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["install-service", *arguments]) == 1
    assert "must be run by root: sudo " in capsys.readouterr().err
