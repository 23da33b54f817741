import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from edgeexit.device.permissions import fix_script, tmpfiles_text, udev_text

SCRIPTS = Path(__file__).parents[3] / "scripts"


def lines(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_files_that_ship_are_those_that_are_printed():
    assert (SCRIPTS / "99-edgeexit.rules").read_text(encoding="utf-8") == udev_text()
    assert (SCRIPTS / "edgeexit.tmpfiles.conf").read_text(encoding="utf-8") == tmpfiles_text()


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "0664"),
        ("/sys/devices/system/cpu/cpufreq/policy4/scaling_setspeed", "0664"),
        ("/sys/devices/system/cpu/cpufreq/policy12/scaling_min_freq", "0664"),
        ("/sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "0664"),
        ("/sys/class/devfreq/57000000.gpu/min_freq", "0664"),
        ("/sys/class/devfreq/17000000.ga10b/max_freq", "0664"),
        ("/sys/class/powercap/intel-rapl:0/energy_uj", "0440"),
        ("/sys/class/powercap/intel-rapl:0:2/energy_uj", "0440"),
        ("/sys/class/powercap/intel-rapl-mmio:0/energy_uj", "0440"),
    ],
)
def test_tmpfiles_gives_the_group_what_it_needs(path, mode):
    fields = [line.split() for line in lines(tmpfiles_text())]
    assert [field[2:5] for field in fields if fnmatch(path, field[1])] == [[mode, "root", "edgeexit"]]


@pytest.mark.parametrize(
    "path",
    [
        "/sys/devices/system/cpu/cpufreq/schedutil/rate_limit_us",
        "/sys/class/devfreq/bwmgr/max_freq",
        "/sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw",
    ],
)
def test_tmpfiles_gives_the_group_nothing_else(path):
    assert not any(fnmatch(path, line.split()[1]) for line in lines(tmpfiles_text()))


def test_nobody_but_the_group_may_write_anything():
    assert {line.split()[2] for line in lines(tmpfiles_text())} == {"2775", "0664", "0440"}


def test_tmpfiles_makes_the_folder_of_the_journal_for_the_group():
    assert lines(tmpfiles_text())[:2] == [
        "d /run/edgeexit 2775 root edgeexit -",
        "f /run/edgeexit/lock 0664 root edgeexit -",
    ]


def test_the_udev_rule_goes_by_core_devfreq_node_and_powercap_zone():
    cpu, devfreq, powercap = lines(udev_text())
    assert cpu.startswith('ACTION=="add|change|online", SUBSYSTEM=="cpu", RUN+="/bin/sh -c \'cd /sys%p/cpufreq ')
    assert 'SUBSYSTEM=="devfreq", KERNEL=="*.gpu|' in devfreq
    assert "chmod 0664 /sys%p/min_freq /sys%p/max_freq" in devfreq
    assert 'SUBSYSTEM=="powercap", KERNEL=="intel-rapl*:*"' in powercap
    assert "chmod 0440 /sys%p/energy_uj" in powercap


def test_a_udev_rule_is_one_line_with_even_quotes():
    for line in lines(udev_text()):
        assert line.count('"') % 2 == 0
        assert line.count("'") == 2


def test_the_script_installs_both_files_and_says_how_to_undo_it():
    script = fix_script()
    assert script.startswith("#!/bin/sh\n")
    assert f"cat >/etc/tmpfiles.d/edgeexit.conf <<'END'\n{tmpfiles_text()}END\n" in script
    assert f"cat >/etc/udev/rules.d/99-edgeexit.rules <<'END'\n{udev_text()}END\n" in script
    assert "groupadd --system --force edgeexit" in script
    assert "To undo it" in script


def test_the_lines_for_a_service_let_it_write_processor_and_gpu_and_name_this_very_edgeexit():
    script = fix_script()
    assert "#     ReadWritePaths=/sys/devices /run/edgeexit\n" in script
    assert f"#     ExecStopPost={sys.executable} -m edgeexit restore\n" in script
