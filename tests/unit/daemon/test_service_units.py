"""systemd's own judgement of the units."""

import re
import shutil
import subprocess
import sys

import pytest

from edgeexit.daemon.service_files import install_plan

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def units(tmp_path):
    """The units, written to a folder as they would be installed."""
    for file in install_plan((sys.executable, "-I", "-m", "edgeexit"), tmp_path / "no-devices").files:
        if file.path.endswith(".service"):
            (tmp_path / file.path.rpartition("/")[2]).write_text(file.text)
    return tmp_path


def analyse(*arguments):
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *map(str, arguments)], capture_output=True, text=True, check=False
    )


@needs_systemd
@pytest.mark.parametrize(("name", "most"), [("edgeexit-server", 1.5), ("edgeexit-clockd", 2.0)])
def test_a_service_is_exposed_no_more_than_allowed(units, name, most):
    done = analyse("security", "--offline=true", units / f"{name}.service")
    assert float(re.search(rf"exposure level for {name}\.service: ([0-9.]+)", done.stdout)[1]) <= most


@needs_systemd
@pytest.mark.parametrize("name", ["edgeexit-server", "edgeexit-clockd"])
def test_systemd_understands_every_line_of_a_unit(units, name):
    done = analyse("verify", "--man=no", units / f"{name}.service")
    assert [line for line in done.stderr.splitlines() if name in line] == []


@pytest.mark.parametrize("name", ["edgeexit-server", "edgeexit-clockd"])
def test_a_service_tells_systemd_how_it_is_and_is_started_anew(units, name):
    text = (units / f"{name}.service").read_text()
    assert "\nType=notify\n" in text
    assert "\nWatchdogSec=" in text
    assert "\nRestart=" in text
    assert "\nNoNewPrivileges=yes\n" in text
    assert "\nCapabilityBoundingSet=\n" in text


def test_the_clocks_are_given_back_even_after_clockd_was_killed(units):
    text = (units / "edgeexit-clockd.service").read_text()
    assert f"\nExecStopPost={sys.executable} -I -m edgeexit restore\n" in text
    assert "\nRestart=always\n" in text


def test_clockd_has_no_network_and_the_server_is_no_root(units):
    clockd = (units / "edgeexit-clockd.service").read_text()
    assert "\nPrivateNetwork=yes\n" in clockd
    assert "\nRestrictAddressFamilies=AF_UNIX\n" in clockd
    server = (units / "edgeexit-server.service").read_text()
    assert "\nUser=edgeexit\n" in server
    assert "\nProtectKernelTunables=yes\n" in server


def test_both_services_see_the_owner_of_the_clocks_journal(units):
    for name in ("edgeexit-server", "edgeexit-clockd"):
        assert "\nProtectProc=default\n" in (units / f"{name}.service").read_text()
